//! Lists of vectors: `max_sim_distance(list, query, metric)`, and one vector of a list.
//!
//! ```text
//!   list   d0 d1 d2            max_sim_distance = sum over the vectors q of the query of
//!   query  q0 q1                 min over the vectors d of the list of distance(q, d)
//! ```
//!
//! The distance of a pair is what the index crate compares: squares for `l2`, minus the similarity for `cosine` and `ip`,
//! counts for `hamming`, `1 - both / either` for `jaccard`; so smaller is nearer for each of them. A list that is NULL or
//! empty has no distance. The query is a list of vectors, or text such as `'[[1, 2], [3, 4]]'`.

use std::sync::{Arc, LazyLock};

use arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeListArray, Float64Array, Int64Array, ListArray, StringArray,
    UInt32Array,
};
use arrow::buffer::OffsetBuffer;
use arrow::compute::{cast, take};
use arrow::datatypes::{DataType, Field, FieldRef, Int64Type};
use datafusion::common::{exec_err, plan_err};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility, lit,
};
use elanus_index::typed::{Elements, Scorer, VectorLists};
use elanus_index::{AnyMetric, BitMetric, ElementMetric, Metric, VectorRef};

use super::convert::{converts, to_vectors};
use super::kind::VectorKind;
use super::typed::TypedColumn;
use crate::arguments::{finish, is_text};

/// The name of the distance of lists.
pub const MAX_SIM_DISTANCE: &str = "max_sim_distance";

static MAX_SIM: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| {
    Arc::new(ScalarUDF::from(MaxSimFunction {
        signature: Signature::user_defined(Volatility::Immutable),
    }))
});
static ELEMENT: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| {
    Arc::new(ScalarUDF::from(VectorOfList {
        signature: Signature::any(2, Volatility::Immutable),
    }))
});

/// The distance of lists as a function.
pub(super) fn function() -> Arc<ScalarUDF> {
    Arc::clone(&MAX_SIM)
}

/// Vector `position` of a list of vectors, counted from 1; NULL when there is none.
pub fn vector_of_list(list: Expr, position: Expr) -> Expr {
    Expr::ScalarFunction(ScalarFunction::new_udf(
        Arc::clone(&ELEMENT),
        vec![list, position],
    ))
}

/// The list that [`vector_of_list`] was asked for a vector of.
pub fn list_of_vector(expr: &Expr) -> Option<&Expr> {
    let Expr::ScalarFunction(call) = expr else {
        return None;
    };
    call.args.first().filter(|_| call.func.name() == ELEMENT.name())
}

/// `max_sim_distance(list, query, metric)`.
pub fn max_sim_distance(list: Expr, query: Expr, metric: ElementMetric) -> Expr {
    let args = vec![list, query, lit(name_of(metric))];
    Expr::ScalarFunction(ScalarFunction::new_udf(function(), args))
}

const METRICS: [(&str, ElementMetric); 5] = [
    ("cosine", ElementMetric::Numbers(Metric::Cosine)),
    ("ip", ElementMetric::Numbers(Metric::Ip)),
    ("l2", ElementMetric::Numbers(Metric::L2)),
    ("hamming", ElementMetric::Bits(BitMetric::Hamming)),
    ("jaccard", ElementMetric::Bits(BitMetric::Jaccard)),
];

fn name_of(metric: ElementMetric) -> &'static str {
    let known = METRICS.iter().find(|(_, known)| *known == metric);
    known.map_or("", |(name, _)| name)
}

/// The metric that [`max_sim_distance`] calls by this name.
pub fn metric_of_name(name: &str) -> Option<ElementMetric> {
    let known = METRICS.iter().find(|(known, _)| name.eq_ignore_ascii_case(known));
    known.map(|(_, metric)| *metric)
}

/// The kind of the vectors of a list, as its field says; none when it is no list of dense vectors.
fn kind_of_list(field: &Field) -> Option<VectorKind> {
    let DataType::List(item) = field.data_type() else {
        return None;
    };
    VectorKind::of(item).filter(|kind| *kind != VectorKind::Sparse)
}

/// `input` as lists of vectors of `kind`: lists of vectors or of what can be made vectors, or text. None of the vectors is
/// NULL.
///
/// # Errors
/// A value that is no list of such vectors.
pub fn to_vector_lists(kind: VectorKind, input: &ArrayRef) -> Result<ListArray> {
    let lists = if is_text(input.data_type()) {
        split_texts(&cast(input, &DataType::Utf8)?)?
    } else if let DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) =
        input.data_type()
    {
        let lists = cast(input, &DataType::List(Arc::clone(item)))?;
        lists.as_list::<i32>().clone()
    } else {
        return exec_err!("cannot make a list of {kind} from {}", input.data_type());
    };
    let (item, offsets, values, nulls) = lists.into_parts();
    let first = offsets.first().map_or(0, |offset| *offset as usize);
    let last = offsets.last().map_or(0, |offset| *offset as usize);
    let used = values.slice(first, last - first);
    let offsets = OffsetBuffer::from_lengths(offsets.lengths());
    let from = match VectorKind::of(&item) {
        // What a list of bfloat16 vectors looks like without its field.
        Some(VectorKind::Bit(bits)) if kind == VectorKind::BFloat16(bits / 16) => Some(kind),
        from => from,
    };
    let vectors = if from == Some(kind) {
        used
    } else {
        to_vectors(kind, from, &used, false)?
    };
    if vectors.null_count() > 0 {
        return exec_err!("a list of vectors has none that is NULL");
    }
    let item = Arc::new(kind.field("item").as_ref().clone());
    Ok(ListArray::try_new(item, offsets, vectors, nulls)?)
}

/// `'[[1, 2], [3, 4]]'` as the texts of its vectors.
fn split_texts(texts: &ArrayRef) -> Result<ListArray> {
    let texts = texts.as_string::<i32>();
    let (mut vectors, mut lengths) = (Vec::new(), Vec::with_capacity(texts.len()));
    for text in texts {
        let before = vectors.len();
        if let Some(text) = text {
            vectors.extend(split(text)?);
        }
        lengths.push(vectors.len() - before);
    }
    let item = Arc::new(Field::new_list_field(DataType::Utf8, true));
    let values: ArrayRef = Arc::new(StringArray::from(vectors));
    let offsets = OffsetBuffer::from_lengths(lengths);
    Ok(ListArray::try_new(item, offsets, values, texts.nulls().cloned())?)
}

/// The parts between the outer brackets that commas outside of inner ones separate, without quotes.
fn split(text: &str) -> Result<Vec<&str>> {
    let inside = text
        .trim()
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let Some(inside) = inside else {
        return exec_err!(
            "'{}' is not a list of vectors; it is written '[[1, 2], [3, 4]]'",
            text.chars().take(40).collect::<String>()
        );
    };
    let mut depth = 0_u32;
    let parts = inside.split(|c: char| {
        match c {
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    });
    let parts: Vec<&str> = parts.map(|part| part.trim().trim_matches('"')).collect();
    Ok(match parts.as_slice() {
        [""] => Vec::new(),
        [..] => parts,
    })
}

/// `max_sim_distance`.
#[derive(Debug, PartialEq, Eq, Hash)]
struct MaxSimFunction {
    signature: Signature,
}

impl MaxSimFunction {
    fn kind(fields: &[FieldRef]) -> Result<VectorKind> {
        let Some(kind) = fields.first().and_then(|field| kind_of_list(field)) else {
            let given = fields
                .first()
                .map_or("nothing".into(), |field| field.data_type().to_string());
            return plan_err!(
                "{MAX_SIM_DISTANCE} takes a list of dense vectors first, such as chunks['v'] of an array of structs, got {given}"
            );
        };
        let converts = |query: &FieldRef| {
            let data_type = query.data_type();
            is_text(data_type)
                || *data_type == DataType::Null
                || matches!(data_type, DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _)
                    if converts(kind, item) || looks_like(kind, item.data_type()))
        };
        match fields.get(1) {
            Some(query) if converts(query) => Ok(kind),
            query => plan_err!(
                "the query of {MAX_SIM_DISTANCE} is a list of {kind}, such as '[[..], [..]]', got {}",
                query.map_or("nothing".into(), |field| field.data_type().to_string())
            ),
        }
    }

    /// The metric that the last argument names.
    fn metric(kind: VectorKind, name: &ColumnarValue) -> Result<ElementMetric> {
        let of_bits = matches!(kind, VectorKind::Bit(_));
        let allowed = if of_bits {
            "'hamming', 'jaccard'"
        } else {
            "'cosine', 'ip', 'l2'"
        };
        let name = match name {
            ColumnarValue::Scalar(name) => name.try_as_str().flatten(),
            ColumnarValue::Array(_) => None,
        };
        let metric = name.and_then(metric_of_name);
        match metric.filter(|metric| matches!(metric, ElementMetric::Bits(_)) == of_bits) {
            Some(metric) => Ok(metric),
            None => exec_err!(
                "the metric of {MAX_SIM_DISTANCE} on lists of {kind} is one of {allowed}, written as text, got {}",
                name.unwrap_or("no text")
            ),
        }
    }
}

/// Whether vectors of `kind` are of this type where no field says more.
fn looks_like(kind: VectorKind, data_type: &DataType) -> bool {
    kind.data_type() == *data_type
}

impl ScalarUDFImpl for MaxSimFunction {
    fn name(&self) -> &str {
        MAX_SIM_DISTANCE
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        if arg_types.len() != 3 {
            return plan_err!(
                "{MAX_SIM_DISTANCE} takes a list of vectors, a list of query vectors and the metric, got {} arguments",
                arg_types.len()
            );
        }
        Ok(arg_types.to_vec())
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        Self::kind(args.arg_fields)?;
        Ok(Arc::new(Field::new(self.name(), DataType::Float64, true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let kind = Self::kind(&args.arg_fields)?;
        let [list, query, metric] = args.args.as_slice() else {
            return exec_err!("{MAX_SIM_DISTANCE} takes three arguments");
        };
        let metric = Self::metric(kind, metric)?;
        let list = Lists::new(kind, list)?;
        let query = Lists::new(kind, query)?;
        let single = list.single && query.single;
        let rows = if single { 1 } else { args.number_rows };
        let refused =
            |e: &dyn std::fmt::Display| DataFusionError::Execution(format!("{MAX_SIM_DISTANCE}: {e}"));
        let scorer_of = |row: usize| match query.row(row)? {
            Some(vectors) if vectors.is_empty() => exec_err!("{MAX_SIM_DISTANCE}: the query has no vectors"),
            Some(vectors) => Scorer::new(AnyMetric::MaxSim(metric), VectorRef::List(vectors))
                .map(Some)
                .map_err(|e| refused(&e)),
            None => Ok(None),
        };
        let of_all = query.single.then(|| scorer_of(0)).transpose()?;
        let mut distances = Float64Array::builder(rows);
        for row in 0..rows {
            let own = match &of_all {
                Some(_) => None,
                None => scorer_of(row)?,
            };
            let scorer = match &of_all {
                Some(scorer) => scorer.as_ref(),
                None => own.as_ref(),
            };
            match (scorer, list.row(row)?.filter(|list| !list.is_empty())) {
                (Some(scorer), Some(list)) => {
                    let distance = scorer.distance(VectorRef::List(list)).map_err(|e| refused(&e))?;
                    // A similarity of zero is never shown as `-0`, which SQL sorts before `0`.
                    distances.append_value(f64::from(distance) + 0.0);
                }
                (None, _) | (_, None) => distances.append_null(),
            }
        }
        finish(Arc::new(distances.finish()), single)
    }
}

/// Lists of vectors of one kind. A single value stands for every row.
struct Lists {
    vectors: TypedColumn,
    lists: ListArray,
    single: bool,
}

impl Lists {
    fn new(kind: VectorKind, value: &ColumnarValue) -> Result<Self> {
        let (array, single) = match value {
            ColumnarValue::Array(array) => (Arc::clone(array), false),
            ColumnarValue::Scalar(scalar) => (scalar.to_array()?, true),
        };
        let lists = if *array.data_type() == DataType::Null {
            let item = kind.field("item");
            ListArray::new_null(item, array.len())
        } else {
            to_vector_lists(kind, &array)?
        };
        let values = ColumnarValue::Array(Arc::clone(lists.values()));
        Ok(Self {
            vectors: TypedColumn::new(kind, Some(kind), &values)?,
            lists,
            single,
        })
    }

    /// The vectors of the list of row `row`; none when it is NULL.
    fn row(&self, row: usize) -> Result<Option<Elements<'_>>> {
        let row = if self.single { 0 } else { row };
        if row >= self.lists.len() || self.lists.is_null(row) {
            return Ok(None);
        }
        let all = self.vectors.elements()?;
        let lists = VectorLists::new(self.lists.value_offsets(), all)
            .map_err(|e| DataFusionError::Execution(e.to_string()))?;
        let range = lists.range(row);
        Ok(Some(all.slice(range.start, range.end)))
    }
}

/// One vector of a list.
#[derive(Debug, PartialEq, Eq, Hash)]
struct VectorOfList {
    signature: Signature,
}

impl ScalarUDFImpl for VectorOfList {
    fn name(&self) -> &str {
        "elanus_vector_of_list"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        match arg_types.first() {
            Some(DataType::List(item)) => Ok(item.data_type().clone()),
            _ => plan_err!("{} takes a list of vectors", self.name()),
        }
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        match args.arg_fields.first().and_then(|field| kind_of_list(field)) {
            Some(kind) => Ok(kind.field(self.name())),
            None => plan_err!("{} takes a list of vectors", self.name()),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let [lists, positions] = arrays.as_slice() else {
            return exec_err!("{} takes a list and a position", self.name());
        };
        let Some(lists) = lists.as_list_opt::<i32>() else {
            return exec_err!("{} takes a list of vectors", self.name());
        };
        let positions: Int64Array = cast(positions, &DataType::Int64)?
            .as_primitive::<Int64Type>()
            .clone();
        let place = |row: usize| {
            let start = *lists.value_offsets().get(row)?;
            let position = positions.is_valid(row).then(|| positions.value(row))?;
            let place = usize::try_from(position.checked_sub(1)?).ok()?;
            let inside = lists.is_valid(row) && place < lists.value_length(row) as usize;
            inside.then(|| start as u32 + place as u32)
        };
        let places: UInt32Array = (0..lists.len()).map(place).collect();
        let vectors = take(lists.values(), &places, None)?;
        // As `return_field_from_args` says it.
        let vectors = match vectors.as_fixed_size_list_opt() {
            Some(list) => fixed(list, args.return_field.data_type())?,
            None => vectors,
        };
        let single = args
            .args
            .iter()
            .all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        finish(vectors, single)
    }
}

/// The same vectors under another type of the item field.
fn fixed(list: &FixedSizeListArray, wanted: &DataType) -> Result<ArrayRef> {
    let DataType::FixedSizeList(item, dim) = wanted else {
        return exec_err!(
            "a vector of {wanted} was taken out of a list of {}",
            list.data_type()
        );
    };
    let values = Arc::clone(list.values());
    let values = if !item.is_nullable() && values.null_count() > 0 {
        // The numbers below a NULL vector.
        arrow::array::make_array(values.to_data().into_builder().nulls(None).build()?)
    } else {
        values
    };
    Ok(Arc::new(FixedSizeListArray::try_new(
        Arc::clone(item),
        *dim,
        values,
        list.nulls().cloned(),
    )?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_lists_are_split_at_the_outer_commas() {
        let parts = |text: &str| {
            split(text)
                .unwrap()
                .into_iter()
                .map(String::from)
                .collect::<Vec<_>>()
        };
        assert_eq!(parts("[[1, 2], [3,4] ]"), ["[1, 2]", "[3,4]"]);
        assert_eq!(parts(r#"["0101", "1111"]"#), ["0101", "1111"]);
        assert_eq!(parts("[0101,1111]"), ["0101", "1111"]);
        assert!(parts(" [ ] ").is_empty());
        let reason = split("1, 2").unwrap_err().to_string();
        assert!(reason.contains("'1, 2' is not a list of vectors"), "{reason}");
    }

    fn texts(of: &[Option<&str>]) -> ArrayRef {
        Arc::new(of.iter().copied().collect::<StringArray>())
    }

    #[test]
    fn lists_come_from_texts_and_from_lists_of_numbers() {
        let kind = VectorKind::Float(2);
        let of_texts = to_vector_lists(kind, &texts(&[Some("[[1,2],[3,4]]"), None, Some("[]")])).unwrap();
        assert_eq!((of_texts.value_length(0), of_texts.value_length(2)), (2, 0));
        assert!(of_texts.is_null(1));
        // A slice, whose first offset is not 0.
        let of_lists = to_vector_lists(kind, &(Arc::new(of_texts.slice(0, 1)) as ArrayRef)).unwrap();
        assert_eq!(of_lists.values().len(), 2);
        let wrong = to_vector_lists(kind, &texts(&[Some("[[1,2,3]]")]))
            .unwrap_err()
            .to_string();
        assert!(wrong.contains("dimension"), "{wrong}");
        let single = to_vector_lists(kind, &texts(&[Some("[1,2]")]))
            .unwrap_err()
            .to_string();
        assert!(single.contains("'1' is not a vector"), "{single}");
    }

    #[test]
    fn the_distance_is_the_sum_of_the_nearest() {
        let kind = VectorKind::Float(2);
        let list = to_vector_lists(kind, &texts(&[Some("[[1,0],[0,2]]"), Some("[]"), None])).unwrap();
        let field = |array: &ListArray| Arc::new(Field::new("l", array.data_type().clone(), true));
        let distance = |metric: &str| {
            let args = ScalarFunctionArgs {
                arg_fields: vec![
                    field(&list),
                    Arc::new(Field::new("q", DataType::Utf8, true)),
                    Arc::new(Field::new("m", DataType::Utf8, true)),
                ],
                args: vec![
                    ColumnarValue::Array(Arc::new(list.clone())),
                    ColumnarValue::Scalar("[[1,1],[2,0]]".into()),
                    ColumnarValue::Scalar(metric.into()),
                ],
                number_rows: 3,
                return_field: Arc::new(Field::new("d", DataType::Float64, true)),
                config_options: Arc::default(),
            };
            let distances = function().inner().invoke_with_args(args)?.into_array(3)?;
            let distances = distances.as_primitive::<arrow::datatypes::Float64Type>();
            Ok::<_, DataFusionError>(distances.iter().collect::<Vec<_>>())
        };
        // (1,1): nearest is (1,0) at 1; (2,0): nearest is (1,0) at 1.
        assert_eq!(distance("l2").unwrap(), [Some(2.0), None, None]);
        // (1,1): best product 2; (2,0): best product 2.
        assert_eq!(distance("IP").unwrap(), [Some(-4.0), None, None]);
        let reason = distance("hamming").unwrap_err().to_string();
        assert!(reason.contains("is one of 'cosine', 'ip', 'l2'"), "{reason}");
    }
}

//! Conditions on the elements of lists, for filters, and the sub-fields of lists of structs.
//!
//! - `elanus_match_any(list, text)` and `.._all`, `.._least`, `.._most`, `.._exact` -> `Boolean`: how many elements of the
//!   list a condition is true for. A NULL list gives NULL; of an empty one none are.
//! - `elanus_element_filter(list, text)` -> `Boolean`: as `elanus_match_any`; a search of elements asks it for [`ElementMatch::elements`].
//! - `elanus_sub_field(list of structs, name)` -> list: one sub-field of every element, without a copy.
//!
//! The condition belongs to the function, as an expression over the sub-fields (or over the column `$`, when the elements
//! are no structs). It is evaluated once over all elements of the batch, then counted per row:
//!
//! ```text
//!  lists     [e0 e1 e2] [] [e3]     offsets 0 3 3 4
//!  condition  t  f  t       f       one vectorized evaluation
//!  counts        2      0   0       -> compared with the length or the threshold
//! ```
//!
//! The second argument says what the first is tested for or asked for, so that plans show it.

use std::hash::{Hash, Hasher};
use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, ListArray, RecordBatch, RecordBatchOptions};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use datafusion::common::{DFSchema, exec_err, plan_err};
use datafusion::error::Result;
use datafusion::execution::context::ExecutionProps;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, lit,
};
use datafusion::physical_expr::{PhysicalExpr, create_physical_expr};

use crate::arguments::finish;
use crate::vector::VectorKind;

/// Name of the element itself in a condition on elements that are no structs.
pub const ELEMENT: &str = "$";

/// For how many elements of a list the condition must be true.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ElementTest {
    /// At least one.
    Any,
    /// At least one; where elements are searched one by one, only those are found that the condition is true for.
    Filter,
    /// Every one; so every one of none.
    All,
    /// At least so many.
    Least(u64),
    /// At most so many.
    Most(u64),
    /// Exactly so many.
    Exact(u64),
}

impl ElementTest {
    fn holds(self, matching: u64, length: u64) -> bool {
        match self {
            Self::Any | Self::Filter => matching > 0,
            Self::All => matching == length,
            Self::Least(threshold) => matching >= threshold,
            Self::Most(threshold) => matching <= threshold,
            Self::Exact(threshold) => matching == threshold,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Any => "elanus_match_any",
            Self::Filter => "elanus_element_filter",
            Self::All => "elanus_match_all",
            Self::Least(_) => "elanus_match_least",
            Self::Most(_) => "elanus_match_most",
            Self::Exact(_) => "elanus_match_exact",
        }
    }

    fn text(self, predicate: &Expr) -> String {
        match self {
            Self::Any | Self::All | Self::Filter => predicate.to_string(),
            Self::Least(threshold) | Self::Most(threshold) | Self::Exact(threshold) => {
                format!("{predicate}; {threshold}")
            }
        }
    }
}

/// The fields that a condition on the elements of such a list sees; none when it is no list.
pub fn element_fields(list: &DataType) -> Option<Fields> {
    let DataType::List(item) = list else { return None };
    if let DataType::Struct(fields) = item.data_type() {
        return Some(fields.clone());
    }
    let element = Field::new(ELEMENT, item.data_type().clone(), true);
    Some(Fields::from(vec![element]))
}

/// Whether `predicate`, a condition over `fields`, is true for as many elements of `list` as `test` wants.
///
/// # Errors
/// The predicate is no expression over the fields.
pub fn matches(list: Expr, fields: Fields, test: ElementTest, predicate: Expr) -> Result<Expr> {
    let schema = Arc::new(Schema::new(fields));
    let df_schema = DFSchema::try_from(Arc::clone(&schema))?;
    let (properties, context) = (ExecutionProps::new(), PhysicalPlanningContext::default());
    let physical = create_physical_expr(&predicate, &df_schema, &properties, &context)?;
    let text = test.text(&predicate);
    let function = ElementMatch {
        test,
        predicate,
        schema,
        physical,
    };
    let function = Arc::new(ScalarUDF::from(function));
    Ok(Expr::ScalarFunction(ScalarFunction::new_udf(
        function,
        vec![list, lit(text)],
    )))
}

/// The values of sub-field `name` in each list of structs; `vectors` says what they are, when they are vectors.
pub fn sub_field(list: Expr, name: &str, vectors: Option<VectorKind>) -> Expr {
    let function = Arc::new(ScalarUDF::from(SubField {
        name: name.to_owned(),
        vectors,
    }));
    Expr::ScalarFunction(ScalarFunction::new_udf(function, vec![list, lit(name)]))
}

/// The list and the name that [`sub_field`] was called with.
pub fn sub_field_parts(expr: &Expr) -> Option<(&Expr, &str)> {
    let Expr::ScalarFunction(call) = expr else {
        return None;
    };
    let function = call.func.inner().downcast_ref::<SubField>()?;
    Some((call.args.first()?, &function.name))
}

static TWO_ARGUMENTS: LazyLock<Signature> = LazyLock::new(|| Signature::any(2, Volatility::Immutable));

/// The list that a call is on, and whether it stands for all rows.
fn lists_of(name: &str, args: &ScalarFunctionArgs) -> Result<(ArrayRef, bool)> {
    match args.args.first() {
        Some(ColumnarValue::Array(array)) => Ok((Arc::clone(array), false)),
        Some(ColumnarValue::Scalar(scalar)) => Ok((scalar.to_array()?, true)),
        None => exec_err!("{name} takes a list as its first argument"),
    }
}

/// The scalar function of an [`ElementTest`] and a condition.
#[derive(Debug)]
pub struct ElementMatch {
    test: ElementTest,
    predicate: Expr,
    schema: SchemaRef,
    physical: Arc<dyn PhysicalExpr>,
}

/// The physical form follows from the others.
impl PartialEq for ElementMatch {
    fn eq(&self, other: &Self) -> bool {
        (self.test, &self.predicate, &self.schema) == (other.test, &other.predicate, &other.schema)
    }
}

impl Eq for ElementMatch {}

impl Hash for ElementMatch {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.test.hash(state);
        self.predicate.hash(state);
    }
}

impl ElementMatch {
    /// Whether it says which elements a search may find, and not only which rows.
    pub fn is_filter(&self) -> bool {
        self.test == ElementTest::Filter
    }

    /// For each element of all lists, from the first to the last, whether the condition is true; NULL is not.
    ///
    /// # Errors
    /// The array is no list with the sub-fields of the condition, or this cannot be evaluated.
    pub fn elements(&self, lists: &ArrayRef) -> Result<BooleanBuffer> {
        match lists.as_list_opt::<i32>() {
            Some(lists) => self.matching(lists),
            None => exec_err!("{} takes a list, got {}", self.name(), lists.data_type()),
        }
    }

    /// For each element of all lists, from the first to the last, whether the condition is true.
    fn matching(&self, lists: &ListArray) -> Result<BooleanBuffer> {
        let (start, end) = (offset(lists, 0), offset(lists, lists.len()));
        let elements = lists.values().slice(start, end - start);
        let columns = match elements.as_struct_opt() {
            Some(structs) => structs.columns().to_vec(),
            None => vec![Arc::clone(&elements)],
        };
        let options = RecordBatchOptions::new().with_row_count(Some(elements.len()));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?;
        let verdicts = self.physical.evaluate(&batch)?.into_array(elements.len())?;
        let Some(verdicts) = verdicts.as_boolean_opt() else {
            return exec_err!("{}: the condition is no condition", self.name());
        };
        Ok(match verdicts.nulls() {
            Some(nulls) => verdicts.values() & nulls.inner(),
            None => verdicts.values().clone(),
        })
    }
}

fn offset(lists: &ListArray, row: usize) -> usize {
    lists
        .value_offsets()
        .get(row)
        .map_or(0, |offset| usize::try_from(*offset).unwrap_or(0))
}

impl ScalarUDFImpl for ElementMatch {
    fn name(&self) -> &str {
        self.test.name()
    }

    fn signature(&self) -> &Signature {
        &TWO_ARGUMENTS
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let (array, single) = lists_of(self.name(), &args)?;
        let Some(lists) = array.as_list_opt::<i32>() else {
            return exec_err!("{} takes a list, got {}", self.name(), array.data_type());
        };
        let matching = self.matching(lists)?;
        let first = offset(lists, 0);
        let rows = BooleanBuffer::collect_bool(lists.len(), |row| {
            let (start, end) = (offset(lists, row) - first, offset(lists, row + 1) - first);
            let count = matching.slice(start, end - start).count_set_bits();
            self.test.holds(count as u64, (end - start) as u64)
        });
        finish(Arc::new(BooleanArray::new(rows, lists.nulls().cloned())), single)
    }
}

/// The scalar function that takes one sub-field out of lists of structs.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct SubField {
    name: String,
    /// What Arrow's type alone does not say inside of a struct.
    vectors: Option<VectorKind>,
}

impl SubField {
    /// The field of an element of the result.
    fn item(&self, child: &DataType) -> FieldRef {
        match self.vectors {
            Some(kind) => {
                let field = Field::new_list_field(child.clone(), true);
                Arc::new(field.with_metadata(kind.field("item").metadata().clone()))
            }
            None => Arc::new(Field::new_list_field(child.clone(), true)),
        }
    }
}

impl ScalarUDFImpl for SubField {
    fn name(&self) -> &str {
        "elanus_sub_field"
    }

    fn signature(&self) -> &Signature {
        &TWO_ARGUMENTS
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        let fields = arg_types.first().and_then(element_fields);
        match fields.as_ref().and_then(|fields| fields.find(&self.name)) {
            Some((_, field)) => Ok(DataType::List(self.item(field.data_type()))),
            None => plan_err!("{} takes a list of structs with '{}'", self.name(), self.name),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let (array, single) = lists_of(self.name(), &args)?;
        let lists = array.as_list_opt::<i32>();
        let structs = lists.and_then(|lists| Some((lists, lists.values().as_struct_opt()?)));
        let child = structs.and_then(|(lists, structs)| Some((lists, structs.column_by_name(&self.name)?)));
        let Some((lists, child)) = child else {
            return exec_err!("{} takes a list of structs with '{}'", self.name(), self.name);
        };
        let item = self.item(child.data_type());
        let (offsets, nulls) = (lists.offsets().clone(), lists.nulls().cloned());
        finish(
            Arc::new(ListArray::try_new(item, offsets, Arc::clone(child), nulls)?),
            single,
        )
    }
}

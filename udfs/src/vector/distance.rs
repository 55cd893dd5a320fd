//! Distances between two vectors: `l2_distance(a, b)` and its siblings.

use std::sync::Arc;

use arrow::array::Float64Array;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::utils::take_function_args;
use datafusion::common::{exec_err, plan_err};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use elanus_index::typed::Scorer;
use elanus_index::{AnyMetric, BitMetric, Metric, MinHash, PairError, VectorRef};

use super::column::{Row, VectorColumn, coerce, is_engine_vector};
use super::convert::{bits_of_text, converts};
use super::kind::VectorKind;
use super::typed::{TypedColumn, numbers};
use crate::arguments::{TextArgument, finish, is_text};

/// Which distance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Distance {
    /// Euclidean, with the root.
    L2,
    /// `1 - cos`; NaN when a side is the zero vector.
    Cosine,
    /// The dot product.
    InnerProduct,
    /// Minus the dot product, so that smaller is better.
    NegativeInnerProduct,
    /// Sum of absolute differences.
    L1,
    /// Bits that differ.
    Hamming,
    /// `1 - both / either` of the bits; 1 when no bit is set.
    Jaccard,
    /// `1 - equal / all` of the elements of 32 bits of two MinHash signatures.
    MinHash,
}

/// Bits of an element of a signature.
const ELEMENT_BITS: u32 = 32;

impl Distance {
    /// The SQL name.
    pub fn name(self) -> &'static str {
        match self {
            Self::L2 => "l2_distance",
            Self::Cosine => "cosine_distance",
            Self::InnerProduct => "inner_product",
            Self::NegativeInnerProduct => "negative_inner_product",
            Self::L1 => "l1_distance",
            Self::Hamming => "hamming_distance",
            Self::Jaccard => "jaccard_distance",
            Self::MinHash => "minhash_distance",
        }
    }

    /// The metric that the kernels have for it; none for L1.
    fn metric(self) -> Option<AnyMetric> {
        match self {
            Self::L2 => Some(Metric::L2.into()),
            Self::Cosine => Some(Metric::Cosine.into()),
            Self::InnerProduct | Self::NegativeInnerProduct => Some(Metric::Ip.into()),
            Self::L1 => None,
            Self::Hamming => Some(BitMetric::Hamming.into()),
            Self::Jaccard => Some(BitMetric::Jaccard.into()),
            Self::MinHash => Some(MinHash::similarity(ELEMENT_BITS).into()),
        }
    }

    /// Whether it is a distance of bits and not of numbers.
    fn is_of_bits(self) -> bool {
        matches!(self, Self::Hamming | Self::Jaccard | Self::MinHash)
    }

    /// Refuses types that do not have this distance.
    fn check_kind(self, kind: VectorKind) -> Result<()> {
        let name = self.name();
        let is_bit = matches!(kind, VectorKind::Bit(_));
        if self.is_of_bits() && !is_bit {
            return plan_err!("{name} takes bits, got {kind}");
        }
        if let VectorKind::Bit(dim) = kind {
            self.check_elements(dim as usize)?;
        }
        if !self.is_of_bits() && is_bit {
            return plan_err!(
                "{name} takes vectors of numbers, got {kind}; use hamming_distance, jaccard_distance or minhash_distance"
            );
        }
        if self == Self::L1 && kind == VectorKind::Sparse {
            return plan_err!(
                "{name} takes dense vectors, got {kind}; use l2_distance, cosine_distance or inner_product"
            );
        }
        Ok(())
    }

    /// Refuses bits that are no whole elements of signatures.
    fn check_elements(self, bits: usize) -> Result<()> {
        if self == Self::MinHash && !bits.is_multiple_of(ELEMENT_BITS as usize) {
            return plan_err!(
                "{} takes signatures with elements of {ELEMENT_BITS} bits, got {bits} bits",
                self.name()
            );
        }
        Ok(())
    }

    /// What SQL shows for a distance of the kernels; `zero` says whether a side is the zero vector.
    fn shown(self, distance: f32, zero: impl Fn() -> bool) -> f64 {
        match self {
            Self::L2 => f64::from(distance).sqrt(),
            Self::Cosine => {
                let similarity = Metric::Cosine.score(distance);
                // the engine gives a zero vector a similarity of 0, SQL leaves it undefined
                if similarity == 0.0 && zero() {
                    return f64::NAN;
                }
                1.0 - f64::from(similarity)
            }
            Self::InnerProduct => f64::from(Metric::Ip.score(distance)),
            Self::MinHash => 1.0 - f64::from(Metric::Ip.score(distance)),
            // A product of zero is never shown as `-0`, which SQL sorts before `0`.
            Self::NegativeInnerProduct => f64::from(distance) + 0.0,
            Self::L1 | Self::Hamming | Self::Jaccard => f64::from(distance),
        }
    }

    fn of_f32(self, a: &[f32], b: &[f32]) -> f64 {
        match self {
            Self::L2 => self.shown(Metric::L2.distance(a, b), || false),
            Self::Cosine => self.shown(Metric::Cosine.distance(a, b), || is_zero(a) || is_zero(b)),
            Self::InnerProduct | Self::NegativeInnerProduct => {
                self.shown(Metric::Ip.distance(a, b), || false)
            }
            Self::L1 => l1(a, b),
            // refused before: these are numbers
            Self::Hamming | Self::Jaccard | Self::MinHash => f64::NAN,
        }
    }

    fn of_f64(self, a: &[f64], b: &[f64]) -> f64 {
        let dot = |a: &[f64], b: &[f64]| -> f64 { a.iter().zip(b).map(|(x, y)| x * y).sum() };
        match self {
            Self::L2 => a
                .iter()
                .zip(b)
                .map(|(x, y)| (x - y) * (x - y))
                .sum::<f64>()
                .sqrt(),
            Self::Cosine => {
                let cosine = dot(a, b) / (dot(a, a).sqrt() * dot(b, b).sqrt());
                1.0 - cosine.clamp(-1.0, 1.0)
            }
            Self::InnerProduct => dot(a, b),
            // `0 - x` so that orthogonal vectors give 0 and not -0
            Self::NegativeInnerProduct => 0.0 - dot(a, b),
            Self::L1 => a.iter().zip(b).map(|(x, y)| (x - y).abs()).sum(),
            // refused before: these are numbers
            Self::Hamming | Self::Jaccard | Self::MinHash => f64::NAN,
        }
    }

    /// Of two vectors of one type.
    fn of_typed(self, scorer: Option<&Scorer<'_>>, a: VectorRef<'_>, b: VectorRef<'_>) -> Result<f64> {
        let refused = |e: PairError| DataFusionError::Execution(format!("{}: {e}", self.name()));
        if let (Self::L1, Some(left), Some(right)) = (self, numbers(a), numbers(b)) {
            return Ok(l1(&left, &right));
        }
        let Some(metric) = self.metric() else {
            return exec_err!("{} takes dense vectors of numbers", self.name());
        };
        let distance = match scorer {
            Some(scorer) => scorer.distance(b),
            None => Scorer::new(metric, a).and_then(|scorer| scorer.distance(b)),
        };
        Ok(self.shown(distance.map_err(refused)?, || a.is_zero() || b.is_zero()))
    }
}

fn l1(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(x, y)| f64::from((x - y).abs())).sum()
}

/// The one vector type of two arguments; none when neither is of another type than 32-bit floats.
fn common_kind(name: &str, a: Option<VectorKind>, b: Option<VectorKind>) -> Result<Option<VectorKind>> {
    let kind = match (a, b) {
        (Some(a), Some(b)) if a.is_like(b) => {
            if a != b {
                let dim = |kind: VectorKind| kind.dim().unwrap_or(0);
                return plan_err!(
                    "{name}: vectors have different dimensions, {} and {}",
                    dim(a),
                    dim(b)
                );
            }
            a
        }
        (Some(a), Some(b)) => {
            return plan_err!("{name} takes two vectors of one type, got {a} and {b}; cast one of them");
        }
        (Some(kind), None) | (None, Some(kind)) => kind,
        (None, None) => return Ok(None),
    };
    Ok((!matches!(kind, VectorKind::Float(_))).then_some(kind))
}

fn is_zero(vector: &[f32]) -> bool {
    vector.iter().all(|value| *value == 0.0)
}

/// The scalar function of a [`Distance`].
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct DistanceFunction {
    distance: Distance,
    signature: Signature,
}

impl DistanceFunction {
    /// The function for `distance`.
    pub fn new(distance: Distance) -> Self {
        Self {
            distance,
            signature: Signature::user_defined(Volatility::Immutable),
        }
    }

    /// Which distance it computes.
    pub fn distance(&self) -> Distance {
        self.distance
    }
}

fn is_text_or_null(data_type: &DataType) -> bool {
    is_text(data_type) || *data_type == DataType::Null
}

impl DistanceFunction {
    /// The type of vectors that is compared, when it is another one than 32-bit floats.
    fn kind_of(&self, fields: &[FieldRef]) -> Result<Option<VectorKind>> {
        let [a, b] = take_function_args(self.name(), fields)?;
        let (left, right) = (VectorKind::of(a), VectorKind::of(b));
        let kind = common_kind(self.name(), left, right)?;
        if let Some(kind) = kind.or(left).or(right) {
            self.distance.check_kind(kind)?;
        }
        if let Some(kind) = kind {
            for field in [a, b] {
                if !converts(kind, field) {
                    return plan_err!(
                        "{} takes two vectors of one type, got {kind} and {}; cast one of them",
                        self.name(),
                        field.data_type()
                    );
                }
            }
        }
        Ok(kind)
    }

    fn invoke_typed(&self, kind: VectorKind, args: &ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [a, b] = take_function_args(self.name(), &args.args)?;
        let [a_field, b_field] = take_function_args(self.name(), &args.arg_fields)?;
        let named = |e: DataFusionError| {
            if let DataFusionError::Execution(text) = e {
                return DataFusionError::Execution(format!("{}: {text}", self.name()));
            }
            e
        };
        let a = TypedColumn::new(kind, VectorKind::of(a_field), a).map_err(named)?;
        let b = TypedColumn::new(kind, VectorKind::of(b_field), b).map_err(named)?;
        self.distances(a, b, args.number_rows)
    }

    /// Bits written as text on both sides: of one length, whichever it is.
    fn invoke_texts(&self, a: &ColumnarValue, b: &ColumnarValue, rows: usize) -> Result<ColumnarValue> {
        let (a, b) = (
            TextArgument::new(self.name(), a)?,
            TextArgument::new(self.name(), b)?,
        );
        let single = a.is_single() && b.is_single();
        let rows = if single { 1 } else { rows };
        let mut distances = Float64Array::builder(rows);
        for row in 0..rows {
            let (Some(a), Some(b)) = (a.get(row), b.get(row)) else {
                distances.append_null();
                continue;
            };
            let bits = |text: &str| bits_of_text(text);
            let (a, b) = (bits(a)?, bits(b)?);
            if a.1 != b.1 {
                return exec_err!(
                    "{}: vectors have different dimensions, {} and {}",
                    self.name(),
                    a.1,
                    b.1
                );
            }
            self.distance.check_elements(a.1)?;
            distances.append_value(self.distance.of_typed(
                None,
                VectorRef::Bits(&a.0),
                VectorRef::Bits(&b.0),
            )?);
        }
        finish(Arc::new(distances.finish()), single)
    }

    fn distances(&self, mut a: TypedColumn, mut b: TypedColumn, rows: usize) -> Result<ColumnarValue> {
        // The query first, as an index search has it.
        if b.is_single() && !a.is_single() {
            std::mem::swap(&mut a, &mut b);
        }
        let single = a.is_single() && b.is_single();
        let rows = if single { 1 } else { rows };
        let query = a.is_single().then(|| a.row(0)).flatten();
        let scorer = query.zip(self.distance.metric());
        let scorer = scorer
            .map(|(query, metric)| Scorer::new(metric, query))
            .transpose()
            .map_err(|e| DataFusionError::Execution(format!("{}: {e}", self.name())))?;
        let mut distances = Float64Array::builder(rows);
        for row in 0..rows {
            match (a.row(row), b.row(row)) {
                (Some(a), Some(b)) => {
                    distances.append_value(self.distance.of_typed(scorer.as_ref(), a, b)?);
                }
                (None, _) | (_, None) => distances.append_null(),
            }
        }
        finish(Arc::new(distances.finish()), single)
    }
}

impl ScalarUDFImpl for DistanceFunction {
    fn name(&self) -> &str {
        self.distance.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        self.kind_of(args.arg_fields)?;
        Ok(Arc::new(Field::new(self.name(), DataType::Float64, true)))
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        let [a, b] = take_function_args(self.name(), arg_types)?;
        if let (DataType::FixedSizeList(_, left), DataType::FixedSizeList(_, right)) = (a, b)
            && left != right
        {
            return plan_err!(
                "{}: vectors have different dimensions, {left} and {right}",
                self.name()
            );
        }
        let typed = |data_type| {
            VectorKind::of_type(data_type).is_some_and(|kind| !matches!(kind, VectorKind::Float(_)))
        };
        if typed(a) || typed(b) {
            // Which type and whether both are of it only the fields say: `return_field_from_args`.
            let keep = |data_type: &DataType| match data_type {
                typed if VectorKind::of_type(typed).is_some() => Ok(typed.clone()),
                other => coerce(self.name(), other),
            };
            return Ok(vec![keep(a)?, keep(b)?]);
        }
        if self.distance.is_of_bits() && !(is_text_or_null(a) && is_text_or_null(b)) {
            return plan_err!("{} takes bits, got {a} and {b}", self.name());
        }
        Ok(vec![coerce(self.name(), a)?, coerce(self.name(), b)?])
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        if let Some(kind) = self.kind_of(&args.arg_fields)? {
            return self.invoke_typed(kind, &args);
        }
        let [a, b] = take_function_args(self.name(), &args.args)?;
        if self.distance.is_of_bits() {
            return self.invoke_texts(a, b, args.number_rows);
        }
        let narrow = is_engine_vector(&a.data_type()) || is_engine_vector(&b.data_type());
        let mut a = VectorColumn::new(self.name(), a, narrow)?;
        let mut b = VectorColumn::new(self.name(), b, narrow)?;
        // All distances are symmetric but for the order of roundings. With the query first they are, to the last bit,
        // those that an index search ranks by: an ORDER BY comes out the same with and without an index.
        let swapped = b.is_single() && !a.is_single();
        if swapped {
            std::mem::swap(&mut a, &mut b);
        }
        let single = a.is_single() && b.is_single();
        let rows = if single { 1 } else { args.number_rows };
        let mut distances = Float64Array::builder(rows);
        for row in 0..rows {
            let (Some(a), Some(b)) = (a.row(row), b.row(row)) else {
                distances.append_null();
                continue;
            };
            if a.dim() != b.dim() {
                let [left, right] = if swapped { [b, a] } else { [a, b] };
                return exec_err!(
                    "{}: vectors have different dimensions, {} and {}",
                    self.name(),
                    left.dim(),
                    right.dim()
                );
            }
            distances.append_value(match (a, b) {
                (Row::F32(a), Row::F32(b)) => self.distance.of_f32(a, b),
                (Row::F64(a), Row::F64(b)) => self.distance.of_f64(a, b),
                // both sides were read to one width
                (Row::F32(_), Row::F64(_)) | (Row::F64(_), Row::F32(_)) => f64::NAN,
            });
        }
        finish(Arc::new(distances.finish()), single)
    }
}

//! Distances between two vectors: `l2_distance(a, b)` and its siblings.

use std::sync::Arc;

use arrow::array::Float64Array;
use arrow::datatypes::DataType;
use datafusion::common::utils::take_function_args;
use datafusion::common::{exec_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};
use elanus_index::Metric;

use super::column::{Row, VectorColumn, coerce, is_engine_vector};
use crate::arguments::finish;

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
}

impl Distance {
    /// The SQL name.
    pub fn name(self) -> &'static str {
        match self {
            Self::L2 => "l2_distance",
            Self::Cosine => "cosine_distance",
            Self::InnerProduct => "inner_product",
            Self::NegativeInnerProduct => "negative_inner_product",
            Self::L1 => "l1_distance",
        }
    }

    fn of_f32(self, a: &[f32], b: &[f32]) -> f64 {
        match self {
            Self::L2 => f64::from(Metric::L2.distance(a, b)).sqrt(),
            Self::Cosine => {
                let similarity = Metric::Cosine.score(Metric::Cosine.distance(a, b));
                // the engine gives a zero vector a similarity of 0, SQL leaves it undefined
                if similarity == 0.0 && (is_zero(a) || is_zero(b)) {
                    return f64::NAN;
                }
                1.0 - f64::from(similarity)
            }
            Self::InnerProduct => f64::from(Metric::Ip.score(Metric::Ip.distance(a, b))),
            Self::NegativeInnerProduct => f64::from(Metric::Ip.distance(a, b)),
            Self::L1 => a.iter().zip(b).map(|(x, y)| f64::from((x - y).abs())).sum(),
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
        }
    }
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
        Ok(vec![coerce(self.name(), a)?, coerce(self.name(), b)?])
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [a, b] = take_function_args(self.name(), &args.args)?;
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

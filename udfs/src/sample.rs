//! `elanus_random_sample(share)` -> `Boolean`: true for each row with this probability, for `random_sample(0.1)` in filters.
//!
//! Volatile: rows are drawn anew each time, so what keeps the results of filters does not keep this one's.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::{Arc, LazyLock};

use arrow::array::BooleanArray;
use arrow::datatypes::DataType;
use datafusion::common::{ScalarValue, exec_err};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

static FUNCTION: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| {
    Arc::new(ScalarUDF::from(RandomSample {
        signature: Signature::exact(vec![DataType::Float64], Volatility::Volatile),
    }))
});

/// The function.
pub fn function() -> Arc<ScalarUDF> {
    Arc::clone(&FUNCTION)
}

/// The scalar function that draws rows.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct RandomSample {
    signature: Signature,
}

impl ScalarUDFImpl for RandomSample {
    fn name(&self) -> &str {
        "elanus_random_sample"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let Some(ColumnarValue::Scalar(ScalarValue::Float64(Some(share)))) = args.args.first() else {
            return exec_err!("{}: the share must be a number", self.name());
        };
        // The standard library's own source of randomness: keys that differ with each state made.
        let mut numbers = SplitMix(RandomState::new().hash_one(args.number_rows));
        let drawn: BooleanArray = (0..args.number_rows)
            .map(|_| Some(numbers.next_unit() < *share))
            .collect();
        Ok(ColumnarValue::Array(Arc::new(drawn)))
    }
}

/// SplitMix64 (Steele, Lea and Flood, 2014).
struct SplitMix(u64);

impl SplitMix {
    /// Uniform in [0, 1).
    fn next_unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^= bits >> 31;
        // as many bits as a double's mantissa holds
        (bits >> 11) as f64 / (1u64 << 53) as f64
    }
}

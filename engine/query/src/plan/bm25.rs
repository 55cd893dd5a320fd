//! `bm25(terms, 'text')`: what a full-text search orders rows by, as an expression of its node.
//!
//! The score of a row takes the statistics of all rows, which are those of the moment of the search. So it has no value
//! by itself: searches compute it, and there is no function of this name that statements could call.

use std::sync::{Arc, LazyLock};

use arrow::datatypes::DataType;
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

/// Its name in plans.
pub(crate) const BM25: &str = "bm25";

/// The function.
pub(super) fn function() -> Arc<ScalarUDF> {
    static FUNCTION: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| {
        Arc::new(ScalarUDF::from(Bm25 {
            signature: Signature::any(2, Volatility::Stable),
        }))
    });
    Arc::clone(&FUNCTION)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Bm25 {
    signature: Signature,
}

impl ScalarUDFImpl for Bm25 {
    fn name(&self) -> &'static str {
        BM25
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        exec_err!("bm25 is computed by searches alone: text_search(..), hybrid_search(..)")
    }
}

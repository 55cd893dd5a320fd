//! `+`, `-` and `*` of integers that fail where the result does not fit, instead of wrapping around.
//!
//! Types are those of DataFusion's operators, and so are the names of result columns.

use std::sync::{Arc, LazyLock};

use arrow::compute::kernels::numeric::{add, mul, sub};
use arrow::datatypes::DataType;
use datafusion::common::{internal_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::binary::BinaryTypeCoercer;
use datafusion::logical_expr::{
    BinaryExpr, ColumnarValue, Expr, Operator, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};
use datafusion::physical_expr_common::datum::apply;

static FUNCTIONS: LazyLock<[(Operator, Arc<ScalarUDF>); 3]> = LazyLock::new(|| {
    let functions = [
        ("elanus_add", Operator::Plus),
        ("elanus_subtract", Operator::Minus),
        ("elanus_multiply", Operator::Multiply),
    ];
    functions.map(|(name, op)| {
        let signature = Signature::user_defined(Volatility::Immutable);
        (op, Arc::new(ScalarUDF::from(Arithmetic { name, op, signature })))
    })
});

/// The function of an operator, between these types; `None` where it cannot overflow, as with floats.
pub fn function(op: Operator, left: &DataType, right: &DataType) -> Option<Arc<ScalarUDF>> {
    let result = BinaryTypeCoercer::new(left, &op, right).get_result_type().ok()?;
    let (_, function) = FUNCTIONS.iter().find(|(known, _)| *known == op)?;
    (left.is_integer() && right.is_integer() && result.is_integer()).then(|| Arc::clone(function))
}

/// The functions.
pub fn all() -> Vec<Arc<ScalarUDF>> {
    FUNCTIONS
        .iter()
        .map(|(_, function)| Arc::clone(function))
        .collect()
}

/// An operator of two integers.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Arithmetic {
    name: &'static str,
    op: Operator,
    signature: Signature,
}

impl Arithmetic {
    /// The operator's own expression, for its name.
    fn written(&self, args: &[Expr]) -> Option<Expr> {
        let [left, right] = args else { return None };
        let (left, right) = (Box::new(left.clone()), Box::new(right.clone()));
        Some(Expr::BinaryExpr(BinaryExpr::new(left, self.op, right)))
    }
}

impl ScalarUDFImpl for Arithmetic {
    fn name(&self) -> &str {
        self.name
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        match self.written(args) {
            Some(written) => Ok(written.schema_name().to_string()),
            None => internal_err!("{} takes two arguments", self.name),
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let [left, right] = types else {
            return plan_err!("{} takes two integers, got {} arguments", self.name, types.len());
        };
        let (left, right) = BinaryTypeCoercer::new(left, &self.op, right).get_input_types()?;
        Ok(vec![left, right])
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        let [left, right] = types else {
            return plan_err!("{} takes two integers, got {} arguments", self.name, types.len());
        };
        BinaryTypeCoercer::new(left, &self.op, right).get_result_type()
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [left, right] = args.args.as_slice() else {
            return internal_err!("{} takes two arguments", self.name);
        };
        if self.op == Operator::Plus {
            apply(left, right, add)
        } else if self.op == Operator::Minus {
            apply(left, right, sub)
        } else {
            apply(left, right, mul)
        }
    }
}

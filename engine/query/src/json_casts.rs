//! Numbers in texts of JSON: what `json_cast_function = STRING_TO_DOUBLE` of an index does to filters.
//!
//! ```text
//!   elanus_json_compare(doc, '/size', '>', '5')   =>   elanus_json_compare_cast(doc, '/size', '>', '5')
//!     true for {"size": 7}                               true for {"size": "7"} too
//! ```
//!
//! With such an index Milvus finds text that is a number when it compares with numbers, where the index is built. Here the
//! definition of the index is what counts: a filter means the same in all rows, and what the index answers is what is true
//! without it.

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::expr::ScalarFunction;
use elanus_collection::Collection;
use elanus_udfs::json::{self, JsonTest};
use serde_json::Value;

/// `filter`, a Milvus expression on the columns of `collection`, with text taken for numbers where an index wants it.
pub(crate) fn with_casts(filter: Expr, collection: &Collection) -> Result<Expr> {
    let places = collection.numbers_in_texts();
    if places.is_empty() {
        return Ok(filter);
    }
    let cast = filter.transform_up(|expr| {
        Ok(match expr {
            Expr::ScalarFunction(call) => {
                let test = cast_test(&call, &places);
                let is_cast = test.is_some();
                let call = match test {
                    Some(test) => ScalarFunction::new_udf(json::test(test), call.args),
                    None => call,
                };
                Transformed::new_transformed(Expr::ScalarFunction(call), is_cast)
            }
            other => Transformed::no(other),
        })
    })?;
    Ok(cast.data)
}

/// The test that stands for `call`, when that compares one of `places` with numbers.
fn cast_test(call: &ScalarFunction, places: &[(String, String)]) -> Option<JsonTest> {
    let [Expr::Column(column), pointer, .., values] = call.args.as_slice() else {
        return None;
    };
    let pointer = text(pointer)?;
    let is_place = |(field, place): &(String, String)| *field == column.name && place == pointer;
    if !places.iter().any(is_place) {
        return None;
    }
    let values: Value = serde_json::from_str(text(values)?).ok()?;
    match values {
        Value::Number(_) if call.func == json::test(JsonTest::Compare) => Some(JsonTest::CompareCast),
        Value::Array(list) if call.func == json::test(JsonTest::In) && list.iter().all(Value::is_number) => {
            Some(JsonTest::InCast)
        }
        _ => None,
    }
}

fn text(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Literal(ScalarValue::Utf8(Some(text)), _) => Some(text),
        _ => None,
    }
}

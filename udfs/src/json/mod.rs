//! JSON text columns: typed access for SQL, one-pass tests for filters.
//!
//! Nothing is parsed that is not needed: [`scan`] walks the text to the value a path names and hands out that slice.
//! Paths are JSON pointers (RFC 6901) in the filter functions, and a list of keys in the SQL functions; a whole number
//! indexes an array. Text that is not JSON gives NULL, never an error: validity is checked when rows are written.

mod get;
mod literal;
pub(crate) mod path;
pub(crate) mod scan;
mod test;

use std::sync::{Arc, LazyLock};

use datafusion::logical_expr::ScalarUDF;

pub use get::{JsonContains, JsonGet, JsonType};
pub use path::{parse_pointer, push_step};
pub use test::{JsonTest, JsonTestFunction};

static SQL: LazyLock<Vec<Arc<ScalarUDF>>> = LazyLock::new(|| {
    let mut functions: Vec<_> = JsonType::ALL
        .iter()
        .map(|kind| Arc::new(ScalarUDF::from(JsonGet::for_sql(*kind))))
        .collect();
    functions.push(Arc::new(ScalarUDF::from(JsonContains::default())));
    functions
});

static GETTERS: LazyLock<Vec<(JsonType, Arc<ScalarUDF>)>> = LazyLock::new(|| {
    JsonType::ALL
        .iter()
        .map(|kind| (*kind, Arc::new(ScalarUDF::from(JsonGet::for_filter(*kind)))))
        .collect()
});

static TESTS: LazyLock<Vec<(JsonTest, Arc<ScalarUDF>)>> = LazyLock::new(|| {
    JsonTest::ALL
        .iter()
        .map(|test| (*test, Arc::new(ScalarUDF::from(JsonTestFunction::new(*test)))))
        .collect()
});

/// `elanus_json_get_*(json, pointer)` for filters.
pub fn getter(kind: JsonType) -> Arc<ScalarUDF> {
    match GETTERS.iter().find(|(found, _)| *found == kind) {
        Some((_, function)) => Arc::clone(function),
        None => Arc::new(ScalarUDF::from(JsonGet::for_filter(kind))),
    }
}

/// The function of a filter test.
pub fn test(test: JsonTest) -> Arc<ScalarUDF> {
    match TESTS.iter().find(|(found, _)| *found == test) {
        Some((_, function)) => Arc::clone(function),
        None => Arc::new(ScalarUDF::from(JsonTestFunction::new(test))),
    }
}

/// The JSON functions.
pub fn all() -> Vec<Arc<ScalarUDF>> {
    let getters = GETTERS.iter().map(|(_, function)| function);
    let tests = TESTS.iter().map(|(_, function)| function);
    SQL.iter().chain(getters).chain(tests).map(Arc::clone).collect()
}

//! Scalar functions that Elanus adds to DataFusion: distances between vectors, JSON access, tests of arrays
//! and texts.
//!
//! | group | functions |
//! |---|---|
//! | distances ([`vector`]) | `l2_distance`, `cosine_distance`, `inner_product`, `negative_inner_product`, `l1_distance`, `hamming_distance`, `jaccard_distance` |
//! | one vector ([`vector`]) | `l2_normalize`, `l2_norm`, `vector_dims` |
//! | JSON for SQL ([`json`]) | `json_get`, `json_get_int`, `json_get_float`, `json_get_str`, `json_get_bool`, `json_contains` |
//! | JSON for filters ([`json`]) | `elanus_json_*`: one pass over the text per row, path and literal fixed per call |
//! | shapes ([`geometry`]) | `st_equals`, `st_touches`, `st_overlaps`, `st_crosses`, `st_contains`, `st_intersects`, `st_within`, `st_dwithin`, `st_isvalid`, `st_astext`, `st_geomfromtext` |
//! | values of a set that a client made, for filters ([`membership`]) | `elanus_in_set`, made with the set |
//! | a sample of rows for filters ([`sample`]) | `elanus_random_sample` |
//! | arrays ([`array`]) | `elanus_array_length`, `elanus_array_contains`, `elanus_array_equals` |
//! | elements of arrays for filters ([`elements`]) | `elanus_match_*`, `elanus_sub_field`, made with the condition or the name that they are for |
//! | integers that do not wrap around ([`arithmetic`], [`sum`]) | `elanus_add`, `elanus_subtract`, `elanus_multiply`; the aggregate `sum` |
//! | text ([`text`]) | `text_match`, `text_match_fuzzy`, `phrase_match` |
//!
//! Functions of the same name that DataFusion ships (it computes on lists of `Float64` and copies every vector) are
//! replaced when [`register`] is called after DataFusion's own registration.

pub mod arithmetic;
pub mod array;
pub mod elements;
pub mod geometry;
pub mod json;
pub mod membership;
pub mod sample;
pub mod sum;
pub mod text;
pub mod vector;

mod arguments;

use std::sync::Arc;

use datafusion::error::Result;
use datafusion::execution::FunctionRegistry;
use datafusion::logical_expr::ScalarUDF;

/// Every function of this crate.
pub fn all() -> Vec<Arc<ScalarUDF>> {
    let mut functions = vector::all();
    functions.extend(json::all());
    functions.extend(array::all());
    functions.extend(text::all());
    functions.extend(geometry::all());
    functions.push(sample::function());
    functions.extend(arithmetic::all());
    functions
}

/// Registers every function, replacing DataFusion's of the same name.
///
/// # Errors
/// Whatever the registry answers; a session context accepts all.
pub fn register(registry: &mut dyn FunctionRegistry) -> Result<()> {
    for function in all() {
        registry.register_udf(function)?;
    }
    registry.register_udaf(sum::function())?;
    Ok(())
}

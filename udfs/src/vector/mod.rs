//! Distances and other functions of vectors, with pgvector's meaning of the names.
//!
//! A vector is a `FixedSizeList<Float32>` column, a list of any number type, or text such as `'[1, 2, 3]'`. As soon as
//! one side of a distance is a `FixedSizeList<Float32>`, the other is taken to 32 bits as well and the index crate's
//! kernels do the work; otherwise the computation is in 64 bits. Results are `Float64`; NULL in, NULL out.
//!
//! Vectors of other types ([`VectorKind`]) are compared with vectors of their own type; text and lists beside them are
//! converted to it ([`to_vectors`]). Lists of vectors have `max_sim_distance`.

mod column;
mod convert;
mod distance;
mod kind;
mod lists;
mod typed;
mod unary;

use std::sync::{Arc, LazyLock};

use datafusion::logical_expr::ScalarUDF;

pub use convert::{converts, to_text, to_vectors};
pub use distance::{Distance, DistanceFunction};
pub use kind::VectorKind;
pub use lists::{
    MAX_SIM_DISTANCE, list_of_vector, max_sim_distance, metric_of_name, to_vector_lists, vector_of_list,
};
pub use unary::{UnaryVectorFunction, VectorProperty};

static ALL: LazyLock<Vec<Arc<ScalarUDF>>> = LazyLock::new(|| {
    let distances = [
        Distance::L2,
        Distance::Cosine,
        Distance::InnerProduct,
        Distance::NegativeInnerProduct,
        Distance::L1,
        Distance::Hamming,
        Distance::Jaccard,
        Distance::MinHash,
    ]
    .map(|distance| Arc::new(ScalarUDF::from(DistanceFunction::new(distance))));
    let properties = [
        VectorProperty::Normalize,
        VectorProperty::Norm,
        VectorProperty::Dims,
    ]
    .map(|property| Arc::new(ScalarUDF::from(UnaryVectorFunction::new(property))));
    let lists = [lists::function()];
    distances.into_iter().chain(properties).chain(lists).collect()
});

/// The vector functions.
pub fn all() -> Vec<Arc<ScalarUDF>> {
    ALL.clone()
}

//! An index built out of those of parts of its rows, as when segments are merged or rewritten without their deleted rows.
//!
//! ```text
//!   part 0, rows 0 1 2 3    ->   0 GONE 1 2     (row 1 was deleted)
//!   part 1, rows 0 1        ->   3 4            rows of the new index
//! ```
//!
//! Graphs are built so, where that is faster; every other index is built anew. A merged graph finds as much as one that was
//! built from nothing, and like one it depends on its input and the seed alone.

use crate::any_index::AnyIndex;
use crate::any_metric::AnyMetric;
use crate::bitset::Bitset;
use crate::error::BuildError;
use crate::hnsw::{Earlier, IndexGraph, Part, same_degrees};
use crate::params::BuildParams;
use crate::progress::BuildOptions;
use crate::typed::{ElementType, VectorsRef, element_of};

/// In place of a row that is not among the new ones.
pub const GONE: u32 = u32::MAX;

/// An index over some of the rows of a new one.
#[derive(Debug, Clone, Copy)]
pub struct IndexPart<'a> {
    /// The index.
    pub index: &'a AnyIndex,
    /// For each of its rows, those without a vector included, the row of the new index that has the same vector, or [`GONE`].
    /// A row of the new index that is named twice counts for the first part that names it.
    pub rows: &'a [u32],
}

/// What a merge made.
#[derive(Debug, Clone)]
pub struct Merged {
    /// The index.
    pub index: AnyIndex,
    /// Rows of it that had links to start with; 0: it was built anew.
    pub reused_rows: usize,
}

impl AnyIndex {
    /// [`AnyIndex::build`] out of indexes of parts of the rows. Parts of another metric, with other parameters or over other
    /// vectors than `params`, `metric` and `vectors` say are not used.
    ///
    /// # Errors
    /// As [`AnyIndex::build`].
    pub fn merge(
        params: &BuildParams,
        metric: AnyMetric,
        vectors: VectorsRef<'_>,
        valid: Option<&Bitset>,
        parts: &[IndexPart<'_>],
        options: &BuildOptions<'_>,
    ) -> Result<Merged, BuildError> {
        let shape = shape_of(vectors);
        let fitting: Vec<Part<'_>> = parts
            .iter()
            .filter_map(|part| {
                let (of, of_shape, of_params) = graph_of(part.index)?;
                let fits = part.index.metric() == metric
                    && Some(of_shape) == shape
                    && same_degrees(of_params, *params)
                    && part.index.rows() == part.rows.len();
                fits.then_some(Part { of, rows: part.rows })
            })
            .collect();
        let rows = vectors.len();
        let has_vector = |row: &u32| valid.is_none_or(|valid| valid.get(*row as usize));
        let members: Vec<u32> = (0..u32::try_from(rows).unwrap_or(0)).filter(has_vector).collect();
        let earlier = Earlier::new(&fitting, &members, rows);
        drop(members);
        let index = Self::build_from(params, metric, vectors, valid, earlier.as_ref(), options)?;
        Ok(Merged {
            index,
            reused_rows: earlier.map_or(0, |earlier| earlier.left()),
        })
    }
}

/// Type and dimension of vectors that graphs are built over.
fn shape_of(vectors: VectorsRef<'_>) -> Option<(ElementType, usize)> {
    match vectors {
        VectorsRef::Floats(rows) => Some((ElementType::Float, rows.dim())),
        VectorsRef::Halves(_)
        | VectorsRef::BFloat16s(_)
        | VectorsRef::Int8s(_)
        | VectorsRef::Bits(_)
        | VectorsRef::Sparse(_)
        | VectorsRef::Lists(_) => element_of(vectors),
    }
}

/// The graph of an index, what it is over, and its parameters.
fn graph_of(index: &AnyIndex) -> Option<(IndexGraph<'_>, (ElementType, usize), BuildParams)> {
    match index {
        AnyIndex::Dense(index) => {
            let graph = index.graph()?;
            Some((graph, (ElementType::Float, index.dim()), index.params()))
        }
        AnyIndex::Typed(index) => Some((index.graph()?, index.shape(), index.params())),
        AnyIndex::TypedLists(_)
        | AnyIndex::BitLists(_)
        | AnyIndex::MinHash(_)
        | AnyIndex::Disk(_)
        | AnyIndex::Sparse(_)
        | AnyIndex::Lists(_) => None,
    }
}

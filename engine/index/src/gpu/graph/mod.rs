//! GPU_CAGRA: a graph made and walked on a device (Ootomo et al., CAGRA: Highly Parallel Graph Construction and Approximate Nearest
//! Neighbor Search for GPUs, 2024).
//!
//! ```text
//!   build:   lists around centroids --> intermediate_graph_degree nearest rows of each row     (device; bits without lists)
//!            links with many detours go, reverse links come                                    (device)
//!            a small HNSW over a sample of the rows on top, for processors
//!
//!   search:  a block for each query keeps a list of the best `itopk_size` nodes, and follows the links of the best
//!            `search_width` that it has not followed yet, until there are none; several blocks share the work where
//!            queries are few or the list is long                                               (device)
//!            exact distances of the best of them --> k rows                                    (processor)
//! ```
//!
//! The index holds an HNSW whose base layer is the graph: what a device is not asked for is searched by it on the processor, and
//! with `adapt_for_cpu` everything is.
//!
//! | file | part |
//! |---|---|
//! | `build` | the links |
//! | `host` | the graph on the processor, and searches of it, whatever its rows are made of |
//! | `placement` | which device has what of the graph |
//! | `resident` | the graph on a device |
//! | `plan` | how a search walks |
//! | `walk` | the search |
//! | `typed` | what an index of other vectors than 32-bit floats asks of all that |

mod build;
mod host;
mod placement;
mod plan;
mod resident;
mod typed;
mod walk;

use std::sync::Arc;

use super::backend::{Backend, Device, ElementType};
use super::cagra::CagraParams;
use super::index::{Host, OnDevice};
use super::start::check_fits;
use super::tuning::SearchTuning;
use super::units::shape_of;
use crate::bitset::Bitset;
use crate::error::BuildError;
use crate::hnsw::Hnsw;
use crate::index::{VectorIndex, in_pool};
use crate::indexed_rows::IndexedRows;
use crate::metric::Metric;
use crate::params::BuildParams;
use crate::progress::BuildOptions;
use crate::vectors::Vectors;
pub(crate) use build::Linked;
pub(crate) use host::HostGraph;
pub use typed::typed_cagra_on;
pub(crate) use typed::{TypedWalk, TypedWalkAsk};
pub(crate) use walk::GraphWalk;

impl Host for Hnsw {
    const READS_ROWS_ONCE: bool = false;

    fn indexed(&self) -> &IndexedRows {
        Self::indexed(self)
    }

    fn serialize_as(&self, _params: BuildParams) -> Vec<u8> {
        self.serialize()
    }
}

/// Links of every row of the segment, as many for each, and how many; made on `device` and its peers, which must have the memory for
/// the graph.
pub(crate) fn links<B: Backend>(
    device: &Arc<Device<B>>,
    params: CagraParams,
    rows: &Linked<'_>,
    options: &BuildOptions<'_>,
) -> Result<(Vec<u32>, usize), BuildError> {
    let shape = shape_of(rows.vectors).unwrap_or((ElementType::Float, 0));
    let needed = resident::bytes(rows.members.len(), shape, params.degree as usize);
    check_fits(&device.all(), "an index GPU_CAGRA", needed)?;
    build::links(device, params, rows, options)
}

/// Builds the graph on `device` and its peers, which must have the memory for it.
pub(super) fn build<B: Backend>(
    device: &Arc<Device<B>>,
    params: CagraParams,
    rows: IndexedRows,
    vectors: Vectors<'_>,
    options: &BuildOptions<'_>,
    tuning: SearchTuning,
) -> Result<OnDevice<Hnsw, GraphWalk<B>>, BuildError> {
    let linked = Linked {
        metric: rows.metric.into(),
        vectors: vectors.into(),
        valid: rows.valid(),
        members: rows.numbers(),
    };
    let links = links(device, params, &linked, options)?;
    let of_index = BuildParams::GpuCagra(params);
    let host = Hnsw::over(of_index, rows, vectors, links, options)?;
    let count = host.indexed().count() as u64;
    options.progress.advance(count, count);
    let search = (!params.adapt_for_cpu).then(|| GraphWalk::new(device, tuning));
    Ok(OnDevice::new(of_index, host, search, tuning.least_work))
}

/// GPU_CAGRA over a device of any kind, a twin say: what [`crate::build`] makes over the device of the process.
///
/// # Errors
/// As [`crate::build`].
pub fn cagra_on<B: Backend + 'static>(
    device: &Arc<Device<B>>,
    (params, metric): (CagraParams, Metric),
    vectors: Vectors<'_>,
    valid: Option<&Bitset>,
    options: &BuildOptions<'_>,
    tuning: SearchTuning,
) -> Result<Arc<dyn VectorIndex>, BuildError> {
    params.check()?;
    in_pool(options, || -> Result<Arc<dyn VectorIndex>, BuildError> {
        let rows = IndexedRows::new(metric, vectors, valid);
        Ok(Arc::new(build(device, params, rows, vectors, options, tuning)?))
    })
}

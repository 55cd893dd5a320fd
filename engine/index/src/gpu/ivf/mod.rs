//! GPU_IVF_FLAT: the lists of IVF_FLAT, made and scanned on a device.
//!
//! ```text
//!   build:   sample --> nearest centroid, means (device), ten times --> nearest centroid of every row (device) --> lists
//!
//!   search:  queries x centroids --> the nprobe nearest lists of each query        candidates and select kernels
//!                 nearest list of each --> the best k' and a bound                 scan_lists, select
//!                 its other lists      --> the best k' of what the bound lets by   scan_lists, select
//!            on the processor: exact distances of k' rows --> k rows
//! ```
//!
//! What a device is not asked for, and what it does not find enough rows for, is searched by the lists on the processor: the
//! index holds an IVF_FLAT, and its blob is that of one under another kind.
//!
//! | file | part |
//! |---|---|
//! | `train` | k-means and the assignment of rows |
//! | `resident` | the lists on the device |
//! | `scan` | the search |

mod resident;
mod scan;
mod train;

use std::sync::Arc;

use super::backend::{Backend, Device};
use super::error::GpuError;
use super::index::{Host, OnDevice};
use super::tuning::SearchTuning;
use crate::bitset::Bitset;
use crate::error::BuildError;
use crate::index::{VectorIndex, in_pool};
use crate::indexed_rows::IndexedRows;
use crate::ivf::IvfFlat;
use crate::metric::Metric;
use crate::params::BuildParams;
use crate::progress::BuildOptions;
use crate::typed::ElementType;
use crate::vectors::Vectors;
pub(crate) use scan::ListScan;
use train::OnDeviceClusterer;

impl Host for IvfFlat {
    const READS_ROWS_ONCE: bool = false;

    fn indexed(&self) -> &IndexedRows {
        Self::indexed(self)
    }

    fn serialize_as(&self, params: BuildParams) -> Vec<u8> {
        Self::serialize_as(self, params, ElementType::Float)
    }
}

/// GPU_IVF_FLAT over a device.
pub(crate) type IvfFlatOn<B> = OnDevice<IvfFlat, ListScan<B>>;

/// Builds the lists on `device`, which must have the memory to hold them later.
pub(super) fn build<B: Backend>(
    device: &Arc<Device<B>>,
    nlist: u32,
    rows: IndexedRows,
    vectors: Vectors<'_>,
    options: &BuildOptions<'_>,
    tuning: SearchTuning,
) -> Result<IvfFlatOn<B>, BuildError> {
    let needed = resident::most_bytes(rows.count(), nlist, rows.dim);
    let limit = device.budget.limit();
    if needed > limit {
        return Err(GpuError::Memory {
            what: "an index GPU_IVF_FLAT",
            needed,
            free: device.budget.free(),
            limit,
        }
        .into());
    }
    let mut clusterer = OnDeviceClusterer::new(device, vectors);
    let host = IvfFlat::build_by(&mut clusterer, nlist, rows, vectors, options)?;
    drop(clusterer);
    let count = host.indexed().count() as u64;
    options.progress.advance(count, count);
    let search = ListScan::new(Arc::clone(device), tuning);
    let params = BuildParams::GpuIvfFlat { nlist };
    Ok(OnDevice::new(params, host, Some(search), tuning.least_work))
}

/// GPU_IVF_FLAT over a device of any kind, a twin say: what [`crate::build`] makes over the device of the process.
///
/// # Errors
/// As [`crate::build`].
pub fn ivf_flat_on<B: Backend + 'static>(
    device: &Arc<Device<B>>,
    (nlist, metric): (u32, Metric),
    vectors: Vectors<'_>,
    valid: Option<&Bitset>,
    options: &BuildOptions<'_>,
    tuning: SearchTuning,
) -> Result<Arc<dyn VectorIndex>, BuildError> {
    BuildParams::GpuIvfFlat { nlist }.check()?;
    in_pool(options, || -> Result<Arc<dyn VectorIndex>, BuildError> {
        let rows = IndexedRows::new(metric, vectors, valid);
        Ok(Arc::new(build(device, nlist, rows, vectors, options, tuning)?))
    })
}

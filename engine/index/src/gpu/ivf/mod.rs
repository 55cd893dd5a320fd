//! GPU_IVF_FLAT and GPU_IVF_PQ: the lists of IVF_FLAT and IVF_PQ, made and scanned on a device.
//!
//! ```text
//!   build:   sample --> nearest centroid, means (device), ten times --> nearest centroid of every row (device) --> lists
//!            of GPU_IVF_PQ: residuals of a sample --> codebooks; nearest codewords of every row (device)
//!
//!   search:  queries x centroids --> the nprobe nearest lists of each query        candidates and select kernels
//!                 nearest list of each --> the best k' and a bound                 scan_lists or scan_codes, select
//!                 its other lists      --> the best k' of what the bound lets by   scan_lists or scan_codes, select
//!            on the processor: exact distances of k' rows --> k rows
//! ```
//!
//! What a device is not asked for, and what it does not find enough rows for, is searched by the lists on the processor: the
//! index holds an IVF_FLAT or IVF_PQ, and its blob is that of one under another kind.
//!
//! | file | part |
//! |---|---|
//! | `train` | k-means and the assignment of rows |
//! | `places` | what all lists on the device have |
//! | `flat` | lists of rows on the device |
//! | `codes` | lists of product codes on the device |
//! | `params` | the parameters of GPU_IVF_PQ |
//! | `ask`, `scan` | the search |
//! | `typed` | the same of vectors other than 32-bit floats |

mod ask;
mod codes;
mod flat;
pub(super) mod params;
mod places;
mod scan;
mod train;
mod typed;

use std::sync::Arc;

use super::backend::{Backend, Device, ElementType};
use super::index::OnDevice;
use super::start::check_fits;
use super::tuning::SearchTuning;
use crate::any_index::AnyIndex;
use crate::bitset::Bitset;
use crate::error::BuildError;
use crate::index::{VectorIndex, in_pool};
use crate::indexed_rows::IndexedRows;
use crate::ivf::{IvfCoded, IvfFlat, TypedLists};
use crate::metric::Metric;
use crate::params::BuildParams;
use crate::progress::BuildOptions;
use crate::typed::VectorsRef;
use crate::vectors::Vectors;
use codes::{CodeLists, OnDeviceCoder, book_words, code_words};
use flat::{FlatLists, row_words};
use params::PqParams;
use places::most_bytes;
use scan::ListScan;
use train::OnDeviceClusterer;

pub(crate) use ask::ListAsk;
pub(crate) use typed::DeviceLists;

/// Scans lists of rows.
pub(crate) type FlatScan<B> = ListScan<B, FlatLists<B>>;
/// Scans lists of product codes.
pub(crate) type CodeScan<B> = ListScan<B, CodeLists<B>>;
/// GPU_IVF_FLAT over a device.
pub(crate) type IvfFlatOn<B> = OnDevice<IvfFlat, FlatScan<B>>;
/// GPU_IVF_PQ over a device.
pub(crate) type IvfPqOn<B> = OnDevice<IvfCoded, CodeScan<B>>;

/// Builds the lists on `device`, which must have the memory to hold them later.
pub(super) fn build<B: Backend>(
    device: &Arc<Device<B>>,
    nlist: u32,
    rows: IndexedRows,
    vectors: Vectors<'_>,
    options: &BuildOptions<'_>,
    tuning: SearchTuning,
) -> Result<IvfFlatOn<B>, BuildError> {
    let host = flat_host(device, (ElementType::Float, nlist), rows, vectors, options)?;
    let search = ListScan::new(device, tuning);
    let params = BuildParams::GpuIvfFlat { nlist };
    Ok(OnDevice::new(params, host, Some(search), tuning.least_work))
}

/// The lists of GPU_IVF_FLAT over vectors of a type, which are `vectors` as 32-bit floats.
fn flat_host<B: Backend>(
    device: &Arc<Device<B>>,
    (element, nlist): (ElementType, u32),
    rows: IndexedRows,
    vectors: Vectors<'_>,
    options: &BuildOptions<'_>,
) -> Result<IvfFlat, BuildError> {
    let needed = most_bytes(rows.count(), nlist, rows.dim, row_words(element, rows.dim), 0);
    check_fits(&device.all(), "an index GPU_IVF_FLAT", needed)?;
    let mut clusterer = OnDeviceClusterer::new(device, vectors);
    let host = IvfFlat::build_by(&mut clusterer, nlist, rows, vectors, options)?;
    let count = host.indexed().count() as u64;
    options.progress.advance(count, count);
    Ok(host)
}

/// The same with codes.
pub(super) fn build_pq<B: Backend>(
    device: &Arc<Device<B>>,
    params: PqParams,
    rows: IndexedRows,
    vectors: Vectors<'_>,
    options: &BuildOptions<'_>,
    tuning: SearchTuning,
) -> Result<IvfPqOn<B>, BuildError> {
    let host = pq_host(device, params, rows, vectors, options)?;
    let search = ListScan::new(device, tuning);
    let params = BuildParams::GpuIvfPq(params);
    Ok(OnDevice::new(params, host, Some(search), tuning.least_work))
}

/// The lists of GPU_IVF_PQ over vectors which are `vectors` as 32-bit floats.
fn pq_host<B: Backend>(
    device: &Arc<Device<B>>,
    params: PqParams,
    rows: IndexedRows,
    vectors: Vectors<'_>,
    options: &BuildOptions<'_>,
) -> Result<IvfCoded, BuildError> {
    let (dim, m) = (rows.dim, params.m as usize);
    let words = code_words(m, params.nbits);
    let of_lists = most_bytes(
        rows.count(),
        params.nlist,
        dim,
        words + 1,
        dim.next_multiple_of(4),
    );
    let needed = of_lists + 4 * book_words(dim, m, params.nbits);
    check_fits(&device.all(), "an index GPU_IVF_PQ", needed)?;
    let mut clusterer = OnDeviceClusterer::new(device, vectors);
    let mut coder = OnDeviceCoder::new(device);
    let coded = params.on_processor();
    IvfCoded::build_by(&mut clusterer, Some(&mut coder), coded, rows, vectors, options)
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

/// GPU_IVF_PQ over a device of any kind, a twin say: what [`crate::build`] makes over the device of the process.
///
/// # Errors
/// As [`crate::build`].
pub fn ivf_pq_on<B: Backend + 'static>(
    device: &Arc<Device<B>>,
    (params, metric): (PqParams, Metric),
    vectors: Vectors<'_>,
    valid: Option<&Bitset>,
    options: &BuildOptions<'_>,
    tuning: SearchTuning,
) -> Result<Arc<dyn VectorIndex>, BuildError> {
    let of_index = BuildParams::GpuIvfPq(params);
    of_index.check()?;
    of_index.check_dim(vectors.dim())?;
    in_pool(options, || -> Result<Arc<dyn VectorIndex>, BuildError> {
        let rows = IndexedRows::new(metric, vectors, valid);
        Ok(Arc::new(build_pq(
            device, params, rows, vectors, options, tuning,
        )?))
    })
}

/// GPU_IVF_FLAT or GPU_IVF_PQ of halves, bfloat16s or 8-bit integers over a device of any kind, a twin say: what
/// [`AnyIndex::build`] makes over the device of the process.
///
/// # Errors
/// As [`AnyIndex::build`].
pub fn typed_lists_on<B: Backend + 'static>(
    device: &Arc<Device<B>>,
    (params, metric): (BuildParams, Metric),
    vectors: VectorsRef<'_>,
    valid: Option<&Bitset>,
    options: &BuildOptions<'_>,
    tuning: SearchTuning,
) -> Result<AnyIndex, BuildError> {
    let built = TypedLists::build_on(device, (&params, metric), vectors, valid, options, tuning);
    let none = || BuildError::Kind {
        index: params.kind().to_string(),
        metric: metric.to_string(),
    };
    let index = built.ok_or_else(none)??;
    Ok(AnyIndex::TypedLists(Arc::new(index)))
}

//! Indexes on NVIDIA devices.
//!
//! ```text
//!      index       GPU index types: VectorIndexes like the others; without a device they search on the processor
//!     /   |   \
//!  brute ivf graph   which rows are compared when; candidates from the device, exact distances from the processor
//!     \   |   /
//!     backend      one trait: buffers, and a method for each kernel
//!     /     \
//!  cuda     twin
//! ```
//!
//! | module | what it holds |
//! |---|---|
//! | [`backend`] | the trait, and what its calls take |
//! | [`budget`] | memory of a device, accounted for |
//! | [`brute`] | exact search; `batch` and `parts` are the device's side of it |
//! | `stream` | exact search of rows that do not stay on the device |
//! | `shards` | exact search over several devices |
//! | `ivf` | lists: made and scanned on the device |
//! | `graph`, [`cagra`] | graphs: made and walked on the device; their parameters |
//! | `typed` | exact search on a device for indexes of other types than 32-bit floats; `graph/typed` has their walks |
//! | `units`, `sides` | how vectors of each type lie on a device; rows and queries of one type |
//! | `start`, `queries`, `rescore` | what stays on the device, a batch of queries there, and exact distances of what it finds |
//! | `ranges`, `slack` | arithmetic of exact search: ranges of rows, and what rounded distances prove |
//! | [`cuda`] | devices (feature `cuda`) |
//! | [`twin`] | the kernels in plain Rust |
//! | `threads` | loops while a lock is held |
//! | `devices` | which devices there are to share the work |
//! | `gather` | searches of several threads, done as one |
//! | [`offer`] | Milvus' GPU index types: their parameters, their errors, and the CPU indexes that stand in for them |
//! | `kernels/` | the source of the kernels |
//!
//! The tests run that source on a processor: `tests/gpu/emulator` is a driver of a device that is none.

use std::sync::Arc;

pub mod backend;
mod batch;
pub mod brute;
pub mod budget;
pub mod cagra;
#[cfg(feature = "cuda")]
pub mod cuda;
mod devices;
mod error;
mod gather;
mod graph;
mod index;
mod ivf;
pub mod offer;
mod parts;
mod queries;
mod ranges;
mod rescore;
mod shards;
mod sides;
mod slack;
mod start;
mod stream;
mod threads;
mod tuning;
pub mod twin;
mod twin_codes;
mod twin_links;
mod twin_units;
mod twin_walk;
mod typed;
mod units;

pub use backend::{Backend, Device};
pub use devices::DeviceList;
pub use error::GpuError;
pub use gather::set_batch_wait;
pub(crate) use graph::{HostGraph, Linked, TypedWalk, TypedWalkAsk, links};
pub use graph::{cagra_on, typed_cagra_on};
pub(crate) use index::{GpuBruteForce, GpuCagra, GpuIvfFlat, GpuIvfPq};
pub use ivf::params::PqParams;
pub(crate) use ivf::{DeviceLists, ListAsk};
pub use ivf::{ivf_flat_on, ivf_pq_on, typed_lists_on};
pub use offer::{GpuIndex, Offer, set_fallback};
pub use shards::Shards;
pub use tuning::SearchTuning;
pub(crate) use typed::{OwnedVectors, TypedAsk, TypedBruteForce};

/// Numbers of the devices that share the work.
static DEVICES: parking_lot::Mutex<DeviceList> = parking_lot::Mutex::new(DeviceList(Vec::new()));

/// Which devices [`device`] opens, the first of them building indexes and all of them searching rows and lists; the first one of
/// the machine when none are named. A server sets it once, at start; later calls change nothing once a device is open.
pub fn set_devices(devices: DeviceList) {
    *DEVICES.lock() = devices;
}

/// What the device of this process is behind.
#[cfg(feature = "cuda")]
pub type OwnBackend = cuda::Cuda;
/// What the device of this process would be behind; this build has none.
#[cfg(not(feature = "cuda"))]
pub type OwnBackend = twin::Twin;

/// The device of this process, with those that share its work, opened at the first call with the settings of [`configure`] and
/// [`set_devices`], or the usual ones.
///
/// # Errors
/// Why there is none; the same at every call.
pub fn device() -> Result<&'static Arc<Device<OwnBackend>>, GpuError> {
    #[cfg(feature = "cuda")]
    {
        use std::sync::OnceLock;
        static OPENED: OnceLock<Result<Arc<Device<OwnBackend>>, GpuError>> = OnceLock::new();
        OPENED
            .get_or_init(|| cuda::open_all(&settings(), &DEVICES.lock().0))
            .as_ref()
            .map_err(Clone::clone)
    }
    #[cfg(not(feature = "cuda"))]
    Err(GpuError::NotBuilt)
}

#[cfg(feature = "cuda")]
static SETTINGS: parking_lot::Mutex<Option<cuda::Options>> = parking_lot::Mutex::new(None);

/// How [`device`] opens the device; later calls change nothing once it is open.
#[cfg(feature = "cuda")]
pub fn configure(options: cuda::Options) {
    *SETTINGS.lock() = Some(options);
}

#[cfg(feature = "cuda")]
fn settings() -> cuda::Options {
    SETTINGS.lock().clone().unwrap_or_default()
}

//! Why a device could not be used.

/// Why a device could not be used. Searches are then answered without it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GpuError {
    /// This build has no support for devices.
    #[error("this build has no support for GPUs (feature 'cuda')")]
    NotBuilt,
    /// The library that every driver brings is not there.
    #[error("no GPU: the library of the NVIDIA driver (libcuda) was not found")]
    NoDriver,
    /// There is a driver, and no device that it can use.
    #[error("no GPU: {reason}")]
    NoDevice {
        /// What the driver said.
        reason: String,
    },
    /// The kernels could not be compiled.
    #[error("the kernels of the GPU could not be compiled: {reason}")]
    Compiler {
        /// What was missing, or the compiler's log.
        reason: String,
    },
    /// A call of the driver failed.
    #[error("the GPU failed to {what}: {reason}")]
    Driver {
        /// What was to be done.
        what: &'static str,
        /// What the driver said.
        reason: String,
    },
    /// More than the memory that the device has for indexes and searches.
    #[error("{what} needs {needed} bytes of GPU memory, {free} of {limit} are free")]
    Memory {
        /// What asked for it.
        what: &'static str,
        /// Bytes asked for.
        needed: usize,
        /// Bytes not in use.
        free: usize,
        /// Bytes that may be used.
        limit: usize,
    },
    /// An index type that is built on a device, where there is none.
    #[error(
        "invalid index type: {index}, it needs a GPU ({reason}); a server with --gpu-fallback builds {equivalent} instead"
    )]
    NeedsDevice {
        /// The type asked for.
        index: String,
        /// Why there is no device.
        reason: String,
        /// What would be built instead.
        equivalent: String,
    },
}

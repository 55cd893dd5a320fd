//! Devices of NVIDIA. The libraries of CUDA are looked for when a device is first asked for, so that a binary with this
//! module starts, and does everything else, on a machine that has none of them.
//!
//! | file | part |
//! |---|---|
//! | `compiler` | NVRTC: kernels from their source to machine code for one architecture, and the cache of it |
//! | `device` | [`Backend`](super::Backend) over the driver |
//! | `source` | the kernels' source |
//! | `staging` | page-locked memory for copies |

mod compiler;
mod device;
mod source;
mod staging;

pub use compiler::{Compiled, Compiler};
pub use device::{Cuda, DeviceInfo, Options, open, open_all};
pub use source::{kernel_names, source};

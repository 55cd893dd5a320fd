//! Searches on devices, and the kernels themselves: run on a processor by the emulator beside this file, so that nothing
//! here needs a device. Without a C++ compiler what needs the emulator is skipped with a message, without NVRTC what needs
//! that. With `ELANUS_TEST_GPU=1` the real device of the machine takes the emulator's place.
#![expect(clippy::unwrap_used, reason = "tests")]

mod cagra;
mod code_kernels;
mod compile;
mod data;
mod device;
mod graph_kernels;
mod index;
mod ivf;
mod kernels;
mod list_kernels;
mod pq;
mod search;
mod several;
mod several_graphs;
mod several_walks;
mod transfers;
mod typed;
mod typed_graphs;
mod typed_kernels;
mod typed_lists;

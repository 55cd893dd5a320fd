//! The Milvus door: the gRPC service that pymilvus and the other Milvus clients speak.
//!
//! ```text
//!  wire message --(service)--> rpc::* handler --(convert::*)--> engine call
//!  wire reply   <--(reply)---- Result         <--(convert::*)-- Arrow rows
//! ```
//!
//! [`serve`] answers on a socket until it is told to stop. The service itself is one table
//! (`service`) that names the handler of every RPC, or says that it is not supported. Handlers are
//! short: they resolve names, translate the request, call the engine and translate the answer.
//! Errors of every layer become a Milvus status with its code in one place (`status`).
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod access;
mod compactions;
mod context;
mod convert;
mod door;
mod metrics;
mod pins;
mod refusal;
mod reply;
mod rpc;
mod server;
mod service;
mod status;
mod telemetry;
mod writes;

pub use door::{Door, SERVER_VERSION};
pub use metrics::DoorMetrics;
pub use server::{MAX_REQUEST_BYTES, MAX_RESPONSE_BYTES, ServeError, serve};
pub use status::{Code, Error};

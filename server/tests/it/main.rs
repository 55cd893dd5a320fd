//! The binary as its users meet it: processes, exit codes, standard output, sockets.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod command_line;
mod configuration;
mod crash;
mod demo;
mod http;
mod milvus_client;
mod process;
mod serve;
mod sql;

//! The SQL door: Arrow Flight SQL, which ADBC, JDBC and plain Flight clients speak.
//!
//! ```text
//!  GetFlightInfo(statement) -> prepared, its snapshot pinned -> endpoints, one ticket for each part
//!  DoGet(ticket)            -> rows of that part, as they are computed
//!  DoPut(update | ingest)   -> rows written
//!  DoAction                 -> prepared statements, session options, cancellation
//! ```
//!
//! | file | what |
//! |---|---|
//! | `service` | the commands of Flight SQL, each a few lines over the engine |
//! | `door` | the calls of plain Flight around them: schemas, actions, listing |
//! | `connection` | a client's socket, and what is kept of it: its session and prepared statements |
//! | `sessions` | cookies, by which a session outlives its connection |
//! | `ticket`, `results` | what a ticket says, and the pinned results behind tickets |
//! | `metadata` | catalogs, tables, types and `SqlInfo` |
//! | `whole` | uploads that break off are errors |
//! | `status` | errors of the engine as gRPC statuses |
//! | `reflection` | the calls and messages, for `grpcurl` |
//!
//! `SET`, `USE` and prepared statements hold until the client disconnects, as in PostgreSQL; for a client
//! that sends the session's cookie back, also over its other connections.

mod access;
mod connection;
mod door;
mod metadata;
mod reflection;
mod results;
mod server;
mod service;
mod session_options;
mod sessions;
mod status;
mod ticket;
mod whole;

pub use server::{MAX_MESSAGE_BYTES, ServeError, ServeOptions, serve, serve_with};

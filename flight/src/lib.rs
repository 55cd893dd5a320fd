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
//! | `connection` | what one client connection keeps: its session and prepared statements |
//! | `ticket`, `results` | what a ticket says, and the pinned results behind tickets |
//! | `metadata` | catalogs, tables, types and `SqlInfo` |
//! | `status` | errors of the engine as gRPC statuses |
//!
//! A session lasts as long as the connection: `SET` and `USE` hold until the client disconnects, as in
//! PostgreSQL.

mod connection;
mod door;
mod metadata;
mod results;
mod server;
mod service;
mod session_options;
mod status;
mod ticket;

pub use server::{MAX_MESSAGE_BYTES, ServeError, serve};

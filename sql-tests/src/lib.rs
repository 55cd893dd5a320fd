//! Runs the sqllogictest files of this crate (`slt/**/*.slt`) through an engine, twice: embedded in the
//! process, and behind a Flight SQL server with a client. Both give the same answers and the same errors.
//!
//! A file has an engine of its own, empty at the start, and one session, so that settings last
//! within the file. Files run in parallel. Volatile pieces of an expected result are written
//! `<slt:ignore>`; what only one of the two can do is marked `onlyif embedded` or `onlyif flight`. After
//! `control substitution on`, `$FILES` is an empty folder whose files the statements may read and write.
//!
//! ```text
//!   cargo test -p elanus-sql-tests                    all files, both ways
//!   cargo test -p elanus-sql-tests flight::           all files through Flight SQL
//!   cargo test -p elanus-sql-tests ddl                files whose path contains `ddl`
//!   cargo test -p elanus-sql-tests -- --complete ddl  write what the engine answers into the files
//! ```

mod embedded;
mod format;
mod over_flight;

pub use embedded::{Embedded, EngineError};
pub use format::ColumnKind;
pub use over_flight::OverFlight;

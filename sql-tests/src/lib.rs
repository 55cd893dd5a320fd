//! Runs the sqllogictest files of this crate (`slt/**/*.slt`) through an engine.
//!
//! A file has an engine of its own, empty at the start, and one session, so that settings last
//! within the file. Files run in parallel. Volatile pieces of an expected result are written
//! `<slt:ignore>`.
//!
//! ```text
//!   cargo test -p elanus-sql-tests                    all files
//!   cargo test -p elanus-sql-tests ddl                files whose path contains `ddl`
//!   cargo test -p elanus-sql-tests -- --complete ddl  write what the engine answers into the files
//! ```

mod embedded;
mod format;

pub use embedded::{Embedded, EngineError};

//! One file per subcommand, each with its arguments and a `run`.

pub mod demo;
pub mod plugin;
pub mod serve;
pub mod sql;

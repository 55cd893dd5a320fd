//! Logs go to standard error, one line per event; standard output is for results.

use std::io::IsTerminal;

use anyhow::Context;
use tracing_subscriber::EnvFilter;

/// Starts logging with `filter` in the syntax of `RUST_LOG`, such as `info` or `warn,elanus_storage=debug`.
///
/// # Errors
/// The filter cannot be parsed.
pub fn start(filter: &str) -> anyhow::Result<()> {
    let filter = EnvFilter::builder()
        .parse(filter)
        .with_context(|| format!("--log: cannot parse `{filter}`: write a level (error, warn, info, debug, trace) or target=level pairs"))?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .try_init()
        .map_err(|error| anyhow::anyhow!("cannot start the log: {error}"))
}

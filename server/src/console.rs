//! What the commands write for people and scripts: results on standard output, errors on standard error.
//! A closed pipe (`elanus sql .. | head -1`) is not an error.

use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;

/// Writes one line to standard output.
pub fn line(text: impl Display) {
    let mut out = std::io::stdout().lock();
    // The only thing that can go wrong is a reader that has gone away.
    let _closed = writeln!(out, "{text}").and_then(|()| out.flush());
}

/// Writes `error: ..` with the chain of causes on one line to standard error; the exit code of a failed command.
pub fn fail(error: &anyhow::Error) -> ExitCode {
    let _closed = writeln!(std::io::stderr().lock(), "error: {error:#}");
    ExitCode::FAILURE
}

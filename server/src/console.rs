//! What the commands write for people and scripts: results on standard output, errors on standard error.
//! A closed pipe (`elanus sql .. | head -1`) is not an error.

use std::fmt::Display;
use std::io::{ErrorKind, Write};
use std::process::ExitCode;

use anyhow::Context;

/// Writes one line of a result to standard output.
///
/// # Errors
/// It cannot be written, to a full disk for example: what a script reads would be incomplete.
pub fn result(text: impl Display) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    unless_closed(writeln!(out, "{text}").and_then(|()| out.flush()))
}

/// Writes a result that is not text to standard output.
///
/// # Errors
/// As [`result`].
pub fn bytes(bytes: &[u8]) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    unless_closed(out.write_all(bytes).and_then(|()| out.flush()))
}

fn unless_closed(written: std::io::Result<()>) -> anyhow::Result<()> {
    match written {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(error).context("cannot write to standard output")
        }
        _written_or_closed => Ok(()),
    }
}

/// Writes one line for people to standard output.
pub fn line(text: impl Display) {
    // Nobody misses a message that has nowhere to go.
    let _unwritten = result(text);
}

/// Writes `error: ..` with the chain of causes to standard error; the exit code of a failed command.
pub fn fail(error: &anyhow::Error) -> ExitCode {
    let _closed = writeln!(std::io::stderr().lock(), "error: {error:#}");
    ExitCode::FAILURE
}

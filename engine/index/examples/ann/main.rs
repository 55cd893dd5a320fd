//! One contender of `benches/ann`: our indexes over the vectors of a `.npy` file, driven line by line.
//!
//! ```text
//!   benches/ann/ann.py  ── {"do": "build", ..} ──>  this, or benches/ann/peers.py around another library
//!                       <── {"seconds": .., ..} ──  one process each, so that its memory is its own
//! ```
//!
//! `ann BASE.npy QUERIES.npy METRIC THREADS [ALLOWED.npy]` loads the files, says so in a line, and then answers every line
//! of its input with a line of its output, both JSON objects; `{"error": ".."}` when it could not. The type of the
//! numbers tells the type of the vectors: `<f4` floats, `<f2` halves, `<u2` bfloat16s, `|i1` integers, `|u1` bits.
//! `ALLOWED.npy` holds one `|u1` per row: searches return rows with a 1 only.
//!
//! | `do` | takes | answers |
//! |---|---|---|
//! | `truth` | `k`, `to` | writes the exact neighbours of every query as `<i4` |
//! | `build` | `index`, `params`, `threads`, `seed` | seconds, `held_bytes` of the index with the vectors (of DISKANN, which is opened from a file, without), and by how much the memory grew at most |
//! | `open` | | bytes of the index as a file, and the seconds to open it by mapping that, out of memory and off the disk |
//! | `search` | `params`, `k`, `to` | writes what is found for every query as `<i4`, -1 where there is nothing; seconds, and per query distances, hops and reads |
//! | `time` | `params`, `k`, `queries`, `batch`, `seconds` | passes over the first `queries` until `seconds` are over: queries per second, p50 and p99 in microseconds; how many were done, in what time of the processors |
//! | `read` | `seconds` | bytes for each second of the processor that one thread reads out of memory, in passes until `seconds` are over |
#![expect(clippy::print_stdout, reason = "a command line tool")]

mod ceiling;
mod contender;
mod npy;
mod opening;

use std::error::Error;
use std::io::BufRead;

use contender::Contender;
use serde_json::{Value, json};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (base, queries, metric, threads, allowed) = match arguments.as_slice() {
        [base, queries, metric, threads] => (base, queries, metric, threads, None),
        [base, queries, metric, threads, allowed] => (base, queries, metric, threads, Some(allowed)),
        _ => return Err("usage: ann BASE.npy QUERIES.npy METRIC THREADS [ALLOWED.npy]".into()),
    };
    let allowed = allowed.map(|path| npy::read(path)).transpose()?;
    let mut contender = Contender::new(
        &npy::read(base)?,
        &npy::read(queries)?,
        metric.parse()?,
        threads.parse()?,
        allowed.as_ref(),
    )?;
    println!("{}", contender.shape());
    for line in std::io::stdin().lock().lines() {
        let answer = serde_json::from_str(&line?)
            .map_err(Into::into)
            .and_then(|request: Value| contender.answer(&request));
        println!(
            "{}",
            answer.unwrap_or_else(|error| json!({ "error": error.to_string() }))
        );
    }
    Ok(())
}

//! Files of indexes: whatever bytes are opened as an index, of vectors or of a column, give an error or answers of the right
//! shape; nothing panics, reads what is not there, or takes memory out of proportion.
//!
//! Checksums keep damage by accident away from all that is behind them. They keep nobody away who writes a file on purpose,
//! so bytes are read as they come and again under right checksums.

#![no_main]

#[path = "../../engine/index/tests/damaged/counting.rs"]
mod counting;
#[path = "../../engine/index/tests/damaged/reader.rs"]
mod reader;

use std::path::PathBuf;
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;

#[global_allocator]
static ALLOCATOR: counting::Counting = counting::Counting;

/// Where indexes that read their files are written to.
fn file() -> &'static PathBuf {
    static FILE: OnceLock<PathBuf> = OnceLock::new();
    FILE.get_or_init(|| std::env::temp_dir().join(format!("elanus-fuzz-{}", std::process::id())))
}

fuzz_target!(|bytes: &[u8]| {
    reader::read(bytes);
    let mut sealed = bytes.to_vec();
    reader::reseal(&mut sealed);
    reader::read(&sealed);
    if reader::belongs_in_file(&sealed) && std::fs::write(file(), &sealed).is_ok() {
        reader::read_file(file(), &sealed);
    }
});

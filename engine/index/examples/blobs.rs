//! Writes a small index of every family to a folder, one file each, and reads it back: seeds for fuzzing.
//!
//! ```sh
//! cargo run --package elanus-index --example blobs -- fuzz/corpus/blob
//! ```
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a program for people")]

#[path = "../tests/damaged/blobs.rs"]
mod blobs;
#[path = "../tests/damaged/counting.rs"]
mod counting;
#[path = "../tests/damaged/reader.rs"]
mod reader;

#[global_allocator]
static ALLOCATOR: counting::Counting = counting::Counting;

fn main() {
    let Some(folder) = std::env::args_os().nth(1) else {
        println!("usage: blobs FOLDER");
        return;
    };
    let folder = std::path::PathBuf::from(folder);
    std::fs::create_dir_all(&folder).unwrap();
    for (name, blob) in blobs::all() {
        let path = folder.join(name.replace(' ', "-"));
        std::fs::write(&path, &blob).unwrap();
        assert!(reader::read(&blob), "{name}");
        assert!(
            !reader::belongs_in_file(&blob) || reader::read_file(&path, &blob),
            "{name}"
        );
    }
}

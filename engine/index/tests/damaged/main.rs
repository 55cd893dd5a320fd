//! Damaged blobs with right checksums, of every family: an error or answers of the right shape, never a panic, and memory
//! in proportion to the blob.
#![expect(clippy::unwrap_used, reason = "tests")]

mod blobs;
mod counting;
mod reader;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use blobs::{DIM, ROWS, all};
use elanus_index::{
    AnyIndex, DiskSearch, OpenError, SearchParams, SearchStats, Strategy, VectorRef, Vectors, VectorsRef,
};
use reader::{belongs_in_file, read, read_file, reseal};

#[global_allocator]
static ALLOCATOR: counting::Counting = counting::Counting;

/// Offset of what is no header: the table of arrays.
const TABLE: usize = 64;

/// Reads a blob after its checksums were written anew; a panic is one of `what`.
fn read_damaged(what: &str, mut damaged: Vec<u8>) -> bool {
    reseal(&mut damaged);
    let outcome = catch_unwind(AssertUnwindSafe(|| read(&damaged)));
    outcome.unwrap_or_else(|_| panic!("{what}: see the panic above"))
}

/// Bytes of the table of most blobs.
const TABLE_BYTES: usize = 224;

/// Every byte of the header, some of the table, and others evenly.
fn places(len: usize) -> impl Iterator<Item = usize> {
    let content = TABLE + TABLE_BYTES;
    let step = (len / 40).max(1) | 1;
    let table = (TABLE..content.min(len)).step_by(5);
    (8..TABLE.min(len))
        .chain(table)
        .chain((content..len).step_by(step))
}

#[test]
fn every_family_is_read_undamaged() {
    let blobs = all();
    for (name, blob) in &blobs {
        let opened = catch_unwind(AssertUnwindSafe(|| read(blob)));
        assert!(opened.is_ok_and(|opened| opened), "{name}");
        let mut again = blob.clone();
        reseal(&mut again);
        assert!(again == *blob, "{name}: sealing anew changes nothing");
    }
    let mut names: Vec<&String> = blobs.iter().map(|(name, _)| name).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), blobs.len());
}

/// Indexes as earlier versions wrote them, each with its name. They are never written again; what changes what is written adds
/// a folder of its own (`cargo run --package elanus-index --example blobs -- FOLDER`).
fn earlier() -> Vec<(String, PathBuf)> {
    let of = |folder: &Path| {
        std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
    };
    let mut files: Vec<(String, PathBuf)> = of(Path::new("tests/damaged/earlier"))
        .flat_map(|folder| of(&folder).collect::<Vec<_>>())
        .map(|path| {
            (
                path.file_name().unwrap().to_string_lossy().replace('-', " "),
                path,
            )
        })
        .collect();
    files.sort();
    files
}

#[test]
fn indexes_of_earlier_versions_are_read() {
    let files = earlier();
    assert!(files.len() > 80, "{}", files.len());
    for (name, path) in files {
        let blob = std::fs::read(&path).unwrap();
        assert!(read(&blob), "{name}");
        assert!(!belongs_in_file(&blob) || read_file(&path, &blob), "{name}");
    }
}

#[test]
fn indexes_of_earlier_versions_find_their_rows() {
    let floats = blobs::floats(ROWS * DIM);
    let vectors = Vectors::new(&floats, DIM).unwrap();
    let search = SearchParams {
        ef: Some(10),
        nprobe: Some(1),
        refine_k: Some(4.0),
        disk: DiskSearch {
            search_list: Some(10),
            ..DiskSearch::default()
        },
        ..SearchParams::default()
    };
    let mut kinds = BTreeSet::new();
    for (name, path) in earlier().into_iter().filter(|(name, _)| name.ends_with(" L2")) {
        let index = AnyIndex::open_file(&path)
            .or_else(|_| AnyIndex::open(std::fs::read(&path).unwrap().into()))
            .unwrap();
        let mut stats = SearchStats::default();
        let finds = |row: &usize| {
            let query = VectorRef::Floats(vectors.row(*row));
            let found = index.search(VectorsRef::Floats(vectors), query, 1, &search, None, &mut stats);
            found
                .unwrap()
                .first()
                .is_some_and(|first| first.row as usize == *row)
        };
        let found = (0..ROWS).filter(finds).count();
        assert!(found * 4 >= ROWS * 3, "{name}: {found} of {ROWS}");
        let scanned = matches!(stats.strategy, Strategy::Exact | Strategy::ExactFiltered);
        assert_eq!(scanned, name == "FLAT L2", "{name}: {}", stats.strategy);
        kinds.insert(index.kind().to_string());
    }
    assert!(kinds.len() > 10, "{kinds:?}");
}

#[test]
fn changed_bytes_are_errors_or_give_answers_of_the_right_shape() {
    for (name, blob) in all() {
        let mut refused = 0;
        for at in places(blob.len()) {
            // All of them in the header, two elsewhere.
            let changes = [blob[at] ^ 1, 0xff, 0, blob[at] ^ 0x80];
            for change in changes.into_iter().take(if at < TABLE { 4 } else { 2 }) {
                let mut damaged = blob.clone();
                damaged[at] = change;
                refused += usize::from(!read_damaged(&format!("{name}, byte {at}"), damaged));
            }
        }
        assert!(refused > 50, "{name}: {refused} refused");
    }
}

#[test]
fn cut_blobs_are_errors_or_give_answers_of_the_right_shape() {
    for (name, blob) in all() {
        for len in (0..blob.len()).step_by((blob.len() / 60).max(1)) {
            read_damaged(&format!("{name}, cut to {len}"), blob[..len].to_vec());
        }
    }
}

#[test]
fn huge_numbers_take_no_memory() {
    for (name, blob) in all() {
        // Numbers of 4 and 8 bytes of the header, the table and what comes first after it.
        for at in (16..blob.len().min(TABLE + 2 * TABLE_BYTES)).step_by(4) {
            for (huge, wide) in [
                (u64::MAX, 8),
                (0x7fff_ffff, 8),
                (0xffff_ffff, 4),
                (1 << 24, 4),
                (1 << 40, 8),
            ] {
                if at + wide > blob.len() || at % wide > 0 {
                    continue;
                }
                let mut damaged = blob.clone();
                damaged[at..at + wide].copy_from_slice(&huge.to_le_bytes()[..wide]);
                read_damaged(&format!("{name}, {huge:#x} at {at}"), damaged);
            }
        }
    }
}

#[test]
fn damaged_files_of_indexes_on_disk_are_errors_or_give_answers_of_the_right_shape() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("index");
    let on_disk: Vec<(String, Vec<u8>)> = all()
        .into_iter()
        .filter(|(_, blob)| belongs_in_file(blob))
        .collect();
    assert!(on_disk.len() > 3);
    for (name, blob) in on_disk {
        std::fs::write(&path, &blob).unwrap();
        assert!(read_file(&path, &blob), "{name}");
        for at in places(blob.len()).step_by(3) {
            let mut damaged = blob.clone();
            damaged[at] ^= 0x41;
            reseal(&mut damaged);
            std::fs::write(&path, &damaged).unwrap();
            let outcome = catch_unwind(AssertUnwindSafe(|| read_file(&path, &damaged)));
            assert!(outcome.is_ok(), "{name}, byte {at}");
        }
    }
}

#[test]
fn lists_within_lists_are_refused() {
    let (_, mut blob) = all()
        .into_iter()
        .find(|(name, _)| name.starts_with("FLAT MAX_SIM"))
        .unwrap();
    // A blob of lists whose elements' index is of lists again, and so on: opening it must not take a stack as deep.
    for _ in 0..2_000 {
        let mut around = vec![0; 128];
        around[..TABLE].copy_from_slice(&blob[..TABLE]);
        around[TABLE..TABLE + 8].copy_from_slice(&128u64.to_le_bytes());
        around[TABLE + 8..TABLE + 16].copy_from_slice(&(blob.len() as u64).to_le_bytes());
        around.extend_from_slice(&blob);
        around.resize(around.len().next_multiple_of(64), 0);
        let body = around.len() as u64 - 64;
        around[48..56].copy_from_slice(&body.to_le_bytes());
        let sum = crc32c::crc32c(&around[TABLE..]);
        around[56..60].copy_from_slice(&sum.to_le_bytes());
        let sum = crc32c::crc32c(&around[..60]);
        around[60..64].copy_from_slice(&sum.to_le_bytes());
        blob = around;
    }
    let error = AnyIndex::open(blob.into()).unwrap_err();
    assert!(matches!(error, OpenError::Corrupt { .. }), "{error}");
}

#[test]
fn nodes_of_the_same_row_are_found_once() {
    let (_, blob) = all().into_iter().find(|(name, _)| name == "DISKANN L2").unwrap();
    let number = |at: usize| u64::from_le_bytes(blob[at..at + 8].try_into().unwrap()) as usize;
    let degrees = number(TABLE + 16);
    let degree = u32::from_le_bytes(blob[degrees..degrees + 4].try_into().unwrap()) as usize;
    // Row, links; eight floats; links.
    let node = 8 + 8 * 4 + degree * 4;
    let first = (number(48) + TABLE).next_multiple_of(4096);
    let mut damaged = blob.clone();
    for block in damaged[first..].chunks_exact_mut(4096) {
        for node in block[..4092].chunks_exact_mut(node) {
            let row = u32::from(node[0]) / 2;
            node[..4].copy_from_slice(&row.to_le_bytes());
        }
    }
    assert!(damaged != blob);
    assert!(read_damaged("two nodes of each row", damaged));
}

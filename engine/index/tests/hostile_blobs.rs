//! Bytes that nobody wrote: whatever a blob says, opening it is an answer or an error, takes memory in proportion to its
//! bytes, and never panics. One test, for the memory of the whole process is counted.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use elanus_index::scalar::ColumnIndex;
use elanus_index::{AnyIndex, BuildOptions, Metric, Vectors, VectorsRef};

#[expect(dead_code, reason = "shared with the other tests, which use more of it")]
#[path = "it/data.rs"]
mod data;

use data::{FAMILIES, Mixture, Rng};

/// Counts bytes that are held, and the most there were.
struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

// SAFETY: all memory comes from the system's allocator and goes back to it as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let held = HELD.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        MOST.fetch_max(held, Ordering::Relaxed);
        // SAFETY: the caller's promise is that of this function.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Opens a blob as every kind of index; returns how many took it.
fn open(blob: &[u8], what: &str) -> usize {
    let bytes = Bytes::copy_from_slice(blob);
    let before = HELD.load(Ordering::Relaxed);
    MOST.store(before, Ordering::Relaxed);
    let opened = usize::from(AnyIndex::open(bytes.clone()).is_ok())
        + usize::from(elanus_index::open(bytes.clone()).is_ok())
        + usize::from(ColumnIndex::open(bytes).is_ok());
    let grown = MOST.load(Ordering::Relaxed).saturating_sub(before);
    let allowed = 8 * blob.len() + (1 << 20);
    assert!(
        grown <= allowed,
        "{what}: {grown} bytes for a blob of {}",
        blob.len()
    );
    opened
}

/// Right magic and checksums, so that only the content can be wrong.
fn seal(blob: &mut [u8], version: u32) {
    blob[..8].copy_from_slice(b"ELANUSIX");
    blob[8..12].copy_from_slice(&version.to_le_bytes());
    let body = blob.len() as u64 - 64;
    blob[48..56].copy_from_slice(&body.to_le_bytes());
    let sum = crc32c::crc32c(&blob[64..]);
    blob[56..60].copy_from_slice(&sum.to_le_bytes());
    let sum = crc32c::crc32c(&blob[..60]);
    blob[60..64].copy_from_slice(&sum.to_le_bytes());
}

/// A number as hostile ones are: small, a power of two, the largest, or anything.
fn number(rng: &mut Rng) -> u64 {
    match rng.below(5) {
        0 => rng.below(20) as u64,
        1 => 1 << rng.below(40),
        2 => i32::MAX as u64,
        3 => u64::from(u32::MAX),
        _ => rng.bits() >> rng.below(64),
    }
}

#[test]
fn opening_never_panics_nor_takes_more_memory_than_a_blob_is_worth() {
    let mut rng = Rng(11);
    for round in 0..2_000 {
        let len = rng.below(6_000);
        let noise: Vec<u8> = (0..len).map(|_| rng.bits() as u8).collect();
        assert_eq!(open(&noise, "noise"), 0);
        let mut blob = vec![0u8; 64 + rng.below(8_000)];
        let last = 64 + rng.below(blob.len() - 63);
        blob[64..last].fill_with(|| rng.bits() as u8);
        blob[12] = rng.below(22) as u8;
        blob[13] = rng.below(7) as u8;
        blob[14] = if round % 2 == 0 { 0 } else { rng.below(6) as u8 };
        let arrays = rng.below(8);
        blob[16..20].copy_from_slice(&(number(&mut rng) as u32).to_le_bytes());
        blob[20..24].copy_from_slice(&(arrays as u32).to_le_bytes());
        blob[24..32].copy_from_slice(&number(&mut rng).to_le_bytes());
        for at in [32, 36, 40, 44] {
            blob[at..at + 4].copy_from_slice(&(number(&mut rng) as u32).to_le_bytes());
        }
        // Arrays that lie inside, so that what is in them is read.
        for array in 0..arrays {
            let at = 64 + 16 * array;
            if at + 16 > blob.len() {
                break;
            }
            let start = rng.below(blob.len()) / 64 * 64;
            let length = rng.below(blob.len() - start + 1) / 8 * 8;
            blob[at..at + 8].copy_from_slice(&(start as u64).to_le_bytes());
            blob[at + 8..at + 16].copy_from_slice(&(length as u64).to_le_bytes());
        }
        seal(&mut blob, 1 + (round % 2) as u32);
        open(&blob, "random arrays");
    }
    // Right blobs with hostile numbers in header and table.
    let base = Mixture::new(8, 5, 3).draw(400);
    let vectors = VectorsRef::Floats(Vectors::new(&base, 8).unwrap());
    for params in FAMILIES {
        let options = BuildOptions::default();
        let index = AnyIndex::build(&params, Metric::Cosine.into(), vectors, None, &options).unwrap();
        let blob = index.serialize();
        assert!(open(&blob, "as it was written") > 0, "{params:?}");
        let body = u64::from_le_bytes(blob[48..56].try_into().unwrap()) as usize;
        for _ in 0..150 {
            let mut damaged = blob.clone();
            let (first, count) = if rng.below(2) == 0 { (16, 8) } else { (64, 12) };
            let at = first + 4 * rng.below(count);
            let width = if rng.below(2) == 0 { 4 } else { 8 };
            let hostile = number(&mut rng).to_le_bytes();
            if at + width <= 48 || at >= 64 {
                damaged[at..at + width].copy_from_slice(&hostile[..width]);
            }
            let end = 64 + body;
            let sum = crc32c::crc32c(&damaged[64..end]);
            damaged[56..60].copy_from_slice(&sum.to_le_bytes());
            let sum = crc32c::crc32c(&damaged[..60]);
            damaged[60..64].copy_from_slice(&sum.to_le_bytes());
            open(&damaged, &format!("{params:?}, byte {at}"));
        }
    }
}

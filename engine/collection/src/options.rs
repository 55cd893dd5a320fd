//! How the engine treats its collections; defaults suit one machine.

use std::time::Duration;

use elanus_storage::MAX_COLUMN_BYTES;

/// Sizes, ages and budgets. Build with `Options { field: .., ..Default::default() }`.
#[derive(Debug, Clone)]
pub struct Options {
    /// Growing rows of a collection are sealed into segments at this size in bytes.
    pub seal_bytes: usize,
    /// Growing rows worth an index (at least [`Options::seal_rows`]) are sealed when no write came for this long.
    pub seal_idle: Duration,
    /// Rows below which an idle collection is left growing: exact search of so few is as fast.
    pub seal_rows: u64,
    /// Growing rows older than this are sealed whatever their number.
    pub seal_age: Duration,
    /// The log is sealed when it has this many writes: each may be a file, and all of them are read after a crash.
    pub seal_writes: u64,
    /// Rows are put together into segments of up to this many bytes.
    pub max_segment_bytes: u64,
    /// Most bytes of one column of texts or lists in a segment, newer values included. Rows are put together up to half of it,
    /// so that values may still become longer; updates beyond it are refused. At most [`MAX_COLUMN_BYTES`].
    pub max_column_bytes: u64,
    /// Segments of one size class that trigger a merge.
    pub merge_factor: usize,
    /// A segment is rewritten when this share of its rows is deleted, or when newer values take this share of its bytes.
    pub rewrite_share: f64,
    /// Memory that loaded collections may take together; `None`: no limit.
    pub memory_limit: Option<u64>,
    /// Memory that an index build may take at a time, the vectors not counted; one that may need more is refused. `None`: no limit.
    pub build_memory: Option<u64>,
    /// Threads of one index build; 0: all cores.
    pub build_threads: usize,
    /// Seed of index builds: the same rows give the same index.
    pub seed: u64,
    /// Unreferenced files younger than this are kept.
    pub gc_grace: Duration,
    /// How long to wait before what failed is tried again: a flush, or opening a collection whose writer had to stop.
    pub retry: Duration,
    /// Whether sealing, index builds and compaction run by themselves; tests switch it off to drive them.
    pub background: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            seal_bytes: 256 << 20,
            seal_idle: Duration::from_secs(1),
            seal_rows: 8_192,
            seal_age: Duration::from_secs(600),
            seal_writes: 8_192,
            max_segment_bytes: 2 << 30,
            max_column_bytes: MAX_COLUMN_BYTES,
            merge_factor: 4,
            rewrite_share: 0.2,
            memory_limit: None,
            build_memory: None,
            build_threads: 0,
            seed: 42,
            gc_grace: Duration::from_secs(60),
            retry: Duration::from_secs(5),
            background: true,
        }
    }
}

impl Options {
    /// Most bytes of a column of a block when one more write is checked: the others of its group come on top.
    pub(crate) fn column_room(&self) -> u64 {
        self.max_column_bytes - self.max_column_bytes / 32
    }
}

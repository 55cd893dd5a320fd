//! How a build reports progress, hears that it should stop, and is told its seed and threads.

use std::fmt;

/// Hears about a build's progress and may cancel it. Called from worker threads.
pub trait Progress: Sync {
    /// `rows_done` of `rows_total` rows are in the index.
    fn advance(&self, rows_done: u64, rows_total: u64);

    /// Asked now and then; once true, the build ends with [`crate::BuildError::Cancelled`].
    fn cancelled(&self) -> bool;
}

/// Reports to nobody and never cancels.
impl Progress for () {
    fn advance(&self, _rows_done: u64, _rows_total: u64) {}

    fn cancelled(&self) -> bool {
        false
    }
}

/// Hears nothing of the progress of a step that is not counted in rows of the index, and cancels it.
pub(crate) struct Silent<'a>(pub(crate) &'a dyn Progress);

impl Progress for Silent<'_> {
    fn advance(&self, _rows_done: u64, _rows_total: u64) {}

    fn cancelled(&self) -> bool {
        self.0.cancelled()
    }
}

/// What a build needs besides its input. The built index depends on `seed` alone, never on `threads`.
#[derive(Clone, Copy)]
pub struct BuildOptions<'a> {
    /// Start of every random draw.
    pub seed: u64,
    /// Worker threads; 0 means one per core.
    pub threads: usize,
    /// Hears about progress.
    pub progress: &'a dyn Progress,
}

impl Default for BuildOptions<'_> {
    fn default() -> Self {
        Self {
            seed: 0,
            threads: 0,
            progress: &(),
        }
    }
}

impl fmt::Debug for BuildOptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BuildOptions")
            .field("seed", &self.seed)
            .field("threads", &self.threads)
            .finish_non_exhaustive()
    }
}

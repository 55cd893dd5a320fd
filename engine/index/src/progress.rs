//! How a build reports progress, hears that it should stop, and is told its seed and threads.

use std::fmt;

use crate::error::BuildError;
use crate::memory::build_bytes;
use crate::params::BuildParams;
use crate::typed::VectorsRef;

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
    /// Most bytes that the build may take at a time besides the vectors; one that may need more, by [`crate::build_bytes`], is
    /// refused before it starts. `None`: any number.
    pub memory: Option<usize>,
    /// Hears about progress.
    pub progress: &'a dyn Progress,
}

impl BuildOptions<'_> {
    /// Refuses a build that may take more memory than it is allowed.
    pub(crate) fn check_memory(
        &self,
        params: &BuildParams,
        vectors: VectorsRef<'_>,
    ) -> Result<(), BuildError> {
        match self.memory {
            Some(allowed) => match build_bytes(params, vectors, self.threads) {
                needed if needed > allowed => Err(BuildError::Memory { needed, allowed }),
                _enough => Ok(()),
            },
            None => Ok(()),
        }
    }
}

impl Default for BuildOptions<'_> {
    fn default() -> Self {
        Self {
            seed: 0,
            threads: 0,
            memory: None,
            progress: &(),
        }
    }
}

impl fmt::Debug for BuildOptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BuildOptions")
            .field("seed", &self.seed)
            .field("threads", &self.threads)
            .field("memory", &self.memory)
            .finish_non_exhaustive()
    }
}

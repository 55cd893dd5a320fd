//! The statements that run now, for `elanus_catalog.queries`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;

/// Longest text that is shown of a statement, in characters.
const SHOWN: usize = 1_000;

/// The running statements of one engine.
#[derive(Debug, Default)]
pub(crate) struct Running {
    next: AtomicU64,
    statements: Mutex<BTreeMap<u64, RunningStatement>>,
}

/// One of them.
#[derive(Debug, Clone)]
pub(crate) struct RunningStatement {
    pub id: u64,
    pub database: String,
    pub text: Arc<str>,
    pub since: SystemTime,
    pub progress: Progress,
    started: Instant,
}

/// How many rows a statement has dealt with, for those that tell: COPY.
#[derive(Debug, Clone, Default)]
pub(crate) struct Progress {
    rows: Arc<AtomicU64>,
    told: Arc<AtomicBool>,
}

impl Progress {
    /// `more` rows more.
    pub fn add_rows(&self, more: u64) {
        self.rows.fetch_add(more, Ordering::Relaxed);
        self.told.store(true, Ordering::Relaxed);
    }

    /// `rows` rows by now.
    pub fn set_rows(&self, rows: u64) {
        self.rows.store(rows, Ordering::Relaxed);
        self.told.store(true, Ordering::Relaxed);
    }

    /// Rows by now; `None` for a statement that does not tell.
    pub fn rows(&self) -> Option<u64> {
        let told = self.told.load(Ordering::Relaxed);
        told.then(|| self.rows.load(Ordering::Relaxed))
    }
}

impl RunningStatement {
    /// How long it has been running.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }
}

/// Stands for a running statement; dropped when the statement has ended.
#[derive(Debug)]
pub(crate) struct RunningGuard {
    running: Arc<Running>,
    id: u64,
    progress: Progress,
}

impl RunningGuard {
    /// Where the statement tells how far it is.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }
}

impl Running {
    /// Notes a statement that starts.
    pub fn start(self: &Arc<Self>, database: String, text: Arc<str>) -> RunningGuard {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let progress = Progress::default();
        let statement = RunningStatement {
            id,
            database,
            text,
            since: SystemTime::now(),
            progress: progress.clone(),
            started: Instant::now(),
        };
        self.statements.lock().insert(id, statement);
        RunningGuard {
            running: Arc::clone(self),
            id,
            progress,
        }
    }

    /// All of them, those that started first before the others.
    pub fn all(&self) -> Vec<RunningStatement> {
        self.statements.lock().values().cloned().collect()
    }
}

impl Drop for RunningGuard {
    fn drop(&mut self) {
        self.running.statements.lock().remove(&self.id);
    }
}

/// As much of a statement as is shown.
pub(crate) fn shown(text: &str) -> Arc<str> {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}..", text.get(..end).unwrap_or_default()).into(),
        None => text.into(),
    }
}

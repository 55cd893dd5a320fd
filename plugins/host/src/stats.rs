//! What a plugin has done so far, and what one call cost.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use crate::error::PluginError;

/// What one call cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CallStats {
    /// Candidates or rows.
    pub rows: usize,
    /// Time in the plugin, with the copying to and fro.
    pub wasm_time: Duration,
    /// The most memory that the instance has had in its life, in bytes.
    pub peak_memory: usize,
}

/// What a plugin has done since it was loaded.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PluginStats {
    /// Calls, failed ones too.
    pub calls: u64,
    /// Candidates and rows of all calls.
    pub rows: u64,
    /// Time in the plugin.
    pub wasm_time: Duration,
    /// The most memory that an instance has had, in bytes.
    pub peak_memory: u64,
    /// Calls that cost their instance: traps, deadlines, memory, answers that are none.
    pub traps: u64,
    /// Instances made.
    pub instances: u64,
    /// The last failure.
    pub last_error: Option<String>,
}

/// The counters behind [`PluginStats`].
#[derive(Debug, Default)]
pub(crate) struct Counters {
    calls: AtomicU64,
    rows: AtomicU64,
    nanoseconds: AtomicU64,
    peak_memory: AtomicU64,
    traps: AtomicU64,
    instances: AtomicU64,
    last_error: Mutex<Option<String>>,
}

impl Counters {
    pub(crate) fn call(&self, stats: CallStats) {
        let CallStats {
            rows,
            wasm_time,
            peak_memory,
        } = stats;
        let nanoseconds = u64::try_from(wasm_time.as_nanos()).unwrap_or(u64::MAX);
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.rows.fetch_add(rows as u64, Ordering::Relaxed);
        self.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
        self.peak_memory.fetch_max(peak_memory as u64, Ordering::Relaxed);
    }

    pub(crate) fn instance(&self) {
        self.instances.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn failure(&self, error: &PluginError) {
        if !error.failure.keeps_instance() {
            self.traps.fetch_add(1, Ordering::Relaxed);
        }
        *self.last_error.lock() = Some(error.to_string());
    }

    pub(crate) fn read(&self) -> PluginStats {
        PluginStats {
            calls: self.calls.load(Ordering::Relaxed),
            rows: self.rows.load(Ordering::Relaxed),
            wasm_time: Duration::from_nanos(self.nanoseconds.load(Ordering::Relaxed)),
            peak_memory: self.peak_memory.load(Ordering::Relaxed),
            traps: self.traps.load(Ordering::Relaxed),
            instances: self.instances.load(Ordering::Relaxed),
            last_error: self.last_error.lock().clone(),
        }
    }
}

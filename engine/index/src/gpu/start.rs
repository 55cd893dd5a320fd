//! What searches of indexes on a device start with: what stays there, the filter, how many queries go at a time.

use std::sync::Arc;

use parking_lot::Mutex;

use super::backend::{Backend, Device};
use super::budget::{Budget, Reservation};
use super::error::GpuError;
use super::parts::filter_words;
use super::tuning::SearchTuning;
use crate::bitset::Bitset;

/// What the first search puts on a device, where it stays as long as the index.
#[derive(Debug)]
pub(super) struct Resident<T>(Mutex<Option<Arc<T>>>);

impl<T> Default for Resident<T> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<T> Resident<T> {
    /// What is there, or what `upload` puts there.
    pub(super) fn get(&self, upload: impl FnOnce() -> Result<T, GpuError>) -> Result<Arc<T>, GpuError> {
        let mut resident = self.0.lock();
        if let Some(resident) = resident.as_ref() {
            return Ok(Arc::clone(resident));
        }
        let uploaded = Arc::new(upload()?);
        *resident = Some(Arc::clone(&uploaded));
        Ok(uploaded)
    }
}

/// The filter of a search on a device: one bit for each row.
pub(super) struct Filter<B: Backend> {
    words: Option<(B::Buffer, Reservation)>,
}

impl<B: Backend> Filter<B> {
    /// Uploads the bits of `rows` rows, if there are any.
    pub(super) fn of(device: &Device<B>, allow: Option<&Bitset>, rows: usize) -> Result<Self, GpuError> {
        let Some(allow) = allow else {
            return Ok(Self { words: None });
        };
        let words = filter_words(allow, 0, rows);
        let reserved = device.budget.reserve("the filter of a search", 4 * words.len())?;
        let mut buffer = device.backend.allocate(words.len())?;
        device.backend.write(&mut buffer, 0, &words)?;
        Ok(Self {
            words: Some((buffer, reserved)),
        })
    }

    /// As kernels take it.
    pub(super) fn bits(&self) -> Option<&B::Buffer> {
        self.words.as_ref().map(|(words, _)| words)
    }
}

/// Queries of a batch, `query_bytes` each: as many as have room in a quarter of the memory.
pub(super) fn queries_at_once(budget: &Budget, query_bytes: usize, tuning: SearchTuning) -> usize {
    let share = (budget.limit() / 4).min(budget.free());
    (share / query_bytes.max(1)).clamp(1, tuning.queries.max(1))
}

/// Whether an index that takes so many bytes can ever be on some devices.
///
/// # Errors
/// When it takes more than may be used of all of them; the text names both.
pub(super) fn check_fits<B: Backend>(
    devices: &[Arc<Device<B>>],
    what: &'static str,
    needed: usize,
) -> Result<(), GpuError> {
    let limit = devices.iter().map(|device| device.budget.limit()).sum();
    if needed > limit {
        return Err(GpuError::Memory {
            what,
            needed,
            free: devices.iter().map(|device| device.budget.free()).sum(),
            limit,
        });
    }
    Ok(())
}

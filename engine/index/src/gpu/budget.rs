//! How much memory of a device may be used: every buffer is accounted for before it is allocated.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::error::GpuError;

/// Bytes of one device.
#[derive(Debug)]
pub struct Budget {
    limit: usize,
    used: AtomicUsize,
}

/// Bytes taken; given back when dropped.
#[derive(Debug)]
pub struct Reservation {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Budget {
    /// A budget of `limit` bytes.
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            limit,
            used: AtomicUsize::new(0),
        })
    }

    /// Bytes that may be used in all.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Bytes not in use.
    pub fn free(&self) -> usize {
        self.limit.saturating_sub(self.used.load(Ordering::Relaxed))
    }

    /// Takes `bytes` for `what`.
    ///
    /// # Errors
    /// When fewer are free; the text names both.
    pub fn reserve(self: &Arc<Self>, what: &'static str, bytes: usize) -> Result<Reservation, GpuError> {
        let taken = self
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                used.checked_add(bytes).filter(|&used| used <= self.limit)
            });
        match taken {
            Ok(_) => Ok(Reservation {
                budget: Arc::clone(self),
                bytes,
            }),
            Err(used) => Err(GpuError::Memory {
                what,
                needed: bytes,
                free: self.limit.saturating_sub(used),
                limit: self.limit,
            }),
        }
    }
}

impl Reservation {
    /// How many.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_can_be_taken_again_and_too_much_is_refused_by_name() {
        let budget = Budget::new(100);
        let first = budget.reserve("an index", 60).unwrap();
        let error = budget.reserve("a search", 41).unwrap_err();
        assert_eq!(
            error.to_string(),
            "a search needs 41 bytes of GPU memory, 40 of 100 are free"
        );
        assert!(budget.reserve("a search", usize::MAX).is_err());
        drop(first);
        assert_eq!(budget.free(), 100);
        assert!(budget.reserve("a search", 100).is_ok());
    }
}

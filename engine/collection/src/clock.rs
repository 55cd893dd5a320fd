//! Hybrid timestamps: `(unix milliseconds << 18) | counter`, the layout Milvus uses.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// A hybrid timestamp.
pub type Timestamp = u64;

/// Bits of the counter below the milliseconds.
const COUNTER_BITS: u32 = 18;

/// Hands out timestamps that only grow, and blocks of unique row ids from the same line.
#[derive(Debug)]
pub struct TimestampOracle {
    last: AtomicU64,
    millis: fn() -> u64,
}

impl Default for TimestampOracle {
    fn default() -> Self {
        Self::new(system_millis)
    }
}

fn system_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX >> COUNTER_BITS)
}

impl TimestampOracle {
    /// An oracle on this clock (milliseconds since 1970).
    pub fn new(millis: fn() -> u64) -> Self {
        Self {
            last: AtomicU64::new(0),
            millis,
        }
    }

    /// A timestamp above every earlier one.
    pub fn next(&self) -> Timestamp {
        self.reserve(1)
    }

    /// Reserves `count` consecutive values and returns the first.
    pub fn reserve(&self, count: u64) -> Timestamp {
        let now = (self.millis)() << COUNTER_BITS;
        let mut last = self.last.load(Ordering::Relaxed);
        loop {
            let first = now.max(last + 1);
            let end = first + count.max(1) - 1;
            match self
                .last
                .compare_exchange_weak(last, end, Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => return first,
                Err(seen) => last = seen,
            }
        }
    }

    /// Makes every later timestamp larger than this one (used after recovery).
    pub fn advance_past(&self, timestamp: Timestamp) {
        self.last.fetch_max(timestamp, Ordering::Relaxed);
    }

    /// The milliseconds since 1970 that a timestamp was taken at.
    pub fn unix_millis(timestamp: Timestamp) -> u64 {
        timestamp >> COUNTER_BITS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_grow_even_when_the_clock_stands_still_or_recovery_saw_later_ones() {
        let oracle = TimestampOracle::new(|| 1_000);
        let first = oracle.next();
        assert_eq!(TimestampOracle::unix_millis(first), 1_000);
        let block = oracle.reserve(10);
        assert!(block > first);
        assert!(oracle.next() >= block + 10);
        oracle.advance_past(2_000 << COUNTER_BITS);
        assert_eq!(TimestampOracle::unix_millis(oracle.next()), 2_000);
    }
}

//! What a plugin may use, and the account that its memory is charged to.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use wasmtime::ResourceLimiter;

/// What one plugin may use. Every limit holds for each of its instances.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Linear memory and tables of one instance, in bytes. Also the most that one answer may occupy.
    pub memory: usize,
    /// The time of one call.
    pub deadline: Duration,
    /// The time to start an instance, to describe and to configure it, each.
    pub start_deadline: Duration,
    /// The most candidates or rows of one call.
    pub rows: usize,
    /// Bytes of log of one call; what is over is dropped and counted.
    pub log: usize,
    /// Instances that are kept for the next call.
    pub idle_instances: usize,
    /// The most memory that an instance may have to be kept, in bytes: one that a large call has made grow is
    /// given back.
    pub idle_memory: usize,
    /// Whether an instance serves several calls. Without, a call finds nothing that an earlier one has left
    /// behind, and pays for an instance of its own.
    pub reuse: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory: 64 << 20,
            deadline: Duration::from_millis(50),
            start_deadline: Duration::from_secs(1),
            rows: 1 << 20,
            log: 16 << 10,
            idle_instances: 16,
            idle_memory: 32 << 20,
            reuse: true,
        }
    }
}

/// Who pays for the memory of plugins: an engine's memory pool, for instance.
pub trait MemoryAccount: fmt::Debug + Send + Sync {
    /// Takes `bytes` out of what is left.
    ///
    /// # Errors
    /// There is not that much left; the text says how much, for the user whose query it ends.
    fn try_grow(&self, bytes: usize) -> Result<(), String>;

    /// Gives `bytes` back.
    fn shrink(&self, bytes: usize);
}

/// An account without a bound, for plugins that only their own limit holds.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unbounded;

impl MemoryAccount for Unbounded {
    fn try_grow(&self, _bytes: usize) -> Result<(), String> {
        Ok(())
    }

    fn shrink(&self, _bytes: usize) {}
}

/// Bytes of one entry of a table.
const TABLE_ENTRY: usize = size_of::<usize>();

/// Core instances, tables and memories of one component. The largest in use come from toolchains that link an
/// interpreter from several dozen modules.
const INSTANCES: usize = 128;
const TABLES: usize = 64;
const MEMORIES: usize = 16;

/// Counts what one instance holds, and refuses what is over the limit or not paid for.
#[derive(Debug)]
pub(crate) struct Limiter {
    limit: usize,
    account: Arc<dyn MemoryAccount>,
    used: usize,
    peak: usize,
    /// What the last grant added, in case the operating system then refuses it.
    granted: usize,
    /// Why the last refusal happened. A guest may cope with it; if it fails afterwards, this is the reason.
    refused: Option<String>,
}

impl Limiter {
    pub(crate) fn new(limit: usize, account: Arc<dyn MemoryAccount>) -> Self {
        Self {
            limit,
            account,
            used: 0,
            peak: 0,
            granted: 0,
            refused: None,
        }
    }

    pub(crate) fn peak(&self) -> usize {
        self.peak
    }

    pub(crate) fn used(&self) -> usize {
        self.used
    }

    /// Forgets an earlier refusal.
    pub(crate) fn begin(&mut self) {
        self.refused = None;
    }

    pub(crate) fn refused(&mut self) -> Option<String> {
        self.refused.take()
    }

    fn grow(&mut self, bytes: usize) -> bool {
        self.granted = 0;
        let wanted = self.used.saturating_add(bytes);
        if wanted > self.limit {
            self.refused = Some(format!(
                "it asked for {wanted} bytes of memory, {} are allowed",
                self.limit
            ));
            return false;
        }
        if let Err(reason) = self.account.try_grow(bytes) {
            self.refused = Some(format!("no memory for it: {}", reason));
            return false;
        }
        self.used = wanted;
        self.peak = self.peak.max(wanted);
        self.granted = bytes;
        true
    }

    fn take_back(&mut self) {
        self.account.shrink(self.granted);
        self.used = self.used.saturating_sub(self.granted);
        self.granted = 0;
    }
}

impl Drop for Limiter {
    fn drop(&mut self) {
        self.account.shrink(self.used);
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(self.grow(desired.saturating_sub(current)))
    }

    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        self.take_back();
        if self.refused.is_none() {
            self.refused = Some(format!("its memory cannot grow: {error}"));
        }
        Ok(())
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(self.grow(desired.saturating_sub(current).saturating_mul(TABLE_ENTRY)))
    }

    fn table_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        self.take_back();
        if self.refused.is_none() {
            self.refused = Some(format!("its table cannot grow: {error}"));
        }
        Ok(())
    }

    fn instances(&self) -> usize {
        INSTANCES
    }

    fn tables(&self) -> usize {
        TABLES
    }

    fn memories(&self) -> usize {
        MEMORIES
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use parking_lot::Mutex;

    #[derive(Debug, Default)]
    struct Purse {
        left: Mutex<usize>,
    }

    impl MemoryAccount for Purse {
        fn try_grow(&self, bytes: usize) -> Result<(), String> {
            let mut left = self.left.lock();
            *left = left
                .checked_sub(bytes)
                .ok_or_else(|| format!("{left} bytes left"))?;
            Ok(())
        }

        fn shrink(&self, bytes: usize) {
            *self.left.lock() += bytes;
        }
    }

    #[test]
    fn what_is_refused_by_limit_account_or_system_is_not_charged() {
        let purse = Arc::new(Purse {
            left: Mutex::new(100),
        });
        let mut limiter = Limiter::new(80, Arc::<Purse>::clone(&purse) as Arc<dyn MemoryAccount>);
        assert!(limiter.memory_growing(0, 50, None).unwrap());
        assert!(!limiter.memory_growing(50, 90, None).unwrap());
        assert!(limiter.refused().unwrap().contains("80 are allowed"));
        *purse.left.lock() = 10;
        assert!(!limiter.memory_growing(50, 70, None).unwrap());
        assert!(limiter.refused().unwrap().contains("10 bytes left"));
        assert!(limiter.table_growing(0, 1, None).unwrap());
        assert_eq!(*purse.left.lock(), 10 - TABLE_ENTRY);
        limiter.table_grow_failed(wasmtime::Error::msg("no")).unwrap();
        assert_eq!(*purse.left.lock(), 10);
        drop(limiter);
        assert_eq!(*purse.left.lock(), 60);
    }
}

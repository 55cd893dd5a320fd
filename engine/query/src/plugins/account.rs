//! The memory of plugins, as a consumer of the pool that statements share.

use std::sync::Arc;

use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, MemoryReservation};
use elanus_plugins::MemoryAccount;

/// Charges the instances of one plugin to a memory pool. An instance that waits for a call is charged too.
#[derive(Debug)]
pub(super) struct PoolAccount {
    reservation: MemoryReservation,
}

impl PoolAccount {
    /// An account of the pool, under the name of the plugin.
    pub fn new(pool: &Arc<dyn MemoryPool>, plugin: &str) -> Self {
        Self {
            reservation: MemoryConsumer::new(format!("plugin {plugin}")).register(pool),
        }
    }
}

impl MemoryAccount for PoolAccount {
    fn try_grow(&self, bytes: usize) -> Result<(), String> {
        let grown = self.reservation.try_grow(bytes);
        grown.map_err(|error| error.strip_backtrace())
    }

    fn shrink(&self, bytes: usize) {
        self.reservation.shrink(bytes);
    }
}

#[cfg(test)]
mod tests {
    use datafusion::execution::memory_pool::GreedyMemoryPool;

    use super::*;

    #[test]
    fn the_pool_pays_until_it_is_empty() {
        let pool: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(100));
        let account = PoolAccount::new(&pool, "mmr");
        account.try_grow(80).unwrap();
        let error = account.try_grow(30).unwrap_err();
        assert!(error.contains("plugin mmr"), "{error}");
        assert_eq!(pool.reserved(), 80);
        account.shrink(50);
        assert_eq!(pool.reserved(), 30);
        drop(account);
        assert_eq!(pool.reserved(), 0);
    }
}

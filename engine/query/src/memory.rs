//! Memory of SQL statements: how much all together and each of them may hold, and where they spill.
//!
//! Sorts, joins and aggregates ask a pool before they hold rows. What can spill to disk does so when the pool says no;
//! what cannot fails, and the error names the setting that said no.
//!
//! ```text
//!   operator -> pool of the statement (elanus.query_memory) -> pool of the server (--sql-memory-limit)
//! ```

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use datafusion::common::{Result, resources_datafusion_err};
use datafusion::execution::TaskContext;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{
    FairSpillPool, MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation,
};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::prelude::SessionContext;

use crate::settings::ElanusSettings;

/// The environment that all statements share: `limit` bytes together, spilling to `folder`.
pub(crate) fn shared_environment(limit: Option<usize>, folder: Option<PathBuf>) -> Result<Arc<RuntimeEnv>> {
    let builder = RuntimeEnvBuilder::new();
    let builder = match limit {
        Some(bytes) => builder.with_memory_pool(Arc::new(LimitedPool::new(bytes, Owner::Server, None))),
        None => builder,
    };
    let builder = match folder {
        Some(folder) => builder.with_disk_manager_builder(
            DiskManagerBuilder::default().with_mode(DiskManagerMode::Directories(vec![folder])),
        ),
        None => builder,
    };
    builder.build_arc()
}

/// What a statement of the session runs with: the shared environment, behind the session's own limit when it has one.
pub(crate) fn task_context(session: &SessionContext) -> Arc<TaskContext> {
    let state = session.state_ref();
    let state = state.read();
    // Operators have their functions already; copying the names of all there are would cost more than a small query.
    let context = TaskContext::new(
        None,
        state.session_id().to_string(),
        state.config().clone(),
        HashMap::new(),
        HashMap::new(),
        HashMap::new(),
        HashMap::new(),
        Arc::clone(state.runtime_env()),
    );
    let limit = ElanusSettings::of(state.config_options()).query_memory;
    if limit == 0 {
        return Arc::new(context);
    }
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    // What a sort sets aside for merging what it has spilled is usually more than a small limit.
    let mut config = context.session_config().clone();
    let set_aside = &mut config.options_mut().execution.sort_spill_reservation_bytes;
    *set_aside = (*set_aside).min(limit / 8);
    let context = context.with_session_config(config);
    let shared = state.runtime_env().as_ref().clone();
    let pool = LimitedPool::new(limit, Owner::Statement, Some(Arc::clone(&shared.memory_pool)));
    let own = RuntimeEnv {
        memory_pool: Arc::new(pool),
        ..shared
    };
    Arc::new(context.with_runtime(Arc::new(own)))
}

/// Whose limit it is.
#[derive(Debug, Clone, Copy)]
enum Owner {
    Server,
    Statement,
}

/// A pool with an end, shared fairly by those that can spill, in front of another one.
#[derive(Debug)]
struct LimitedPool {
    own: FairSpillPool,
    limit: usize,
    owner: Owner,
    behind: Option<Arc<dyn MemoryPool>>,
}

impl LimitedPool {
    fn new(limit: usize, owner: Owner, behind: Option<Arc<dyn MemoryPool>>) -> Self {
        Self {
            own: FairSpillPool::new(limit),
            limit,
            owner,
            behind,
        }
    }
}

impl fmt::Display for LimitedPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}(limit: {} bytes)", self.name(), self.limit)
    }
}

impl MemoryPool for LimitedPool {
    fn name(&self) -> &str {
        match self.owner {
            Owner::Server => "server",
            Owner::Statement => "statement",
        }
    }

    fn register(&self, consumer: &MemoryConsumer) {
        self.own.register(consumer);
        if let Some(behind) = &self.behind {
            behind.register(consumer);
        }
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        self.own.unregister(consumer);
        if let Some(behind) = &self.behind {
            behind.unregister(consumer);
        }
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        self.own.grow(reservation, additional);
        if let Some(behind) = &self.behind {
            behind.grow(reservation, additional);
        }
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        self.own.shrink(reservation, shrink);
        if let Some(behind) = &self.behind {
            behind.shrink(reservation, shrink);
        }
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        let refused = || {
            let wanted = reservation.size().saturating_add(additional);
            let who = reservation.consumer().name();
            match self.owner {
                Owner::Server => resources_datafusion_err!(
                    "the statements of this server may hold {} bytes together (--sql-memory-limit), and {who} wants {wanted}",
                    self.limit
                ),
                Owner::Statement => resources_datafusion_err!(
                    "a statement of this session may hold {} bytes (elanus.query_memory), and {who} wants {wanted}; \
                     SET elanus.query_memory to more, or to 0 for no limit",
                    self.limit
                ),
            }
        };
        self.own
            .try_grow(reservation, additional)
            .map_err(|_| refused())?;
        // Whoever can spill does so while there is room left for those above it that cannot, such as the merge of sorts.
        let can_spill = reservation.consumer().can_spill() && reservation.size() > 0;
        if can_spill && self.own.reserved() > self.limit - self.limit / 4 {
            self.own.shrink(reservation, additional);
            return Err(refused());
        }
        let Some(behind) = &self.behind else {
            return Ok(());
        };
        behind
            .try_grow(reservation, additional)
            .inspect_err(|_| self.own.shrink(reservation, additional))
    }

    fn reserved(&self) -> usize {
        self.own.reserved()
    }

    fn memory_limit(&self) -> MemoryLimit {
        MemoryLimit::Finite(self.limit)
    }
}

/// Bytes as a person writes them: `1048576`, `64MiB`, `1.5 GB`.
pub(crate) fn bytes_of(text: &str) -> Option<u64> {
    let text = text.trim();
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "k" | "kib" => 1024.0,
        "m" | "mib" => 1024.0 * 1024.0,
        "g" | "gib" => 1024.0 * 1024.0 * 1024.0,
        "kb" => 1e3,
        "mb" => 1e6,
        "gb" => 1e9,
        _ => return None,
    };
    let bytes = number.parse::<f64>().ok()? * unit;
    // 2^53: every whole number below it is exact.
    (0.0..=9_007_199_254_740_992.0)
        .contains(&bytes)
        .then_some(bytes as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read() {
        for (text, bytes) in [
            ("0", 0),
            ("64MiB", 64 << 20),
            ("1.5 k", 1536),
            ("2gb", 2_000_000_000),
        ] {
            assert_eq!(bytes_of(text), Some(bytes), "{text}");
        }
        for text in ["", "x", "-1", "1 apple", "1e9"] {
            assert_eq!(bytes_of(text), None, "{text}");
        }
    }

    #[test]
    fn what_the_pool_behind_refuses_is_given_back() {
        let behind: Arc<dyn MemoryPool> = Arc::new(LimitedPool::new(100, Owner::Server, None));
        let pool: Arc<dyn MemoryPool> = Arc::new(LimitedPool::new(
            1_000,
            Owner::Statement,
            Some(Arc::clone(&behind)),
        ));
        let reservation = MemoryConsumer::new("sort").register(&pool);
        reservation.try_grow(90).unwrap();
        let error = reservation.try_grow(20).unwrap_err().to_string();
        assert!(
            error.contains("--sql-memory-limit") && error.contains("sort wants 110"),
            "{error}"
        );
        assert_eq!((pool.reserved(), behind.reserved()), (90, 90));
        reservation.free();
        let error = reservation.try_grow(2_000).unwrap_err().to_string();
        assert!(
            error.contains("elanus.query_memory") && error.contains("1000 bytes"),
            "{error}"
        );
        assert_eq!((pool.reserved(), behind.reserved()), (0, 0));
    }
}

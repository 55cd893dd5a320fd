//! Warming a collection for searches, within the memory that this node may use.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::collection::Collection;
use crate::error::{Error, Result};
use crate::load::{LoadScope, LoadState};
use crate::unit::{Block, Unit};

/// Memory promised to loaded collections.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: Option<u64>,
    promised: Mutex<HashMap<i64, u64>>,
}

impl Budget {
    pub fn new(limit: Option<u64>) -> Self {
        Self {
            limit,
            promised: Mutex::default(),
        }
    }

    /// Promises `bytes` to a collection in place of what it was promised before.
    fn promise(&self, id: i64, name: &str, bytes: u64) -> Result<()> {
        let mut promised = self.promised.lock();
        let used: u64 = promised
            .iter()
            .filter(|(other, _)| **other != id)
            .map(|(_, bytes)| *bytes)
            .sum();
        if let Some(limit) = self.limit
            && used.saturating_add(bytes) > limit
        {
            return Err(Error::MemoryBudget {
                name: name.to_string(),
                needed: bytes,
                used,
                limit,
            });
        }
        promised.insert(id, bytes);
        Ok(())
    }

    pub fn release(&self, id: i64) {
        self.promised.lock().remove(&id);
    }
}

/// How far the warming of a collection is.
#[derive(Debug, Default)]
pub(crate) struct Warmup {
    total: AtomicU64,
    done: AtomicU64,
    /// Counts loads and releases: an older warming stops when it sees a newer number.
    generation: AtomicU64,
}

impl Collection {
    /// Loads the collection, or these partitions of it, for the Milvus door.
    ///
    /// Returns once the wish is durable; reading goes on in the background, see
    /// [`Collection::load_progress`].
    ///
    /// # Errors
    /// [`Error::IndexNotFound`] when a vector field has no index, [`Error::MemoryBudget`],
    /// [`Error::PartitionNotFound`].
    pub async fn load(&self, partitions: Option<&[String]>) -> Result<()> {
        self.load_fields(partitions, None).await
    }

    /// Like [`Collection::load`], warming only these fields (`None`: all of them).
    ///
    /// The other fields stay readable; their columns are read when a query first needs them.
    ///
    /// # Errors
    /// As [`Collection::load`]; only the vector fields among `fields` need an index.
    pub async fn load_fields(&self, partitions: Option<&[String]>, fields: Option<&[String]>) -> Result<()> {
        let state = self.shared.state.load_full();
        let unindexed: Vec<_> = self
            .schema()
            .vector_fields()
            .filter(|field| fields.is_none_or(|fields| fields.contains(&field.name)))
            .filter(|field| !state.indexes.iter().any(|def| def.field == field.name))
            .map(|field| field.name.clone())
            .collect();
        if !unindexed.is_empty() {
            return Err(Error::IndexNotFound {
                collection: self.name(),
                index: format!(
                    "there is no vector index on field: [{}], please create index firstly",
                    unindexed.join(" ")
                ),
            });
        }
        let ids = partitions.map(|names| state.partition_ids(names)).transpose()?;
        let scope = match &ids {
            None => LoadScope::All,
            Some(ids) => state.load.with(ids),
        };
        let bytes = self.units_in(&scope).iter().map(|unit| load_bytes(unit)).sum();
        self.budget.promise(self.id(), &self.name(), bytes)?;
        let wish = scope.clone();
        self.edit(Box::new(move |state| {
            state.load = wish;
            Ok(0)
        }))
        .await?;
        self.warm_up(&scope, fields);
        Ok(())
    }

    /// Lets the collection, or these partitions of it, go.
    ///
    /// # Errors
    /// [`Error::PartitionNotFound`] or a storage error.
    pub async fn release(&self, partitions: Option<&[String]>) -> Result<()> {
        let ids = partitions.map(|names| self.partition_ids(names)).transpose()?;
        self.edit(Box::new(move |state| {
            let all: Vec<_> = state.partitions.iter().map(|partition| partition.id).collect();
            state.load = match &ids {
                None => LoadScope::None,
                Some(ids) => state.load.without(ids, &all),
            };
            Ok(0)
        }))
        .await?;
        self.warmup.generation.fetch_add(1, Ordering::Relaxed);
        let scope = self.shared.state.load().load.clone();
        for unit in &self.snapshot().units {
            if let (Block::Sealed(segment), false) = (unit.block(), scope.covers(unit.partition())) {
                segment.release();
            }
        }
        if scope == LoadScope::None {
            self.budget.release(self.id());
        }
        Ok(())
    }

    /// The load state of these partitions, or of the collection when none are named.
    ///
    /// # Errors
    /// [`Error::PartitionNotFound`].
    pub fn load_state(&self, partitions: &[String]) -> Result<LoadState> {
        let state = self.shared.state.load();
        let ids = state.partition_ids(partitions)?;
        let wanted = match ids.as_slice() {
            [] => state.load != LoadScope::None,
            ids => ids.iter().all(|id| state.load.covers(*id)),
        };
        Ok(match (wanted, self.warm_percent()) {
            (false, _) => LoadState::NotLoad,
            (true, 100) => LoadState::Loaded,
            (true, _) => LoadState::Loading,
        })
    }

    /// How much of these partitions (or of the collection) is warmed, in percent; 0 when not loaded.
    ///
    /// # Errors
    /// [`Error::PartitionNotFound`].
    pub fn load_progress(&self, partitions: &[String]) -> Result<u32> {
        Ok(match self.load_state(partitions)? {
            LoadState::NotLoad => 0,
            LoadState::Loading => self.warm_percent(),
            LoadState::Loaded => 100,
        })
    }

    /// Checks that these partitions (or, when empty, the collection) were loaded.
    ///
    /// # Errors
    /// [`Error::CollectionNotLoaded`] or [`Error::PartitionNotLoaded`].
    pub fn check_loaded(&self, partitions: &[i64]) -> Result<()> {
        let state = self.shared.state.load();
        if state.load == LoadScope::None {
            return Err(Error::CollectionNotLoaded { name: self.name() });
        }
        match partitions.iter().find(|id| !state.load.covers(**id)) {
            None => Ok(()),
            Some(id) => {
                let name = state
                    .partitions
                    .iter()
                    .find(|p| p.id == *id)
                    .map(|p| p.name.clone())
                    .unwrap_or_default();
                Err(Error::PartitionNotLoaded { name })
            }
        }
    }

    /// The partitions that are loaded: `None` for all of them.
    pub fn loaded_partitions(&self) -> Option<Vec<i64>> {
        match &self.shared.state.load().load {
            LoadScope::All => None,
            LoadScope::None => Some(Vec::new()),
            LoadScope::Partitions(ids) => Some(ids.clone()),
        }
    }

    fn warm_percent(&self) -> u32 {
        let total = self.warmup.total.load(Ordering::Relaxed);
        let done = self.warmup.done.load(Ordering::Relaxed).min(total);
        // Nothing to warm is warm.
        (done * 100)
            .checked_div(total)
            .map_or(100, |percent| u32::try_from(percent).unwrap_or(100))
    }

    fn units_in(&self, scope: &LoadScope) -> Vec<Arc<Unit>> {
        self.snapshot()
            .units
            .iter()
            .filter(|unit| scope.covers(unit.partition()))
            .cloned()
            .collect()
    }

    /// Reads what searches will need, in the background.
    pub(crate) fn warm_up(&self, scope: &LoadScope, fields: Option<&[String]>) {
        let units = self.units_in(scope);
        let warmup = Arc::clone(&self.warmup);
        let generation = warmup.generation.fetch_add(1, Ordering::Relaxed) + 1;
        warmup.done.store(0, Ordering::Relaxed);
        warmup.total.store(units.len() as u64, Ordering::Relaxed);
        let name = self.name();
        let columns: Vec<String> = self
            .schema()
            .fields
            .iter()
            .filter(|field| !field.data_type.is_vector())
            .filter(|field| fields.is_none_or(|fields| fields.contains(&field.name)))
            .map(|field| field.name.clone())
            .collect();
        tokio::spawn(async move {
            let names: Vec<&str> = columns.iter().map(String::as_str).collect();
            for unit in units {
                if warmup.generation.load(Ordering::Relaxed) != generation {
                    return;
                }
                if let Err(error) = unit.columns(&names).await {
                    // The rows stay readable one by one; the first query that needs them reports it.
                    tracing::error!(collection = %name, unit = %unit.id(), %error, "warming failed");
                }
                warmup.done.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
}

fn load_bytes(unit: &Unit) -> u64 {
    let indexes: usize = unit.indexes().values().map(|index| index.memory_bytes()).sum();
    unit.bytes() + indexes as u64
}

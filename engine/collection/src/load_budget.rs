//! Warming a collection for searches, within the memory that this node may use.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::collection::Collection;
use crate::error::{Error, Result};
use crate::load::{LoadScope, LoadState};
use crate::state::CollectionState;
use crate::structs::split_sub_field_name;
use crate::types::Field;
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
    fn promise(&self, id: i64, name: &str, bytes: Option<u64>) -> Result<()> {
        let bytes = bytes.unwrap_or(0);
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

    /// Counts `bytes` for a collection, whatever the limit; none at all when it is not loaded.
    fn set(&self, id: i64, bytes: Option<u64>) {
        match bytes {
            Some(bytes) => self.promised.lock().insert(id, bytes),
            None => self.promised.lock().remove(&id),
        };
    }

    pub fn release(&self, id: i64) {
        self.set(id, None);
    }
}

/// How far the warming of a collection is.
#[derive(Debug, Default)]
pub(crate) struct Warmup {
    total: AtomicU64,
    done: AtomicU64,
    /// Counts loads and releases: an older warming stops when it sees a newer number.
    generation: AtomicU64,
    /// The fields that are warmed; `None`: all.
    fields: Mutex<Option<Vec<String>>>,
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
        let is_wanted = |field: &Field| {
            let of = split_sub_field_name(&field.name).map_or(field.name.as_str(), |(field, _)| field);
            fields.is_none_or(|fields| fields.iter().any(|name| *name == field.name || name == of))
        };
        let wanted = self.schema().vector_columns().filter(is_wanted);
        let vectors: Vec<String> = wanted.map(|field| field.name).collect();
        need_indexes(&self.name(), &vectors, &state)?;
        let ids = partitions.map(|names| state.partition_ids(names)).transpose()?;
        let scope = match &ids {
            None => LoadScope::All,
            Some(ids) => state.load.with(ids),
        };
        self.budget
            .promise(self.id(), &self.name(), self.bytes_of(&scope))?;
        let (collection, names) = (self.name(), partitions.map(<[String]>::to_vec));
        // All is looked at again where nothing can change it: another load, a drop of the partition or of the index
        // may have come first.
        let edited = self
            .edit(Box::new(move |state| {
                need_indexes(&collection, &vectors, state)?;
                state.load = match names {
                    None => LoadScope::All,
                    Some(names) => state.load.with(&state.partition_ids(&names)?),
                };
                Ok(0)
            }))
            .await;
        let scope = self.shared.state.load().load.clone();
        if matches!(edited, Err(Error::Closed(_))) {
            self.budget.release(self.id());
        } else {
            self.budget.set(self.id(), self.bytes_of(&scope));
        }
        edited?;
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
        let scope = self.shared.state.load().load.clone();
        if scope == LoadScope::None || self.warm_percent() == 100 {
            self.warmup.generation.fetch_add(1, Ordering::Relaxed);
        } else {
            // Stops the warming that runs and goes on with what is still wanted.
            let fields = self.warmup.fields.lock().clone();
            self.warm_up(&scope, fields.as_deref());
        }
        for unit in &self.snapshot().units {
            if let (Block::Sealed(segment), false) = (unit.block(), scope.covers(unit.partition())) {
                segment.release();
            }
        }
        self.budget.set(self.id(), self.bytes_of(&scope));
        Ok(())
    }

    /// Takes a load up again that was asked for before a restart. It was within the budget of that time, so it counts
    /// now even when the budget is smaller.
    pub(crate) fn resume_load(&self, scope: &LoadScope) {
        self.budget.set(self.id(), self.bytes_of(scope));
        self.warm_up(scope, None);
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

    /// What this scope is counted with in the budget; `None` when nothing is loaded.
    fn bytes_of(&self, scope: &LoadScope) -> Option<u64> {
        (*scope != LoadScope::None).then(|| self.units_in(scope).iter().map(|unit| load_bytes(unit)).sum())
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
        *warmup.fields.lock() = fields.map(<[String]>::to_vec);
        warmup.done.store(0, Ordering::Relaxed);
        warmup.total.store(units.len() as u64, Ordering::Relaxed);
        let name = self.name();
        let shared = Arc::clone(&self.shared);
        let is_wanted = move |partition| shared.state.load().load.covers(partition);
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
                if warmup.generation.load(Ordering::Relaxed) != generation {
                    // Released while it was read.
                    if let (Block::Sealed(segment), false) = (unit.block(), is_wanted(unit.partition())) {
                        segment.release();
                    }
                    return;
                }
                warmup.done.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
}

/// Refuses unless each of these vector fields has an index.
fn need_indexes(collection: &str, fields: &[String], state: &CollectionState) -> Result<()> {
    let lacks = |field: &&String| !state.indexes.iter().any(|def| def.field == **field);
    let unindexed: Vec<&str> = fields.iter().filter(lacks).map(String::as_str).collect();
    if unindexed.is_empty() {
        return Ok(());
    }
    Err(Error::IndexNotFound {
        collection: collection.to_string(),
        index: format!(
            "there is no vector index on field: [{}], please create index firstly",
            unindexed.join(" ")
        ),
    })
}

fn load_bytes(unit: &Unit) -> u64 {
    unit.bytes() + unit.index_bytes() as u64
}

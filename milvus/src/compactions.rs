//! Compactions that clients have asked for: they run in the background, and later calls ask how far they are.

use std::num::NonZeroUsize;
use std::sync::Arc;

use elanus_collection::{Collection, Snapshot, Unit, UnitId};
use lru::LruCache;
use parking_lot::Mutex;

/// Most compactions that are remembered.
const MOST: NonZeroUsize = NonZeroUsize::MIN.saturating_add(1_023);

/// How far a compaction is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    Running,
    /// The segments of each partition afterwards.
    Done(Vec<Segments>),
    /// Why it failed.
    Failed(String),
}

/// The segments of a partition, by number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Segments {
    pub partition: i64,
    pub ids: Vec<i64>,
}

/// A compaction of a collection.
#[derive(Debug)]
pub(crate) struct Compaction {
    pub id: i64,
    pub collection: i64,
    /// The segments of each partition before.
    pub sources: Vec<Segments>,
    state: Mutex<State>,
}

impl Compaction {
    pub fn state(&self) -> State {
        self.state.lock().clone()
    }
}

/// The compactions of a door.
#[derive(Debug)]
pub(crate) struct Compactions {
    known: Mutex<LruCache<i64, Arc<Compaction>>>,
}

impl Default for Compactions {
    fn default() -> Self {
        Self {
            known: Mutex::new(LruCache::new(MOST)),
        }
    }
}

impl Compactions {
    /// Begins to merge the segments of each partition of a collection, and to drop deleted rows; `id` is above 0 and new.
    pub fn start(&self, id: i64, collection: Arc<Collection>) -> Arc<Compaction> {
        let compaction = Arc::new(Compaction {
            id,
            collection: collection.id(),
            sources: segments_of(&collection.snapshot()),
            state: Mutex::new(State::Running),
        });
        self.known.lock().put(id, Arc::clone(&compaction));
        let running = Arc::clone(&compaction);
        tokio::spawn(async move {
            let outcome = async {
                collection.compact().await?;
                collection.settle().await
            };
            let state = match outcome.await {
                Ok(()) => State::Done(segments_of(&collection.snapshot())),
                Err(error) => State::Failed(error.to_string()),
            };
            *running.state.lock() = state;
        });
        compaction
    }

    /// The compaction of this number.
    pub fn get(&self, id: i64) -> Option<Arc<Compaction>> {
        self.known.lock().get(&id).map(Arc::clone)
    }

    /// Those of a collection, oldest first.
    pub fn of(&self, collection: i64) -> Vec<Arc<Compaction>> {
        let known = self.known.lock();
        let of = known.iter().map(|(_, compaction)| compaction);
        let mut of: Vec<_> = of
            .filter(|compaction| compaction.collection == collection)
            .map(Arc::clone)
            .collect();
        of.sort_unstable_by_key(|compaction| compaction.id);
        of
    }
}

/// The number of a segment: 63 random bits of its name. Rows in memory have none.
pub(crate) fn segment_number(unit: &Unit) -> Option<i64> {
    match unit.id() {
        UnitId::Sealed(segment) => {
            let low = u64::try_from(segment.0.random() & u128::from(u64::MAX)).unwrap_or(0);
            Some(i64::try_from(low >> 1).unwrap_or(i64::MAX))
        }
        UnitId::Growing(_) => None,
    }
}

fn segments_of(snapshot: &Snapshot) -> Vec<Segments> {
    let mut all: Vec<Segments> = Vec::new();
    for unit in &snapshot.units {
        let Some(id) = segment_number(unit) else { continue };
        match all.iter_mut().find(|known| known.partition == unit.partition()) {
            Some(known) => known.ids.push(id),
            None => all.push(Segments {
                partition: unit.partition(),
                ids: vec![id],
            }),
        }
    }
    all
}

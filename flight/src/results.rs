//! Results that wait to be fetched, and those that are being fetched.

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use elanus_query::Pinned;
use flight_prost_types::Timestamp;
use flight_tonic::Status;
use lru::LruCache;
use parking_lot::Mutex;
use tokio::sync::Notify;

/// How long a result waits for its next reader.
const KEPT: Duration = Duration::from_secs(600);
/// Most results that wait.
const WAITING: NonZeroUsize = NonZeroUsize::new(1_024).unwrap();

/// Cancelled results that are remembered.
const CANCELLED: NonZeroUsize = NonZeroUsize::new(4_096).unwrap();

/// The results of one server.
pub(crate) struct Results {
    waiting: Mutex<LruCache<u128, Waiting>>,
    running: Mutex<HashMap<u128, BTreeMap<u64, Arc<Notify>>>>,
    next_reader: AtomicU64,
    /// Results that were cancelled: a ticket of one is good for nothing any more.
    cancelled: Mutex<LruCache<u128, ()>>,
}

/// Someone who reads a result; forgotten when dropped.
pub(crate) struct Reader {
    results: Arc<Results>,
    result: u128,
    number: u64,
    told: Arc<Notify>,
}

impl Reader {
    /// Waits until the result is cancelled.
    pub async fn cancelled(&self) {
        self.told.notified().await;
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut running = self.results.running.lock();
        if let Some(readers) = running.get_mut(&self.result) {
            readers.remove(&self.number);
            if readers.is_empty() {
                running.remove(&self.result);
            }
        }
    }
}

struct Waiting {
    pinned: Pinned,
    /// Whose it is; `None` where users are not asked for.
    user: Option<Arc<str>>,
    until: Instant,
}

impl Default for Results {
    fn default() -> Self {
        Self {
            waiting: Mutex::new(LruCache::new(WAITING)),
            running: Mutex::default(),
            next_reader: AtomicU64::new(0),
            cancelled: Mutex::new(LruCache::new(CANCELLED)),
        }
    }
}

fn expiry() -> Timestamp {
    (SystemTime::now() + KEPT).into()
}

/// Whether there was anything to cancel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cancelled {
    /// It was waiting or running.
    Yes,
    /// It is not known here, or was read to its end.
    Gone,
}

impl Results {
    /// Keeps a result under a new id that cannot be guessed; also says until when at least.
    pub fn keep(&self, pinned: Pinned, user: Option<&str>) -> Result<(u128, Timestamp), Status> {
        let id = u128::from(ulid::Ulid::new());
        let now = Instant::now();
        let mut waiting = self.waiting.lock();
        if waiting.len() >= WAITING.get() {
            // One of one part can be computed again; one of several is promised to its readers.
            let replaceable =
                |(_, result): &(&u128, &Waiting)| result.until <= now || result.pinned.parts() == 1;
            let oldest = waiting.iter().rev().find(replaceable).map(|(id, _)| *id);
            let Some(oldest) = oldest else {
                return Err(Status::resource_exhausted(format!(
                    "{WAITING} results in parts wait for their readers: read some, or try later"
                )));
            };
            waiting.pop(&oldest);
        }
        waiting.put(
            id,
            Waiting {
                pinned,
                user: user.map(Arc::from),
                until: now + KEPT,
            },
        );
        Ok((id, expiry()))
    }

    /// The result, for reading one of its parts. One of a single part is not kept for a second reader,
    /// who can have it computed again. That of another user is not there.
    pub fn read(&self, id: u128, user: Option<&str>) -> Option<Pinned> {
        let mut waiting = self.waiting.lock();
        if waiting.peek(&id)?.user.as_deref() != user {
            return None;
        }
        if waiting.peek(&id)?.pinned.parts() == 1 {
            return waiting.pop(&id).map(|result| result.pinned);
        }
        let result = waiting.get_mut(&id)?;
        result.until = Instant::now() + KEPT;
        Some(result.pinned.clone())
    }

    /// Notes that someone reads the result.
    pub fn reader(self: &Arc<Self>, result: u128) -> Result<Reader, Status> {
        if self.cancelled.lock().contains(&result) {
            return Err(Status::cancelled("the query was cancelled"));
        }
        let told = Arc::new(Notify::new());
        let number = self.next_reader.fetch_add(1, Ordering::Relaxed);
        self.running
            .lock()
            .entry(result)
            .or_default()
            .insert(number, Arc::clone(&told));
        Ok(Reader {
            results: Arc::clone(self),
            result,
            number,
            told,
        })
    }

    /// Ends all readers of a result, and lets it go.
    pub fn cancel(&self, id: u128) -> Cancelled {
        self.cancelled.lock().put(id, ());
        let waited = self.waiting.lock().pop(&id).is_some();
        let readers = self.running.lock().remove(&id).unwrap_or_default();
        for reader in readers.values() {
            // Kept for a reader that does not listen yet.
            reader.notify_one();
        }
        if waited || !readers.is_empty() {
            Cancelled::Yes
        } else {
            Cancelled::Gone
        }
    }

    /// Keeps a result longer; `None` when it is gone.
    pub fn renew(&self, id: u128) -> Option<Timestamp> {
        let mut waiting = self.waiting.lock();
        waiting.get_mut(&id)?.until = Instant::now() + KEPT;
        Some(expiry())
    }

    /// Lets results go that nobody has read for long.
    pub fn sweep(&self) {
        let now = Instant::now();
        let mut waiting = self.waiting.lock();
        while waiting.peek_lru().is_some_and(|(_, result)| result.until <= now) {
            waiting.pop_lru();
        }
    }
}

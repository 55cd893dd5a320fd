//! Results that wait to be fetched, and those that are being fetched.

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use elanus_query::Pinned;
use flight_prost_types::Timestamp;
use futures::stream::{AbortHandle, AbortRegistration};
use lru::LruCache;
use parking_lot::Mutex;

/// How long a result waits for its next reader.
const KEPT: Duration = Duration::from_secs(600);
/// Most results that wait; the one that was read longest ago makes room.
const WAITING: NonZeroUsize = NonZeroUsize::new(1_024).unwrap();

/// The results of one server.
pub(crate) struct Results {
    waiting: Mutex<LruCache<u128, Waiting>>,
    running: Mutex<HashMap<u128, BTreeMap<u64, AbortHandle>>>,
    next_reader: AtomicU64,
}

/// Someone who reads a result; forgotten when dropped.
pub(crate) struct Reader {
    results: Arc<Results>,
    result: u128,
    number: u64,
    handle: AbortHandle,
}

impl Reader {
    /// Whether the result was cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.handle.is_aborted()
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
    until: Instant,
}

impl Default for Results {
    fn default() -> Self {
        Self {
            waiting: Mutex::new(LruCache::new(WAITING)),
            running: Mutex::default(),
            next_reader: AtomicU64::new(0),
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
    pub fn keep(&self, pinned: Pinned) -> (u128, Timestamp) {
        let id = u128::from(ulid::Ulid::new());
        let until = Instant::now() + KEPT;
        self.waiting.lock().put(id, Waiting { pinned, until });
        (id, expiry())
    }

    /// The result, for reading one of its parts. One of a single part is not kept for a second reader,
    /// who can have it computed again.
    pub fn read(&self, id: u128) -> Option<Pinned> {
        let mut waiting = self.waiting.lock();
        if waiting.peek(&id)?.pinned.parts() == 1 {
            return waiting.pop(&id).map(|result| result.pinned);
        }
        let result = waiting.get_mut(&id)?;
        result.until = Instant::now() + KEPT;
        Some(result.pinned.clone())
    }

    /// Notes that someone reads the result; the registration is for the stream that is read.
    pub fn reader(self: &Arc<Self>, result: u128) -> (Reader, AbortRegistration) {
        let (handle, registration) = AbortHandle::new_pair();
        let number = self.next_reader.fetch_add(1, Ordering::Relaxed);
        self.running
            .lock()
            .entry(result)
            .or_default()
            .insert(number, handle.clone());
        let reader = Reader {
            results: Arc::clone(self),
            result,
            number,
            handle,
        };
        (reader, registration)
    }

    /// Ends all readers of a result, and lets it go.
    pub fn cancel(&self, id: u128) -> Cancelled {
        let waited = self.waiting.lock().pop(&id).is_some();
        let readers = self.running.lock().remove(&id).unwrap_or_default();
        for reader in readers.values() {
            reader.abort();
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

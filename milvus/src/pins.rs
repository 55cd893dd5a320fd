//! Snapshots that iterators read from, so that later writes do not disturb them.
//!
//! ```text
//!   first request    iterator=True                     -> pin (collection, snapshot) under a new session timestamp
//!   its reply        session_ts
//!   later requests   guarantee_timestamp = session_ts  -> the pinned snapshot, whatever was written since
//! ```
//!
//! The protocol has no call that ends an iterator. A pin that nobody has used for [`IDLE`] is let go, and so is the one
//! unused for longest when there are [`MOST`]; an iterator that comes back later is told so, and never reads other rows.
//!
//! Clients also send the time of their last write as `guarantee_timestamp`. So that it can be told from a session, the
//! counter of a session's timestamp (its lower 18 bits) is one that hardly a write reaches: above [`FIRST_COUNTER`]. Where one
//! does, by some 260,000 rows at once, its time names no session that there is, and a request of no iterator takes no notice.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use elanus_collection::{Collection, Snapshot};
use lru::LruCache;
use parking_lot::Mutex;

use crate::status::{Error, Result};

/// Time without a request after which a pin is let go.
const IDLE: Duration = Duration::from_secs(30 * 60);
/// How often idle pins are looked for.
const SWEEP: Duration = Duration::from_secs(60);
/// Most pins.
const MOST: NonZeroUsize = NonZeroUsize::MIN.saturating_add(1_023);
/// Most search iterators of one pin that are remembered.
const MOST_CURSORS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(63);

/// Bits of a timestamp that count within its millisecond.
const COUNTER: u64 = (1 << 18) - 1;
/// Counters from here on are of sessions: 4,096 in a millisecond. Other writes would have to come at 250 million a second.
const FIRST_COUNTER: u64 = COUNTER - 4_095;

/// A collection as it was when an iterator began.
#[derive(Debug)]
pub(crate) struct Pin {
    /// The collection, with the schema of that moment.
    pub collection: Arc<Collection>,
    /// Its rows.
    pub snapshot: Arc<Snapshot>,
    /// Names the pin to its client.
    pub session: u64,
    /// How far search iterators have come.
    cursors: Mutex<LruCache<String, Cursor>>,
    tokens: AtomicU64,
}

/// The last two pages of a search iterator: how many rows with the last score of the page (as bits) had been returned by
/// its end. A client that repeats a request asks for the page before the last.
#[derive(Debug, Clone, Copy, Default)]
struct Cursor([Option<(u32, usize)>; 2]);

impl Pin {
    /// A name for one more search iterator.
    pub fn new_token(&self) -> String {
        let number = self.tokens.fetch_add(1, Ordering::Relaxed);
        format!("{:x}-{number:x}", self.session)
    }

    /// How many rows of score `bound` the iterator `token` has returned.
    pub fn returned(&self, token: &str, bound: f32) -> Result<usize> {
        let mut cursors = self.cursors.lock();
        let cursor = cursors.get(token).copied().unwrap_or_default();
        let known = cursor
            .0
            .into_iter()
            .flatten()
            .find(|(bits, _)| *bits == bound.to_bits());
        known.map(|(_, rows)| rows).ok_or_else(|| {
            Error::invalid(format!(
                "search_iter_id {token} with search_iter_last_bound {bound} is not the place where an iterator is; start a new iterator"
            ))
        })
    }

    /// Remembers that `rows` rows of score `bound` have been returned by the end of a page.
    pub fn advance(&self, token: &str, bound: f32, rows: usize) {
        let mut cursors = self.cursors.lock();
        let cursor = cursors.get_or_insert_mut(token.to_string(), Cursor::default);
        let bits = bound.to_bits();
        let [first, second] = cursor.0;
        let before = if first.is_some_and(|(known, _)| known == bits) {
            second
        } else {
            first
        };
        cursor.0 = [Some((bits, rows)), before];
    }
}

/// All pins of a door.
#[derive(Debug)]
pub(crate) struct Pins {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    pins: LruCache<(i64, u64), (Instant, Arc<Pin>)>,
    /// Counter of the last session.
    counter: u64,
    sweeping: bool,
}

impl Default for Pins {
    fn default() -> Self {
        Self {
            inner: Mutex::new(Inner {
                pins: LruCache::new(MOST),
                counter: FIRST_COUNTER,
                sweeping: false,
            }),
        }
    }
}

impl Pins {
    /// Pins a collection as it is, under a session made of the timestamp `now`.
    pub fn pin(self: &Arc<Self>, collection: &Arc<Collection>, now: u64) -> Arc<Pin> {
        let mut inner = self.inner.lock();
        inner.counter = if inner.counter >= COUNTER {
            FIRST_COUNTER
        } else {
            inner.counter + 1
        };
        let pin = Arc::new(Pin {
            collection: Arc::clone(collection),
            snapshot: collection.snapshot(),
            session: (now & !COUNTER) | inner.counter,
            cursors: Mutex::new(LruCache::new(MOST_CURSORS)),
            tokens: AtomicU64::new(0),
        });
        let key = (collection.id(), pin.session);
        inner.pins.push(key, (Instant::now(), Arc::clone(&pin)));
        if !inner.sweeping {
            inner.sweeping = true;
            tokio::spawn(Arc::clone(self).sweep());
        }
        pin
    }

    /// The pin that a `guarantee_timestamp` names; `None` when it names none, or one that is not kept and no `iterator` asks for.
    ///
    /// # Errors
    /// An iterator's is not kept any more.
    pub fn of(&self, collection: &Collection, timestamp: u64, iterator: bool) -> Result<Option<Arc<Pin>>> {
        if timestamp & COUNTER < FIRST_COUNTER {
            return Ok(None);
        }
        match self.inner.lock().pins.get_mut(&(collection.id(), timestamp)) {
            Some((used, pin)) => {
                *used = Instant::now();
                Ok(Some(Arc::clone(pin)))
            }
            None if !iterator => Ok(None),
            None => Err(Error::invalid(format!(
                "the snapshot of iterator session {timestamp} is not kept any more: it was unused for {} minutes, or the server was started anew; start a new iterator",
                IDLE.as_secs() / 60
            ))),
        }
    }

    /// Lets idle pins go until there are none.
    async fn sweep(self: Arc<Self>) {
        loop {
            tokio::time::sleep(SWEEP).await;
            let mut inner = self.inner.lock();
            // The one unused for longest comes first.
            while inner
                .pins
                .peek_lru()
                .is_some_and(|(_, (used, _))| used.elapsed() >= IDLE)
            {
                inner.pins.pop_lru();
            }
            if inner.pins.is_empty() {
                inner.sweeping = false;
                return;
            }
        }
    }
}

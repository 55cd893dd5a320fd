//! Small searches of several threads, done as one: a device lives on batches, and searches come one by one.
//!
//! ```text
//!   thread 1   search ─────▶ done                     the device is free: at once, alone
//!   thread 2     └ waits ────┐ search 2, 3, 4 ─▶ done  the first that waits takes along who waits with it
//!   thread 3       └ waits ──┤
//!   thread 4          └ waits┘
//! ```
//!
//! Who comes while the device is free does not wait for company, unless the last search had some: then it stays for a moment,
//! as long as [`set_batch_wait`] says at most.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::neighbor::Neighbor;

/// Queries of one batch at most.
const MOST: usize = 1_024;

static WAIT_MICROS: AtomicU64 = AtomicU64::new(100);

thread_local! {
    /// Whether this thread searches for others. Where it waits for a part of that, it may take up further searches of its pool;
    /// those must not wait for others, who may wait for this one.
    static LEADS: Cell<bool> = const { Cell::new(false) };
}

/// How long a search on a device stays for others that it can be done with, where others have lately come; 100 microseconds
/// at first. A server sets it once, at start.
pub fn set_batch_wait(wait: Duration) {
    let micros = u64::try_from(wait.as_micros()).unwrap_or(u64::MAX);
    WAIT_MICROS.store(micros, Ordering::Relaxed);
}

/// What [`set_batch_wait`] said.
pub(crate) fn batch_wait() -> Duration {
    Duration::from_micros(WAIT_MICROS.load(Ordering::Relaxed))
}

/// Searches that wait for a device, with a query each. Those of one `K` can be done as one.
#[derive(Debug)]
pub(crate) struct Gatherer<K, Q> {
    state: Mutex<State<K, Q>>,
    changed: Condvar,
    /// Queries of one batch.
    most: usize,
}

#[derive(Debug)]
struct State<K, Q> {
    /// Somebody searches, or stays for others.
    busy: bool,
    /// The last search was for more than one.
    crowded: bool,
    next_ticket: u64,
    waiting: Vec<Waiting<K, Q>>,
    /// What is found for those whose search another thread did; nothing where that failed.
    done: HashMap<u64, Option<Vec<Neighbor>>>,
}

#[derive(Debug)]
struct Waiting<K, Q> {
    ticket: u64,
    key: K,
    query: Q,
}

impl<K: PartialEq, Q> Default for Gatherer<K, Q> {
    fn default() -> Self {
        Self {
            state: Mutex::new(State {
                busy: false,
                crowded: false,
                next_ticket: 0,
                waiting: Vec::new(),
                done: HashMap::new(),
            }),
            changed: Condvar::new(),
            most: MOST,
        }
    }
}

impl<K: PartialEq, Q> Gatherer<K, Q> {
    /// What `search`, which gets queries and answers each, finds for `query`. `wait` is how long one stays for others where they
    /// have lately come. `None`: the search failed.
    pub fn search(
        &self,
        key: K,
        query: Q,
        wait: Duration,
        search: impl FnOnce(Vec<Q>) -> Option<Vec<Vec<Neighbor>>>,
    ) -> Option<Vec<Neighbor>> {
        if LEADS.get() {
            return search(vec![query])?.pop();
        }
        let mut state = self.state.lock();
        let ticket = state.next_ticket;
        state.next_ticket += 1;
        state.waiting.push(Waiting { ticket, key, query });
        // Whoever stays for company may have enough now.
        self.changed.notify_all();
        while state.busy {
            self.changed.wait(&mut state);
            if let Some(found) = state.done.remove(&ticket) {
                return found;
            }
        }
        state.busy = true;
        let until = Instant::now() + wait;
        while (state.crowded || state.waiting.len() > 1)
            && state.waiting.len() < self.most
            && !self.changed.wait_until(&mut state, until).timed_out()
        {}
        let batch = state.take_with(ticket, self.most);
        state.crowded = batch.len() > 1;
        drop(state);

        let mut tickets = Vec::with_capacity(batch.len());
        let mut queries = Vec::with_capacity(batch.len());
        for waiting in batch {
            tickets.push(waiting.ticket);
            queries.push(waiting.query);
        }
        // Gives the device free and tells the others, whatever becomes of the search.
        let mut served = Served {
            gatherer: self,
            tickets,
            found: None,
        };
        LEADS.set(true);
        served.found = search(queries);
        let own = served.tickets.iter().position(|other| *other == ticket)?;
        served.found.as_mut()?.get_mut(own).map(std::mem::take)
    }
}

impl<K: PartialEq, Q> State<K, Q> {
    /// Takes this search and those that can be done with it, the oldest first.
    fn take_with(&mut self, ticket: u64, most: usize) -> Vec<Waiting<K, Q>> {
        let Some(own) = self.waiting.iter().position(|waiting| waiting.ticket == ticket) else {
            return Vec::new();
        };
        let own = self.waiting.remove(own);
        let mut taken = 1;
        let (mut batch, others) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition::<Vec<_>, _>(|waiting| {
                let fits = waiting.key == own.key && taken < most;
                taken += usize::from(fits);
                fits
            });
        self.waiting = others;
        batch.push(own);
        batch
    }
}

/// A search for several, while it runs.
struct Served<'a, K: PartialEq, Q> {
    gatherer: &'a Gatherer<K, Q>,
    tickets: Vec<u64>,
    found: Option<Vec<Vec<Neighbor>>>,
}

impl<K: PartialEq, Q> Drop for Served<'_, K, Q> {
    fn drop(&mut self) {
        LEADS.set(false);
        let mut state = self.gatherer.state.lock();
        state.busy = false;
        let mut found = self.found.take().map(Vec::into_iter);
        // The last is the search of the thread itself, which has its answer.
        let others = self.tickets.split_last().map_or(&[][..], |(_, others)| others);
        for ticket in others {
            let answer = found.as_mut().and_then(Iterator::next);
            state.done.insert(*ticket, answer);
        }
        self.gatherer.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Barrier, mpsc};

    use super::*;

    const NO_WAIT: Duration = Duration::ZERO;

    /// Each query is answered with itself.
    fn echo(queries: Vec<f32>) -> Option<Vec<Vec<Neighbor>>> {
        let answer = |query: f32| {
            vec![Neighbor {
                distance: query,
                row: query as u32,
            }]
        };
        Some(queries.into_iter().map(answer).collect())
    }

    fn is_of(found: &[Neighbor], query: f32) -> bool {
        matches!(found, [only] if only.distance == query)
    }

    #[test]
    fn who_waits_is_served_together() {
        let gatherer = Gatherer::default();
        let (started, go_on) = (Barrier::new(2), Barrier::new(2));
        let sizes = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let found = gatherer.search(0, 1.0, NO_WAIT, |queries| {
                    started.wait();
                    go_on.wait();
                    echo(queries)
                });
                assert!(is_of(&found.unwrap(), 1.0));
            });
            started.wait();
            for query in [2.0f32, 3.0, 4.0, 5.0] {
                let (gatherer, sizes) = (&gatherer, &sizes);
                scope.spawn(move || {
                    // The last is another kind of search.
                    let key = u32::from(query > 4.5);
                    let found = gatherer.search(key, query, NO_WAIT, |queries| {
                        sizes.lock().push(queries.len());
                        echo(queries)
                    });
                    assert!(is_of(&found.unwrap(), query));
                });
            }
            while gatherer.state.lock().waiting.len() < 4 {
                std::thread::yield_now();
            }
            go_on.wait();
        });
        let mut sizes = sizes.into_inner();
        sizes.sort_unstable();
        assert_eq!(sizes, [1, 3]);
        let state = gatherer.state.lock();
        assert!(!state.busy && state.waiting.is_empty() && state.done.is_empty());
    }

    #[test]
    fn who_goes_first_may_stay_for_company() {
        let gatherer = Gatherer {
            most: 8,
            ..Gatherer::default()
        };
        gatherer.state.lock().crowded = true;
        let calls = AtomicUsize::new(0);
        let long = Duration::from_secs(5);
        std::thread::scope(|scope| {
            for query in 0..gatherer.most {
                let (gatherer, calls) = (&gatherer, &calls);
                // As many as a batch takes: the one that stays goes when the last has come.
                scope.spawn(move || {
                    let query = query as f32;
                    let found = gatherer.search((), query, long, |queries| {
                        calls.fetch_add(1, Ordering::SeqCst);
                        echo(queries)
                    });
                    assert!(is_of(&found.unwrap(), query));
                });
            }
        });
        assert_eq!(calls.into_inner(), 1);
    }

    /// As where a thread takes up a search while it waits for a part of another one.
    #[test]
    fn who_searches_for_others_waits_for_nobody() {
        let (gatherer, other) = (Gatherer::default(), Gatherer::default());
        let found = gatherer.search((), 1.0, NO_WAIT, |queries| {
            for gatherer in [&gatherer, &other] {
                other.state.lock().busy = true;
                assert!(is_of(&gatherer.search((), 2.0, NO_WAIT, echo).unwrap(), 2.0));
            }
            echo(queries)
        });
        assert!(is_of(&found.unwrap(), 1.0));
        other.state.lock().busy = false;
        assert!(is_of(&other.search((), 3.0, NO_WAIT, echo).unwrap(), 3.0));
    }

    #[test]
    fn a_search_that_fails_or_panics_fails_for_all_and_the_next_goes_on() {
        let gatherer = Gatherer::default();
        assert!(gatherer.search((), 1.0, NO_WAIT, |_| None).is_none());
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            gatherer.search((), 1.0, NO_WAIT, |_| panic!("of the test"))
        }));
        assert!(panicked.is_err());
        let (sender, receiver) = mpsc::channel();
        std::thread::scope(|scope| {
            let (sender, first) = (sender, &gatherer);
            scope.spawn(move || {
                let answer = first.search((), 1.0, NO_WAIT, |_| {
                    while first.state.lock().waiting.is_empty() {
                        std::thread::yield_now();
                    }
                    None
                });
                sender.send(answer.is_none()).unwrap();
            });
            while !gatherer.state.lock().busy {
                std::thread::yield_now();
            }
            let found = gatherer.search((), 2.0, NO_WAIT, echo);
            assert!(is_of(&found.unwrap(), 2.0));
        });
        assert!(receiver.recv().unwrap());
        assert!(gatherer.state.lock().done.is_empty());
    }
}

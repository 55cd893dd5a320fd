//! The clock of deadlines: one thread raises the engine's epoch while calls are running, and sleeps while none are.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use wasmtime::Engine;

/// How often a running guest is looked at.
const TICK: Duration = Duration::from_millis(1);

/// Ticks without a call after which the thread sleeps until the next one.
const PATIENCE: u32 = 200;

#[derive(Debug, Default)]
struct Shared {
    calls: AtomicUsize,
    asleep: AtomicBool,
    stop: AtomicBool,
}

/// The thread and what it shares with the calls.
#[derive(Debug)]
pub(crate) struct Ticker {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    pub(crate) fn start(engine: &Engine) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let (own, engine) = (Arc::clone(&shared), engine.clone());
        let thread = thread::Builder::new()
            .name("elanus-plugin-clock".to_owned())
            .spawn(move || own.run(&engine))?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// The epoch goes on at least until the guard is dropped.
    pub(crate) fn running(&self) -> Running<'_> {
        // Either this sees that the thread sleeps, or the thread sees the call before it does: both orders of
        // the two flags are sequentially consistent.
        self.shared.calls.fetch_add(1, Ordering::SeqCst);
        if self.shared.asleep.load(Ordering::SeqCst) {
            self.wake();
        }
        Running(&self.shared.calls)
    }

    /// Ticks after which `deadline` has surely passed. The tick that is under way counts for nothing.
    pub(crate) fn ticks(deadline: Duration) -> u64 {
        let ticks = deadline.as_micros().div_ceil(TICK.as_micros()) + 1;
        u64::try_from(ticks).unwrap_or(u64::MAX / 2).min(u64::MAX / 2)
    }

    fn wake(&self) {
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.wake();
        if let Some(thread) = self.thread.take() {
            // A panic there would have been reported by the thread itself.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn run(&self, engine: &Engine) {
        let mut idle = 0;
        while !self.stop.load(Ordering::SeqCst) {
            if self.calls.load(Ordering::SeqCst) > 0 {
                idle = 0;
            } else {
                idle += 1;
            }
            if idle > PATIENCE {
                self.asleep.store(true, Ordering::SeqCst);
                if self.calls.load(Ordering::SeqCst) == 0 && !self.stop.load(Ordering::SeqCst) {
                    thread::park();
                }
                self.asleep.store(false, Ordering::SeqCst);
                idle = 0;
            }
            thread::sleep(TICK);
            engine.increment_epoch();
        }
    }
}

/// A call that is under way.
pub(crate) struct Running<'a>(&'a AtomicUsize);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

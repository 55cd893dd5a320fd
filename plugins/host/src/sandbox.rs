//! The cage of one plugin: its instances, what they may use, and what happens when one misbehaves.
//!
//! ```text
//!   call ──> an idle instance, one with the same parameters first, or a new one
//!        ──> deadline, log and memory of this call ──> the guest ──> its answer, checked
//!        ──> fine, or the plugin itself refused: the instance waits for the next call
//!            trap, deadline, memory, no answer:  the instance is thrown away
//! ```

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use wasmtime::component::InstancePre;
use wasmtime::{PoolConcurrencyLimitError, Store, Trap};

use crate::error::{Failure, PluginError, Refusal, Stage};
use crate::host::Engine;
use crate::limits::{Limiter, Limits, MemoryAccount};
use crate::params::Parameters;
use crate::rights::Log;
use crate::stats::{CallStats, Counters};

/// What the host keeps for one instance.
pub(crate) struct State {
    pub(crate) limiter: Limiter,
    pub(crate) log: Log,
    random: u64,
}

impl State {
    /// SplitMix64 (Steele et al., 2014), seeded by the system for every instance.
    pub(crate) fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// The exports of one world.
pub(crate) trait Exports: Sized + Send + 'static {
    /// A component with its imports bound and its exports found.
    type Ready: Send + Sync;

    fn ready(pre: InstancePre<State>) -> wasmtime::Result<Self::Ready>;

    fn instantiate(ready: &Self::Ready, store: &mut Store<State>) -> wasmtime::Result<Self>;
}

/// A guest with its memory.
pub(crate) struct Instance<X> {
    pub(crate) store: Store<State>,
    pub(crate) exports: X,
    /// What it was configured with last.
    pub(crate) parameters: Option<Parameters>,
    /// What it is doing, for the report of a failure.
    pub(crate) stage: Stage,
}

impl<X> Instance<X> {
    /// Starts the clock for the next piece of work.
    pub(crate) fn arm(&mut self, stage: Stage, deadline: Duration) {
        self.stage = stage;
        self.store.set_epoch_deadline(Engine::ticks(deadline));
    }
}

/// Instances that wait for a call, whatever their world.
pub(crate) trait Idle: fmt::Debug + Send + Sync {
    /// Gives them and their memory back.
    fn release(&self);
}

/// The idle instances of one plugin.
struct IdleInstances<X>(Mutex<Vec<Instance<X>>>);

impl<X> fmt::Debug for IdleInstances<X> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("IdleInstances").finish_non_exhaustive()
    }
}

impl<X: Send> Idle for IdleInstances<X> {
    fn release(&self) {
        // Dropped after the lock is free.
        let idle = std::mem::take(&mut *self.0.lock());
        drop(idle);
    }
}

/// One plugin, ready to be called from any thread.
pub(crate) struct Sandbox<X: Exports> {
    name: String,
    engine: Arc<Engine>,
    ready: X::Ready,
    pub(crate) limits: Limits,
    account: Arc<dyn MemoryAccount>,
    idle: Arc<IdleInstances<X>>,
    pub(crate) counters: Counters,
}

impl<X: Exports> fmt::Debug for Sandbox<X> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, limits, .. } = self;
        f.debug_struct("Sandbox")
            .field("name", name)
            .field("limits", limits)
            .finish_non_exhaustive()
    }
}

impl<X: Exports> Sandbox<X> {
    pub(crate) fn new(
        name: String,
        engine: Arc<Engine>,
        ready: X::Ready,
        limits: Limits,
        account: Arc<dyn MemoryAccount>,
    ) -> Self {
        let idle = Arc::new(IdleInstances(Mutex::default()));
        engine.register(Arc::<IdleInstances<X>>::downgrade(&idle) as Weak<dyn Idle>);
        let counters = Counters::default();
        Self {
            name,
            engine,
            ready,
            limits,
            account,
            idle,
            counters,
        }
    }

    /// From now on the plugin is called by the name that it gave itself.
    pub(crate) fn rename(&mut self, name: String) {
        for instance in self.idle.0.lock().iter_mut() {
            instance.store.data_mut().log.rename(&name);
        }
        self.name = name;
    }

    pub(crate) fn error(&self, stage: Stage, failure: Failure) -> PluginError {
        PluginError {
            plugin: self.name.clone(),
            stage,
            failure,
        }
    }

    /// Runs `work` with an instance. An error of wasmtime's is what the guest did; a [`Failure`] is what the host found.
    pub(crate) fn call<T>(
        &self,
        rows: usize,
        parameters: Option<&Parameters>,
        work: impl FnOnce(&mut Instance<X>) -> wasmtime::Result<Result<T, Failure>>,
    ) -> Result<(T, CallStats), PluginError> {
        let running = self.engine.ticker.running();
        let started = Instant::now();
        let mut instance = match self.idle_instance(parameters) {
            Some(instance) => instance,
            None => self.start_with_room().inspect_err(|error| {
                self.counters.call(CallStats {
                    rows,
                    wasm_time: started.elapsed(),
                    peak_memory: 0,
                });
                self.counters.failure(error);
            })?,
        };
        let state = instance.store.data_mut();
        state.limiter.begin();
        state.log.begin();
        let outcome = match work(&mut instance) {
            Ok(outcome) => outcome,
            Err(error) => Err(self.failure(&error, &mut instance.store, &instance.stage)),
        };
        let wasm_time = started.elapsed();
        drop(running);
        let state = instance.store.data_mut();
        state.log.finish();
        let stats = CallStats {
            rows,
            wasm_time,
            peak_memory: state.limiter.peak(),
        };
        self.counters.call(stats);
        match outcome {
            Ok(value) => {
                self.keep(instance);
                Ok((value, stats))
            }
            Err(failure) => {
                let keep = failure.keeps_instance();
                let error = self.error(instance.stage.clone(), failure);
                self.counters.failure(&error);
                if keep {
                    self.keep(instance);
                }
                Err(error)
            }
        }
    }

    pub(crate) fn release_idle(&self) {
        self.idle.release();
    }

    /// Whether an instance that waits for a call was configured with these parameters last.
    pub(crate) fn has_idle(&self, parameters: &Parameters) -> bool {
        let idle = self.idle.0.lock();
        idle.iter()
            .any(|instance| instance.parameters.as_ref() == Some(parameters))
    }

    fn idle_instance(&self, parameters: Option<&Parameters>) -> Option<Instance<X>> {
        let mut idle = self.idle.0.lock();
        let same = |instance: &Instance<X>| instance.parameters.as_ref() == parameters;
        match idle.iter().rposition(same) {
            Some(at) => Some(idle.swap_remove(at)),
            None => idle.pop(),
        }
    }

    fn keep(&self, instance: Instance<X>) {
        if !self.limits.reuse || instance.store.data().limiter.used() > self.limits.idle_memory {
            return;
        }
        let mut idle = self.idle.0.lock();
        if idle.len() < self.limits.idle_instances {
            idle.push(instance);
        }
    }

    /// A new instance; if there is no room for one, the idle ones of all plugins make room.
    fn start_with_room(&self) -> Result<Instance<X>, PluginError> {
        match self.start() {
            Err(PluginError {
                failure: Failure::Busy(_),
                ..
            }) => {
                self.engine.release_idle();
                self.start()
            }
            outcome => outcome,
        }
    }

    fn start(&self) -> Result<Instance<X>, PluginError> {
        let mut seed = [0; 8];
        getrandom::fill(&mut seed)
            .map_err(|error| self.error(Stage::Start, Failure::Host(error.to_string())))?;
        let state = State {
            limiter: Limiter::new(self.limits.memory, Arc::clone(&self.account)),
            log: Log::new(self.name.clone(), self.limits.log),
            random: u64::from_le_bytes(seed),
        };
        let mut store = Store::new(&self.engine.engine, state);
        store.limiter(|state| &mut state.limiter);
        // What a guest returns is copied into the host's memory: no more than it may have itself.
        store.set_hostcall_fuel(self.limits.memory);
        store.set_epoch_deadline(Engine::ticks(self.limits.start_deadline));
        self.counters.instance();
        match X::instantiate(&self.ready, &mut store) {
            Ok(exports) => Ok(Instance {
                store,
                exports,
                parameters: None,
                stage: Stage::Start,
            }),
            Err(error) => {
                let failure = self.failure(&error, &mut store, &Stage::Start);
                Err(self.error(Stage::Start, failure))
            }
        }
    }

    /// What an error of wasmtime's means for the caller.
    fn failure(&self, error: &wasmtime::Error, store: &mut Store<State>, stage: &Stage) -> Failure {
        if let Some(trap) = error.downcast_ref::<Trap>() {
            if *trap == Trap::Interrupt {
                return Failure::Deadline(match stage {
                    Stage::Load | Stage::Start | Stage::Describe | Stage::Configure => {
                        self.limits.start_deadline
                    }
                    Stage::Rerank | Stage::Invoke(_) => self.limits.deadline,
                });
            }
            let state = store.data_mut();
            return match state.limiter.refused() {
                Some(reason) => Failure::Memory(reason),
                None => Failure::Trap(explained(*trap, state.log.has_lines())),
            };
        }
        if let Some(limit) = error.downcast_ref::<PoolConcurrencyLimitError>() {
            return Failure::Busy(limit.to_string());
        }
        if let Some(reason) = store.data_mut().limiter.refused() {
            return Failure::Memory(reason);
        }
        let text = Refusal::presentable(&format!("{error:#}"));
        match stage {
            Stage::Load | Stage::Start => Failure::Trap(text),
            // Not a trap, then what it returned cannot be read: bad pointers, bad UTF-8, too much of it.
            Stage::Describe | Stage::Configure | Stage::Rerank | Stage::Invoke(_) => Failure::Answer(text),
        }
    }
}

/// A trap in words; for what a panic ends in, where its message is or would be.
fn explained(trap: Trap, has_log: bool) -> String {
    match (trap, has_log) {
        (Trap::UnreachableCodeReached, true) => {
            format!("{trap}; what the plugin wrote before is in the server's log")
        }
        (Trap::UnreachableCodeReached, false) => format!(
            "{trap}: a panic in Rust, whose message host::log_panics() and the right 'log' bring into the server's log; in \
             Python and JavaScript the use of what is not there, such as print, files, the network, the clock"
        ),
        (other, _) => other.to_string(),
    }
}

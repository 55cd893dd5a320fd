//! From the bytes of a file to a plugin that can be called.

use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use wasmtime::component::{Component, Linker};

use crate::cache::ArtifactCache;
use crate::component::{World, component, denied_imports, needed_rights, world};
use crate::contract::{reranker, udf};
use crate::digest::Digest;
use crate::error::{Failure, PluginError, Refusal, Stage};
use crate::limits::{Limits, MemoryAccount, Unbounded};
use crate::reranker::Reranker;
use crate::rights::{Rights, offer};
use crate::sandbox::{Exports, Idle, Sandbox, State};
use crate::stats::PluginStats;
use crate::ticker::Ticker;
use crate::udf::Functions;

/// How a host is set up.
#[derive(Debug, Clone)]
pub struct HostConfig {
    /// Where compiled plugins are kept between starts, if anywhere. The directory belongs to this host alone:
    /// whoever can write there can run any code in the server.
    pub cache: Option<PathBuf>,
    /// The largest file of a plugin, in bytes. Compiling takes time and memory in proportion.
    pub largest_file: usize,
    /// The largest memory that any plugin may be given, in bytes.
    pub largest_memory: usize,
    /// Instances of all plugins together, working and idle.
    pub instances: u32,
}

impl Default for HostConfig {
    fn default() -> Self {
        Self {
            cache: None,
            largest_file: 64 << 20,
            largest_memory: 1 << 30,
            instances: 256,
        }
    }
}

/// A host could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// There is no WebAssembly engine for this machine.
    #[error("no WebAssembly engine: {0}")]
    Engine(String),
    /// The directory of compiled plugins, or a thread.
    #[error("{0}")]
    System(#[from] std::io::Error),
}

/// What all plugins of a host share.
#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) engine: wasmtime::Engine,
    pub(crate) ticker: Ticker,
    /// The idle instances of every plugin that is still there.
    idle: Mutex<Vec<Weak<dyn Idle>>>,
}

impl Engine {
    pub(crate) fn ticks(deadline: Duration) -> u64 {
        Ticker::ticks(deadline)
    }

    /// Remembers where the idle instances of a plugin are.
    pub(crate) fn register(&self, idle: Weak<dyn Idle>) {
        let mut all = self.idle.lock();
        all.retain(|other| other.strong_count() > 0);
        all.push(idle);
    }

    /// Gives the idle instances of all plugins back, so that one that has work finds room.
    pub(crate) fn release_idle(&self) {
        let all: Vec<Arc<dyn Idle>> = self.idle.lock().iter().filter_map(Weak::upgrade).collect();
        all.iter().for_each(|idle| idle.release());
    }
}

/// What one plugin may do, and who pays for it.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// What it may use.
    pub limits: Limits,
    /// What it may ask of the host.
    pub rights: Rights,
    /// Who pays for its memory.
    pub account: Arc<dyn MemoryAccount>,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            rights: Rights::default(),
            account: Arc::new(Unbounded),
        }
    }
}

/// A plugin of either world. Cheap to clone; a clone keeps working when the name gets another plugin.
#[derive(Debug, Clone)]
pub enum Plugin {
    /// Puts candidates into another order.
    Reranker(Arc<Reranker>),
    /// Computes columns.
    Functions(Arc<Functions>),
}

impl Plugin {
    /// The world that it belongs to.
    pub fn world(&self) -> World {
        match self {
            Self::Reranker(_) => World::Reranker,
            Self::Functions(_) => World::Udf,
        }
    }

    /// The digest of its file.
    pub fn digest(&self) -> Digest {
        match self {
            Self::Reranker(plugin) => plugin.digest(),
            Self::Functions(plugin) => plugin.digest(),
        }
    }

    /// The name that it gives itself.
    pub fn name(&self) -> &str {
        match self {
            Self::Reranker(plugin) => &plugin.descriptor().name,
            Self::Functions(plugin) => &plugin.descriptor().name,
        }
    }

    /// The version that it gives itself.
    pub fn version(&self) -> &str {
        match self {
            Self::Reranker(plugin) => &plugin.descriptor().version,
            Self::Functions(plugin) => &plugin.descriptor().version,
        }
    }

    /// What it has done so far.
    pub fn stats(&self) -> PluginStats {
        match self {
            Self::Reranker(plugin) => plugin.stats(),
            Self::Functions(plugin) => plugin.stats(),
        }
    }
}

/// A compiled file that looks like a plugin.
pub(crate) struct Opened {
    digest: Digest,
    pub(crate) world: World,
    component: Component,
    /// The rights whose interfaces it imports.
    pub(crate) needs: Rights,
}

/// Loads plugins and runs their clock. One per process is enough.
#[derive(Debug)]
pub struct Host {
    engine: Arc<Engine>,
    cache: Option<ArtifactCache>,
    config: HostConfig,
}

impl Host {
    /// Sets up the engine, its clock and the directory of compiled plugins.
    ///
    /// # Errors
    /// See [`HostError`].
    pub fn new(config: HostConfig) -> Result<Self, HostError> {
        let engine = crate::engine::engine(config.instances, config.largest_memory)
            .map_err(|error| HostError::Engine(format!("{error:#}")))?;
        let cache = config
            .cache
            .as_deref()
            .map(|directory| ArtifactCache::open(directory, &engine))
            .transpose()?;
        let ticker = Ticker::start(&engine)?;
        Ok(Self {
            engine: Arc::new(Engine {
                engine,
                ticker,
                idle: Mutex::default(),
            }),
            cache,
            config,
        })
    }

    /// Makes a plugin of a file: compiles it, starts an instance, asks it what it is. Compiling takes
    /// milliseconds to seconds of this thread; machine code that was kept from an earlier time takes less than one.
    ///
    /// # Errors
    /// The file is no plugin, wants rights that it has not, or fails on its first steps.
    pub fn load(&self, file: &[u8], options: &LoadOptions) -> Result<Plugin, PluginError> {
        self.start(&self.open(file)?, options)
    }

    /// Compiles a file and looks at what it exports and imports; nothing of it runs.
    pub(crate) fn open(&self, file: &[u8]) -> Result<Opened, PluginError> {
        let digest = Digest::of(file);
        let engine = &self.engine.engine;
        let opened = self.compile(digest, file).and_then(|component| {
            let world = world(engine, &component)?;
            Ok(Opened {
                digest,
                world,
                needs: needed_rights(engine, &component),
                component,
            })
        });
        opened.map_err(|failure| load_error(digest, failure))
    }

    /// Why the imports of what was opened cannot be met with these rights, one line for each.
    pub(crate) fn denied(&self, opened: &Opened, rights: Rights) -> Vec<String> {
        denied_imports(&self.engine.engine, &opened.component, rights)
    }

    /// Starts what was opened and asks it what it is.
    pub(crate) fn start(&self, opened: &Opened, options: &LoadOptions) -> Result<Plugin, PluginError> {
        let Opened {
            digest,
            world,
            needs,
            component,
        } = opened;
        let denied = self.denied(opened, options.rights);
        if !denied.is_empty() {
            let mut text = denied.join("; ");
            if !options.rights.cover(*needs) {
                text.push_str(&format!(
                    ": register it WITH (rights = '{needs}'), or on the command line --with rights='{needs}'"
                ));
            }
            return Err(load_error(*digest, Failure::Denied(text)));
        }
        match world {
            World::Reranker => {
                let sandbox = self.sandbox::<reranker::Reranker>(*digest, component, options)?;
                Ok(Plugin::Reranker(Arc::new(Reranker::describe(sandbox, *digest)?)))
            }
            World::Udf => {
                let sandbox = self.sandbox::<udf::Udf>(*digest, component, options)?;
                Ok(Plugin::Functions(Arc::new(Functions::describe(
                    sandbox, *digest,
                )?)))
            }
        }
    }

    /// The machine code of a file, from the cache if it has it.
    fn compile(&self, digest: Digest, file: &[u8]) -> Result<Component, Failure> {
        let HostConfig { largest_file, .. } = self.config;
        if file.len() > largest_file {
            return Err(Failure::NotAPlugin(format!(
                "it has {} bytes, at most {largest_file} are allowed",
                file.len()
            )));
        }
        if let Some(component) = self
            .cache
            .as_ref()
            .and_then(|cache| cache.load(&self.engine.engine, digest))
        {
            return Ok(component);
        }
        let bytes = component(file)?;
        let compiled = Component::from_binary(&self.engine.engine, &bytes).map_err(|error| {
            let text = Refusal::presentable(&format!("{error:#}"));
            Failure::NotAPlugin(format!("it is no valid component: {text}"))
        })?;
        if let Some(cache) = &self.cache {
            cache.store(digest, &compiled);
        }
        Ok(compiled)
    }

    fn sandbox<X: Exports>(
        &self,
        digest: Digest,
        component: &Component,
        options: &LoadOptions,
    ) -> Result<Sandbox<X>, PluginError> {
        let LoadOptions {
            limits,
            rights,
            account,
        } = options;
        if limits.memory > self.config.largest_memory {
            let failure = Failure::Host(format!(
                "a limit of {} bytes of memory, at most {} can be given",
                limits.memory, self.config.largest_memory
            ));
            return Err(load_error(digest, failure));
        }
        let mut linker = Linker::<State>::new(&self.engine.engine);
        let ready = offer(&mut linker, *rights)
            .and_then(|()| linker.instantiate_pre(component))
            .and_then(X::ready)
            .map_err(|error| {
                let text = Refusal::presentable(&format!("{error:#}"));
                load_error(
                    digest,
                    Failure::NotAPlugin(format!("it does not fit the contract: {text}")),
                )
            })?;
        let (engine, account) = (Arc::clone(&self.engine), Arc::clone(account));
        Ok(Sandbox::new(
            digest.short(),
            engine,
            ready,
            limits.clone(),
            account,
        ))
    }
}

/// A plugin that cannot yet say its name goes by its digest.
fn load_error(digest: Digest, failure: Failure) -> PluginError {
    PluginError {
        plugin: digest.short(),
        stage: Stage::Load,
        failure,
    }
}

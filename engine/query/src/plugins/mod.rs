//! Plugins of users in statements and searches: registered in the catalog, loaded when something names them, called by
//! rerankers and SQL functions.
//!
//! ```text
//!   CREATE RERANKER r FROM 'r.wasm'     file -> signature? -> compiled, started, asked what it is -> catalog and object
//!   vector_search(.., rerank => 'r')    catalog -> loaded? if not: object -> machine code (cached) -> started
//!   DROP RERANKER r                     catalog forgets it; who holds it goes on with it until the end
//! ```
//!
//! | file | what |
//! |---|---|
//! | `columns` | Arrow columns as the flat slices that plugins take, and back |
//! | `function` | a function of a plugin as one of DataFusion |
//! | `declared` | what a statement says of a function, beside what its plugin says |
//! | `rerank` | hits and columns of their rows on their way to a reranker |
//! | `account` | the memory of plugins, out of the pool of statements |
//! | `settings` | limits and rights |
//!
//! Compiling takes up to seconds and happens on threads of its own. What runs beside may go on with what is loaded.

mod account;
mod columns;
mod declared;
mod function;
mod ipc;
mod rerank;
mod settings;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use bytes::Bytes;
use datafusion::execution::memory_pool::MemoryPool;
use datafusion::execution::{FunctionRegistry, SessionState};
use datafusion::logical_expr::ScalarUDF;
use elanus_collection::{Collections, NewPlugin, PluginEntry, PluginKind};
use elanus_plugins::{
    Digest, Failure, Host, HostConfig, LoadOptions, Plugin, PluginError, PluginStats, Refusal, TrustedKeys,
};
use parking_lot::Mutex;

use crate::error::{QueryError, Result, did_you_mean};
use account::PoolAccount;
pub(crate) use declared::Declared;
use function::PluginFunction;
pub(crate) use function::sql_name;
pub use rerank::PluginRerank;
pub(crate) use rerank::{ReadyPlugin, Searched};
use settings::limits_and_rights;

/// Most bytes of one file.
pub(crate) const MAX_PLUGIN_BYTES: u64 = 64 << 20;

/// Who may register plugins, and where their machine code is kept.
#[derive(Debug, Clone, Default)]
pub struct PluginOptions {
    /// Whether statements and uploads may register plugins; those that are registered already work in any case.
    pub register: bool,
    /// Whose signature a file needs to be registered; `None`: none is needed.
    pub keys: Option<TrustedKeys>,
    /// Folder for machine code, which nobody else may write to; `None`: it is made anew at every start.
    pub cache: Option<PathBuf>,
}

/// What a name stands for, and under which name.
type Key = (PluginKind, String);

/// A plugin that is ready.
#[derive(Debug, Clone)]
struct Loaded {
    /// What the catalog said of it.
    entry: PluginEntry,
    plugin: Plugin,
    /// Of a function, what plans call.
    function: Option<Arc<ScalarUDF>>,
}

/// A registered plugin and what it has done, as far as it has been needed since the start.
#[derive(Debug)]
pub(crate) struct Listed {
    /// What it is called as.
    pub kind: PluginKind,
    /// Its name.
    pub name: String,
    /// What the catalog says.
    pub entry: PluginEntry,
    /// `None` when nothing has needed it.
    pub stats: Option<PluginStats>,
}

/// All plugins of an engine.
#[derive(Debug)]
pub(crate) struct Plugins {
    options: PluginOptions,
    pool: Arc<dyn MemoryPool>,
    /// Made when the first plugin is loaded.
    host: OnceLock<Result<Arc<Host>, String>>,
    loaded: ArcSwap<HashMap<Key, Loaded>>,
    /// Why plugins that something has named could not be loaded.
    failures: Mutex<BTreeMap<Key, String>>,
    /// Held while something is loaded or registered.
    loading: tokio::sync::Mutex<()>,
}

impl Plugins {
    /// No plugin loaded; those that will be take their memory out of `pool`.
    pub fn new(options: PluginOptions, pool: Arc<dyn MemoryPool>) -> Self {
        Self {
            options,
            pool,
            host: OnceLock::new(),
            loaded: ArcSwap::default(),
            failures: Mutex::default(),
            loading: tokio::sync::Mutex::default(),
        }
    }

    /// Refuses when nobody may register plugins here.
    ///
    /// # Errors
    /// [`QueryError::InvalidParameter`].
    pub fn check_registration(&self) -> Result<()> {
        if self.options.register {
            return Ok(());
        }
        Err(QueryError::InvalidParameter(
            "plugins may not be registered here: the server allows it when it is started with --allow-plugins, or with --auth to users with the privilege RegisterPlugin"
                .into(),
        ))
    }

    /// Refuses a file that none of the trusted keys has signed, where that is asked for.
    fn check_signature(&self, bytes: &[u8], signature: Option<&str>) -> Result<()> {
        let Some(keys) = &self.options.keys else {
            return Ok(());
        };
        let Some(signature) = signature else {
            return Err(QueryError::InvalidParameter(
                "this server registers signed plugins only: give WITH (signature = '..'), made with one of the keys of \
                 --plugin-keys"
                    .into(),
            ));
        };
        match keys.verify(bytes, signature.as_bytes()) {
            Ok(_) => Ok(()),
            Err(error) => Err(QueryError::InvalidParameter(format!(
                "the signature of the plugin: {error}"
            ))),
        }
    }

    /// Checks a file and what it is to be, registers it, and has it ready. `is_taken` says which names functions of other
    /// kinds have.
    ///
    /// # Errors
    /// A file that is not signed or is no such plugin, settings that there are not, names in use.
    pub async fn register(
        &self,
        collections: &Collections,
        wanted: Registration,
        bytes: Bytes,
        is_taken: impl Fn(&str) -> bool,
    ) -> Result<()> {
        let Registration {
            kind,
            names,
            path,
            mut settings,
            replace,
            declared,
        } = wanted;
        let signature = settings.remove("signature");
        self.check_signature(&bytes, signature.as_deref())?;
        let _one = self.loading.lock().await;
        let label = names.as_ref().map_or(&path, |names| &names.name).clone();
        let plugin = self.open(&label, bytes.clone(), &settings).await?;
        let new = |name: &str, symbol: Option<&str>| NewPlugin {
            name: name.to_owned(),
            plugin: plugin.name().to_owned(),
            version: plugin.version().to_owned(),
            symbol: symbol.map(str::to_owned),
            signature: symbol.and_then(|symbol| usage(name, symbol, &plugin)),
            settings: settings.clone(),
        };
        let new = match (kind, &plugin, &names) {
            (PluginKind::Reranker, Plugin::Reranker(_), Some(names)) => vec![new(&names.name, None)],
            (PluginKind::Function, Plugin::Functions(_), Some(Names { name, symbol })) => {
                vec![new(name, Some(symbol.as_deref().unwrap_or(name)))]
            }
            (PluginKind::Function, Plugin::Functions(functions), None) => {
                let functions = functions.descriptor().functions.iter();
                functions
                    .map(|function| new(&function.name, Some(&function.name)))
                    .collect()
            }
            (PluginKind::Reranker, _, _) => {
                return Err(QueryError::InvalidParameter(format!(
                    "'{path}' has functions and is no reranker: register it with CREATE FUNCTION"
                )));
            }
            (PluginKind::Function, Plugin::Reranker(_), _) => {
                return Err(QueryError::InvalidParameter(format!(
                    "'{path}' is a reranker and has no functions: register it with CREATE RERANKER"
                )));
            }
        };
        // Whatever is wrong with one of them is known before any is registered.
        let mut functions = Vec::with_capacity(new.len());
        for new in &new {
            if is_taken(&new.name) {
                return Err(QueryError::InvalidParameter(format!(
                    "'{0}' is a function of the engine: CREATE FUNCTION other_name LANGUAGE WASM AS '{path}', '{1}' gives \
                     that of the plugin another name",
                    new.name,
                    new.symbol.as_deref().unwrap_or_default()
                )));
            }
            if let (Plugin::Functions(functions), Some(symbol)) = (&plugin, &new.symbol) {
                declared.check(functions, symbol)?;
            }
            functions.push(self.function_of(&new.name, new.symbol.as_deref(), &plugin, &settings)?);
        }
        let digest = Digest::of(&bytes).to_string();
        let file = (path.as_str(), digest.as_str(), bytes);
        let added = collections.add_plugins(kind, &new, file, replace).await?;
        let ready = added.into_iter().zip(functions).map(|(added, function)| {
            let loaded = Loaded {
                entry: added.entry,
                plugin: plugin.clone(),
                function,
            };
            ((kind, added.name), loaded)
        });
        let ready: Vec<_> = ready.collect();
        self.put(collections, &ready);
        Ok(())
    }

    /// Forgets a name, and says whether there was one.
    ///
    /// # Errors
    /// A storage error.
    pub async fn remove(&self, collections: &Collections, kind: PluginKind, name: &str) -> Result<bool> {
        let _one = self.loading.lock().await;
        let removed = collections.remove_plugin(kind, name).await?;
        self.put(collections, &[]);
        Ok(removed)
    }

    /// The reranker of this name, loaded if it is not yet.
    ///
    /// # Errors
    /// No such name, or it cannot be loaded.
    pub async fn reranker(
        &self,
        collections: &Collections,
        name: &str,
    ) -> Result<Arc<elanus_plugins::Reranker>> {
        if collections.plugin(PluginKind::Reranker, name).is_some() {
            self.load(collections, PluginKind::Reranker, name).await?;
        }
        self.ready_reranker(collections, name)
    }

    /// The reranker of this name, which [`Plugins::make_ready`] has loaded.
    ///
    /// # Errors
    /// No such name, or it could not be loaded.
    pub fn ready_reranker(
        &self,
        collections: &Collections,
        name: &str,
    ) -> Result<Arc<elanus_plugins::Reranker>> {
        let key = (PluginKind::Reranker, name.to_owned());
        let Some(entry) = collections.plugin(key.0, name) else {
            let all = collections.plugins();
            let known = all.iter().filter(|plugin| plugin.kind == PluginKind::Reranker);
            let known: Vec<&str> = known.map(|plugin| plugin.name.as_str()).collect();
            let known = did_you_mean(name, &known, "rerankers");
            return Err(QueryError::InvalidParameter(format!(
                "there is no reranker '{name}'{known}"
            )));
        };
        match self.loaded.load().get(&key) {
            Some(Loaded {
                entry: of,
                plugin: Plugin::Reranker(reranker),
                ..
            }) if *of == entry => Ok(Arc::clone(reranker)),
            _ => {
                let reason = self.failures.lock().get(&key).cloned();
                Err(QueryError::Execution(reason.unwrap_or_else(|| {
                    format!("reranker '{name}' has just been replaced: try again")
                })))
            }
        }
    }

    /// Loads what a statement may name and is not loaded yet. `texts` give the statement, and others that it may refer to.
    /// What cannot be loaded is missed where it is used.
    pub async fn make_ready(&self, collections: &Collections, texts: impl FnOnce() -> Vec<String>) {
        let mut missing = collections.plugins();
        let loaded = self.loaded.load_full();
        missing.retain(|plugin| {
            let key = (plugin.kind, plugin.name.clone());
            loaded.get(&key).is_none_or(|loaded| loaded.entry != plugin.entry)
        });
        if missing.is_empty() {
            return;
        }
        let texts: Vec<String> = texts().iter().map(|text| text.to_lowercase()).collect();
        for plugin in missing {
            let name = plugin.name.to_lowercase();
            if !texts.iter().any(|text| text.contains(&name)) {
                continue;
            }
            let key = (plugin.kind, plugin.name);
            if let Err(error) = self.load(collections, key.0, &key.1).await {
                tracing::warn!(name = %key.1, %error, "a plugin cannot be loaded");
                let kind = key.0.name();
                let reason = format!("{kind} '{}' cannot be loaded: {error}", key.1);
                self.failures.lock().insert(key, reason);
            }
        }
    }

    /// `state` with the functions of plugins that are loaded.
    pub fn with_functions(&self, collections: &Collections, mut state: SessionState) -> Result<SessionState> {
        for ((kind, name), loaded) in self.loaded.load().iter() {
            let Some(function) = &loaded.function else {
                continue;
            };
            // Another process may have dropped it.
            if collections
                .plugin(*kind, name)
                .is_some_and(|entry| entry == loaded.entry)
            {
                state.register_udf(Arc::clone(function))?;
            }
        }
        Ok(state)
    }

    /// Everything that is registered.
    pub fn list(&self, collections: &Collections) -> Vec<Listed> {
        let loaded = self.loaded.load();
        let all = collections.plugins().into_iter();
        all.map(|plugin| {
            let ready = loaded.get(&(plugin.kind, plugin.name.clone()));
            let ready = ready.filter(|ready| ready.entry == plugin.entry);
            Listed {
                stats: ready.map(|ready| ready.plugin.stats()),
                kind: plugin.kind,
                name: plugin.name,
                entry: plugin.entry,
            }
        })
        .collect()
    }

    /// Loads a registered plugin, unless it is.
    async fn load(&self, collections: &Collections, kind: PluginKind, name: &str) -> Result<()> {
        let key = (kind, name.to_owned());
        let is_ready = |entry: &PluginEntry| {
            self.loaded
                .load()
                .get(&key)
                .is_some_and(|ready| ready.entry == *entry)
        };
        let Some(entry) = collections.plugin(kind, name) else {
            return Ok(());
        };
        if is_ready(&entry) {
            return Ok(());
        }
        let _one = self.loading.lock().await;
        let Some(entry) = collections.plugin(kind, name) else {
            return Ok(());
        };
        if is_ready(&entry) {
            return Ok(());
        }
        // Functions that were registered together are one plugin.
        let together = |ready: &&Loaded| {
            let Loaded { entry: other, .. } = ready;
            (&other.sha256, other.created_ts, &other.settings)
                == (&entry.sha256, entry.created_ts, &entry.settings)
        };
        let plugin = self
            .loaded
            .load()
            .values()
            .find(together)
            .map(|ready| ready.plugin.clone());
        let plugin = match plugin {
            Some(plugin) => plugin,
            None => {
                let bytes = collections.read_plugin(&entry).await?;
                self.open(name, bytes, &entry.settings).await?
            }
        };
        let function = self.function_of(name, entry.symbol.as_deref(), &plugin, &entry.settings)?;
        let loaded = Loaded {
            entry,
            plugin,
            function,
        };
        self.put(collections, &[(key, loaded)]);
        Ok(())
    }

    /// Compiles and starts a file.
    async fn open(&self, name: &str, bytes: Bytes, settings: &BTreeMap<String, String>) -> Result<Plugin> {
        let (limits, rights) = limits_and_rights(settings)?;
        let options = LoadOptions {
            limits,
            rights,
            account: Arc::new(PoolAccount::new(&self.pool, name)),
        };
        let made = self.host.get().cloned();
        let name = name.to_owned();
        let config = HostConfig {
            cache: self.options.cache.clone(),
            largest_file: usize::try_from(MAX_PLUGIN_BYTES).unwrap_or(usize::MAX),
            ..HostConfig::default()
        };
        let opening = tokio::task::spawn_blocking(move || {
            let host = match made {
                Some(host) => host,
                None => Host::new(config).map(Arc::new).map_err(|error| error.to_string()),
            };
            let opened = match &host {
                // Before it has said what it is called, it is the name of the statement that says which one failed.
                Ok(host) => host.load(&bytes, &options).map_err(|error| {
                    failure(PluginError {
                        plugin: format!("'{name}'"),
                        ..error
                    })
                }),
                Err(error) => Err(QueryError::Resources(format!("plugins cannot run: {error}"))),
            };
            (host, opened)
        });
        let opened = opening.await;
        let (host, opened) =
            opened.map_err(|error| QueryError::Internal(format!("loading a plugin stopped: {error}")))?;
        // Nobody else has made one meanwhile: loading is done by one at a time.
        self.host.get_or_init(|| host);
        opened
    }

    fn function_of(
        &self,
        name: &str,
        symbol: Option<&str>,
        plugin: &Plugin,
        settings: &BTreeMap<String, String>,
    ) -> Result<Option<Arc<ScalarUDF>>> {
        match (plugin, symbol) {
            (Plugin::Functions(functions), Some(symbol)) => {
                let (limits, _) = limits_and_rights(settings)?;
                PluginFunction::udf(name, symbol, functions, limits.rows).map(Some)
            }
            (Plugin::Functions(_), None) | (Plugin::Reranker(_), _) => Ok(None),
        }
    }

    /// Adds what is ready, and lets go of what the catalog does not name any more.
    fn put(&self, collections: &Collections, ready: &[(Key, Loaded)]) {
        self.loaded.rcu(|loaded| {
            let mut changed = HashMap::clone(loaded);
            changed.extend(ready.iter().cloned());
            changed.retain(|(kind, name), loaded| {
                collections
                    .plugin(*kind, name)
                    .is_some_and(|entry| entry == loaded.entry)
            });
            changed
        });
        self.failures
            .lock()
            .retain(|key, _| !self.loaded.load().contains_key(key));
    }
}

/// What is to be registered.
#[derive(Debug, Clone)]
pub(crate) struct Registration {
    /// What it is called as.
    pub kind: PluginKind,
    /// The name; none: every function of the file under its own.
    pub names: Option<Names>,
    /// Where the file comes from.
    pub path: String,
    /// Limits, rights and the signature.
    pub settings: BTreeMap<String, String>,
    /// Whether it may take the place of another.
    pub replace: bool,
    /// What the statement says of the function.
    pub declared: Declared,
}

/// The name of a plugin and, of a function, what it is called in its file, if that is something else.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    pub name: String,
    pub symbol: Option<String>,
}

/// How a function is called: `haversine(latitude1 DOUBLE PRECISION, ..) RETURNS DOUBLE PRECISION`.
fn usage(name: &str, symbol: &str, plugin: &Plugin) -> Option<String> {
    let Plugin::Functions(functions) = plugin else {
        return None;
    };
    let function = functions.descriptor().functions.get(functions.find(symbol)?)?;
    let parameters = function.parameters.iter();
    let parameters: Vec<String> = parameters
        .map(|parameter| format!("{} {}", parameter.name, sql_name(&parameter.kind)))
        .collect();
    let returns = sql_name(&function.returns);
    Some(format!("{name}({}) RETURNS {returns}", parameters.join(", ")))
}

/// A failure of a plugin as one of a statement.
#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
pub(crate) fn failure(error: PluginError) -> QueryError {
    let text = error.to_string();
    match &error.failure {
        Failure::Parameter(_)
        | Failure::Request(_)
        | Failure::NotAPlugin(_)
        | Failure::Denied(_)
        | Failure::Description(_)
        | Failure::Refused(Refusal::InvalidArgument(_)) => QueryError::InvalidParameter(text),
        Failure::Refused(Refusal::Unsupported(_)) => QueryError::Unsupported(text),
        Failure::Memory(_) | Failure::Busy(_) => QueryError::Resources(text),
        Failure::Refused(Refusal::Internal(_))
        | Failure::Trap(_)
        | Failure::Deadline(_)
        | Failure::Answer(_)
        | Failure::Host(_) => QueryError::Execution(text),
    }
}

//! A running server: the locked data directory, the engine over it, the doors in front of it. `elanus serve` and
//! `elanus demo` both start one.
//!
//! ```text
//! doors:    milvus (gRPC)   flight (gRPC)   http        all wait for the same stop signal
//!                 \           |            /
//!                  Engine (elanus-query)
//!                       |
//!                  Collections (elanus-collection)
//!                       |
//!                  Root (elanus-storage): object store + lock on the directory
//! ```
//!
//! The ports are bound before the data is opened, so that a wrong address is known at once; the HTTP door answers
//! while the data is recovered and says so.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context, anyhow, ensure};
use elanus_collection::{Collections, Options};
use elanus_index::gpu::DeviceList;
use elanus_milvus::DoorMetrics;
use elanus_plugins::TrustedKeys;
use elanus_query::{Engine, EngineOptions, FileAccess, PluginOptions};
use elanus_services::ServiceAccess;
use elanus_storage::{DirLock, PLUGIN_CACHE};
use prometheus::Registry;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use crate::http::{self, Health, State};
use crate::metrics;
use crate::plugin_keys;
use crate::settings::{ByteSize, Settings};
use crate::users::ensure_root;

/// How long running requests may take after the signal to stop.
const DRAIN: Duration = Duration::from_secs(10);

/// Where compiled kernels of a GPU are kept, in the data directory.
#[cfg(feature = "cuda")]
const KERNEL_CACHE: &str = "kernel-cache";

/// What the engine may take of the machine.
#[derive(Debug, Default)]
pub struct Limits {
    /// Memory of loaded collections; none: no limit.
    pub memory: Option<ByteSize>,
    /// Memory of an index build; none: no limit.
    pub build_memory: Option<ByteSize>,
    /// Memory of SQL before it spills; none: no limit.
    pub sql_memory: Option<ByteSize>,
    /// Files that statements may read and write.
    pub files: FileAccess,
    /// Services that rerankers may ask.
    pub services: ServiceAccess,
    /// Whether clients may register plugins.
    pub allow_plugins: bool,
    /// Whether sessions need a user.
    pub auth: bool,
    /// Whose signature a plugin needs to be registered; none: it needs none.
    pub plugin_keys: Option<TrustedKeys>,
    /// Folder of the dictionaries of tokenizers.
    pub analyzer_dictionaries: Option<PathBuf>,
    /// Whether what was asked for on a GPU, and cannot be had there, is built on the CPU.
    pub gpu_fallback: bool,
    /// How long a search on a GPU stays for others; none: as long as is usual.
    pub gpu_batch_wait: Option<Duration>,
    /// The GPUs that share searches; none: the first.
    pub gpu_devices: DeviceList,
    /// Bytes of each GPU's memory that may be used; none: four fifths of what is free.
    pub gpu_memory: Option<ByteSize>,
    /// Threads of searches, SQL and index builds each; 0: one per core.
    pub threads: usize,
}

/// The data and the engine over it, without doors. Dropping it gives the directory free.
pub struct Database {
    /// Runs statements, searches and queries.
    pub engine: Arc<Engine>,
    /// Every database and collection of the directory.
    pub collections: Arc<Collections>,
    _lock: Option<DirLock>,
}

impl Database {
    /// Locks and opens the directory, replaying what was written and not yet in segments.
    ///
    /// # Errors
    /// Another process has the directory, or its files are damaged.
    pub async fn open(directory: &str, limits: &Limits) -> anyhow::Result<Self> {
        ensure!(
            !Path::new(directory).is_file(),
            "the data directory {directory} is a file: name a directory; it is created when it does not exist"
        );
        // Before any definition of an analyzer or an index is read.
        if let Some(folder) = &limits.analyzer_dictionaries {
            elanus_text::set_dictionaries(folder);
        }
        elanus_index::gpu::set_fallback(limits.gpu_fallback);
        if let Some(wait) = limits.gpu_batch_wait {
            elanus_index::gpu::set_batch_wait(wait);
        }
        elanus_index::gpu::set_devices(limits.gpu_devices.clone());
        #[cfg(feature = "cuda")]
        elanus_index::gpu::configure(elanus_index::gpu::cuda::Options {
            cache: Some(Path::new(directory).join(KERNEL_CACHE)),
            memory_limit: limits.gpu_memory.map(ByteSize::bytes),
            ..Default::default()
        });
        let root = elanus_storage::open_root(directory)?;
        let options = Options {
            memory_limit: limits.memory.map(ByteSize::bytes),
            build_memory: limits.build_memory.map(ByteSize::bytes),
            build_threads: limits.threads,
            ..Options::default()
        };
        let collections = Collections::open(root.store, options)
            .await
            .with_context(|| format!("cannot open the data directory {directory}"))?;
        let options = EngineOptions {
            query_threads: limits.threads,
            sql_threads: limits.threads,
            sql_memory_bytes: limits
                .sql_memory
                .map(|limit| usize::try_from(limit.bytes()).unwrap_or(usize::MAX)),
            spill_folder: Some(spill_folder(directory)?),
            files: limits.files.clone(),
            services: limits.services.clone(),
            plugins: PluginOptions {
                register: limits.allow_plugins,
                keys: limits.plugin_keys.clone(),
                cache: Some(Path::new(directory).join(PLUGIN_CACHE)),
            },
            authentication: limits.auth,
            ..EngineOptions::default()
        };
        let engine = Arc::new(Engine::new(Arc::clone(&collections), &options)?);
        Ok(Self {
            engine,
            collections,
            _lock: root.lock,
        })
    }

    /// Ends background work and lets writers finish.
    pub async fn close(self) {
        self.collections.close().await;
    }
}

/// A server that answers. Stop it with [`Server::stop`].
pub struct Server {
    database: Database,
    health: Arc<Health>,
    milvus_addr: SocketAddr,
    flight_addr: SocketAddr,
    http_addr: SocketAddr,
    stop: watch::Sender<bool>,
    door_failed: Arc<Notify>,
    milvus: JoinHandle<anyhow::Result<()>>,
    flight: JoinHandle<anyhow::Result<()>>,
    http: JoinHandle<anyhow::Result<()>>,
}

impl Server {
    /// Opens everything that `settings` names.
    ///
    /// # Errors
    /// An address that cannot or must not be opened, a data directory that is in use or damaged.
    pub async fn start(settings: &Settings) -> anyhow::Result<Self> {
        ensure!(
            settings.http_addr != settings.milvus_addr || settings.http_addr.picks_port(),
            "the milvus door (--milvus-addr) and the http door (--http-addr) are both on {}: give them different ports",
            settings.http_addr
        );
        let guarded = settings.auth || settings.insecure;
        let http_listener = settings.http_addr.bind("http", "--http-addr", guarded).await?;
        let milvus_listener = settings
            .milvus_addr
            .bind("milvus", "--milvus-addr", guarded)
            .await?;
        let flight_listener = settings
            .flight_addr
            .bind("flight", "--flight-addr", guarded)
            .await?;
        let (http_addr, milvus_addr) = (http_listener.local_addr()?, milvus_listener.local_addr()?);
        let flight_addr = flight_listener.local_addr()?;
        let is_open = [http_addr, milvus_addr, flight_addr]
            .iter()
            .any(|address| !address.ip().is_loopback());
        if settings.auth && is_open {
            tracing::warn!(
                "other machines can reach this server, and passwords travel as they are: there is no TLS yet, put a proxy with \
                 TLS before it where the network is not yours"
            );
        }

        let health = Arc::new(Health::default());
        health.set("storage", State::Initializing);
        health.set("milvus", State::Initializing);
        health.set("flight", State::Initializing);
        let users = settings.auth.then(Arc::<OnceLock<Arc<Collections>>>::default);
        let registry = Registry::new();
        metrics::register_process(&registry)?;
        let (stop, stopping) = watch::channel(false);
        let router = http::router(Arc::clone(&health), registry.clone(), users.clone());
        let door_failed = Arc::new(Notify::new());
        let http = spawn_door(&door_failed, {
            let stopped = wait_for_stop(stopping.clone());
            async move {
                let server = axum::serve(http_listener, router).with_graceful_shutdown(stopped);
                server.await.context("the http door failed")
            }
        });

        let limits = Limits {
            memory: settings.memory_limit,
            build_memory: settings.build_memory_limit,
            sql_memory: settings.sql_memory_limit,
            files: if settings.allow_files.is_empty() {
                FileAccess::Nowhere
            } else {
                FileAccess::Within(settings.allow_files.clone())
            },
            services: settings.services.access()?,
            allow_plugins: settings.allow_plugins,
            auth: settings.auth,
            plugin_keys: settings
                .plugin_keys
                .as_deref()
                .map(plugin_keys::read)
                .transpose()?,
            analyzer_dictionaries: settings.analyzer_dictionaries.clone(),
            gpu_fallback: settings.gpu_fallback,
            gpu_batch_wait: settings.gpu_batch_wait,
            gpu_devices: settings.gpu_devices.clone(),
            gpu_memory: settings.gpu_memory_limit,
            threads: settings.threads.map_or(0, NonZeroUsize::get),
        };
        let database = Database::open(&settings.data, &limits).await?;
        if let Some(users) = &users {
            if let Err(error) = ensure_root(&database.collections, settings.root_password.as_ref()).await {
                database.close().await;
                return Err(error);
            }
            users.get_or_init(|| Arc::clone(&database.collections));
        }
        metrics::register_collections(&registry, Arc::clone(&database.collections))?;
        health.set("storage", State::Healthy);

        let metrics = Arc::new(DoorMetrics::new(&registry)?);
        let milvus = spawn_door(&door_failed, {
            let (engine, stopped) = (Arc::clone(&database.engine), wait_for_stop(stopping.clone()));
            async move { Ok(elanus_milvus::serve(engine, milvus_listener, metrics, stopped).await?) }
        });
        health.set("milvus", State::Healthy);
        let flight = spawn_door(&door_failed, {
            let (engine, stopped) = (Arc::clone(&database.engine), wait_for_stop(stopping));
            async move { Ok(elanus_flight::serve(engine, flight_listener, stopped).await?) }
        });
        health.set("flight", State::Healthy);
        Ok(Self {
            database,
            health,
            milvus_addr,
            flight_addr,
            http_addr,
            stop,
            door_failed,
            milvus,
            flight,
            http,
        })
    }

    /// Where Milvus clients connect.
    pub fn milvus_addr(&self) -> SocketAddr {
        self.milvus_addr
    }

    /// Where Flight SQL clients connect.
    pub fn flight_addr(&self) -> SocketAddr {
        self.flight_addr
    }

    /// Where health and metrics are.
    pub fn http_addr(&self) -> SocketAddr {
        self.http_addr
    }

    /// The engine behind the doors.
    pub fn engine(&self) -> &Engine {
        &self.database.engine
    }

    /// Waits until a door has failed by itself; [`Server::stop`] then tells why.
    pub async fn door_failed(&self) {
        self.door_failed.notified().await;
    }

    /// Takes no new requests, waits for those that run (at most ten seconds), closes the data.
    ///
    /// # Errors
    /// A door had failed.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.health.set_all(State::Stopping);
        // The doors hold the receivers; when both have failed already there is nobody to tell.
        let _nobody_left = self.stop.send(true);
        let drained = async {
            let doors = [
                finished(self.milvus).await,
                finished(self.flight).await,
                finished(self.http).await,
            ];
            doors.into_iter().collect()
        };
        let doors = match tokio::time::timeout(DRAIN, drained).await {
            Ok(doors) => doors,
            Err(_) => {
                tracing::warn!("requests still run after {} s: leaving them", DRAIN.as_secs());
                Ok(())
            }
        };
        self.database.close().await;
        doors
    }
}

/// The folder for what sorts and joins spill: in the data directory, since folders for temporary files are often memory.
/// What a process that was killed left there is removed; the lock is held.
fn spill_folder(directory: &str) -> anyhow::Result<PathBuf> {
    let folder = Path::new(directory).join("spill");
    match std::fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot empty {}", folder.display()));
        }
        Ok(()) | Err(_) => {}
    }
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    Ok(folder)
}

/// Runs a door, and says so when it ends with an error.
fn spawn_door(
    failed: &Arc<Notify>,
    door: impl Future<Output = anyhow::Result<()>> + Send + 'static,
) -> JoinHandle<anyhow::Result<()>> {
    let failed = Arc::clone(failed);
    tokio::spawn(async move {
        let outcome = door.await;
        if outcome.is_err() {
            failed.notify_one();
        }
        outcome
    })
}

async fn wait_for_stop(mut stopping: watch::Receiver<bool>) {
    // An error means that the server was dropped without a word: stop as well.
    let _dropped = stopping.wait_for(|stop| *stop).await;
}

async fn finished(door: JoinHandle<anyhow::Result<()>>) -> anyhow::Result<()> {
    door.await
        .map_err(|error| anyhow!("a door ended abnormally: {error}"))?
}

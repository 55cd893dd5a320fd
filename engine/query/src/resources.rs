//! What all queries of one engine share: the query threads, the bitsets of recent filters, models of rerankers.

use std::sync::{Arc, OnceLock, Weak};

use datafusion::execution::SessionState;
use datafusion::execution::memory_pool::MemoryPool;
use elanus_services::ServiceAccess;

use crate::compute::Compute;
use crate::engine::EngineOptions;
use crate::error::{QueryError, Result};
use crate::files::FileAccess;
use crate::models::Models;
use crate::plugins::{PluginOptions, Plugins};
use crate::selection::SelectionCache;
use crate::sql::analyze::AnalyzedTables;
use crate::sql::running::Running;

/// Shared by tables, operators and direct requests.
#[derive(Debug)]
pub(crate) struct Resources {
    /// Where CPU work runs.
    pub compute: Compute,
    /// Bitsets of recent filters.
    pub selections: SelectionCache,
    /// SQL statements that run now.
    pub running: Arc<Running>,
    /// Values that ANALYZE has counted.
    pub analyzed: AnalyzedTables,
    /// Files that statements may touch.
    pub files: FileAccess,
    /// Models of rerankers that were used lately.
    pub models: Models,
    /// Services that rerankers may ask.
    pub services: ServiceAccess,
    /// Plugins that users have registered.
    pub plugins: Plugins,
    /// Whether a session needs a user, and a statement that the user may run it.
    pub authentication: bool,
    /// Most bytes of rows that a COPY writes at once.
    pub copy_step_bytes: usize,
    /// What sessions start from, for planning views. Weak, since the catalog in it has these resources.
    planner: OnceLock<Weak<SessionState>>,
}

impl Resources {
    /// As `options` say; plugins take their memory out of `pool`.
    pub fn new(options: &EngineOptions, pool: Arc<dyn MemoryPool>) -> Result<Self> {
        // With users it is their privilege that decides, which the engine asks for first.
        let plugins = PluginOptions {
            register: options.plugins.register || options.authentication,
            ..options.plugins.clone()
        };
        Ok(Self {
            compute: Compute::new(options.query_threads)?,
            selections: SelectionCache::new(options.filter_cache_bytes),
            running: Arc::default(),
            analyzed: AnalyzedTables::default(),
            files: options.files.clone(),
            models: Models::default(),
            services: options.services.clone(),
            plugins: Plugins::new(plugins, pool),
            authentication: options.authentication,
            copy_step_bytes: options.copy_step_bytes,
            planner: OnceLock::new(),
        })
    }

    /// Says what views are planned with.
    pub fn plan_with(&self, base: &Arc<SessionState>) {
        self.planner.get_or_init(|| Arc::downgrade(base));
    }

    /// What views are planned with.
    ///
    /// # Errors
    /// The engine is gone.
    pub fn planner(&self) -> Result<Arc<SessionState>> {
        let planner = self.planner.get().and_then(Weak::upgrade);
        planner.ok_or_else(|| QueryError::Internal("the engine is closed".into()))
    }
}

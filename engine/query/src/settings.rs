//! The session settings `elanus.*`, for `SET`, `SHOW` and the operators.

use datafusion::common::config::ConfigExtension;
use datafusion::common::extensions_options;
use datafusion::config::ConfigOptions;
use elanus_index::{DiskSearch, SearchParams};

extensions_options! {
    /// Settings of vector search in SQL.
    pub struct ElanusSettings {
        /// Candidates that an HNSW search keeps; 0 means the larger of 64 and the LIMIT
        pub ef_search: u32, default = 0
        /// Lists that an IVF search visits; 0 means 8
        pub nprobe: u32, default = 0
        /// Whether every ORDER BY distance LIMIT k is computed exactly, without an index
        pub exact: bool, default = false
        /// Milliseconds that a query may take before it is ended; 0 means no limit
        pub statement_timeout: u64, default = 0
        /// Bytes that the sorts, joins and aggregates of a statement may hold, such as '64MiB'; 0 means no limit of its own
        pub query_memory: u64, default = 0
    }
}

impl ConfigExtension for ElanusSettings {
    const PREFIX: &'static str = "elanus";
}

/// HNSW and DISKANN candidates of a SQL search when the session does not say.
const DEFAULT_EF: u32 = 64;
/// IVF lists of a SQL search when the session does not say.
const DEFAULT_NPROBE: u32 = 8;

impl ElanusSettings {
    /// The settings of a session.
    pub fn of(options: &ConfigOptions) -> Self {
        options.extensions.get::<Self>().cloned().unwrap_or_default()
    }

    /// Parameters of an index search for `k` neighbours; what `given` says comes first.
    pub fn search_params(&self, given: SearchParams, k: usize) -> SearchParams {
        let k = u32::try_from(k).unwrap_or(u32::MAX);
        let or_default = |set: u32, default: u32| if set == 0 { default } else { set };
        let candidates = or_default(self.ef_search, DEFAULT_EF);
        let ef = given.ef.unwrap_or(candidates);
        let search_list = given.disk.search_list.unwrap_or(candidates);
        let nprobe = given.nprobe.unwrap_or(or_default(self.nprobe, DEFAULT_NPROBE));
        SearchParams {
            ef: Some(ef.max(k)),
            nprobe: Some(nprobe),
            disk: DiskSearch {
                search_list: Some(search_list.max(k)),
                ..given.disk
            },
            ..given
        }
    }
}

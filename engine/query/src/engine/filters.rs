//! Milvus expressions, compiled once and kept.

use std::sync::Arc;

use chrono_tz::Tz;
use datafusion::execution::SessionState;
use elanus_collection::Collection;
use lru::LruCache;
use parking_lot::Mutex;

use crate::error::Result;
use crate::json_casts::with_casts;
use crate::predicate::Predicate;
use crate::request::FilterText;
use crate::selection::{SelectionCache, bounded};

/// Compiled filters kept.
const CAPACITY: usize = 1_024;
/// A filter whose text and template values are longer than this together is compiled every time.
const MAX_CACHED_TEXT: usize = 16 << 10;

/// Id of the collection, version of its schema and what its indexes do to filters, text, template values and zone.
type Key = (i64, (u64, Vec<(String, String)>), String, String, Tz);

/// Recently compiled filters.
pub(super) struct FilterCache {
    entries: Mutex<LruCache<Key, Arc<Predicate>>>,
}

impl Default for FilterCache {
    fn default() -> Self {
        Self {
            entries: bounded(CAPACITY),
        }
    }
}

impl FilterCache {
    /// The predicates of a filter: none when there is no filter or its text is empty.
    pub fn compile(
        &self,
        base: &SessionState,
        collection: &Collection,
        filter: Option<&FilterText>,
        names: &SelectionCache,
    ) -> Result<Vec<Arc<Predicate>>> {
        let Some(filter) = filter.filter(|filter| !filter.text.trim().is_empty()) else {
            return Ok(Vec::new());
        };
        let zone = filter.zone.unwrap_or(Tz::UTC);
        // Sets of membership_match are large, and compared faster than they would be found again.
        let templates = (!filter.templates.have_bytes()).then(|| format!("{:?}", filter.templates));
        let cacheable = templates
            .as_ref()
            .is_some_and(|templates| filter.text.len() + templates.len() <= MAX_CACHED_TEXT);
        let key = (
            collection.id(),
            (collection.schema_version(), collection.numbers_in_texts()),
            filter.text.clone(),
            templates.unwrap_or_default(),
            zone,
        );
        if cacheable && let Some(predicate) = self.entries.lock().get(&key) {
            return Ok(vec![Arc::clone(predicate)]);
        }
        let expr =
            elanus_filter::compile_in(&filter.text, collection.arrow_schema(), &filter.templates, zone)?;
        let expr = with_casts(expr, collection)?;
        let predicate = Predicate::new(&expr, collection, names, |expr, schema| {
            base.create_physical_expr(expr.clone(), schema)
        })?;
        let predicate = Arc::new(predicate);
        if cacheable {
            self.entries.lock().put(key, Arc::clone(&predicate));
        }
        Ok(vec![predicate])
    }
}

//! Plugins by the name that users call them, replaced while calls are running.
//!
//! Whoever looks a name up gets a plugin of its own to hold: a call that is under way finishes on what it began with,
//! and the old plugin goes when the last one has let go of it. Readers never wait.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::host::Plugin;

/// Names and what they stand for now.
#[derive(Debug, Default)]
pub struct Registry {
    plugins: ArcSwap<BTreeMap<String, Plugin>>,
}

impl Registry {
    /// A registry without plugins.
    pub fn new() -> Self {
        Self::default()
    }

    /// What the name stands for now.
    pub fn get(&self, name: &str) -> Option<Plugin> {
        self.plugins.load().get(name).cloned()
    }

    /// Lets the name stand for this plugin from now on; returns what it stood for.
    #[expect(clippy::needless_pass_by_value, reason = "the registry keeps the plugin")]
    pub fn put(&self, name: &str, plugin: Plugin) -> Option<Plugin> {
        let before = self.plugins.rcu(|plugins| {
            let mut changed = BTreeMap::clone(plugins);
            changed.insert(name.to_owned(), plugin.clone());
            changed
        });
        before.get(name).cloned()
    }

    /// Forgets the name; returns what it stood for.
    pub fn remove(&self, name: &str) -> Option<Plugin> {
        let before = self.plugins.rcu(|plugins| {
            let mut changed = BTreeMap::clone(plugins);
            changed.remove(name);
            changed
        });
        before.get(name).cloned()
    }

    /// All names and what they stand for, in the order of the names.
    pub fn list(&self) -> Arc<BTreeMap<String, Plugin>> {
        self.plugins.load_full()
    }
}

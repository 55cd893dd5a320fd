//! Registered plugins: names for WebAssembly components that the root keeps, each file once however many names it has.
//!
//! What a component is and does is for others to know; here it is bytes with a digest.

use std::collections::BTreeMap;

use bytes::Bytes;
use elanus_storage::{Catalog, PluginEntry, PluginKind};

use super::Collections;
use crate::error::{Error, Result};

/// Most names of one kind.
const MAX_PLUGINS: usize = 1_024;
/// Longest name in bytes.
const MAX_NAME_BYTES: usize = 63;
/// Files that were uploaded and have no name yet; an older one goes when another comes.
const MAX_UPLOADS: usize = 32;

/// A name and the component that it stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisteredPlugin {
    /// What it is called as.
    pub kind: PluginKind,
    /// Its name.
    pub name: String,
    /// What is known of it.
    pub entry: PluginEntry,
}

/// A name to be registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPlugin {
    /// Its name.
    pub name: String,
    /// The name that the component gives itself.
    pub plugin: String,
    /// The version that the component gives itself.
    pub version: String,
    /// Of a function, its name in the component.
    pub symbol: Option<String>,
    /// Of a function, how it is called, for people.
    pub signature: Option<String>,
    /// Limits and rights, as the user gave them.
    pub settings: BTreeMap<String, String>,
}

impl Collections {
    /// Registers names for the component `bytes`, which has the SHA-256 `sha256` and came from `path`: all of them or
    /// none. A name that stands for something is an error, unless it is to `replace` that. Gives what was registered.
    ///
    /// # Errors
    /// A bad name, a name in use, too many names, or a storage error.
    pub async fn add_plugins(
        &self,
        kind: PluginKind,
        plugins: &[NewPlugin],
        (path, sha256, bytes): (&str, &str, Bytes),
        replace: bool,
    ) -> Result<Vec<RegisteredPlugin>> {
        for NewPlugin { name, .. } in plugins {
            if name.is_empty() || name.len() > MAX_NAME_BYTES || name.chars().any(char::is_control) {
                return Err(Error::InvalidParameter(format!(
                    "invalid name {name:?} of a {}: allowed are 1 to {MAX_NAME_BYTES} bytes without control characters",
                    kind.name()
                )));
            }
        }
        let _one = self.ddl.lock().await;
        let store = self.context.store.as_ref();
        let length = bytes.len() as u64;
        let crc32c = elanus_storage::put_plugin(store, sha256, bytes).await?;
        let created_ts = self.context.oracle.next();
        let entry_of = |new: &NewPlugin| PluginEntry {
            path: path.to_owned(),
            sha256: sha256.to_owned(),
            bytes: length,
            crc32c,
            plugin: new.plugin.clone(),
            version: new.version.clone(),
            symbol: new.symbol.clone(),
            signature: new.signature.clone(),
            settings: new.settings.clone(),
            created_ts,
        };
        let (added, replaced) = self
            .catalog
            .update(|catalog| {
                let named = catalog.plugins.entry(kind).or_default();
                let (mut added, mut replaced) = (Vec::new(), Vec::new());
                for new in plugins {
                    if named.contains_key(&new.name) && !replace {
                        return Err(Error::InvalidParameter(format!(
                            "there is a {0} '{1}' already; CREATE OR REPLACE takes its place, DROP {2} {1} removes it",
                            kind.name(),
                            new.name,
                            kind.name().to_uppercase()
                        )));
                    }
                    let entry = entry_of(new);
                    replaced.extend(named.insert(new.name.clone(), entry.clone()));
                    added.push(RegisteredPlugin {
                        kind,
                        name: new.name.clone(),
                        entry,
                    });
                }
                if named.len() > MAX_PLUGINS {
                    return Err(Error::LimitExceeded(format!(
                        "exceeded the limit of {MAX_PLUGINS} {}s of plugins",
                        kind.name()
                    )));
                }
                Ok((added, replaced))
            })
            .await?;
        for entry in replaced {
            self.forget_plugin_file(&entry.sha256).await;
        }
        Ok(added)
    }

    /// Removes the name of a plugin, and says whether it was there.
    ///
    /// # Errors
    /// A storage error.
    pub async fn remove_plugin(&self, kind: PluginKind, name: &str) -> Result<bool> {
        let _one = self.ddl.lock().await;
        let removed = self
            .catalog
            .update(|catalog| {
                let removed = catalog
                    .plugins
                    .get_mut(&kind)
                    .and_then(|named| named.remove(name));
                catalog.plugins.retain(|_, named| !named.is_empty());
                Ok::<_, Error>(removed)
            })
            .await?;
        match removed {
            None => Ok(false),
            Some(entry) => {
                self.forget_plugin_file(&entry.sha256).await;
                Ok(true)
            }
        }
    }

    /// Removes a file that no name has any more. What fails to go now goes when the root is opened again.
    async fn forget_plugin_file(&self, sha256: &str) {
        if entries(&self.catalog.current()).any(|(_, _, entry)| entry.sha256 == sha256) {
            return;
        }
        if let Err(error) = elanus_storage::remove_plugin(self.context.store.as_ref(), sha256).await {
            tracing::warn!(sha256, %error, "the file of a removed plugin stays until the next start");
        }
    }

    /// Keeps a file, to be named later. Those without a name go when the root is opened again, and the oldest of them
    /// when there are many.
    ///
    /// # Errors
    /// A storage error.
    pub async fn upload_plugin(&self, sha256: &str, bytes: Bytes) -> Result<()> {
        let _one = self.ddl.lock().await;
        let store = self.context.store.as_ref();
        elanus_storage::put_plugin(store, sha256, bytes).await?;
        elanus_storage::trim_uploads(store, &self.catalog.current(), MAX_UPLOADS).await?;
        Ok(())
    }

    /// The bytes of a file that was uploaded or registered, by its digest.
    ///
    /// # Errors
    /// [`Error::FileNotFound`], [`Error::InvalidParameter`] for what is no digest, or a storage error.
    pub async fn uploaded_plugin(&self, sha256: &str) -> Result<Bytes> {
        match elanus_storage::get_plugin_file(self.context.store.as_ref(), sha256).await {
            Err(elanus_storage::Error::NotFound { .. }) => Err(Error::FileNotFound {
                path: format!("sha256:{sha256}"),
            }),
            Err(elanus_storage::Error::Invalid(what)) => Err(Error::InvalidParameter(what)),
            read => Ok(read?),
        }
    }

    /// The bytes of a registered plugin.
    ///
    /// # Errors
    /// A file that is gone or damaged, or a storage error.
    pub async fn read_plugin(&self, entry: &PluginEntry) -> Result<Bytes> {
        Ok(elanus_storage::get_plugin(self.context.store.as_ref(), entry).await?)
    }

    /// All registered plugins: rerankers, then functions, by name.
    pub fn plugins(&self) -> Vec<RegisteredPlugin> {
        let catalog = self.catalog.current();
        let all = entries(&catalog).map(|(kind, name, entry)| RegisteredPlugin {
            kind,
            name: name.clone(),
            entry: entry.clone(),
        });
        all.collect()
    }

    /// What the name of a plugin stands for.
    pub fn plugin(&self, kind: PluginKind, name: &str) -> Option<PluginEntry> {
        self.catalog.current().plugins.get(&kind)?.get(name).cloned()
    }

    /// Another number whenever a name has come, gone or been replaced.
    pub fn plugins_stamp(&self) -> u64 {
        let catalog = self.catalog.current();
        // A creation time is given once, and one that goes away makes the count smaller.
        entries(&catalog).fold(0_u64, |stamp, (_, _, entry)| {
            stamp
                .wrapping_mul(31)
                .wrapping_add(entry.created_ts)
                .wrapping_add(1)
        })
    }
}

fn entries(catalog: &Catalog) -> impl Iterator<Item = (PluginKind, &String, &PluginEntry)> {
    let kinds = catalog.plugins.iter();
    kinds.flat_map(|(kind, named)| named.iter().map(|(name, entry)| (*kind, name, entry)))
}

//! The catalog: which databases, collections and aliases exist.
//!
//! One small JSON document per version (`catalog/{version:020}.json`), readable with any tool. [`CatalogStore`] keeps
//! the newest in memory and applies edits one at a time; an edit that meets a version of another process is repeated
//! on top of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use object_store::ObjectStore;
use object_store::path::Path;
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use ulid::Ulid;

use crate::access::AccessEntries;
use crate::codec::FORMAT_VERSION;
use crate::error::{Error, Result};
use crate::versioned::{Outcome, Versioned, VersionedLog};

/// The database that always exists.
pub const DEFAULT_DATABASE: &str = "default";

/// How many catalog versions are kept.
const KEPT_VERSIONS: u64 = 128;

/// How many times one edit is repeated when other processes commit in between.
const COMMIT_ATTEMPTS: usize = 64;

/// All names of a data directory.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Catalog {
    /// Databases by name.
    pub databases: BTreeMap<String, DatabaseEntry>,
    /// Collections by id.
    pub collections: BTreeMap<i64, CollectionEntry>,
    /// Database name, then alias, to collection id.
    pub aliases: BTreeMap<String, BTreeMap<String, i64>>,
    /// The next id that was never given out.
    pub next_id: i64,
    /// Database name, then the name of a view or an external table. Left out of the document while there are none, so
    /// that a build which does not know the field reads every catalog that does not need it, and refuses the others.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub relations: BTreeMap<String, BTreeMap<String, RelationEntry>>,
    /// Registered files by name; left out while there are none, as `relations` is.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub file_resources: BTreeMap<String, FileResourceEntry>,
    /// Registered plugins, by what they are called as and then by name; left out while there are none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub plugins: BTreeMap<PluginKind, BTreeMap<String, PluginEntry>>,
    /// Users and roles; left out while there are none. Shared: a catalog of which something else has changed has the same.
    #[serde(default, skip_serializing_if = "is_nobody")]
    pub access: Arc<AccessEntries>,
}

fn is_nobody(access: &AccessEntries) -> bool {
    access.is_empty()
}

/// What a plugin is called as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PluginKind {
    /// Puts the results of a search into another order.
    Reranker,
    /// A scalar function of SQL.
    Function,
}

impl PluginKind {
    /// The word for it in messages and tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Reranker => "reranker",
            Self::Function => "function",
        }
    }
}

/// A WebAssembly component that was registered under a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PluginEntry {
    /// Where it came from, as the user wrote it.
    pub path: String,
    /// The SHA-256 of its file, in lower-case hexadecimal digits, and so its object: `plugins/{sha256}.wasm`.
    pub sha256: String,
    /// How many bytes there are.
    pub bytes: u64,
    /// Their checksum.
    pub crc32c: u32,
    /// The name that it gives itself.
    pub plugin: String,
    /// The version that it gives itself.
    pub version: String,
    /// Of a function, its name in the plugin; of a reranker, nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub symbol: Option<String>,
    /// Of a function, how it is called, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
    /// Limits and rights, as the user gave them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub settings: BTreeMap<String, String>,
    /// When it was registered, `(unix milliseconds << 18) | counter`.
    pub created_ts: u64,
}

impl PluginEntry {
    /// Whether these are its bytes.
    #[must_use]
    pub fn is_of(&self, bytes: &[u8]) -> bool {
        self.bytes == bytes.len() as u64 && self.crc32c == crc32c::crc32c(bytes)
    }
}

/// A file that was registered under a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileResourceEntry {
    /// Where it came from, as the user wrote it.
    pub path: String,
    /// The object that has its bytes: `resources/{object}`.
    pub object: String,
    /// How many there are.
    pub bytes: u64,
    /// Their checksum.
    pub crc32c: u32,
    /// When it was registered, `(unix milliseconds << 18) | counter`.
    pub created_ts: u64,
}

impl FileResourceEntry {
    /// Whether these are its bytes.
    #[must_use]
    pub fn is_of(&self, bytes: &[u8]) -> bool {
        self.bytes == bytes.len() as u64 && self.crc32c == crc32c::crc32c(bytes)
    }
}

/// One database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatabaseEntry {
    /// Its id, never used again.
    pub id: i64,
    /// Creation time, `(unix milliseconds << 18) | counter`.
    pub created_ts: u64,
    /// Properties as the user gave them.
    pub properties: BTreeMap<String, String>,
}

/// One collection. Everything else about it is in its manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CollectionEntry {
    /// Its name, unique in its database.
    pub name: String,
    /// Name of its database.
    pub database: String,
    /// Creation time, `(unix milliseconds << 18) | counter`.
    pub created_ts: u64,
}

/// A name that stands for a definition instead of rows of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RelationEntry {
    /// What the definition is.
    pub kind: RelationKind,
    /// SQL text: the query of a view, the whole statement of an external table.
    pub definition: String,
    /// The database that unqualified names in the definition mean.
    pub search_database: String,
    /// Creation time, `(unix milliseconds << 18) | counter`.
    pub created_ts: u64,
}

/// What a [`RelationEntry`] defines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RelationKind {
    /// A query under a name.
    View,
    /// Files that are read as a table.
    External,
}

impl Default for Catalog {
    /// The catalog of an empty directory: the database "default" with id 1.
    fn default() -> Self {
        let database = DatabaseEntry {
            id: 1,
            created_ts: 0,
            properties: BTreeMap::new(),
        };
        Self {
            databases: BTreeMap::from([(DEFAULT_DATABASE.to_owned(), database)]),
            collections: BTreeMap::new(),
            aliases: BTreeMap::new(),
            next_id: 2,
            relations: BTreeMap::new(),
            file_resources: BTreeMap::new(),
            plugins: BTreeMap::new(),
            access: Arc::default(),
        }
    }
}

/// One version as it lies on disk. The checksum covers `"{version}:{commit_id}:"` and the exact text of `catalog`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    format: u32,
    version: u64,
    commit_id: String,
    crc32c: String,
    catalog: Box<RawValue>,
}

#[derive(Debug, Clone)]
struct CatalogVersion {
    version: u64,
    commit_id: Ulid,
    catalog: Arc<Catalog>,
}

fn checksum(version: u64, commit_id: &str, catalog: &str) -> String {
    let head = crc32c::crc32c(format!("{version}:{commit_id}:").as_bytes());
    format!("{:08x}", crc32c::crc32c_append(head, catalog.as_bytes()))
}

impl Versioned for CatalogVersion {
    fn version(&self) -> u64 {
        self.version
    }

    fn commit_id(&self) -> Ulid {
        self.commit_id
    }

    fn encode(&self) -> Result<Bytes> {
        let invalid = |error: serde_json::Error| Error::Invalid(format!("catalog: {error}"));
        let catalog = serde_json::value::to_raw_value(self.catalog.as_ref()).map_err(invalid)?;
        let commit_id = self.commit_id.to_string();
        let document = Document {
            format: FORMAT_VERSION,
            version: self.version,
            crc32c: checksum(self.version, &commit_id, catalog.get()),
            commit_id,
            catalog,
        };
        Ok(serde_json::to_vec(&document).map_err(invalid)?.into())
    }

    fn decode(path: &str, bytes: Bytes) -> Result<Self> {
        let corrupt = |error: serde_json::Error| Error::corrupt(path, error.to_string());
        let document: Document = serde_json::from_slice(&bytes).map_err(corrupt)?;
        if document.format != FORMAT_VERSION {
            return Err(Error::corrupt(
                path,
                format!("format {}, this build reads {FORMAT_VERSION}", document.format),
            ));
        }
        let expected = checksum(document.version, &document.commit_id, document.catalog.get());
        if document.crc32c != expected {
            return Err(Error::corrupt(
                path,
                format!("checksum {expected}, the document says {}", document.crc32c),
            ));
        }
        let commit_id = Ulid::from_string(&document.commit_id)
            .map_err(|error| Error::corrupt(path, format!("commit id: {error}")))?;
        let catalog = serde_json::from_str(document.catalog.get()).map_err(corrupt)?;
        Ok(Self {
            version: document.version,
            commit_id,
            catalog: Arc::new(catalog),
        })
    }
}

/// Reads and edits the catalog of one store.
#[derive(Debug)]
pub struct CatalogStore {
    log: VersionedLog<CatalogVersion>,
    current: RwLock<CatalogVersion>,
    /// Held across an edit and its commit.
    editing: tokio::sync::Mutex<()>,
}

impl CatalogStore {
    /// Loads the newest catalog, or creates the first.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when the newest version is damaged, or when the store fails.
    pub async fn open(store: Arc<dyn ObjectStore>) -> Result<Self> {
        let log = VersionedLog::new(store, Path::from("catalog"), "json");
        loop {
            if let Some(newest) = log.load_newest().await? {
                return Ok(Self {
                    log,
                    current: RwLock::new(newest),
                    editing: tokio::sync::Mutex::new(()),
                });
            }
            let first = CatalogVersion {
                version: 1,
                commit_id: Ulid::new(),
                catalog: Arc::new(Catalog::default()),
            };
            // Whoever wins, the next round loads it.
            log.commit(&first).await?;
        }
    }

    /// The newest catalog that this process knows.
    #[must_use]
    pub fn current(&self) -> Arc<Catalog> {
        Arc::clone(&self.current.read().catalog)
    }

    /// Applies `edit` and makes it durable. When another process committed first, `edit` runs again on its result;
    /// nothing is written when `edit` fails or changes nothing.
    ///
    /// # Errors
    /// The error of `edit`, or of the store. After a store error the newest catalog is loaded again by the next edit.
    pub async fn update<R, E: From<Error>>(
        &self,
        mut edit: impl FnMut(&mut Catalog) -> Result<R, E>,
    ) -> Result<R, E> {
        let _editing = self.editing.lock().await;
        for _ in 0..COMMIT_ATTEMPTS {
            let base = self.current.read().clone();
            let mut catalog = base.catalog.as_ref().clone();
            let result = edit(&mut catalog)?;
            if catalog == *base.catalog {
                return Ok(result);
            }
            let next = CatalogVersion {
                version: base.version + 1,
                commit_id: Ulid::new(),
                catalog: Arc::new(catalog),
            };
            match self.log.commit(&next).await? {
                Outcome::Committed => {
                    *self.current.write() = next;
                    self.trim(base.version).await;
                    return Ok(result);
                }
                Outcome::Conflict => {
                    if let Some(newest) = self.log.load_newest().await? {
                        *self.current.write() = newest;
                    }
                }
            }
        }
        Err(E::from(Error::Invalid(format!(
            "the catalog was changed by others {COMMIT_ATTEMPTS} times in a row"
        ))))
    }

    /// Removes versions that are out of reach of any process that still works. Best effort: what stays is removed
    /// after a later commit.
    async fn trim(&self, newest: u64) {
        if !newest.is_multiple_of(16) {
            return;
        }
        let trimmed = async {
            for (version, _) in self.log.versions().await? {
                if version + KEPT_VERSIONS <= newest {
                    self.log.remove(version).await?;
                }
            }
            Result::<()>::Ok(())
        };
        if let Err(error) = trimmed.await {
            tracing::warn!(%error, "old catalog versions could not be removed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::{Fault, FaultStore, OperationKind};
    use object_store::memory::InMemory;

    fn store() -> FaultStore {
        FaultStore::new(Arc::new(InMemory::new()))
    }

    async fn open(store: &FaultStore) -> CatalogStore {
        CatalogStore::open(Arc::new(store.clone())).await.unwrap()
    }

    async fn next_id(catalog: &CatalogStore) -> Result<i64> {
        catalog
            .update(|catalog| {
                catalog.next_id += 1;
                Ok(catalog.next_id)
            })
            .await
    }

    #[tokio::test]
    async fn the_first_catalog_has_the_default_database() {
        let catalog = open(&store()).await;
        assert_eq!(
            catalog.current().databases.keys().collect::<Vec<_>>(),
            [DEFAULT_DATABASE]
        );
    }

    #[tokio::test]
    async fn edits_survive_a_restart_and_failed_edits_leave_no_trace() {
        let store = store();
        let catalog = open(&store).await;
        next_id(&catalog).await.unwrap();
        let failed: Result<()> = catalog
            .update(|catalog| {
                catalog.next_id = 99;
                Err(Error::Invalid("no".to_owned()))
            })
            .await;
        assert!(failed.is_err());
        assert_eq!(open(&store).await.current(), catalog.current());
        assert_eq!(catalog.current().next_id, 3);
    }

    #[tokio::test]
    async fn an_edit_is_repeated_on_top_of_another_process() {
        let store = store();
        let (one, two) = (open(&store).await, open(&store).await);
        assert_eq!(next_id(&one).await.unwrap(), 3);
        assert_eq!(next_id(&two).await.unwrap(), 4);
        assert_eq!(next_id(&one).await.unwrap(), 5);
    }

    #[tokio::test]
    async fn ambiguous_and_failed_puts_are_settled() {
        let store = store();
        let catalog = open(&store).await;
        store.inject_next(OperationKind::Put, "catalog/", Fault::FailAfter);
        assert_eq!(next_id(&catalog).await.unwrap(), 3);
        store.inject_next(OperationKind::Put, "catalog/", Fault::FailBefore);
        assert!(next_id(&catalog).await.is_err());
        assert_eq!(catalog.current().next_id, 3);
        assert_eq!(next_id(&catalog).await.unwrap(), 4);
    }

    #[tokio::test]
    async fn old_versions_are_trimmed() {
        let store = store();
        let catalog = open(&store).await;
        for _ in 0..200 {
            next_id(&catalog).await.unwrap();
        }
        let versions = catalog.log.versions().await.unwrap();
        assert!(versions.len() < 160, "{} versions left", versions.len());
        assert_eq!(open(&store).await.current().next_id, 202);
    }

    #[test]
    fn a_catalog_without_relations_has_no_field_for_them() {
        let relation = RelationEntry {
            kind: RelationKind::View,
            definition: "SELECT 1".to_owned(),
            search_database: DEFAULT_DATABASE.to_owned(),
            created_ts: 7,
        };
        let empty = serde_json::to_string(&Catalog::default()).unwrap();
        assert!(!empty.contains("relations"), "{empty}");
        let mut catalog = Catalog::default();
        let views = BTreeMap::from([("v".to_owned(), relation)]);
        catalog.relations.insert(DEFAULT_DATABASE.to_owned(), views);
        let text = serde_json::to_string(&catalog).unwrap();
        assert!(
            text.contains(r#""relations":{"default":{"v":{"kind":"view","#),
            "{text}"
        );
        assert_eq!(serde_json::from_str::<Catalog>(&text).unwrap(), catalog);
        let unknown = text.replace(r#""kind":"view""#, r#""kind":"sequence""#);
        assert!(serde_json::from_str::<Catalog>(&unknown).is_err());
    }

    #[test]
    fn a_catalog_without_plugins_has_no_field_for_them() {
        let entry = PluginEntry {
            path: "mmr.wasm".to_owned(),
            sha256: "ab".repeat(32),
            bytes: 3,
            crc32c: crc32c::crc32c(b"abc"),
            plugin: "mmr".to_owned(),
            version: "1.0.0".to_owned(),
            symbol: None,
            signature: None,
            settings: BTreeMap::new(),
            created_ts: 7,
        };
        assert!(entry.is_of(b"abc") && !entry.is_of(b"abd"));
        let empty = serde_json::to_string(&Catalog::default()).unwrap();
        assert!(!empty.contains("plugins"), "{empty}");
        let mut catalog = Catalog::default();
        let named = BTreeMap::from([("diverse".to_owned(), entry)]);
        catalog.plugins.insert(PluginKind::Reranker, named);
        let text = serde_json::to_string(&catalog).unwrap();
        assert!(
            text.contains(r#""plugins":{"reranker":{"diverse":{"path":"mmr.wasm","#),
            "{text}"
        );
        assert_eq!(serde_json::from_str::<Catalog>(&text).unwrap(), catalog);
    }

    #[test]
    fn a_catalog_without_users_has_no_field_for_them_and_one_with_users_shows_no_hash() {
        use crate::access::{GrantEntry, RoleEntry, UserEntry};
        let empty = serde_json::to_string(&Catalog::default()).unwrap();
        assert!(!empty.contains("access"), "{empty}");
        assert_eq!(
            serde_json::from_str::<Catalog>(&empty).unwrap(),
            Catalog::default()
        );
        let mut catalog = Catalog::default();
        let access = Arc::make_mut(&mut catalog.access);
        let user = UserEntry {
            password: "$pbkdf2-sha256$i=1$c2FsdA$aGFzaA".to_owned(),
            roles: ["reader".to_owned()].into(),
            description: String::new(),
            created_ts: 7,
        };
        access.users.insert("ann".to_owned(), user);
        let grant = GrantEntry {
            database: DEFAULT_DATABASE.to_owned(),
            collection: "*".to_owned(),
            privilege: "Query".to_owned(),
            grantor: "root".to_owned(),
        };
        let role = RoleEntry {
            description: String::new(),
            grants: [grant].into(),
        };
        access.roles.insert("reader".to_owned(), role);
        let text = serde_json::to_string(&catalog).unwrap();
        assert_eq!(serde_json::from_str::<Catalog>(&text).unwrap(), catalog);
        assert!(!format!("{catalog:?}").contains("pbkdf2"));
    }

    #[test]
    fn damage_anywhere_is_noticed() {
        let version = CatalogVersion {
            version: 3,
            commit_id: Ulid::new(),
            catalog: Arc::new(Catalog::default()),
        };
        let bytes = version.encode().unwrap();
        assert_eq!(
            CatalogVersion::decode("f", bytes.clone()).unwrap().catalog,
            version.catalog
        );
        for at in 0..bytes.len() {
            assert!(
                CatalogVersion::decode("f", bytes.slice(..at))
                    .unwrap_err()
                    .is_corrupt()
            );
            for bit in 0..8 {
                let mut flipped = bytes.to_vec();
                flipped[at] ^= 1 << bit;
                let error = CatalogVersion::decode("f", flipped.into()).map(|found| found.catalog);
                assert!(error.unwrap_err().is_corrupt(), "bit {bit} of byte {at}");
            }
        }
    }
}

//! A log of numbered, immutable objects `{prefix}/{version:020}.{extension}` of which the newest is the truth.
//!
//! Version N+1 is written with *create if absent*, so of two writers that both start from N one wins. A put can fail
//! although it was applied; the random commit id inside the object tells whether the object that is there is ours.
//! Catalog and manifests are such logs.

use std::marker::PhantomData;
use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions};
use ulid::Ulid;

use crate::error::{Error, Result};
use crate::segment::fetch::fetch;

/// How often `load_newest` lists again when the object that it found was removed meanwhile.
const LOAD_ATTEMPTS: usize = 8;

/// A value that a [`VersionedLog`] can hold.
pub trait Versioned: Sized + Send + Sync {
    /// Number of this version.
    fn version(&self) -> u64;
    /// Random id of the commit that made this version.
    fn commit_id(&self) -> Ulid;
    /// The bytes of the object.
    ///
    /// # Errors
    /// When the value cannot be encoded.
    fn encode(&self) -> Result<Bytes>;
    /// Reads what `encode` wrote; `path` is for error messages.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when the bytes are anything else.
    fn decode(path: &str, bytes: Bytes) -> Result<Self>;
}

/// Whether a commit won.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The version is ours and durable.
    Committed,
    /// Another commit has this version number.
    Conflict,
}

/// See the module documentation.
#[derive(Debug)]
pub struct VersionedLog<T> {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    extension: &'static str,
    marker: PhantomData<fn() -> T>,
}

impl<T: Versioned> VersionedLog<T> {
    /// A log below `prefix`; nothing is read or written yet.
    #[must_use]
    pub fn new(store: Arc<dyn ObjectStore>, prefix: Path, extension: &'static str) -> Self {
        Self {
            store,
            prefix,
            extension,
            marker: PhantomData,
        }
    }

    /// The path of one version.
    #[must_use]
    pub fn path(&self, version: u64) -> Path {
        numbered_path(&self.prefix, version, self.extension)
    }

    /// All versions that exist, ascending. Objects with other names are ignored.
    ///
    /// # Errors
    /// When the store cannot be listed.
    pub async fn versions(&self) -> Result<Vec<(u64, ObjectMeta)>> {
        list_numbered(self.store.as_ref(), &self.prefix, self.extension).await
    }

    /// One version.
    ///
    /// # Errors
    /// [`Error::NotFound`] when it does not exist, [`Error::Corrupt`] when it is damaged.
    pub async fn load(&self, version: u64) -> Result<T> {
        let path = self.path(version);
        let bytes = fetch(self.store.as_ref(), &path).await?;
        let value = T::decode(path.as_ref(), bytes)?;
        if value.version() != version {
            return Err(Error::corrupt(
                path.as_ref(),
                format!("holds version {}", value.version()),
            ));
        }
        Ok(value)
    }

    /// The newest version, `None` when the log is empty. A damaged newest version is an error: falling back to an
    /// older one would take back what was acknowledged.
    ///
    /// # Errors
    /// [`Error::Corrupt`], or when the store fails.
    pub async fn load_newest(&self) -> Result<Option<T>> {
        let mut attempt = 0;
        loop {
            let Some((newest, _)) = self.versions().await?.pop() else {
                return Ok(None);
            };
            attempt += 1;
            match self.load(newest).await {
                // Another process committed and collected this version between the two calls.
                Err(Error::NotFound { .. }) if attempt < LOAD_ATTEMPTS => {}
                result => return result.map(Some),
            }
        }
    }

    /// Writes `value` as its version if that is still free.
    ///
    /// # Errors
    /// When the store failed and the object is not there, or its state cannot be read: the outcome is then unknown,
    /// since a late write may still arrive.
    pub async fn commit(&self, value: &T) -> Result<Outcome> {
        let path = self.path(value.version());
        let payload = value.encode()?.into();
        let put = self
            .store
            .put_opts(&path, payload, PutOptions::from(PutMode::Create))
            .await;
        let Err(put_error) = put else {
            return Ok(Outcome::Committed);
        };
        match self.load(value.version()).await {
            Ok(found) if found.commit_id() == value.commit_id() => Ok(Outcome::Committed),
            Ok(_) => Ok(Outcome::Conflict),
            Err(corrupt @ Error::Corrupt { .. }) => Err(corrupt),
            Err(_) => Err(put_error.into()),
        }
    }

    /// Removes one version; that it is gone already is fine.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn remove(&self, version: u64) -> Result<()> {
        remove_if_present(self.store.as_ref(), &self.path(version)).await
    }
}

pub(crate) fn numbered_path(prefix: &Path, number: u64, extension: &str) -> Path {
    prefix.clone().join(format!("{number:020}.{extension}"))
}

/// Objects directly below `prefix` that are named by a 20-digit number and `extension`, ascending.
pub(crate) async fn list_numbered(
    store: &dyn ObjectStore,
    prefix: &Path,
    extension: &str,
) -> Result<Vec<(u64, ObjectMeta)>> {
    let metas: Vec<ObjectMeta> = store.list(Some(prefix)).try_collect().await?;
    let mut numbered: Vec<(u64, ObjectMeta)> = metas
        .into_iter()
        .filter_map(|meta| {
            let number = parse_name(&meta.location, extension)?;
            // Only direct children: `a/b/1.wal` is not of the log `a`.
            (meta.location == numbered_path(prefix, number, extension)).then_some((number, meta))
        })
        .collect();
    numbered.sort_by_key(|(number, _)| *number);
    Ok(numbered)
}

fn parse_name(location: &Path, extension: &str) -> Option<u64> {
    let (digits, found_extension) = location.filename()?.split_once('.')?;
    let is_number = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    (is_number && found_extension == extension)
        .then(|| digits.parse().ok())
        .flatten()
}

pub(crate) async fn remove_if_present(store: &dyn ObjectStore, path: &Path) -> Result<()> {
    match store.delete(path).await {
        Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::{Fault, FaultStore, OperationKind};
    use object_store::memory::InMemory;

    #[derive(Debug, Clone, PartialEq)]
    struct Text {
        version: u64,
        id: Ulid,
        text: String,
    }

    impl Versioned for Text {
        fn version(&self) -> u64 {
            self.version
        }
        fn commit_id(&self) -> Ulid {
            self.id
        }
        fn encode(&self) -> Result<Bytes> {
            Ok(format!("{} {} {}", self.version, self.id, self.text).into())
        }
        fn decode(path: &str, bytes: Bytes) -> Result<Self> {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let mut parts = text.splitn(3, ' ');
            let mut next = || parts.next().ok_or_else(|| Error::corrupt(path, "too short"));
            Ok(Self {
                version: next()?.parse().map_err(|_| Error::corrupt(path, "version"))?,
                id: Ulid::from_string(next()?).map_err(|_| Error::corrupt(path, "id"))?,
                text: next()?.to_owned(),
            })
        }
    }

    fn text(version: u64, text: &str) -> Text {
        Text {
            version,
            id: Ulid::new(),
            text: text.to_owned(),
        }
    }

    fn log() -> (FaultStore, VersionedLog<Text>) {
        let store = FaultStore::new(Arc::new(InMemory::new()));
        let log = VersionedLog::new(Arc::new(store.clone()), Path::from("log"), "txt");
        (store, log)
    }

    #[tokio::test]
    async fn the_first_of_two_commits_of_a_version_wins() {
        let (_, log) = log();
        assert_eq!(log.load_newest().await.unwrap(), None);
        let winner = text(1, "winner");
        assert_eq!(log.commit(&winner).await.unwrap(), Outcome::Committed);
        assert_eq!(log.commit(&text(1, "loser")).await.unwrap(), Outcome::Conflict);
        assert_eq!(log.load_newest().await.unwrap(), Some(winner));
    }

    #[tokio::test]
    async fn the_commit_id_settles_a_put_that_failed_after_it_was_applied() {
        let (store, log) = log();
        store.inject_next(OperationKind::Put, "log/", Fault::FailAfter);
        assert_eq!(log.commit(&text(1, "mine")).await.unwrap(), Outcome::Committed);
        store.inject_next(OperationKind::Put, "log/", Fault::FailBefore);
        assert!(matches!(
            log.commit(&text(2, "lost")).await.unwrap_err(),
            Error::ObjectStore(_)
        ));
        assert_eq!(log.commit(&text(2, "again")).await.unwrap(), Outcome::Committed);
        assert_eq!(log.load_newest().await.unwrap().unwrap().text, "again");
    }

    #[tokio::test]
    async fn foreign_names_are_ignored() {
        let (store, log) = log();
        log.commit(&text(7, "seven")).await.unwrap();
        for name in [
            "log/8.txt",
            "log/00000000000000000009.bin",
            "log/x/00000000000000000009.txt",
            "log/notes",
        ] {
            store.put(&Path::from(name), "x".into()).await.unwrap();
        }
        assert_eq!(log.load_newest().await.unwrap().unwrap().version, 7);
    }

    #[tokio::test]
    async fn an_object_under_the_wrong_number_is_corrupt() {
        let (store, log) = log();
        log.commit(&text(1, "one")).await.unwrap();
        store.copy(&log.path(1), &log.path(2)).await.unwrap();
        assert!(log.load_newest().await.unwrap_err().is_corrupt());
    }
}

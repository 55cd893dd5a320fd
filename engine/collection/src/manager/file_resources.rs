//! Registered files: a name for bytes that the root keeps, such as the model of a reranker.
//!
//! The bytes are those of the moment of the registration. What refers to the name gets them whatever becomes of the file,
//! until the name is removed.

use bytes::Bytes;
use elanus_storage::FileResourceEntry;

use super::Collections;
use crate::error::{Error, Result};

/// Most files of one root.
const MAX_FILE_RESOURCES: usize = 1_024;
/// Longest name in bytes.
const MAX_NAME_BYTES: usize = 255;
/// Most bytes of one.
const MAX_FILE_BYTES: u64 = 256 << 20;

/// A registered file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileResource {
    /// Its name.
    pub name: String,
    /// Where its bytes came from.
    pub path: String,
    /// Another one for other bytes, even under the same name.
    pub id: String,
}

impl Collections {
    /// Registers the object that a user has put into the root (the data directory) at `path`.
    ///
    /// # Errors
    /// As [`Collections::add_file_resource`]; a path that is not there or leads to files of the engine.
    pub async fn add_stored_file_resource(&self, name: &str, path: &str) -> Result<()> {
        let bytes = self.read_stored_file(path, MAX_FILE_BYTES).await?;
        self.add_file_resource(name, path, bytes).await
    }

    /// The bytes of the object that a user has put into the root (the data directory) at `path`, at most `most`.
    ///
    /// # Errors
    /// [`Error::FileNotFound`], [`Error::InvalidParameter`] for a path that leads to files of the engine and for more bytes,
    /// or a storage error.
    pub async fn read_stored_file(&self, path: &str, most: u64) -> Result<Bytes> {
        match elanus_storage::read_foreign(self.context.store.as_ref(), path, most).await {
            Err(elanus_storage::Error::NotFound { path }) => Err(Error::FileNotFound { path }),
            Err(elanus_storage::Error::Invalid(what)) => Err(Error::InvalidParameter(what)),
            read => Ok(read?),
        }
    }

    /// Registers `bytes`, which came from `path`, under `name`. Doing it again changes nothing.
    ///
    /// # Errors
    /// A bad name, a name that stands for other bytes or another path, too many bytes or names, or a storage error.
    pub async fn add_file_resource(&self, name: &str, path: &str, bytes: Bytes) -> Result<()> {
        if name.is_empty() || name.len() > MAX_NAME_BYTES || name.chars().any(char::is_control) {
            return Err(Error::InvalidParameter(format!(
                "invalid file resource name {name:?}: allowed are 1 to {MAX_NAME_BYTES} bytes without control characters"
            )));
        }
        if bytes.len() as u64 > MAX_FILE_BYTES {
            return Err(Error::InvalidParameter(format!(
                "'{path}' has {} bytes, at most {MAX_FILE_BYTES} are allowed",
                bytes.len()
            )));
        }
        let _one = self.ddl.lock().await;
        let store = self.context.store.as_ref();
        if let Some(there) = self.catalog.current().file_resources.get(name) {
            return if there.path == path && there.is_of(&bytes) {
                Ok(())
            } else {
                Err(Error::InvalidParameter(format!(
                    "file resource '{name}' is there already, from '{}'; remove it first",
                    there.path
                )))
            };
        }
        let entry = elanus_storage::put_resource(store, path, bytes, self.context.oracle.next()).await?;
        self.catalog
            .update(|catalog| {
                if catalog.file_resources.len() >= MAX_FILE_RESOURCES {
                    return Err(Error::LimitExceeded(format!(
                        "exceeded the limit of {MAX_FILE_RESOURCES} file resources"
                    )));
                }
                catalog.file_resources.insert(name.to_string(), entry.clone());
                Ok(())
            })
            .await
    }

    /// Removes a file resource, and says whether it was there.
    ///
    /// # Errors
    /// A storage error.
    pub async fn remove_file_resource(&self, name: &str) -> Result<bool> {
        let _one = self.ddl.lock().await;
        let removed = self
            .catalog
            .update(|catalog| Ok::<_, Error>(catalog.file_resources.remove(name)))
            .await?;
        let Some(entry) = removed else {
            return Ok(false);
        };
        // Without its name nothing finds it; what fails to go now goes when the root is opened again.
        if let Err(error) = elanus_storage::remove_resource(self.context.store.as_ref(), &entry).await {
            tracing::warn!(name, %error, "the bytes of a removed file resource stay until the next start");
        }
        Ok(true)
    }

    /// All file resources, by name.
    pub fn file_resources(&self) -> Vec<FileResource> {
        let catalog = self.catalog.current();
        let all = catalog.file_resources.iter();
        all.map(|(name, entry)| resource(name, entry)).collect()
    }

    /// The file resource of this name.
    pub fn file_resource(&self, name: &str) -> Option<FileResource> {
        let catalog = self.catalog.current();
        let entry = catalog.file_resources.get(name);
        entry.map(|entry| resource(name, entry))
    }

    /// The bytes of the file resource of this name.
    ///
    /// # Errors
    /// A name that is not there, damaged bytes, or a storage error.
    pub async fn read_file_resource(&self, name: &str) -> Result<Bytes> {
        let catalog = self.catalog.current();
        let entry = catalog.file_resources.get(name);
        let entry = entry.ok_or_else(|| no_resource(name, catalog.file_resources.keys()))?;
        Ok(elanus_storage::get_resource(self.context.store.as_ref(), entry).await?)
    }
}

fn resource(name: &str, entry: &FileResourceEntry) -> FileResource {
    FileResource {
        name: name.to_string(),
        path: entry.path.clone(),
        id: entry.object.clone(),
    }
}

fn no_resource<'a>(name: &str, known: impl Iterator<Item = &'a String>) -> Error {
    let known: Vec<&str> = known.map(String::as_str).collect();
    let known = if known.is_empty() {
        "none is registered".to_string()
    } else {
        format!("there are {}", known.join(", "))
    };
    Error::InvalidParameter(format!("file resource '{name}' not found; {known}"))
}

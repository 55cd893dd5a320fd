//! Opening a data directory: where it is, and that no other process has it.

use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use object_store::ObjectStore;

use crate::error::{Error, Result};
use crate::local::DurableLocalStore;

/// Name of the lock file in the root of a data directory.
pub(crate) const LOCK_FILE: &str = "LOCK";

/// An opened data location. Keep it as long as the store is in use: dropping it gives the directory free.
#[derive(Debug)]
pub struct Root {
    /// The store; every path in it is relative to the root.
    pub store: Arc<dyn ObjectStore>,
    /// The lock on a local directory.
    pub lock: Option<DirLock>,
}

/// Opens the directory `uri_or_dir`, creating it if it is absent, and locks it for this process.
/// Temporary files that an interrupted process left behind are removed.
///
/// # Errors
/// [`Error::Locked`] when another process (or another `Root` of this one) has it; [`Error::Unsupported`] for any URI
/// that is not `file://`; [`Error::Io`] when the directory cannot be created or written.
pub fn open_root(uri_or_dir: &str) -> Result<Root> {
    let directory = match uri_or_dir.split_once("://") {
        None => uri_or_dir,
        Some(("file", path)) => path,
        Some(_) => {
            return Err(Error::Unsupported(
                "not supported: object stores other than a local directory".to_owned(),
            ));
        }
    };
    if directory.is_empty() {
        return Err(Error::Invalid("the data directory must not be empty".to_owned()));
    }
    let directory = Path::new(directory);
    create_durably(directory).map_err(|error| Error::io(directory, error))?;
    let lock = DirLock::acquire(directory)?;
    let store = DurableLocalStore::new(directory)?;
    let removed = store.remove_leftovers()?;
    if removed > 0 {
        tracing::info!(directory = %directory.display(), removed, "removed temporary files of an interrupted process");
    }
    Ok(Root {
        store: Arc::new(store),
        lock: Some(lock),
    })
}

/// Creates a directory and its missing parents, each entry durable: what is acknowledged in it must not vanish with it.
fn create_durably(directory: &Path) -> std::io::Result<()> {
    let absolute = std::path::absolute(directory)?;
    let missing: Vec<&Path> = absolute.ancestors().take_while(|path| !path.exists()).collect();
    std::fs::create_dir_all(&absolute)?;
    for parent in missing.iter().filter_map(|created| created.parent()) {
        File::open(parent)?.sync_all()?;
    }
    Ok(())
}

/// An exclusive advisory lock on a directory: an open, locked file `LOCK` that holds the process id.
/// The operating system releases it when the process ends, however it ends.
pub struct DirLock {
    directory: PathBuf,
    /// Held for its lock only.
    _file: File,
}

impl DirLock {
    /// Locks `directory`, which must exist.
    ///
    /// # Errors
    /// [`Error::Locked`] when it is locked already, [`Error::Io`] when the lock file cannot be created.
    pub fn acquire(directory: &Path) -> Result<Self> {
        let path = directory.join(LOCK_FILE);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|error| Error::io(&path, error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                // The pid is a courtesy of the message; a lock file that cannot be read is locked all the same.
                let holder = match file.read_to_string(&mut text) {
                    Ok(_) => text.trim().parse().ok(),
                    Err(_) => None,
                };
                return Err(Error::Locked {
                    directory: directory.to_owned(),
                    holder,
                });
            }
            Err(TryLockError::Error(error)) => return Err(Error::io(&path, error)),
        }
        let write_pid = |file: &mut File| {
            file.set_len(0)?;
            file.rewind()?;
            writeln!(file, "{}", std::process::id())?;
            file.flush()
        };
        write_pid(&mut file).map_err(|error| Error::io(&path, error))?;
        Ok(Self {
            directory: directory.to_owned(),
            _file: file,
        })
    }

    /// The locked directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }
}

impl fmt::Debug for DirLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DirLock")
            .field("directory", &self.directory)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_opener_is_refused_with_the_pid_of_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let uri = dir.path().join("data");
        let root = open_root(uri.to_str().unwrap()).unwrap();
        let error = open_root(uri.to_str().unwrap()).unwrap_err();
        let expected = format!(
            "data directory {} is in use by process {}",
            uri.display(),
            std::process::id()
        );
        assert_eq!(error.to_string(), expected);
        drop(root);
        open_root(uri.to_str().unwrap()).unwrap();
    }

    #[test]
    fn missing_parents_are_created_and_a_file_in_the_way_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let nested = dir.path().join("a/b/c");
        open_root(nested.to_str().unwrap()).unwrap();
        assert!(nested.join(LOCK_FILE).exists());
        let file = dir.path().join("file");
        std::fs::write(&file, "x").unwrap();
        let error = open_root(file.join("data").to_str().unwrap()).unwrap_err();
        assert!(error.to_string().contains("file/data"), "{error}");
    }

    #[test]
    fn other_stores_are_refused_by_name() {
        let error = open_root("s3://bucket/prefix").unwrap_err();
        assert_eq!(
            error.to_string(),
            "not supported: object stores other than a local directory"
        );
    }
}

//! Getting the bytes of an object: mapped into memory where the store has files, read otherwise.

use std::path::PathBuf;

use bytes::Bytes;
use memmap2::Mmap;
use object_store::path::Path;
use object_store::{GetResultPayload, ObjectStore, ObjectStoreExt};

use crate::error::{Error, Result};

/// Reads a whole object into memory.
///
/// # Errors
/// [`Error::NotFound`], or when the store fails or delivers fewer bytes than it announced.
pub(crate) async fn fetch(store: &dyn ObjectStore, path: &Path) -> Result<Bytes> {
    let result = get(store, path).await?;
    let announced = result.meta.size;
    let bytes = result.bytes().await?;
    check_length(path, &bytes, announced)?;
    Ok(bytes)
}

/// Maps an object of a local store, which costs no memory of the process and no copy; reads it from any other store.
///
/// # Errors
/// As [`fetch`].
pub(crate) async fn map(store: &dyn ObjectStore, path: &Path) -> Result<Bytes> {
    let result = get(store, path).await?;
    let announced = result.meta.size;
    // Mapping nothing is an error of the operating system.
    if announced == 0 {
        return Ok(Bytes::new());
    }
    let bytes = match result.payload {
        GetResultPayload::File(file, name) => {
            // SAFETY: a mapping is sound as long as nobody changes or shortens the file under it. Objects are
            // immutable by the rules of this crate: they appear whole by link or rename, are never opened for
            // writing again, and removal leaves an existing mapping intact. The directory lock keeps other
            // processes of ours away.
            let mapping = unsafe { Mmap::map(&file) }.map_err(|error| Error::io(&name, error))?;
            Bytes::from_owner(mapping)
        }
        GetResultPayload::Stream(_) => result.bytes().await?,
    };
    check_length(path, &bytes, announced)?;
    Ok(bytes)
}

/// The file that holds an object; `None` where the store has no files.
///
/// # Errors
/// [`Error::NotFound`], or when the store fails.
pub(crate) async fn file_of(store: &dyn ObjectStore, path: &Path) -> Result<Option<PathBuf>> {
    Ok(match get(store, path).await?.payload {
        GetResultPayload::File(_, name) => Some(name),
        GetResultPayload::Stream(_) => None,
    })
}

async fn get(store: &dyn ObjectStore, path: &Path) -> Result<object_store::GetResult> {
    match store.get(path).await {
        Err(object_store::Error::NotFound { .. }) => Err(Error::NotFound {
            path: path.to_string(),
        }),
        result => Ok(result?),
    }
}

fn check_length(path: &Path, bytes: &Bytes, announced: u64) -> Result<()> {
    if bytes.len() as u64 == announced {
        return Ok(());
    }
    let short = format!("{path}: the store delivered {} of {announced} bytes", bytes.len());
    Err(Error::from(object_store::Error::Generic {
        store: "read",
        source: short.into(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::{Fault, FaultStore, OperationKind};
    use crate::local::DurableLocalStore;
    use std::sync::Arc;

    #[tokio::test]
    async fn a_mapping_outlives_the_removal_of_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let store = DurableLocalStore::new(dir.path()).unwrap();
        let path = Path::from("a/b");
        store.put(&path, vec![7_u8; 10_000].into()).await.unwrap();
        let mapped = map(&store, &path).await.unwrap();
        let file = file_of(&store, &path).await.unwrap().unwrap();
        assert_eq!(std::fs::read(file).unwrap(), mapped);
        store.delete(&path).await.unwrap();
        assert!(mapped.iter().all(|byte| *byte == 7));
        assert_eq!(mapped.as_ptr().align_offset(4096), 0, "mappings start on a page");
        assert!(matches!(
            map(&store, &path).await.unwrap_err(),
            Error::NotFound { .. }
        ));
    }

    #[tokio::test]
    async fn a_short_read_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let local = DurableLocalStore::new(dir.path()).unwrap();
        let store = FaultStore::new(Arc::new(local));
        let path = Path::from("a");
        store.put(&path, "12345678".into()).await.unwrap();
        for _ in 0..2 {
            store.inject_next(OperationKind::Get, "a", Fault::ShortRead);
        }
        let error = fetch(&store, &path).await.unwrap_err();
        assert!(error.to_string().contains("4 of 8 bytes"), "{error}");
        assert!(map(&store, &path).await.is_err());
        assert_eq!(map(&store, &path).await.unwrap(), "12345678");
    }

    #[tokio::test]
    async fn an_empty_object_maps_to_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let store = DurableLocalStore::new(dir.path()).unwrap();
        store.put(&Path::from("e"), Bytes::new().into()).await.unwrap();
        assert!(map(&store, &Path::from("e")).await.unwrap().is_empty());
    }
}

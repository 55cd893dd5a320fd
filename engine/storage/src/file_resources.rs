//! Files that users have registered under a name: kept as they were at that moment, one object for each registration.
//!
//! ```text
//! resources/{ulid}      the bytes; the catalog has the name, the length and the checksum
//! ```
//!
//! The object is written before the catalog names it and removed after the catalog has ceased to, so that an interrupted
//! change leaves an object without a name at most; [`remove_unnamed_resources`] removes those.

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions};
use ulid::Ulid;

use crate::catalog::{Catalog, FileResourceEntry};
use crate::error::{Error, Result};
use crate::segment::fetch::fetch;

/// Folder of the objects.
const FOLDER: &str = "resources";
/// What the first part of a path is in the files of this crate.
const OURS: &[&str] = &[
    "catalog",
    "c",
    FOLDER,
    crate::plugins::FOLDER,
    crate::plugins::CACHE,
    crate::root::LOCK_FILE,
];

fn path(id: &str) -> Path {
    Path::from(FOLDER).join(id)
}

/// Keeps `bytes`, and returns the entry for the catalog.
///
/// # Errors
/// When the store fails.
pub async fn put_resource(
    store: &dyn ObjectStore,
    source: &str,
    bytes: Bytes,
    created_ts: u64,
) -> Result<FileResourceEntry> {
    let id = Ulid::new().to_string();
    let entry = FileResourceEntry {
        path: source.to_owned(),
        object: id.clone(),
        bytes: bytes.len() as u64,
        crc32c: crc32c::crc32c(&bytes),
        created_ts,
    };
    store
        .put_opts(&path(&id), bytes.into(), PutOptions::from(PutMode::Create))
        .await?;
    Ok(entry)
}

/// The bytes of a resource.
///
/// # Errors
/// [`Error::NotFound`], [`Error::Corrupt`], or when the store fails.
pub async fn get_resource(store: &dyn ObjectStore, entry: &FileResourceEntry) -> Result<Bytes> {
    let path = path(&entry.object);
    let bytes = fetch(store, &path).await?;
    if entry.is_of(&bytes) {
        return Ok(bytes);
    }
    Err(Error::corrupt(
        path.as_ref(),
        format!(
            "{} bytes with checksum {:08x}, the catalog says {} with {:08x}",
            bytes.len(),
            crc32c::crc32c(&bytes),
            entry.bytes,
            entry.crc32c
        ),
    ))
}

/// Removes the object of a resource that the catalog has ceased to name.
///
/// # Errors
/// When the store fails; an object that is not there is none.
pub async fn remove_resource(store: &dyn ObjectStore, entry: &FileResourceEntry) -> Result<()> {
    match store.delete(&path(&entry.object)).await {
        Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Removes objects that no resource has, and returns how many there were. Nobody may register one meanwhile.
///
/// # Errors
/// When the store fails.
pub async fn remove_unnamed_resources(store: &dyn ObjectStore, catalog: &Catalog) -> Result<usize> {
    let objects: Vec<Path> = store
        .list(Some(&Path::from(FOLDER)))
        .map_ok(|meta| meta.location)
        .try_collect()
        .await?;
    let mut removed = 0;
    for object in objects {
        let mut known = catalog.file_resources.values();
        if !known.any(|entry| path(&entry.object) == object) {
            store.delete(&object).await?;
            removed += 1;
        }
    }
    Ok(removed)
}

/// An object that a user has put into the store, when it is there and has at most `most` bytes.
///
/// # Errors
/// [`Error::Invalid`] for a path that is none or leads to files of this crate, and for a longer object;
/// [`Error::NotFound`]; or when the store fails.
pub async fn read_foreign(store: &dyn ObjectStore, key: &str, most: u64) -> Result<Bytes> {
    let path = Path::parse(key).map_err(|error| Error::Invalid(format!("path '{key}': {error}")))?;
    let first = path.parts().next();
    let Some(first) = first else {
        return Err(Error::Invalid("the path of an object must not be empty".into()));
    };
    if OURS.contains(&first.as_ref()) {
        return Err(Error::Invalid(format!(
            "path '{key}': {} is the engine's own",
            first.as_ref()
        )));
    }
    match store.head(&path).await {
        Ok(meta) if meta.size > most => Err(Error::Invalid(format!(
            "'{key}' has {} bytes, at most {most} are allowed",
            meta.size
        ))),
        Ok(_) => fetch(store, &path).await,
        Err(object_store::Error::NotFound { .. }) => Err(Error::NotFound { path: key.to_owned() }),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::*;

    #[tokio::test]
    async fn a_resource_comes_back_as_it_was_and_damage_is_found() {
        let store = InMemory::new();
        let entry = put_resource(&store, "file/a.txt", Bytes::from_static(b"words"), 7)
            .await
            .unwrap();
        assert_eq!(
            get_resource(&store, &entry).await.unwrap(),
            Bytes::from_static(b"words")
        );
        let other = put_resource(&store, "file/a.txt", Bytes::from_static(b"other"), 8)
            .await
            .unwrap();
        let mut catalog = Catalog::default();
        catalog.file_resources.insert("a".into(), entry.clone());
        assert_eq!(remove_unnamed_resources(&store, &catalog).await.unwrap(), 1);
        assert!(matches!(
            get_resource(&store, &other).await,
            Err(Error::NotFound { .. })
        ));
        store
            .put(&path(&entry.object), Bytes::from_static(b"wordz").into())
            .await
            .unwrap();
        let error = get_resource(&store, &entry).await.unwrap_err();
        assert!(matches!(error, Error::Corrupt { .. }), "{error}");
        remove_resource(&store, &entry).await.unwrap();
        remove_resource(&store, &entry).await.unwrap();
    }

    #[tokio::test]
    async fn foreign_objects_are_read_and_our_own_are_not() {
        let store = InMemory::new();
        store
            .put(&Path::from("file/dict.txt"), Bytes::from_static(b"abc").into())
            .await
            .unwrap();
        let read = read_foreign(&store, "file/dict.txt", 3).await.unwrap();
        assert_eq!(read, Bytes::from_static(b"abc"));
        for (key, what) in [
            ("file/dict.txt", "has 3 bytes, at most 2"),
            ("file/none.txt", "not found: file/none.txt"),
            ("catalog/00000000000000000001.json", "catalog is the engine's own"),
            ("c/1/manifest/1.pb", "c is the engine's own"),
            ("file/../c/1", "path 'file/../c/1'"),
            ("", "must not be empty"),
        ] {
            let error = read_foreign(&store, key, 2).await.unwrap_err().to_string();
            assert!(error.contains(what), "{key}: {error}");
        }
    }
}

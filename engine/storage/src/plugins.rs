//! Plugins: WebAssembly components that users have registered, one object for each file, whatever names it has.
//!
//! ```text
//! plugins/{sha256}.wasm     the bytes; the catalog has names, settings, length and checksum
//! plugin-cache/             machine code made of them: no objects but files of this machine, in a local root only
//! ```
//!
//! The object is written before the catalog names it and removed after the catalog has ceased to. A file may also be
//! uploaded first and named later; [`remove_unnamed_plugins`] removes those that never were.

use std::collections::BTreeSet;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions};

use crate::catalog::{Catalog, PluginEntry};
use crate::error::{Error, Result};
use crate::segment::fetch::fetch;

/// Folder of the objects.
pub(crate) const FOLDER: &str = "plugins";
/// Folder of machine code in a local root, which the process that has it locked writes alone.
pub const CACHE: &str = "plugin-cache";

fn path(sha256: &str) -> Path {
    Path::from(FOLDER).join(format!("{sha256}.wasm"))
}

/// Keeps `bytes`, whose SHA-256 in hexadecimal digits is `sha256`, and gives their checksum. Doing it again changes
/// nothing.
///
/// # Errors
/// When the store fails.
pub async fn put_plugin(store: &dyn ObjectStore, sha256: &str, bytes: Bytes) -> Result<u32> {
    let path = path(sha256);
    let crc32c = crc32c::crc32c(&bytes);
    let create = || {
        let options = PutOptions::from(PutMode::Create);
        store.put_opts(&path, bytes.clone().into(), options)
    };
    match create().await {
        Err(object_store::Error::AlreadyExists { .. }) => {}
        outcome => return Ok(outcome.map(|_| crc32c)?),
    }
    if fetch(store, &path).await? == bytes {
        return Ok(crc32c);
    }
    // Damaged: here is what it should be.
    store.delete(&path).await?;
    create().await?;
    Ok(crc32c)
}

/// The bytes of a registered plugin.
///
/// # Errors
/// [`Error::NotFound`], [`Error::Corrupt`], or when the store fails.
pub async fn get_plugin(store: &dyn ObjectStore, entry: &PluginEntry) -> Result<Bytes> {
    let bytes = get_plugin_file(store, &entry.sha256).await?;
    if entry.is_of(&bytes) {
        return Ok(bytes);
    }
    Err(Error::corrupt(
        path(&entry.sha256).as_ref(),
        format!(
            "{} bytes with checksum {:08x}, the catalog says {} with {:08x}",
            bytes.len(),
            crc32c::crc32c(&bytes),
            entry.bytes,
            entry.crc32c
        ),
    ))
}

/// The bytes that were kept under this digest, whether they have a name or not; nobody has compared them with it.
///
/// # Errors
/// [`Error::NotFound`], [`Error::Invalid`] for what is no digest, or when the store fails.
pub async fn get_plugin_file(store: &dyn ObjectStore, sha256: &str) -> Result<Bytes> {
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if sha256.len() != 64 || !sha256.bytes().all(is_digit) {
        return Err(Error::Invalid(format!(
            "'{sha256}' is no SHA-256: 64 lower-case hexadecimal digits"
        )));
    }
    fetch(store, &path(sha256)).await
}

/// Removes the object of a digest that the catalog has ceased to name.
///
/// # Errors
/// When the store fails; an object that is not there is none.
pub async fn remove_plugin(store: &dyn ObjectStore, sha256: &str) -> Result<()> {
    match store.delete(&path(sha256)).await {
        Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Removes objects that no name has, and returns how many there were. Nobody may upload or register one meanwhile.
///
/// # Errors
/// When the store fails.
pub async fn remove_unnamed_plugins(store: &dyn ObjectStore, catalog: &Catalog) -> Result<usize> {
    trim_uploads(store, catalog, 0).await
}

/// Leaves the `most` newest of the objects that no name has, and returns how many others there were.
///
/// # Errors
/// When the store fails.
pub async fn trim_uploads(store: &dyn ObjectStore, catalog: &Catalog, most: usize) -> Result<usize> {
    let entries = catalog.plugins.values().flat_map(|named| named.values());
    let named: BTreeSet<Path> = entries.map(|entry| path(&entry.sha256)).collect();
    let mut unnamed: Vec<ObjectMeta> = store.list(Some(&Path::from(FOLDER))).try_collect().await?;
    unnamed.retain(|meta| !named.contains(&meta.location));
    unnamed.sort_by_key(|meta| std::cmp::Reverse(meta.last_modified));
    let old = unnamed.get(most..).unwrap_or_default();
    for meta in old {
        store.delete(&meta.location).await?;
    }
    Ok(old.len())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use object_store::memory::InMemory;

    use super::*;
    use crate::catalog::PluginKind;

    fn entry(sha256: &str, bytes: &[u8]) -> PluginEntry {
        PluginEntry {
            path: "p.wasm".into(),
            sha256: sha256.into(),
            bytes: bytes.len() as u64,
            crc32c: crc32c::crc32c(bytes),
            plugin: "p".into(),
            version: "1.0.0".into(),
            symbol: None,
            signature: None,
            settings: BTreeMap::new(),
            created_ts: 1,
        }
    }

    #[tokio::test]
    async fn a_plugin_comes_back_as_it_was_and_damage_is_found_and_mended() {
        let store = InMemory::new();
        let sha256 = "0a".repeat(32);
        let entry = entry(&sha256, b"wasm");
        let good = Bytes::from_static(b"wasm");
        put_plugin(&store, &sha256, good.clone()).await.unwrap();
        put_plugin(&store, &sha256, good.clone()).await.unwrap();
        assert_eq!(get_plugin(&store, &entry).await.unwrap(), good);
        store
            .put(&path(&sha256), Bytes::from_static(b"wasn").into())
            .await
            .unwrap();
        let error = get_plugin(&store, &entry).await.unwrap_err();
        assert!(matches!(error, Error::Corrupt { .. }), "{error}");
        put_plugin(&store, &sha256, good.clone()).await.unwrap();
        assert_eq!(get_plugin(&store, &entry).await.unwrap(), good);
        remove_plugin(&store, &sha256).await.unwrap();
        remove_plugin(&store, &sha256).await.unwrap();
        let error = get_plugin(&store, &entry).await.unwrap_err();
        assert!(matches!(error, Error::NotFound { .. }), "{error}");
        for wrong in ["", "../catalog", &"0A".repeat(32)] {
            let error = get_plugin_file(&store, wrong).await.unwrap_err();
            assert!(error.to_string().contains("is no SHA-256"), "{error}");
        }
    }

    #[tokio::test]
    async fn objects_without_a_name_go_and_named_ones_stay() {
        let store = InMemory::new();
        let digests = ["01", "02", "03"].map(|digits| digits.repeat(32));
        for sha256 in &digests {
            put_plugin(&store, sha256, Bytes::from_static(b"wasm"))
                .await
                .unwrap();
        }
        let mut catalog = Catalog::default();
        let named = BTreeMap::from([("f".to_owned(), entry(&digests[1], b"wasm"))]);
        catalog.plugins.insert(PluginKind::Function, named);
        assert_eq!(trim_uploads(&store, &catalog, 2).await.unwrap(), 0);
        assert_eq!(trim_uploads(&store, &catalog, 1).await.unwrap(), 1);
        assert_eq!(remove_unnamed_plugins(&store, &catalog).await.unwrap(), 1);
        assert!(get_plugin_file(&store, &digests[1]).await.is_ok());
    }
}

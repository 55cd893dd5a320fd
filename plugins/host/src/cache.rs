//! Machine code of plugins that were compiled before, in a directory of this host alone.
//!
//! ```text
//!   <directory>/key                                   32 random bytes, readable by the owner alone
//!   <directory>/<digest of the plugin>-<engine>.aot   magic, authentication code, what wasmtime wrote
//! ```
//!
//! `<engine>` stands for wasmtime's version, its configuration and the features of the CPU. Machine code is run as it
//! is: whoever can put a file here that passes the check can run any code in the server. Therefore a file is used only
//! if its authentication code (HMAC-SHA-256 over plugin, engine and content) was made with the key beside it, which
//! this host made up itself. The directory must not be writable for others, and must not be filled from outside: a
//! copy of it belongs to the same trust as the server's binary. A file that does not pass is overwritten.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use sha2::{Digest as _, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::digest::Digest;

const MAGIC: &[u8; 8] = b"ELNAOT1\n";
const CODE: usize = 32;

/// The directory and its key.
#[derive(Debug)]
pub(crate) struct ArtifactCache {
    directory: PathBuf,
    key: [u8; 32],
    engine: u64,
    /// Names of unfinished files differ even within a process.
    unfinished: AtomicU64,
}

impl ArtifactCache {
    pub(crate) fn open(directory: &Path, engine: &Engine) -> io::Result<Self> {
        fs::create_dir_all(directory)?;
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        Ok(Self {
            directory: directory.to_owned(),
            key: key(&directory.join("key"))?,
            engine: hasher.finish(),
            unfinished: AtomicU64::new(0),
        })
    }

    /// The compiled plugin, if this host has compiled it before for this engine.
    pub(crate) fn load(&self, engine: &Engine, plugin: Digest) -> Option<Component> {
        let file = fs::read(self.path(plugin)).ok()?;
        let content = self.authentic(plugin, &file).or_else(|| {
            tracing::warn!(%plugin, "a cached artifact is not what this host wrote: compiled again");
            None
        })?;
        // SAFETY: `deserialize` runs whatever code it is given. The authentication code proves that these bytes were
        // written by a holder of this directory's key, that is by `store` below, from wasmtime's own compiler.
        match unsafe { Component::deserialize(engine, content) } {
            Ok(component) => Some(component),
            Err(error) => {
                tracing::warn!(%plugin, %error, "a cached artifact is of another engine: compiled again");
                None
            }
        }
    }

    /// Keeps a compiled plugin for later. Without success, the next start compiles again.
    pub(crate) fn store(&self, plugin: Digest, component: &Component) {
        if let Err(error) = self.try_store(plugin, component) {
            tracing::warn!(%plugin, error, "a compiled plugin was not cached");
        }
    }

    fn try_store(&self, plugin: Digest, component: &Component) -> Result<(), String> {
        let content = component.serialize().map_err(|error| error.to_string())?;
        let mut file = Vec::with_capacity(MAGIC.len() + CODE + content.len());
        file.extend_from_slice(MAGIC);
        file.extend_from_slice(&self.code(plugin, &content));
        file.extend_from_slice(&content);
        let number = self.unfinished.fetch_add(1, Ordering::Relaxed);
        let unfinished = self
            .directory
            .join(format!("{plugin}.{}-{number}.new", std::process::id()));
        let result =
            write_private(&unfinished, &file).and_then(|()| fs::rename(&unfinished, self.path(plugin)));
        if result.is_err() {
            let _ = fs::remove_file(&unfinished);
        }
        result.map_err(|error| error.to_string())
    }

    fn path(&self, plugin: Digest) -> PathBuf {
        self.directory.join(format!("{plugin}-{:016x}.aot", self.engine))
    }

    fn authentic<'a>(&self, plugin: Digest, file: &'a [u8]) -> Option<&'a [u8]> {
        let (code, content) = file.strip_prefix(MAGIC)?.split_at_checked(CODE)?;
        // Whoever can time this can read the directory, where the right code stands anyway.
        (code == self.code(plugin, content)).then_some(content)
    }

    fn code(&self, plugin: Digest, content: &[u8]) -> [u8; CODE] {
        hmac(&self.key, &[plugin.bytes(), &self.engine.to_le_bytes(), content])
    }
}

/// HMAC (RFC 2104) with SHA-256.
fn hmac(key: &[u8; 32], parts: &[&[u8]]) -> [u8; CODE] {
    const BLOCK: usize = 64;
    let padded = |with: u8| {
        let mut block = [with; BLOCK];
        for (byte, key) in block.iter_mut().zip(key) {
            *byte ^= key;
        }
        block
    };
    let mut inner = Sha256::new_with_prefix(padded(0x36));
    for part in parts {
        inner.update(part);
    }
    Sha256::new_with_prefix(padded(0x5c))
        .chain_update(inner.finalize())
        .finalize()
        .into()
}

/// Reads the key, or makes one up.
fn key(path: &Path) -> io::Result<[u8; 32]> {
    for _ in 0..2 {
        match fs::read(path) {
            Ok(bytes) => {
                return bytes.try_into().map_err(|bytes: Vec<u8>| {
                    io::Error::other(format!(
                        "{}: a key has 32 bytes, not {}; remove the directory to start afresh",
                        path.display(),
                        bytes.len()
                    ))
                });
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(io::Error::other)?;
        match write_whole_private(path, &key) {
            Ok(()) => return Ok(key),
            // Another process was faster: its key holds.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::other(format!(
        "{}: neither readable nor writable",
        path.display()
    )))
}

/// A file that appears under its name with its whole content, or was there before.
fn write_whole_private(path: &Path, content: &[u8]) -> io::Result<()> {
    let unfinished = path.with_extension(format!("{}.new", std::process::id()));
    write_private(&unfinished, content)?;
    let result = fs::hard_link(&unfinished, path);
    let _ = fs::remove_file(&unfinished);
    result
}

fn write_private(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_is_the_one_of_rfc_4231() {
        // Test case 2, whose key is "Jefe"; zeros after a key change nothing.
        let mut key = [0; 32];
        key[..4].copy_from_slice(b"Jefe");
        let code = hmac(&key, &[b"what do ya want ", b"for nothing?"]);
        assert_eq!(code[..4], [0x5b, 0xdc, 0xc1, 0x46]);
        assert_eq!(code[28..], [0x64, 0xec, 0x38, 0x43]);
    }

    fn component(engine: &Engine) -> Component {
        Component::new(engine, wat::parse_str("(component)").unwrap()).unwrap()
    }

    #[test]
    fn only_what_this_directory_wrote_is_run() {
        let directory = tempfile::tempdir().unwrap();
        let engine = Engine::default();
        let cache = ArtifactCache::open(directory.path(), &engine).unwrap();
        let plugin = Digest::of(b"plugin");
        assert!(cache.load(&engine, plugin).is_none());
        cache.store(plugin, &component(&engine));
        assert!(cache.load(&engine, plugin).is_some());
        assert!(
            ArtifactCache::open(directory.path(), &engine)
                .unwrap()
                .load(&engine, plugin)
                .is_some()
        );

        // Under the name of another plugin it is not taken, nor with a bit changed, nor cut off.
        let other = Digest::of(b"other");
        fs::copy(cache.path(plugin), cache.path(other)).unwrap();
        assert!(cache.load(&engine, other).is_none());
        let whole = fs::read(cache.path(plugin)).unwrap();
        for at in [0, 9, MAGIC.len() + CODE, whole.len() - 1] {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            fs::write(cache.path(plugin), &changed).unwrap();
            assert!(cache.load(&engine, plugin).is_none(), "byte {at}");
        }
        for length in [0, 8, 40, whole.len() - 1] {
            fs::write(cache.path(plugin), &whole[..length]).unwrap();
            assert!(cache.load(&engine, plugin).is_none(), "length {length}");
        }
        // A foreign directory's file, however well made, has another key.
        let foreign = tempfile::tempdir().unwrap();
        let theirs = ArtifactCache::open(foreign.path(), &engine).unwrap();
        theirs.store(plugin, &component(&engine));
        fs::copy(theirs.path(plugin), cache.path(plugin)).unwrap();
        assert!(cache.load(&engine, plugin).is_none());
    }
}

//! A local directory as an object store whose writes survive a power loss.
//!
//! `object_store`'s own local store never fsyncs, so a crash could take back an object after it was acknowledged. Here
//! a put is: temporary file in the same directory, write, fsync, hard link (create) or rename (overwrite), fsync of
//! the directory, removal of the temporary name. Directories that a put has to create are made durable first. An object
//! therefore appears whole and durable or not at all. Reading, listing and heads are those of `object_store`.
//!
//! A process that is killed between link and directory fsync leaves an object that is visible but may vanish with the
//! power. Its temporary name is still there then, which tells the next start to sync that directory before anything is
//! built on the object.

use std::collections::HashSet;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::ops::Range;
use std::path::{Path as FsPath, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyMode, CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult,
};
use parking_lot::Mutex;

mod upload;

use crate::error::{Error, Result};
use crate::root::LOCK_FILE;
use upload::Upload;

const NAME: &str = "DurableLocalStore";

/// The answer to a put that was done.
const PLACED: PutResult = PutResult {
    e_tag: None,
    version: None,
};

/// Chunks of a payload that are smaller than this are written together.
const GATHERED_BYTES: usize = 64 << 10;

/// How often a put starts again when a concurrent delete removed the directory under it.
const DIRECTORY_RETRIES: usize = 8;

/// See the module documentation. Cheap to clone; clones share their state.
#[derive(Debug, Clone)]
pub struct DurableLocalStore {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    inner: LocalFileSystem,
    root: PathBuf,
    /// Directories whose entry in their parent is known to be on disk.
    durable_directories: Mutex<HashSet<PathBuf>>,
    next_temporary: AtomicU64,
    /// Set by a failed directory fsync: what is on disk is unknown from then on, so nothing may be acknowledged.
    broken: AtomicBool,
}

impl DurableLocalStore {
    /// A store in the existing directory `root`.
    ///
    /// # Errors
    /// [`Error::Io`] when the directory does not exist.
    pub fn new(root: impl AsRef<FsPath>) -> Result<Self> {
        let root = root.as_ref();
        let canonical = fs::canonicalize(root).map_err(|error| Error::io(root, error))?;
        let inner = LocalFileSystem::new_with_prefix(&canonical)?;
        let durable_directories = Mutex::new(HashSet::from([canonical.clone()]));
        Ok(Self {
            shared: Arc::new(Shared {
                inner,
                root: canonical,
                durable_directories,
                next_temporary: AtomicU64::new(1),
                broken: AtomicBool::new(false),
            }),
        })
    }

    /// Finishes what interrupted writes left behind: syncs the directories that have temporary files, removes these and
    /// returns how many there were. Only for the process that has the directory to itself, before it reads or writes.
    ///
    /// # Errors
    /// [`Error::Io`] when a directory cannot be read or synced, or a file not removed.
    pub fn remove_leftovers(&self) -> Result<u64> {
        let mut removed = 0;
        let mut directories = vec![self.shared.root.clone()];
        while let Some(directory) = directories.pop() {
            let mut leftovers = Vec::new();
            let entries = fs::read_dir(&directory).map_err(|error| Error::io(&directory, error))?;
            for entry in entries {
                let entry = entry.map_err(|error| Error::io(&directory, error))?;
                let path = entry.path();
                let kind = entry.file_type().map_err(|error| Error::io(&path, error))?;
                if kind.is_dir() {
                    directories.push(path);
                } else if kind.is_file() && is_temporary(&path) {
                    leftovers.push(path);
                }
            }
            if !leftovers.is_empty() {
                let synced = self.shared.sync_directory(&directory);
                synced.map_err(|error| Error::io(&directory, error))?;
            }
            for path in leftovers {
                fs::remove_file(&path).map_err(|error| Error::io(&path, error))?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    async fn put_durably(
        &self,
        location: &Path,
        payload: PutPayload,
        create: bool,
    ) -> object_store::Result<PutResult> {
        let path = self.shared.inner.path_to_filesystem(location)?;
        let shared = Arc::clone(&self.shared);
        tokio::task::spawn_blocking(move || shared.put(&path, &payload, create)).await??;
        Ok(PLACED)
    }
}

/// Temporary files end in `#` and digits: `object_store` hides such names from its listings, and its path encoding
/// turns a `#` in an object name into `%23`, so that no object can have one.
fn is_temporary(path: &FsPath) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    let suffix = name.and_then(|name| name.rsplit_once('#'));
    suffix.is_some_and(|(_, digits)| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
}

fn failed(path: &FsPath, doing: &str, source: &io::Error) -> object_store::Error {
    object_store::Error::Generic {
        store: NAME,
        source: format!("cannot {doing} {}: {source}", path.display()).into(),
    }
}

impl Shared {
    fn check(&self) -> object_store::Result<()> {
        if self.broken.load(Ordering::Acquire) {
            return Err(object_store::Error::Generic {
                store: NAME,
                source: format!(
                    "a directory of {} could not be synced to disk; restart the process to go on",
                    self.root.display()
                )
                .into(),
            });
        }
        Ok(())
    }

    fn put(&self, path: &FsPath, payload: &PutPayload, create: bool) -> object_store::Result<()> {
        self.check()?;
        let directory = path.parent().unwrap_or(&self.root);
        let temporary = self.write_temporary(path, directory, payload)?;
        self.place(&temporary, path, create)
    }

    /// Gives a temporary file, whose content is on disk, the name of the object.
    fn place(&self, temporary: &FsPath, path: &FsPath, create: bool) -> object_store::Result<()> {
        let placed = if create {
            fs::hard_link(temporary, path)
        } else {
            fs::rename(temporary, path)
        };
        if let Err(source) = placed {
            // A leftover does no harm: listings hide it and the next start removes it.
            let _ = fs::remove_file(temporary);
            if source.kind() == ErrorKind::AlreadyExists {
                return Err(object_store::Error::AlreadyExists {
                    path: path.display().to_string(),
                    source: source.into(),
                });
            }
            return Err(failed(path, "create", &source));
        }
        let directory = path.parent().unwrap_or(&self.root);
        self.sync_directory(directory)
            .map_err(|source| failed(directory, "sync directory", &source))?;
        if create {
            // Not before the sync: until then the temporary name is the sign that one is due.
            let _ = fs::remove_file(temporary);
        }
        Ok(())
    }

    /// A failed directory fsync breaks the store for good: the kernel forgets the failure, so a second fsync that
    /// succeeds would prove nothing.
    fn sync_directory(&self, directory: &FsPath) -> io::Result<()> {
        let synced = File::open(directory).and_then(|directory| directory.sync_all());
        if synced.is_err() {
            self.broken.store(true, Ordering::Release);
        }
        synced
    }

    fn create_temporary(&self, path: &FsPath, directory: &FsPath) -> object_store::Result<(File, PathBuf)> {
        let mut attempt = 0;
        loop {
            self.ensure_directory(directory)
                .map_err(|source| failed(directory, "create directory", &source))?;
            let number = self.next_temporary.fetch_add(1, Ordering::Relaxed);
            let mut name = path.as_os_str().to_owned();
            name.push(format!("#{number}"));
            let temporary = PathBuf::from(name);
            match OpenOptions::new().write(true).create_new(true).open(&temporary) {
                Ok(file) => return Ok((file, temporary)),
                // A leftover of the same number, or the directory vanished through a concurrent delete.
                Err(source)
                    if attempt < DIRECTORY_RETRIES
                        && matches!(source.kind(), ErrorKind::AlreadyExists | ErrorKind::NotFound) =>
                {
                    attempt += 1;
                    self.durable_directories.lock().remove(directory);
                }
                Err(source) => return Err(failed(&temporary, "create", &source)),
            }
        }
    }

    fn write_temporary(
        &self,
        path: &FsPath,
        directory: &FsPath,
        payload: &PutPayload,
    ) -> object_store::Result<PathBuf> {
        let (file, temporary) = self.create_temporary(path, directory)?;
        // Small chunks are gathered, large ones pass through.
        let mut out = BufWriter::with_capacity(GATHERED_BYTES, &file);
        let written = payload
            .iter()
            .try_for_each(|chunk| out.write_all(chunk))
            .and_then(|()| out.flush())
            .and_then(|()| file.sync_all());
        drop(out);
        if let Err(source) = written {
            let _ = fs::remove_file(&temporary);
            return Err(failed(&temporary, "write", &source));
        }
        Ok(temporary)
    }

    /// Creates `directory` and its missing parents, each durable before the next.
    fn ensure_directory(&self, directory: &FsPath) -> io::Result<()> {
        let mut durable = self.durable_directories.lock();
        let mut pending = Vec::new();
        let mut current = directory;
        while !durable.contains(current) {
            pending.push(current);
            match current.parent() {
                Some(parent) => current = parent,
                None => break,
            }
        }
        for missing in pending.into_iter().rev() {
            match fs::create_dir(missing) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => {
                    // A parent that was known vanished; start over from the root next time.
                    durable.clear();
                    durable.insert(self.root.clone());
                    return Err(error);
                }
            }
            if let Some(parent) = missing.parent() {
                self.sync_directory(parent)?;
            }
            durable.insert(missing.to_owned());
        }
        Ok(())
    }

    /// Removes a file and the directories that it leaves empty. Not synced: a delete that a crash takes back is
    /// repeated by the next garbage collection.
    fn delete(&self, location: &Path) -> object_store::Result<()> {
        self.check()?;
        let path = self.inner.path_to_filesystem(location)?;
        if let Err(source) = fs::remove_file(&path) {
            if source.kind() == ErrorKind::NotFound {
                return Err(object_store::Error::NotFound {
                    path: location.to_string(),
                    source: source.into(),
                });
            }
            return Err(failed(&path, "delete", &source));
        }
        let mut durable = self.durable_directories.lock();
        let mut parent = path.parent();
        while let Some(directory) = parent.filter(|directory| *directory != self.root) {
            // Fails when something is left in it, which is the normal case.
            if fs::remove_dir(directory).is_err() {
                break;
            }
            durable.remove(directory);
            parent = directory.parent();
        }
        Ok(())
    }
}

impl fmt::Display for DurableLocalStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{NAME}({})", self.shared.root.display())
    }
}

fn is_visible(meta: &ObjectMeta) -> bool {
    meta.location.as_ref() != LOCK_FILE
}

#[async_trait]
impl ObjectStore for DurableLocalStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> object_store::Result<PutResult> {
        let create = match opts.mode {
            PutMode::Create => true,
            PutMode::Overwrite => false,
            PutMode::Update(_) => return Err(not_implemented("put with PutMode::Update")),
        };
        if !opts.attributes.is_empty() {
            return Err(not_implemented("put with attributes"));
        }
        self.put_durably(location, payload, create).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        if !opts.attributes.is_empty() {
            return Err(not_implemented("multipart put with attributes"));
        }
        let path = self.shared.inner.path_to_filesystem(location)?;
        Ok(Box::new(Upload::begin(Arc::clone(&self.shared), path).await?))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> object_store::Result<GetResult> {
        self.shared.check()?;
        self.shared.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> object_store::Result<Vec<Bytes>> {
        self.shared.check()?;
        self.shared.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        let shared = Arc::clone(&self.shared);
        locations
            .map(move |location| {
                let shared = Arc::clone(&shared);
                async move {
                    let location = location?;
                    tokio::task::spawn_blocking(move || {
                        shared.delete(&location)?;
                        Ok(location)
                    })
                    .await?
                }
            })
            .buffered(4)
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.shared
            .inner
            .list(prefix)
            .try_filter(|meta| futures::future::ready(is_visible(meta)))
            .boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        let mut listed = self.shared.inner.list_with_delimiter(prefix).await?;
        listed.objects.retain(is_visible);
        Ok(listed)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> object_store::Result<()> {
        let content = self.get(from).await?.bytes().await?;
        let create = match options.mode {
            CopyMode::Create => true,
            CopyMode::Overwrite => false,
        };
        self.put_durably(to, content.into(), create).await?;
        Ok(())
    }
}

fn not_implemented(operation: &str) -> object_store::Error {
    object_store::Error::NotImplemented {
        operation: operation.to_owned(),
        implementer: NAME.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn listing(store: &DurableLocalStore) -> Vec<String> {
        let metas: Vec<ObjectMeta> = store.list(None).try_collect().await.unwrap();
        let mut names: Vec<String> = metas.into_iter().map(|meta| meta.location.to_string()).collect();
        names.sort();
        names
    }

    #[tokio::test]
    async fn create_refuses_what_exists_and_overwrite_replaces_it() {
        let dir = tempfile::tempdir().unwrap();
        let store = DurableLocalStore::new(dir.path()).unwrap();
        let path = Path::from("a/b/c.txt");
        let create = || PutOptions::from(PutMode::Create);
        store.put_opts(&path, "one".into(), create()).await.unwrap();
        let again = store.put_opts(&path, "two".into(), create()).await.unwrap_err();
        assert!(matches!(again, object_store::Error::AlreadyExists { .. }));
        assert_eq!(store.get(&path).await.unwrap().bytes().await.unwrap(), "one");
        store.put(&path, "three".into()).await.unwrap();
        assert_eq!(store.get(&path).await.unwrap().bytes().await.unwrap(), "three");
        assert_eq!(listing(&store).await, ["a/b/c.txt"]);
        let on_disk = fs::read_dir(dir.path().join("a/b")).unwrap().count();
        assert_eq!(on_disk, 1, "no temporary file stays");
    }

    #[tokio::test]
    async fn listings_hide_temporary_files_and_the_lock_and_leftovers_go() {
        let dir = tempfile::tempdir().unwrap();
        let store = DurableLocalStore::new(dir.path()).unwrap();
        store.put(&Path::from("x/real"), "1".into()).await.unwrap();
        fs::write(dir.path().join("x/real#17"), "torn").unwrap();
        fs::write(dir.path().join(LOCK_FILE), "1").unwrap();
        assert_eq!(listing(&store).await, ["x/real"]);
        assert_eq!(store.remove_leftovers().unwrap(), 1);
        assert!(!dir.path().join("x/real#17").exists());
        assert!(dir.path().join("x/real").exists());
    }

    #[tokio::test]
    async fn opening_the_root_removes_leftovers() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("wal")).unwrap();
        fs::write(dir.path().join("wal/00.wal#3"), "torn").unwrap();
        let _root = crate::open_root(dir.path().to_str().unwrap()).unwrap();
        assert!(!dir.path().join("wal/00.wal#3").exists());
    }

    #[tokio::test]
    async fn deleting_the_last_object_removes_the_directory_and_it_can_come_back() {
        let dir = tempfile::tempdir().unwrap();
        let store = DurableLocalStore::new(dir.path()).unwrap();
        let path = Path::from("a/b/c");
        for round in ["1", "2"] {
            store.put(&path, round.to_owned().into()).await.unwrap();
            store.delete(&path).await.unwrap();
            assert!(!dir.path().join("a").exists());
            assert!(dir.path().exists());
        }
        assert!(matches!(
            store.delete(&path).await.unwrap_err(),
            object_store::Error::NotFound { .. }
        ));
    }

    #[tokio::test]
    async fn parts_may_end_in_any_order_and_what_is_given_up_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let store = DurableLocalStore::new(dir.path()).unwrap();
        let path = Path::from("x/m");
        let on_disk = || fs::read_dir(dir.path().join("x")).unwrap().count();
        let parts = [vec![1_u8; 3 << 20], vec![2; 5], vec![3; 2 << 20]];
        let mut upload = store.put_multipart(&path).await.unwrap();
        let mut writes: Vec<_> = parts
            .iter()
            .map(|part| upload.put_part(part.clone().into()))
            .collect();
        while let Some(write) = writes.pop() {
            write.await.unwrap();
        }
        assert!(
            listing(&store).await.is_empty(),
            "not there before it is complete"
        );
        upload.complete().await.unwrap();
        let bytes = store.get(&path).await.unwrap().bytes().await.unwrap();
        assert!(bytes == parts.concat());
        assert!(upload.put_part("more".into()).await.is_err());
        assert!(upload.complete().await.is_err());
        for abort in [true, false] {
            let mut upload = store.put_multipart(&Path::from("x/n")).await.unwrap();
            upload.put_part("ab".into()).await.unwrap();
            assert_eq!(on_disk(), 2);
            if abort {
                upload.abort().await.unwrap();
            }
            drop(upload);
            assert_eq!(on_disk(), 1, "aborted: {abort}");
        }
    }

    #[tokio::test]
    async fn multipart_copy_and_rename_work() {
        let dir = tempfile::tempdir().unwrap();
        let store = DurableLocalStore::new(dir.path()).unwrap();
        let mut upload = store.put_multipart(&Path::from("m")).await.unwrap();
        upload.put_part("ab".into()).await.unwrap();
        upload.put_part("cd".into()).await.unwrap();
        upload.complete().await.unwrap();
        store.copy(&Path::from("m"), &Path::from("d/n")).await.unwrap();
        store.rename(&Path::from("m"), &Path::from("d/o")).await.unwrap();
        assert_eq!(listing(&store).await, ["d/n", "d/o"]);
        let bytes = store
            .get(&Path::from("d/o"))
            .await
            .unwrap()
            .bytes()
            .await
            .unwrap();
        assert_eq!(bytes, "abcd");
        assert!(
            store
                .copy_if_not_exists(&Path::from("d/n"), &Path::from("d/o"))
                .await
                .is_err()
        );
    }
}

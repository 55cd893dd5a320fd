//! Multipart uploads to a local directory: each part goes to disk while the next one is made.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use object_store::{MultipartUpload, PutPayload, PutResult, UploadPart};

use super::{PLACED, Shared, failed};

/// Parts of at least so many bytes are synced as soon as they are written, so that little is left for the end. Each
/// sync has a cost of its own, which smaller parts would not be worth.
const SYNCED_PART_BYTES: usize = 1 << 20;

/// See the module documentation. The object appears whole and durable with `complete`, or not at all.
#[derive(Debug)]
pub(super) struct Upload {
    shared: Arc<Shared>,
    path: PathBuf,
    temporary: Option<Arc<Temporary>>,
    /// Bytes of the parts so far, which is where the next one begins.
    length: u64,
}

/// The file that becomes the object.
#[derive(Debug)]
struct Temporary {
    file: File,
    path: PathBuf,
    /// Set by a part that could not be written or synced: a later sync that succeeds would prove nothing.
    broken: AtomicBool,
}

impl Temporary {
    fn write(&self, mut at: u64, part: &PutPayload) -> io::Result<()> {
        for chunk in part {
            self.file.write_all_at(chunk, at)?;
            at += chunk.len() as u64;
        }
        if part.content_length() >= SYNCED_PART_BYTES {
            self.file.sync_data()?;
        }
        Ok(())
    }
}

impl Upload {
    /// Makes the temporary file.
    pub(super) async fn begin(shared: Arc<Shared>, path: PathBuf) -> object_store::Result<Self> {
        tokio::task::spawn_blocking(move || {
            shared.check()?;
            let directory = path.parent().unwrap_or(&shared.root).to_owned();
            let (file, temporary) = shared.create_temporary(&path, &directory)?;
            let temporary = Temporary {
                file,
                path: temporary,
                broken: AtomicBool::new(false),
            };
            Ok(Self {
                shared,
                path,
                temporary: Some(Arc::new(temporary)),
                length: 0,
            })
        })
        .await?
    }

    fn over(&self) -> object_store::Error {
        failed(&self.path, "write to", &io::Error::other("the upload is over"))
    }
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let Some(temporary) = self.temporary.clone() else {
            return Box::pin(futures::future::ready(Err(self.over())));
        };
        let at = self.length;
        self.length += data.content_length() as u64;
        Box::pin(async move {
            tokio::task::spawn_blocking(move || {
                temporary.write(at, &data).map_err(|source| {
                    temporary.broken.store(true, Ordering::Release);
                    failed(&temporary.path, "write", &source)
                })
            })
            .await?
        })
    }

    async fn complete(&mut self) -> object_store::Result<PutResult> {
        let temporary = self.temporary.take().ok_or_else(|| self.over())?;
        let (shared, path) = (Arc::clone(&self.shared), self.path.clone());
        tokio::task::spawn_blocking(move || {
            let synced = if temporary.broken.load(Ordering::Acquire) {
                Err(io::Error::other("a part of it could not be written"))
            } else {
                temporary.file.sync_all()
            };
            if let Err(source) = synced {
                let _ = fs::remove_file(&temporary.path);
                return Err(failed(&temporary.path, "write", &source));
            }
            shared.place(&temporary.path, &path, false)
        })
        .await??;
        Ok(PLACED)
    }

    async fn abort(&mut self) -> object_store::Result<()> {
        if let Some(temporary) = self.temporary.take() {
            let removed = tokio::task::spawn_blocking(move || {
                fs::remove_file(&temporary.path).map_err(|source| failed(&temporary.path, "remove", &source))
            });
            removed.await??;
        }
        Ok(())
    }
}

/// An upload that is given up without a word leaves nothing behind either.
impl Drop for Upload {
    fn drop(&mut self) {
        if let Some(temporary) = self.temporary.take() {
            // What stays is removed by the next start.
            let _ = fs::remove_file(&temporary.path);
        }
    }
}

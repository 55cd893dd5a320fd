//! Large writes: their operations go to a file of their own while they come, and the log refers to it.
//!
//! A frame of the log is written at once, when a write is complete. A write of many rows would then wait for the disk
//! only after its last row. Here the operations go to `wal/{ulid}.ops` part by part ([`WalFileWriter`]); once that is
//! durable, the frame only names it. The file belongs to the write: garbage collection removes it with the frame, or
//! when the write never came.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload, WriteMultipart};
use parking_lot::Mutex;
use ulid::Ulid;

use super::WalOp;
use super::ops::{FILE, decode_list, encode_list};
use crate::codec::Cursor;
use crate::error::{Error, Result};
use crate::segment::fetch;

/// Bytes of one part. Object stores want at least 5 MiB.
const PART_BYTES: usize = 8 << 20;

/// How many parts are on their way to the store at once.
const PARTS_UNDER_WAY: usize = 3;

const EXTENSION: &str = "ops";

/// A reference to a file: the only operation of its frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileOfOps {
    pub(crate) id: Ulid,
    bytes: u64,
    crc32c: u32,
    ops: u32,
}

impl FileOfOps {
    fn encode(self) -> Bytes {
        let mut out = BytesMut::new();
        out.put_u32_le(1);
        out.put_u8(FILE);
        out.put_u128_le(self.id.0);
        out.put_u64_le(self.bytes);
        out.put_u32_le(self.crc32c);
        out.put_u32_le(self.ops);
        out.freeze()
    }

    /// Reads what comes after the kind.
    pub(super) fn decode(cursor: &mut Cursor) -> Option<Self> {
        Some(Self {
            id: Ulid(cursor.u128()?),
            bytes: cursor.u64()?,
            crc32c: cursor.u32()?,
            ops: cursor.u32()?,
        })
    }

    /// The operations in it.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when the file is missing or is not what was written.
    pub(crate) async fn read(self, store: &dyn ObjectStore, wal: &Path) -> Result<Vec<WalOp>> {
        let path = path(wal, self.id);
        let bytes = match fetch::fetch(store, &path).await {
            Err(Error::NotFound { path }) => {
                return Err(Error::corrupt(path, "missing, but the log names it"));
            }
            fetched => fetched?,
        };
        let length = bytes.len() as u64;
        if length != self.bytes {
            let what = format!("{length} bytes long, the log says {}", self.bytes);
            return Err(Error::corrupt(path.as_ref(), what));
        }
        tokio::task::spawn_blocking(move || {
            crate::codec::check_crc(path.as_ref(), &bytes, self.crc32c)?;
            let mut cursor = Cursor::new(bytes);
            decode_list(path.as_ref(), self.ops, &mut cursor)
        })
        .await
        .map_err(|error| Error::Task(error.to_string()))?
    }
}

fn path(wal: &Path, id: Ulid) -> Path {
    wal.clone().join(format!("{id}.{EXTENSION}"))
}

/// The id in the name of a file of operations; `None` for any other file.
pub(crate) fn id_of(wal: &Path, location: &Path) -> Option<Ulid> {
    let name = location.filename()?.strip_suffix(EXTENSION)?.strip_suffix('.')?;
    let id = name.parse().ok()?;
    (*location == path(wal, id)).then_some(id)
}

/// Writes large writes of one collection. Cheap to clone; clones share their state.
#[derive(Debug, Clone)]
pub struct WalFiles {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    store: Arc<dyn ObjectStore>,
    wal: Path,
    /// The files that must stay, with the sequence that names them; [`UNNAMED`] while none does yet.
    needed: Mutex<HashMap<Ulid, u64>>,
}

/// The sequence of a file whose write is still being made.
const UNNAMED: u64 = u64::MAX;

impl WalFiles {
    pub(crate) fn new(store: Arc<dyn ObjectStore>, wal: Path) -> Self {
        Self {
            shared: Arc::new(Shared {
                store,
                wal,
                needed: Mutex::default(),
            }),
        }
    }

    /// Begins a write.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn begin(&self) -> Result<WalFileWriter> {
        let id = Ulid::new();
        self.shared.needed.lock().insert(id, UNNAMED);
        let held = Held {
            id,
            shared: Arc::clone(&self.shared),
        };
        let upload = self
            .shared
            .store
            .put_multipart(&path(&self.shared.wal, id))
            .await?;
        Ok(WalFileWriter {
            upload: WriteMultipart::new_with_chunk_size(upload, PART_BYTES),
            bytes: 0,
            crc32c: 0,
            ops: 0,
            held,
        })
    }

    /// Starts over from what the log names.
    pub(crate) fn recovered(&self, named: impl IntoIterator<Item = (Ulid, u64)>) {
        let mut needed = self.shared.needed.lock();
        needed.retain(|_, sequence| *sequence == UNNAMED);
        needed.extend(named);
    }

    /// Whether a file must stay when everything up to `flushed` is in segments; one that need not is forgotten.
    pub(crate) fn is_needed(&self, id: Ulid, flushed: u64) -> bool {
        let mut needed = self.shared.needed.lock();
        let stays = needed.get(&id).is_some_and(|sequence| *sequence > flushed);
        if !stays {
            needed.remove(&id);
        }
        stays
    }
}

/// Keeps a file from garbage collection until its write is in the log, or given up.
#[derive(Debug)]
struct Held {
    id: Ulid,
    shared: Arc<Shared>,
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut needed = self.shared.needed.lock();
        if needed.get(&self.id) == Some(&UNNAMED) {
            needed.remove(&self.id);
        }
    }
}

/// A write while it is made. Given up when it is dropped.
#[derive(Debug)]
pub struct WalFileWriter {
    upload: WriteMultipart,
    bytes: u64,
    crc32c: u32,
    ops: u32,
    held: Held,
}

impl WalFileWriter {
    /// Adds operations. Returns while they are still being written, but waits when too much is.
    ///
    /// # Errors
    /// As [`encode_ops`](super::encode_ops), or when the store fails.
    pub async fn push(&mut self, ops: &[WalOp]) -> Result<()> {
        let payload = encode_list(ops)?;
        for chunk in payload {
            self.crc32c = crc32c::crc32c_append(self.crc32c, &chunk);
            self.bytes += chunk.len() as u64;
            self.upload.wait_for_capacity(PARTS_UNDER_WAY).await?;
            self.upload.put(chunk);
        }
        self.ops += u32::try_from(ops.len()).map_err(|_| Error::Invalid("too many operations".into()))?;
        Ok(())
    }

    /// Waits until everything is durable.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn finish(self) -> Result<EncodedOps> {
        self.upload.finish().await?;
        let file = FileOfOps {
            id: self.held.id,
            bytes: self.bytes,
            crc32c: self.crc32c,
            ops: self.ops,
        };
        Ok(EncodedOps {
            payload: file.encode().into(),
            file: Some(Arc::new(self.held)),
        })
    }
}

/// The operations of one write, as a frame of the log has them.
#[derive(Debug, Clone)]
pub struct EncodedOps {
    payload: PutPayload,
    file: Option<Arc<Held>>,
}

impl EncodedOps {
    /// Bytes in the frame.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "no frame is empty")]
    pub fn len(&self) -> usize {
        self.payload.content_length()
    }

    pub(crate) fn payload(&self) -> &PutPayload {
        &self.payload
    }

    /// Tells that the log is about to have the operations, under this sequence.
    pub(crate) fn named_by(&self, sequence: u64) {
        if let Some(held) = &self.file {
            held.shared.needed.lock().insert(held.id, sequence);
        }
    }
}

impl From<PutPayload> for EncodedOps {
    fn from(payload: PutPayload) -> Self {
        Self { payload, file: None }
    }
}

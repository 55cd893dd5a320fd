//! The payload of a WAL frame: a list of inserts (Arrow IPC), deletes (plain keys), and removals and updates of single
//! rows (key and version), little-endian; or the name of a [file](super::files) that has it.

use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamEncoder;
use bytes::{BufMut, Bytes};
use object_store::PutPayload;

use super::files::{EncodedOps, FileOfOps};
use crate::codec::{Cursor, shared};
use crate::error::{Error, Result};

const INSERT: u8 = 1;
const DELETE_INT64: u8 = 2;
const DELETE_VARCHAR: u8 = 3;
const REMOVE: u8 = 4;
const UPDATE: u8 = 5;
pub(super) const FILE: u8 = 6;
const KEYS_INT64: u8 = 1;
const KEYS_VARCHAR: u8 = 2;

/// Primary keys of one type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keys {
    /// INT64 keys.
    Int64(Vec<i64>),
    /// VARCHAR keys.
    VarChar(Vec<String>),
}

impl Keys {
    /// Number of keys.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Int64(keys) => keys.len(),
            Self::VarChar(keys) => keys.len(),
        }
    }

    /// Adds `more` behind; keys of another type are left out.
    pub fn append(&mut self, more: Self) {
        match (self, more) {
            (Self::Int64(keys), Self::Int64(more)) => keys.extend(more),
            (Self::VarChar(keys), Self::VarChar(more)) => keys.extend(more),
            (Self::Int64(_), Self::VarChar(_)) | (Self::VarChar(_), Self::Int64(_)) => {}
        }
    }

    /// True when there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Single rows: row `i` is the one with key `keys[i]` and version `versions[i]`. A version names one row of a
/// collection for ever: every row that is written and every update of one gives a new one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowRefs {
    /// Primary keys.
    pub keys: Keys,
    /// As many versions, the values of [`TIMESTAMP_COLUMN`](crate::TIMESTAMP_COLUMN).
    pub versions: Vec<u64>,
}

impl RowRefs {
    /// Number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.versions.len()
    }

    /// True when there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.versions.is_empty()
    }
}

/// One operation of a write.
#[derive(Debug, Clone, PartialEq)]
pub enum WalOp {
    /// Adds rows to a partition.
    Insert {
        /// Partition id.
        partition: i64,
        /// The rows, with all columns of the collection.
        batch: RecordBatch,
    },
    /// Removes the rows of some keys that were there before this operation.
    Delete {
        /// Only in this partition; `None`: in all.
        partition: Option<i64>,
        /// The keys; unknown ones are ignored.
        keys: Keys,
    },
    /// Removes single rows, wherever they are.
    Remove {
        /// The rows.
        rows: RowRefs,
    },
    /// Gives single rows new values in some columns, and new versions.
    Update {
        /// The rows.
        rows: RowRefs,
        /// Their new values: one row for each, in the same order, in the columns that change.
        batch: RecordBatch,
    },
}

impl WalOp {
    /// How many versions the operation gives out: one for each row that it writes.
    #[must_use]
    pub fn new_versions(&self) -> u64 {
        match self {
            Self::Insert { batch, .. } | Self::Update { batch, .. } => batch.num_rows() as u64,
            Self::Delete { .. } | Self::Remove { .. } => 0,
        }
    }
}

/// Encodes the operations of one entry; the values of large batches are referred to, not copied.
///
/// # Errors
/// [`Error::Invalid`] when a key list, a key or all of it is longer than 4 GiB, [`Error::Arrow`] when Arrow cannot encode a batch.
pub fn encode_ops(ops: &[WalOp]) -> Result<EncodedOps> {
    let count = length(ops.len(), "operations")?.to_le_bytes().to_vec();
    let list = encode_list(ops)?;
    let out: PutPayload = std::iter::once(count.into()).chain(list).collect();
    // A frame has 32 bits for its length.
    length(out.content_length(), "bytes")?;
    Ok(out.into())
}

/// The operations one after the other, without their count.
pub(super) fn encode_list(ops: &[WalOp]) -> Result<PutPayload> {
    let mut out = Chunks::default();
    for op in ops {
        match op {
            WalOp::Insert { partition, batch } => {
                out.tail.put_u8(INSERT);
                out.tail.put_i64_le(*partition);
                out.put_batch(batch)?;
            }
            WalOp::Delete { partition, keys } => {
                out.tail.put_u8(match keys {
                    Keys::Int64(_) => DELETE_INT64,
                    Keys::VarChar(_) => DELETE_VARCHAR,
                });
                out.tail.put_u8(u8::from(partition.is_some()));
                out.tail.put_i64_le(partition.unwrap_or(0));
                put_keys(&mut out.tail, keys)?;
            }
            WalOp::Remove { rows } => {
                out.tail.put_u8(REMOVE);
                put_rows(&mut out.tail, rows)?;
            }
            WalOp::Update { rows, batch } => {
                out.tail.put_u8(UPDATE);
                put_rows(&mut out.tail, rows)?;
                out.put_batch(batch)?;
            }
        }
    }
    Ok(out.finish())
}

/// Buffers of so many bytes are chunks of their own; smaller ones are gathered.
const OWN_CHUNK_BYTES: usize = 64 << 10;

/// A payload while it grows.
#[derive(Default)]
struct Chunks {
    done: Vec<Bytes>,
    tail: Vec<u8>,
}

impl Chunks {
    fn put_batch(&mut self, batch: &RecordBatch) -> Result<()> {
        let mut encoder = StreamEncoder::try_new(batch.schema_ref())?;
        let mut stream = encoder.encode(batch)?;
        stream.extend(encoder.finish()?);
        let bytes: usize = stream.iter().map(Buffer::len).sum();
        self.tail.put_u64_le(bytes as u64);
        stream.into_iter().for_each(|buffer| self.put_buffer(buffer));
        Ok(())
    }

    fn put_buffer(&mut self, buffer: Buffer) {
        if buffer.len() < OWN_CHUNK_BYTES {
            self.tail.extend_from_slice(&buffer);
            return;
        }
        self.done.push(std::mem::take(&mut self.tail).into());
        self.done.push(shared(buffer));
    }

    fn finish(mut self) -> PutPayload {
        self.done.push(self.tail.into());
        self.done.into_iter().collect()
    }
}

fn put_keys(out: &mut Vec<u8>, keys: &Keys) -> Result<()> {
    out.put_u32_le(length(keys.len(), "keys")?);
    match keys {
        Keys::Int64(keys) => keys.iter().for_each(|key| out.put_i64_le(*key)),
        Keys::VarChar(keys) => {
            for key in keys {
                out.put_u32_le(length(key.len(), "bytes of a key")?);
                out.put_slice(key.as_bytes());
            }
        }
    }
    Ok(())
}

fn put_rows(out: &mut Vec<u8>, rows: &RowRefs) -> Result<()> {
    if rows.keys.len() != rows.versions.len() {
        return Err(Error::Invalid(format!(
            "{} keys for {} row versions",
            rows.keys.len(),
            rows.versions.len()
        )));
    }
    out.put_u8(match rows.keys {
        Keys::Int64(_) => KEYS_INT64,
        Keys::VarChar(_) => KEYS_VARCHAR,
    });
    put_keys(out, &rows.keys)?;
    rows.versions.iter().for_each(|version| out.put_u64_le(*version));
    Ok(())
}

fn length(len: usize, what: &str) -> Result<u32> {
    u32::try_from(len).map_err(|_| Error::Invalid(format!("{len} {what} in one write, at most {}", u32::MAX)))
}

/// What a frame holds.
#[derive(Debug)]
pub(crate) enum Payload {
    /// The operations themselves.
    Ops(Vec<WalOp>),
    /// The file that they are in.
    File(FileOfOps),
}

/// Decodes what [`encode_ops`] or a [file writer](super::WalFileWriter) made; `path` is for error messages.
///
/// # Errors
/// [`Error::Corrupt`] for anything else.
pub(crate) fn decode_payload(path: &str, payload: Bytes) -> Result<Payload> {
    let mut cursor = Cursor::new(payload);
    let ends = || Error::corrupt(path, "a WAL operation ends early");
    let count = cursor.u32().ok_or_else(ends)?;
    if count == 1 && cursor.peek() == Some(FILE) {
        cursor.u8().ok_or_else(ends)?;
        let file = FileOfOps::decode(&mut cursor).ok_or_else(ends)?;
        ended(path, &cursor)?;
        return Ok(Payload::File(file));
    }
    decode_list(path, count, &mut cursor).map(Payload::Ops)
}

/// The next `count` operations, which must be the last ones.
pub(super) fn decode_list(path: &str, count: u32, cursor: &mut Cursor) -> Result<Vec<WalOp>> {
    let ends = || Error::corrupt(path, "a WAL operation ends early");
    let mut ops = Vec::new();
    for _ in 0..count {
        let op = match cursor.u8().ok_or_else(ends)? {
            INSERT => {
                let partition = cursor.i64().ok_or_else(ends)?;
                WalOp::Insert {
                    partition,
                    batch: take_batch(path, cursor)?,
                }
            }
            REMOVE => WalOp::Remove {
                rows: take_rows(path, cursor)?,
            },
            UPDATE => {
                let rows = take_rows(path, cursor)?;
                let batch = take_batch(path, cursor)?;
                if batch.num_rows() != rows.len() {
                    return Err(Error::corrupt(path, "a WAL update of other rows than it names"));
                }
                WalOp::Update { rows, batch }
            }
            kind @ (DELETE_INT64 | DELETE_VARCHAR) => decode_delete(path, kind, cursor)?,
            other => return Err(Error::corrupt(path, format!("unknown WAL operation {other}"))),
        };
        ops.push(op);
    }
    ended(path, cursor)?;
    Ok(ops)
}

fn ended(path: &str, cursor: &Cursor) -> Result<()> {
    if cursor.remaining() > 0 {
        return Err(Error::corrupt(
            path,
            format!("{} bytes after the last WAL operation", cursor.remaining()),
        ));
    }
    Ok(())
}

fn take_batch(path: &str, cursor: &mut Cursor) -> Result<RecordBatch> {
    let ends = || Error::corrupt(path, "a WAL batch ends early");
    let corrupt = |error: arrow::error::ArrowError| Error::corrupt(path, format!("WAL batch: {error}"));
    let len = cursor.u64().ok_or_else(ends)?;
    let len = usize::try_from(len).map_err(|_| ends())?;
    let stream = cursor.take(len).ok_or_else(ends)?;
    let mut reader = StreamReader::try_new(stream.as_ref(), None).map_err(corrupt)?;
    match reader.next() {
        Some(batch) => batch.map_err(corrupt),
        None => Err(Error::corrupt(path, "a WAL operation without its batch")),
    }
}

fn decode_delete(path: &str, kind: u8, cursor: &mut Cursor) -> Result<WalOp> {
    let ends = || Error::corrupt(path, "a WAL delete ends early");
    let has_partition = cursor.u8().ok_or_else(ends)?;
    let partition = cursor.i64().ok_or_else(ends)?;
    Ok(WalOp::Delete {
        partition: (has_partition != 0).then_some(partition),
        keys: take_keys(path, kind == DELETE_INT64, cursor)?,
    })
}

fn take_keys(path: &str, are_integers: bool, cursor: &mut Cursor) -> Result<Keys> {
    let ends = || Error::corrupt(path, "a WAL list of keys ends early");
    let count = cursor.u32().ok_or_else(ends)?;
    if are_integers {
        let mut keys = Vec::new();
        for _ in 0..count {
            keys.push(cursor.i64().ok_or_else(ends)?);
        }
        return Ok(Keys::Int64(keys));
    }
    let mut keys = Vec::new();
    for _ in 0..count {
        let len = cursor.u32().ok_or_else(ends)? as usize;
        let key = cursor.take(len).ok_or_else(ends)?;
        let key =
            String::from_utf8(key.to_vec()).map_err(|_| Error::corrupt(path, "a WAL key is not UTF-8"))?;
        keys.push(key);
    }
    Ok(Keys::VarChar(keys))
}

fn take_rows(path: &str, cursor: &mut Cursor) -> Result<RowRefs> {
    let ends = || Error::corrupt(path, "a WAL list of rows ends early");
    let keys = match cursor.u8().ok_or_else(ends)? {
        KEYS_INT64 => take_keys(path, true, cursor)?,
        KEYS_VARCHAR => take_keys(path, false, cursor)?,
        other => return Err(Error::corrupt(path, format!("unknown kind {other} of WAL keys"))),
    };
    let mut versions = Vec::new();
    for _ in 0..keys.len() {
        versions.push(cursor.u64().ok_or_else(ends)?);
    }
    Ok(RowRefs { keys, versions })
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Int64Array, StringArray};
    use arrow::datatypes::{DataType, Field, Schema};
    use proptest::prelude::*;
    use std::sync::Arc;

    fn batch(ids: Vec<i64>, texts: Vec<Option<String>>) -> RecordBatch {
        let schema = Schema::new(vec![
            Field::new("id", DataType::Int64, false),
            Field::new("text", DataType::Utf8, true),
        ]);
        RecordBatch::try_new(
            Arc::new(schema),
            vec![
                Arc::new(Int64Array::from(ids)),
                Arc::new(StringArray::from(texts)),
            ],
        )
        .unwrap()
    }

    fn op() -> impl Strategy<Value = WalOp> {
        let rows = proptest::collection::vec((any::<i64>(), proptest::option::of("\\PC{0,6}")), 0..6);
        let insert = (any::<i64>(), rows).prop_map(|(partition, rows)| {
            let (ids, texts) = rows.into_iter().unzip();
            WalOp::Insert {
                partition,
                batch: batch(ids, texts),
            }
        });
        let keys = prop_oneof![
            proptest::collection::vec(any::<i64>(), 0..5).prop_map(Keys::Int64),
            proptest::collection::vec("\\PC{0,6}", 0..5).prop_map(Keys::VarChar),
        ];
        let delete =
            (any::<Option<i64>>(), keys).prop_map(|(partition, keys)| WalOp::Delete { partition, keys });
        let refs = proptest::collection::vec(("\\PC{0,6}", any::<i64>(), any::<u64>()), 0..6);
        let row_op = (refs, any::<[bool; 2]>()).prop_map(|(refs, [texts, update])| {
            let (names, numbers, versions): (Vec<_>, Vec<_>, Vec<_>) = refs.into_iter().collect();
            let batch = batch(numbers.clone(), names.iter().cloned().map(Some).collect());
            let keys = if texts {
                Keys::VarChar(names)
            } else {
                Keys::Int64(numbers)
            };
            let rows = RowRefs { keys, versions };
            if update {
                WalOp::Update { rows, batch }
            } else {
                WalOp::Remove { rows }
            }
        });
        prop_oneof![insert, delete, row_op]
    }

    fn encoded(ops: &[WalOp]) -> Bytes {
        encode_ops(ops).unwrap().payload().clone().into()
    }

    fn decoded(bytes: Bytes) -> Result<Vec<WalOp>> {
        match decode_payload("w", bytes)? {
            Payload::Ops(ops) => Ok(ops),
            Payload::File(file) => panic!("{file:?}"),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn operations_come_back(ops in proptest::collection::vec(op(), 0..4)) {
            prop_assert_eq!(decoded(encoded(&ops)).unwrap(), ops);
        }

        #[test]
        fn large_values_are_not_copied_and_come_back(rows in 6_000_usize..12_000, text in "\\PC{0,20}") {
            let ids = (0..rows as i64).collect();
            let batch = batch(ids, (0..rows).map(|row| (row % 3 > 0).then(|| text.clone())).collect());
            let ops = [WalOp::Insert { partition: 7, batch: batch.clone() }, WalOp::Insert { partition: 8, batch: batch.slice(3, 5) }];
            let bytes = encode_ops(&ops).unwrap().payload().clone();
            let values = batch.column(0).to_data().buffers()[0].as_ptr();
            let large = rows * size_of::<i64>() >= OWN_CHUNK_BYTES;
            prop_assert_eq!(bytes.iter().any(|chunk| chunk.as_ptr() == values), large);
            prop_assert_eq!(decoded(bytes.into()).unwrap(), ops);
        }

        #[test]
        fn a_cut_payload_is_corrupt(ops in proptest::collection::vec(op(), 1..4), at in any::<prop::sample::Index>()) {
            let bytes = encoded(&ops);
            prop_assert!(decoded(bytes.slice(..at.index(bytes.len()))).unwrap_err().is_corrupt());
        }
    }
}

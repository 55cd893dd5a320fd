//! The protobuf messages of a manifest and their conversion to and from the types of the crate.
//! Field numbers are the format: never change or reuse one.

use ulid::Ulid;

use super::{DeletesRef, FileRef, IndexFile, KeyRange, SegmentId, SegmentMeta, UpdatesRef};
use crate::error::{Error, Result};

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Manifest {
    #[prost(uint64, tag = "1")]
    pub(super) version: u64,
    #[prost(uint64, tag = "2")]
    pub(super) epoch: u64,
    /// 16 bytes, big-endian ULID.
    #[prost(bytes = "vec", tag = "3")]
    pub(super) commit_id: Vec<u8>,
    #[prost(int64, tag = "4")]
    pub(super) collection: i64,
    /// Arrow IPC stream without batches.
    #[prost(bytes = "vec", tag = "5")]
    pub(super) schema: Vec<u8>,
    #[prost(message, repeated, tag = "6")]
    pub(super) segments: Vec<Segment>,
    #[prost(uint64, tag = "7")]
    pub(super) wal_flushed: u64,
    #[prost(bytes = "vec", tag = "8")]
    pub(super) state: Vec<u8>,
    #[prost(uint64, tag = "9")]
    pub(super) last_timestamp: u64,
    #[prost(uint64, repeated, tag = "10")]
    pub(super) claims: Vec<u64>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Segment {
    /// 16 bytes, big-endian ULID.
    #[prost(bytes = "vec", tag = "1")]
    pub(super) id: Vec<u8>,
    #[prost(int64, tag = "2")]
    pub(super) partition: i64,
    #[prost(uint32, tag = "3")]
    pub(super) rows: u32,
    #[prost(uint64, tag = "4")]
    pub(super) bytes: u64,
    #[prost(string, repeated, tag = "5")]
    pub(super) vector_fields: Vec<String>,
    #[prost(message, repeated, tag = "6")]
    pub(super) files: Vec<File>,
    #[prost(message, optional, tag = "7")]
    pub(super) deletes: Option<Deletes>,
    #[prost(message, repeated, tag = "8")]
    pub(super) indexes: Vec<Index>,
    #[prost(uint64, tag = "9")]
    pub(super) min_ts: u64,
    #[prost(uint64, tag = "10")]
    pub(super) max_ts: u64,
    #[prost(oneof = "Keys", tags = "11, 12")]
    pub(super) key_range: Option<Keys>,
    #[prost(message, optional, tag = "13")]
    pub(super) updates: Option<Updates>,
    #[prost(uint64, tag = "14")]
    pub(super) widest_column: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct File {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(uint64, tag = "2")]
    pub(super) bytes: u64,
    #[prost(fixed32, tag = "3")]
    pub(super) crc32c: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Deletes {
    #[prost(uint64, tag = "1")]
    pub(super) version: u64,
    #[prost(uint64, tag = "2")]
    pub(super) count: u64,
    #[prost(message, optional, tag = "3")]
    pub(super) file: Option<File>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Updates {
    #[prost(uint64, tag = "1")]
    pub(super) version: u64,
    #[prost(uint64, tag = "2")]
    pub(super) count: u64,
    #[prost(message, optional, tag = "3")]
    pub(super) file: Option<File>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Index {
    #[prost(string, tag = "1")]
    pub(super) field: String,
    #[prost(int64, tag = "2")]
    pub(super) index_id: i64,
    #[prost(message, optional, tag = "3")]
    pub(super) file: Option<File>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum Keys {
    #[prost(message, tag = "11")]
    Int64(Int64Range),
    #[prost(message, tag = "12")]
    VarChar(VarCharRange),
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Int64Range {
    #[prost(sint64, tag = "1")]
    pub(super) low: i64,
    #[prost(sint64, tag = "2")]
    pub(super) high: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct VarCharRange {
    #[prost(string, tag = "1")]
    pub(super) low: String,
    #[prost(string, tag = "2")]
    pub(super) high: String,
}

pub(super) fn ulid(path: &str, bytes: &[u8]) -> Result<Ulid> {
    let array: Option<[u8; 16]> = bytes.try_into().ok();
    array
        .map(Ulid::from_bytes)
        .ok_or_else(|| Error::corrupt(path, format!("an id of {} bytes, expected 16", bytes.len())))
}

impl From<&FileRef> for File {
    fn from(file: &FileRef) -> Self {
        Self {
            name: file.name.clone(),
            bytes: file.bytes,
            crc32c: file.crc32c,
        }
    }
}

impl File {
    pub(super) fn into_ref(self, path: &str) -> Result<FileRef> {
        // The name becomes part of a path.
        if self.name.is_empty() || self.name == ".." || self.name.contains(['/', '\\']) {
            return Err(Error::corrupt(path, format!("bad file name {:?}", self.name)));
        }
        Ok(FileRef {
            name: self.name,
            bytes: self.bytes,
            crc32c: self.crc32c,
        })
    }
}

fn required(path: &str, file: Option<File>) -> Result<FileRef> {
    file.ok_or_else(|| Error::corrupt(path, "an entry without its file"))?
        .into_ref(path)
}

impl From<&SegmentMeta> for Segment {
    fn from(segment: &SegmentMeta) -> Self {
        let deletes = segment.deletes.as_ref().map(|deletes| Deletes {
            version: deletes.version,
            count: deletes.count,
            file: Some(File::from(&deletes.file)),
        });
        let updates = segment.updates.as_ref().map(|updates| Updates {
            version: updates.version,
            count: updates.count,
            file: Some(File::from(&updates.file)),
        });
        let indexes = segment.indexes.iter().map(|index| Index {
            field: index.field.clone(),
            index_id: index.index_id,
            file: Some(File::from(&index.file)),
        });
        let key_range = segment.key_range.clone().map(|range| match range {
            KeyRange::Int64(low, high) => Keys::Int64(Int64Range { low, high }),
            KeyRange::VarChar(low, high) => Keys::VarChar(VarCharRange { low, high }),
        });
        Self {
            id: segment.id.0.to_bytes().to_vec(),
            partition: segment.partition,
            rows: segment.rows,
            bytes: segment.bytes,
            vector_fields: segment.vector_fields.clone(),
            files: segment.files.iter().map(File::from).collect(),
            deletes,
            indexes: indexes.collect(),
            min_ts: segment.min_ts,
            max_ts: segment.max_ts,
            key_range,
            updates,
            widest_column: segment.widest_column,
        }
    }
}

impl Segment {
    pub(super) fn into_meta(self, path: &str) -> Result<SegmentMeta> {
        if self.files.len() != self.vector_fields.len() + 1 {
            return Err(Error::corrupt(
                path,
                format!(
                    "a segment with {} files for {} vector fields",
                    self.files.len(),
                    self.vector_fields.len()
                ),
            ));
        }
        let deletes = match self.deletes {
            None => None,
            Some(deletes) => Some(DeletesRef {
                version: deletes.version,
                count: deletes.count,
                file: required(path, deletes.file)?,
            }),
        };
        let updates = match self.updates {
            None => None,
            Some(updates) => Some(UpdatesRef {
                version: updates.version,
                count: updates.count,
                file: required(path, updates.file)?,
            }),
        };
        let indexes = self.indexes.into_iter().map(|index| {
            Ok(IndexFile {
                field: index.field,
                index_id: index.index_id,
                file: required(path, index.file)?,
            })
        });
        Ok(SegmentMeta {
            id: SegmentId(ulid(path, &self.id)?),
            partition: self.partition,
            rows: self.rows,
            bytes: self.bytes,
            vector_fields: self.vector_fields,
            files: self
                .files
                .into_iter()
                .map(|file| file.into_ref(path))
                .collect::<Result<_>>()?,
            deletes,
            updates,
            indexes: indexes.collect::<Result<_>>()?,
            min_ts: self.min_ts,
            max_ts: self.max_ts,
            key_range: self.key_range.map(|range| match range {
                Keys::Int64(range) => KeyRange::Int64(range.low, range.high),
                Keys::VarChar(range) => KeyRange::VarChar(range.low, range.high),
            }),
            widest_column: self.widest_column,
        })
    }
}

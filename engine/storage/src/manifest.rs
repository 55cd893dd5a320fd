//! The manifest: everything that a collection consists of at one moment.
//!
//! Each version is one immutable object, a protobuf message ([`proto`]) in a sealed envelope. The collection's own
//! state (partitions, index definitions, properties) travels through it as bytes that this crate does not look into.

mod proto;

use std::fmt;
use std::str::FromStr;

use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use prost::Message;
use ulid::Ulid;

use crate::codec::{schema_from_bytes, schema_to_bytes, seal, unseal};
use crate::error::{Error, Result};
use crate::versioned::Versioned;

const MAGIC: [u8; 8] = *b"ELANMAN1";

/// Identifies one segment of a collection, and names its directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentId(pub Ulid);

impl SegmentId {
    /// A fresh id; ids sort by creation time.
    #[must_use]
    pub fn generate() -> Self {
        Self(Ulid::new())
    }
}

impl fmt::Display for SegmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for SegmentId {
    type Err = Error;

    /// Accepts exactly what `Display` writes.
    fn from_str(text: &str) -> Result<Self> {
        let id = Ulid::from_string(text).map(Self).ok();
        id.filter(|id| id.to_string() == text).ok_or_else(|| {
            Error::Invalid(format!(
                "{text:?} is not a segment id (26 characters of Crockford base 32)"
            ))
        })
    }
}

/// A file of a segment directory and what its bytes must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileRef {
    /// Name inside the segment directory.
    pub name: String,
    /// Length in bytes.
    pub bytes: u64,
    /// CRC32C of all bytes.
    pub crc32c: u32,
}

/// A delete bitmap of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeletesRef {
    /// Grows with every new bitmap of the segment.
    pub version: u64,
    /// Number of deleted rows.
    pub count: u64,
    /// The file.
    pub file: FileRef,
}

/// The newer values of a segment's columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpdatesRef {
    /// Grows with every new file of the segment.
    pub version: u64,
    /// Number of values.
    pub count: u64,
    /// The file.
    pub file: FileRef,
}

/// An index blob of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexFile {
    /// The indexed vector field.
    pub field: String,
    /// Id of the index definition.
    pub index_id: i64,
    /// The file.
    pub file: FileRef,
}

/// Smallest and largest primary key of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyRange {
    /// Both ends inclusive.
    Int64(i64, i64),
    /// Both ends inclusive, in byte order.
    VarChar(String, String),
}

impl KeyRange {
    /// The range of these keys and those of `other`, which are of the same type.
    #[must_use]
    pub(crate) fn with(self, other: Self) -> Self {
        match (self, other) {
            (Self::Int64(low, high), Self::Int64(min, max)) => Self::Int64(low.min(min), high.max(max)),
            (Self::VarChar(low, high), Self::VarChar(min, max)) => Self::VarChar(low.min(min), high.max(max)),
            (range, _) => range,
        }
    }
}

/// One sealed segment.
#[derive(Debug, Clone, PartialEq)]
pub struct SegmentMeta {
    /// Its id.
    pub id: SegmentId,
    /// Partition of all its rows.
    pub partition: i64,
    /// Rows, deleted ones included.
    pub rows: u32,
    /// Bytes of `data.parquet` and the vector files together.
    pub bytes: u64,
    /// Columns that live in vector files; all others are in `data.parquet`.
    pub vector_fields: Vec<String>,
    /// `data.parquet` first, then one vector file for each of `vector_fields`, in that order.
    pub files: Vec<FileRef>,
    /// The newest delete bitmap.
    pub deletes: Option<DeletesRef>,
    /// The newest values of updated rows.
    pub updates: Option<UpdatesRef>,
    /// Built indexes.
    pub indexes: Vec<IndexFile>,
    /// Smallest row timestamp.
    pub min_ts: u64,
    /// Largest row timestamp.
    pub max_ts: u64,
    /// Range of the primary key; absent when the key is of another type.
    pub key_range: Option<KeyRange>,
    /// Bytes of the values of its widest column of variable length, as they are in memory; 0 in manifests of versions that
    /// did not note them.
    pub widest_column: u64,
}

impl SegmentMeta {
    /// Every file that belongs to the segment now.
    pub fn all_files(&self) -> impl Iterator<Item = &FileRef> {
        let deletes = self.deletes.iter().map(|deletes| &deletes.file);
        let updates = self.updates.iter().map(|updates| &updates.file);
        let indexes = self.indexes.iter().map(|index| &index.file);
        self.files.iter().chain(deletes).chain(updates).chain(indexes)
    }

    /// Rows that are not deleted.
    #[must_use]
    pub fn live_rows(&self) -> u64 {
        let deleted = self.deletes.as_ref().map_or(0, |deletes| deletes.count);
        u64::from(self.rows).saturating_sub(deleted)
    }
}

/// See the module documentation.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// Number of this version.
    pub version: u64,
    /// Epoch of the writer that committed it.
    pub epoch: u64,
    /// Random id of the commit.
    pub commit_id: Ulid,
    /// Id of the collection, so that a misplaced file is noticed.
    pub collection: i64,
    /// Schema of the collection; field metadata carries the rest of the collection's rules.
    pub schema: SchemaRef,
    /// The segments.
    pub segments: Vec<SegmentMeta>,
    /// All WAL sequences up to this one are contained in segments, delete bitmaps and update files.
    pub wal_flushed: u64,
    /// State of the layer above, opaque here.
    pub state: Vec<u8>,
    /// Largest timestamp given out when this version was made.
    pub last_timestamp: u64,
    /// Versions at which a writer claimed an epoch, newest last. Garbage collection leaves these objects in place,
    /// so that a writer that was taken over long ago still runs into one.
    pub claims: Vec<u64>,
}

impl Manifest {
    /// The segment of that id.
    #[must_use]
    pub fn segment(&self, id: SegmentId) -> Option<&SegmentMeta> {
        self.segments.iter().find(|segment| segment.id == id)
    }

    /// The segment of that id, to edit it.
    pub fn segment_mut(&mut self, id: SegmentId) -> Option<&mut SegmentMeta> {
        self.segments.iter_mut().find(|segment| segment.id == id)
    }
}

impl Versioned for Manifest {
    fn version(&self) -> u64 {
        self.version
    }

    fn commit_id(&self) -> Ulid {
        self.commit_id
    }

    fn encode(&self) -> Result<Bytes> {
        let message = proto::Manifest {
            version: self.version,
            epoch: self.epoch,
            commit_id: self.commit_id.to_bytes().to_vec(),
            collection: self.collection,
            schema: schema_to_bytes(&self.schema)?,
            segments: self.segments.iter().map(proto::Segment::from).collect(),
            wal_flushed: self.wal_flushed,
            state: self.state.clone(),
            last_timestamp: self.last_timestamp,
            claims: self.claims.clone(),
        };
        Ok(seal(MAGIC, &message.encode_to_vec()))
    }

    fn decode(path: &str, bytes: Bytes) -> Result<Self> {
        let body = unseal(path, MAGIC, bytes)?;
        let message =
            proto::Manifest::decode(body).map_err(|error| Error::corrupt(path, error.to_string()))?;
        let segments = message
            .segments
            .into_iter()
            .map(|segment| segment.into_meta(path));
        Ok(Self {
            version: message.version,
            epoch: message.epoch,
            commit_id: proto::ulid(path, &message.commit_id)?,
            collection: message.collection,
            schema: schema_from_bytes(path, &message.schema)?,
            segments: segments.collect::<Result<_>>()?,
            wal_flushed: message.wal_flushed,
            state: message.state,
            last_timestamp: message.last_timestamp,
            claims: message.claims,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::datatypes::{DataType, Field, Schema};
    use proptest::prelude::*;
    use std::sync::Arc;

    fn schema() -> SchemaRef {
        let item = Arc::new(Field::new("item", DataType::Float32, false));
        Arc::new(Schema::new(vec![
            Field::new("id", DataType::Int64, false),
            Field::new("v", DataType::FixedSizeList(item, 4), true),
        ]))
    }

    fn file() -> impl Strategy<Value = FileRef> {
        ("[a-z]{1,6}[.][a-z]{0,4}", any::<u64>(), any::<u32>()).prop_map(|(name, bytes, crc32c)| FileRef {
            name,
            bytes,
            crc32c,
        })
    }

    fn key_range() -> impl Strategy<Value = KeyRange> {
        prop_oneof![
            any::<(i64, i64)>().prop_map(|(low, high)| KeyRange::Int64(low, high)),
            ("\\PC{0,4}", "\\PC{0,4}").prop_map(|(low, high)| KeyRange::VarChar(low, high)),
        ]
    }

    prop_compose! {
        fn segment()(
            id in any::<u128>(),
            numbers in any::<(i64, u32, u64, u64, u64, u64)>(),
            vectors in proptest::collection::vec(("[a-z]{1,5}", file()), 0..3),
            data in file(),
            deletes in proptest::option::of((any::<(u64, u64)>(), file())),
            indexes in proptest::collection::vec(("[a-z]{1,5}", any::<i64>(), file()), 0..3),
            key_range in proptest::option::of(key_range()),
        ) -> SegmentMeta {
            let (vector_fields, vector_files): (Vec<_>, Vec<_>) = vectors.into_iter().unzip();
            SegmentMeta {
                id: SegmentId(Ulid(id)),
                partition: numbers.0,
                rows: numbers.1,
                bytes: numbers.2,
                vector_fields,
                files: std::iter::once(data).chain(vector_files).collect(),
                updates: deletes.clone().map(|((version, count), file)| UpdatesRef { version, count, file }),
                deletes: deletes.map(|((version, count), file)| DeletesRef { version, count, file }),
                indexes: indexes.into_iter().map(|(field, index_id, file)| IndexFile { field, index_id, file }).collect(),
                min_ts: numbers.3,
                max_ts: numbers.4,
                key_range,
                widest_column: numbers.5,
            }
        }
    }

    prop_compose! {
        fn manifest()(
            numbers in any::<(u64, u64, i64, u64, u64)>(),
            commit_id in any::<u128>(),
            segments in proptest::collection::vec(segment(), 0..4),
            state in proptest::collection::vec(any::<u8>(), 0..20),
            claims in proptest::collection::vec(any::<u64>(), 0..4),
        ) -> Manifest {
            Manifest {
                version: numbers.0,
                epoch: numbers.1,
                commit_id: Ulid(commit_id),
                collection: numbers.2,
                schema: schema(),
                segments,
                wal_flushed: numbers.3,
                state,
                last_timestamp: numbers.4,
                claims,
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_manifest_comes_back_whole(manifest in manifest()) {
            let bytes = manifest.encode().unwrap();
            prop_assert_eq!(Manifest::decode("m", bytes).unwrap(), manifest);
        }

        #[test]
        fn damage_is_noticed(manifest in manifest(), at in any::<prop::sample::Index>(), bit in 0_u32..8) {
            let bytes = manifest.encode().unwrap();
            let at = at.index(bytes.len());
            prop_assert!(Manifest::decode("m", bytes.slice(..at)).unwrap_err().is_corrupt());
            let mut flipped = bytes.to_vec();
            flipped[at] ^= 1_u8 << bit;
            prop_assert!(Manifest::decode("m", flipped.into()).unwrap_err().is_corrupt());
        }

        #[test]
        fn a_sealed_body_of_noise_never_panics(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            // Noise that decodes as protobuf by luck still has no schema.
            prop_assert!(Manifest::decode("m", seal(MAGIC, &body)).is_err());
        }
    }

    #[test]
    fn segment_ids_parse_only_their_own_spelling() {
        let id = SegmentId::generate();
        assert_eq!(id.to_string().parse::<SegmentId>().unwrap(), id);
        assert!(id.to_string().to_lowercase().parse::<SegmentId>().is_err());
        assert!("x".parse::<SegmentId>().is_err());
    }

    #[test]
    fn a_file_name_that_leaves_the_directory_is_corrupt() {
        for name in ["", "..", "a/b", "a\\b"] {
            let bad = proto::File {
                name: name.to_owned(),
                bytes: 1,
                crc32c: 1,
            };
            assert!(bad.into_ref("m").unwrap_err().is_corrupt(), "{name:?}");
        }
    }
}

//! Reading the WAL after a restart, and deciding what damage means.
//!
//! - Sequences must follow each other without a gap, epochs must not go back: anything else is an error.
//! - An object that is *torn* (shorter than its header says, or without a whole header) was never acknowledged beyond
//!   its whole frames. It is accepted as the newest object, or when the fence right after it declares exactly the
//!   missing sequences void.
//! - Files of large writes are read when the log names them after `wal_flushed`; a missing one is damage.
//! - Any other damage is an error that names the object: what it held may have been acknowledged.

use futures::{StreamExt, TryStreamExt};
use object_store::ObjectStore;
use object_store::path::Path;
use ulid::Ulid;

use crate::error::{Error, Result};
use crate::segment::fetch::fetch;
use crate::versioned::{list_numbered, numbered_path};
use crate::wal::{Payload, WalEntry, object};

/// How many WAL objects are read at once.
const READ_AHEAD: usize = 4;

/// The newest WAL object was shorter than it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TornTail {
    /// Its path.
    pub path: String,
    /// Entries of it that were whole and are recovered.
    pub kept: u64,
}

#[derive(Debug)]
pub(super) struct Replayed {
    /// Entries after `wal_flushed`.
    pub(super) entries: Vec<WalEntry>,
    /// The files that some of them are in, with their sequences.
    pub(super) files: Vec<(Ulid, u64)>,
    /// The first sequence that no object has.
    pub(super) next_sequence: u64,
    /// Equal to `next_sequence`, unless the newest object is torn: then the first sequence that is missing in it.
    pub(super) void_from: u64,
    /// The highest epoch that wrote; 0 when there is nothing after `wal_flushed`.
    pub(super) epoch: u64,
    pub(super) torn: Option<TornTail>,
}

pub(super) async fn replay(store: &dyn ObjectStore, wal: &Path, wal_flushed: u64) -> Result<Replayed> {
    let names = list_numbered(store, wal, "wal").await?;
    let names: Vec<u64> = names.into_iter().map(|(sequence, _)| sequence).collect();
    // The last object that starts at or before the first wanted sequence may reach into the wanted part.
    let first_wanted = wal_flushed + 1;
    let skipped = names
        .partition_point(|name| *name <= first_wanted)
        .saturating_sub(1);
    let wanted: Vec<u64> = names.into_iter().skip(skipped).collect();
    let mut objects = futures::stream::iter(wanted)
        .map(|sequence| read_object(store, wal, sequence))
        .buffered(READ_AHEAD);

    let mut entries = Vec::new();
    let mut files = Vec::new();
    let mut torn = None;
    // Up to and including `wal_flushed` everything is in segments, so a gap there means nothing.
    let mut expected = first_wanted;
    let mut void_from = first_wanted;
    let mut epoch = 0;
    let mut is_first = true;
    while let Some((sequence, path, decoded)) = objects.try_next().await? {
        let path = path.to_string();
        if sequence > expected || (sequence < expected && !is_first) {
            return Err(Error::corrupt(
                path,
                format!("holds WAL sequence {sequence} where {expected} must follow"),
            ));
        }
        if let Some(header) = &decoded.header {
            if header.epoch < epoch {
                return Err(Error::corrupt(
                    path,
                    format!("written in epoch {} after epoch {epoch}", header.epoch),
                ));
            }
            epoch = header.epoch;
        }
        let closes_gap = decoded
            .header
            .is_some_and(|header| header.is_fence() && header.void_from == void_from);
        if let Some(TornTail { path, .. }) = torn.take()
            && !closes_gap
        {
            return Err(Error::corrupt(
                path,
                "cut short, but it is not the newest WAL object",
            ));
        }
        is_first = false;
        let kept = decoded.frames.len() as u64;
        let next = decoded
            .header
            .map_or(sequence + 1, |header| header.next_sequence());
        // Only what is after the flushed part can be missing or void.
        expected = next.max(first_wanted);
        void_from = if decoded.torn { sequence + kept } else { expected };
        if decoded.torn && (decoded.header.is_none() || next > first_wanted) {
            torn = Some(TornTail { path, kept });
        }
        let wanted = decoded.frames.into_iter();
        for frame in wanted.filter(|frame| frame.sequence > wal_flushed) {
            let ops = match frame.payload {
                Payload::Ops(ops) => ops,
                Payload::File(file) => {
                    files.push((file.id, frame.sequence));
                    file.read(store, wal).await?
                }
            };
            entries.push(WalEntry {
                sequence: frame.sequence,
                timestamp: frame.timestamp,
                ops,
            });
        }
    }
    Ok(Replayed {
        entries,
        files,
        next_sequence: expected,
        void_from,
        epoch,
        torn,
    })
}

async fn read_object(
    store: &dyn ObjectStore,
    wal: &Path,
    sequence: u64,
) -> Result<(u64, Path, object::Decoded)> {
    let path = numbered_path(wal, sequence, "wal");
    let bytes = fetch(store, &path).await?;
    let decoded = object::decode(path.as_ref(), sequence, &bytes)?;
    Ok((sequence, path, decoded))
}

//! Partitions: named parts of a collection, and the spread of rows by a partition key.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;

/// Name of the partition that every collection has.
pub const DEFAULT_PARTITION: &str = "_default";
/// Most partitions of one collection.
pub(crate) const MAX_PARTITIONS: usize = 1_024;
/// Partitions of a collection with a partition key when none are asked for.
pub(crate) const DEFAULT_KEY_PARTITIONS: u32 = 16;

/// One partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionInfo {
    /// Id, unique in the collection and never reused.
    pub id: i64,
    /// Name.
    pub name: String,
    /// When it was made.
    pub created_ts: Timestamp,
}

/// Which of `count` key partitions a text key belongs to (FNV-1a, fixed forever: it is on disk).
pub(crate) fn partition_of_text(key: &str, count: usize) -> usize {
    bucket(fnv1a(key.as_bytes()), count)
}

/// Which of `count` key partitions an integer key belongs to.
pub(crate) fn partition_of_int(key: i64, count: usize) -> usize {
    bucket(fnv1a(&key.to_le_bytes()), count)
}

fn bucket(hash: u64, count: usize) -> usize {
    usize::try_from(hash % count.max(1) as u64).unwrap_or(0)
}

fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_partitions_never_change_because_they_are_on_disk() {
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
        let used: std::collections::HashSet<_> = (0..1000).map(|key| partition_of_int(key, 16)).collect();
        assert_eq!(used.len(), 16);
    }
}

//! What a group of writes has touched so far, so that a write which depends on another one comes in the next group.
//!
//! Writes are checked against memory as it is before their group. That is exact as long as no write of the group changes
//! what the check of a later one looks at.

use std::collections::HashSet;

use arrow::array::RecordBatch;
use elanus_storage::{Keys, WalOp};

use super::Write;
use crate::rows::keys_of;

/// See the module documentation.
#[derive(Debug, Default)]
pub(super) struct Group {
    /// Versions of the rows that are removed or updated.
    rows: HashSet<u64>,
    /// Keys of the rows that come, where keys are unique.
    added: HashSet<Key>,
    /// Whether rows go.
    deletes: bool,
    /// Whether rows come.
    inserts: bool,
}

#[derive(Debug, PartialEq, Eq, Hash)]
enum Key {
    Int64(i64),
    VarChar(String),
}

impl Group {
    /// Whether the check of a write would look at what the group changes. `unique` is the primary key where no two rows
    /// may have the same.
    pub fn meets(&self, write: &Write, unique: Option<&str>) -> bool {
        if write.new_keys && (self.deletes || self.inserts) {
            return true;
        }
        write.ops.iter().any(|op| match op {
            WalOp::Remove { rows } | WalOp::Update { rows, .. } => {
                self.deletes || rows.versions.iter().any(|version| self.rows.contains(version))
            }
            // A key may be free only since a delete, or taken since an insert of the group.
            WalOp::Insert { batch, .. } => unique.is_some_and(|primary_key| {
                self.deletes || keys_in(batch, primary_key).any(|key| self.added.contains(&key))
            }),
            WalOp::Delete { .. } => unique.is_some() && !self.added.is_empty(),
        })
    }

    /// Takes a write into the group.
    pub fn add(&mut self, ops: &[WalOp], unique: Option<&str>) {
        for op in ops {
            match op {
                WalOp::Update { rows, .. } => self.rows.extend(&rows.versions),
                WalOp::Remove { rows } => {
                    self.rows.extend(&rows.versions);
                    self.deletes = true;
                }
                WalOp::Delete { .. } => self.deletes = true,
                WalOp::Insert { batch, .. } => {
                    self.inserts = true;
                    if let Some(primary_key) = unique {
                        self.added.extend(keys_in(batch, primary_key));
                    }
                }
            }
        }
    }
}

fn keys_in(batch: &RecordBatch, primary_key: &str) -> impl Iterator<Item = Key> {
    let keys = batch
        .column_by_name(primary_key)
        .and_then(|column| keys_of(column).ok());
    let (numbers, texts) = match keys {
        Some(Keys::Int64(keys)) => (keys, Vec::new()),
        Some(Keys::VarChar(keys)) => (Vec::new(), keys),
        None => (Vec::new(), Vec::new()),
    };
    let numbers = numbers.into_iter().map(Key::Int64);
    numbers.chain(texts.into_iter().map(Key::VarChar))
}

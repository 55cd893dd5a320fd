//! Indexes of a collection: defining and dropping them, and how far their builds are.

use std::sync::atomic::Ordering;

use super::Collection;
use crate::error::{Error, Result};
use crate::index_def::{IndexDef, IndexInfo, IndexSpec, IndexState};
use crate::load::LoadScope;
use crate::minhash::Signatures;
use crate::names::{NameKind, validate_name};
use crate::structs::split_sub_field_name;

impl Collection {
    /// Defines an index; builds run in the background.
    ///
    /// Asking again for the same index changes nothing.
    ///
    /// # Errors
    /// An unknown field, a type or parameter the field does not allow, or another index on it.
    pub async fn create_index(&self, spec: &IndexSpec) -> Result<()> {
        let field = match self.schema.vector_column(&spec.field) {
            Some(column) => column,
            None => self.field(&spec.field)?.clone(),
        };
        let filled = self
            .schema
            .function_of(&spec.field)
            .map(|function| &function.kind);
        let mut def = IndexDef::check(spec, &field, filled)?;
        let named = spec.name.as_deref().is_some_and(|name| !name.is_empty());
        if named || split_sub_field_name(&def.name).is_none() {
            validate_name(NameKind::Index, &def.name)?;
        }
        def.created_ts = self.oracle.next();
        self.edit(Box::new(move |state| {
            for other in state.indexes.iter().filter(|other| !other.implied) {
                if other.same_as(&def) {
                    return Ok(other.id);
                }
                if other.name == def.name && !other.is_on_same(&def) {
                    return Err(Error::IndexExists(format!(
                        "CreateIndex failed: index '{}' already exists on field '{}'",
                        other.name, other.field
                    )));
                }
                if other.is_on_same(&def) {
                    return Err(Error::IndexExists(if named && other.name != def.name {
                        "CreateIndex failed: creating multiple indexes on same field is not supported".to_string()
                    } else {
                        format!(
                            "at most one distinct index is allowed per field: field '{}' has index '{}' of type {}, drop it first",
                            other.field, other.name, other.index_type
                        )
                    }));
                }
            }
            def.id = state.take_id();
            let id = def.id;
            state.indexes.push(def);
            Ok(id)
        }))
        .await
        .map(|_| ())
    }

    /// Drops an index by its name or its field's name.
    ///
    /// # Errors
    /// [`Error::IndexNotFound`], or [`Error::StillLoaded`] for a vector index of a loaded collection.
    pub async fn drop_index(&self, name: &str) -> Result<()> {
        let collection = self.name();
        let name = name.to_string();
        self.edit(Box::new(move |state| {
            // An index may be called like the field of another one: its own name counts first.
            let position = |is: fn(&IndexDef, &str) -> bool| {
                let asked_for = |def: &IndexDef| !def.implied && is(def, &name);
                state.indexes.iter().position(asked_for)
            };
            let named = position(|def, name| def.name == name);
            let Some(at) = named.or_else(|| position(|def, name| def.field == name)) else {
                return Err(Error::IndexNotFound {
                    collection,
                    index: name,
                });
            };
            if state.indexes[at].metric.is_some() && state.load != LoadScope::None {
                return Err(Error::StillLoaded {
                    what: format!("vector index '{name}' cannot be dropped: collection '{collection}'"),
                });
            }
            Ok(state.indexes.remove(at).id)
        }))
        .await
        .map(|_| ())
    }

    /// Places in JSON, by column and pointer, where filters take text for numbers, as an index there wants it. They do so in
    /// all rows, indexed or not.
    pub fn numbers_in_texts(&self) -> Vec<(String, String)> {
        let state = self.shared.state.load();
        let casts = state.indexes.iter().filter_map(|def| {
            let json = def.json.as_ref().filter(|json| json.numbers_in_texts())?;
            Some((def.field.clone(), json.pointer.clone()))
        });
        casts.collect()
    }

    /// The ids of all indexes that were asked for. None is given twice, so these tell whether the indexes are still the same.
    pub fn index_ids(&self) -> Vec<i64> {
        let state = self.shared.state.load();
        let asked_for = state.indexes.iter().filter(|def| !def.implied);
        asked_for.map(|def| def.id).collect()
    }

    /// All indexes that were asked for, and how far they are.
    pub fn indexes(&self) -> Vec<IndexInfo> {
        let state = self.shared.state.load();
        let progress = self.shared.indexes.load();
        let building = self.shared.building.load();
        let live = self.row_count();
        state
            .indexes
            .iter()
            .filter(|def| !def.implied)
            .map(|def| {
                let built = def.what_to_build().is_some();
                let progress = progress.get(&def.id).cloned().unwrap_or_default();
                let (mut indexed, total) = if built {
                    (progress.indexed_rows, progress.total_rows)
                } else {
                    (live, live)
                };
                if let Some(control) = building.as_ref()
                    && built
                    && i64::try_from(control.index_id.load(Ordering::Relaxed)) == Ok(def.id)
                {
                    // A build that has seen its last row is still to be written: not all are indexed yet.
                    let rows_done = control.rows_done.load(Ordering::Relaxed);
                    indexed = (indexed + rows_done).min(total.saturating_sub(1)).max(indexed);
                }
                let finished = !built || progress.indexed_rows == total;
                let index_state = match (&progress.failure, finished) {
                    (Some(_), false) => IndexState::Failed,
                    (_, true) => IndexState::Finished,
                    (None, false) => IndexState::InProgress,
                };
                IndexInfo {
                    id: def.id,
                    name: def.name.clone(),
                    field: def.field.clone(),
                    index_type: def.index_type.clone(),
                    metric: def.any_metric(),
                    params: def.params.clone(),
                    build: def.build().map(|(_, params)| params),
                    signatures: def.signatures.map(Signatures::params),
                    total_rows: total,
                    indexed_rows: indexed,
                    pending_rows: total - indexed,
                    state: index_state,
                    fail_reason: progress.failure.unwrap_or_default(),
                }
            })
            .collect()
    }

    fn field(&self, name: &str) -> Result<&crate::types::Field> {
        self.schema.field(name).ok_or_else(|| {
            let mut near: Vec<_> = self
                .schema
                .fields
                .iter()
                .filter(|field| strsim::jaro_winkler(&field.name, name) > 0.8)
                .map(|field| field.name.clone())
                .collect();
            near.truncate(2);
            Error::FieldNotFound {
                field: name.to_string(),
                near,
            }
        })
    }
}

//! Requests for rows by filter and keys: read, count, delete.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::SchemaRef;
use elanus_collection::{Collection, Keys, Snapshot, Unit, WriteResult};

use super::Engine;
use super::search::{output_schema, readable_units};
use crate::compute::Wanted;
use crate::error::{QueryError, Result};
use crate::index_filter::IndexUse;
use crate::operators::change_rows::keys_of;
use crate::operators::column_names;
use crate::ordering::{SortKey, order_hits};
use crate::predicate::Predicate;
use crate::request::{FilterText, QueryRequest};
use crate::search::{Hit, take_rows};
use crate::selection::{Selection, read_columns, select};

/// Elementary steps that finding the place of one key is reckoned at.
const STEPS_PER_KEY: u64 = 16;

/// A Bloom filter finds rows that are in no set, which must not be deleted for it.
fn refuse_approximate(collection: &Collection, filter: &FilterText) -> Result<()> {
    if !filter.templates.have_bytes() {
        return Ok(());
    }
    let expr = elanus_filter::compile(&filter.text, collection.arrow_schema(), &filter.templates)?;
    if elanus_udfs::membership::is_approximate(&expr) {
        return Err(QueryError::InvalidParameter(
            "a delete cannot use membership_match with a set of type bloom, which finds rows that are not in the set; \
             use one of type roaring"
                .into(),
        ));
    }
    Ok(())
}

/// One unit with the rows a request selects.
struct Selected {
    number: u32,
    unit: Arc<Unit>,
    selection: Selection,
}

impl Engine {
    /// Reads rows in primary key order.
    ///
    /// # Errors
    /// [`crate::QueryError::Filter`], [`crate::QueryError::InvalidParameter`] for unknown output
    /// columns, and what the collection says about names and load state.
    pub async fn query(&self, request: QueryRequest) -> Result<RecordBatch> {
        let collection = &request.collection;
        let output = output_schema(collection, &request.output)?;
        let (snapshot, selected) = self.select_rows(&request).await?;
        let wanted = request
            .limit
            .map_or(usize::MAX, |limit| limit.saturating_add(request.offset));
        let primary_key = &collection.schema().primary_key()?.name;
        let hits = if request.order.is_empty() {
            self.first_by_key(selected, primary_key, wanted).await?
        } else {
            let order = request.order.iter().map(|by| by.key(collection.schema()));
            let order: Vec<SortKey> = order.collect::<Result<_>>()?;
            let all = self.first_by_key(selected, primary_key, usize::MAX).await?;
            order_hits(
                &snapshot.units,
                &order,
                all,
                Some(wanted),
                &self.inner.resources.compute,
            )
            .await?
        };
        let hits = hits.get(request.offset..).unwrap_or_default();
        Ok(take_rows(&snapshot.units, &column_names(&output), Some(&output), hits).await?)
    }

    /// Counts rows; limit, offset and output of the request are not looked at.
    ///
    /// # Errors
    /// As [`Engine::query`].
    pub async fn count(&self, request: QueryRequest) -> Result<u64> {
        let (_, selected) = self.select_rows(&request).await?;
        Ok(selected
            .iter()
            .map(|selected| selected.selection.count(&selected.unit))
            .sum())
    }

    /// Deletes the rows for which a filter is true, by their primary keys, as one atomic write.
    ///
    /// # Errors
    /// As [`Engine::query`], and a storage error of the write.
    pub async fn delete_where(
        &self,
        collection: Arc<Collection>,
        filter: FilterText,
        partitions: Vec<String>,
    ) -> Result<WriteResult> {
        refuse_approximate(&collection, &filter)?;
        let ids = if partitions.is_empty() {
            None
        } else {
            Some(collection.partition_ids(&partitions)?)
        };
        let request = QueryRequest {
            collection: Arc::clone(&collection),
            filter: Some(filter),
            keys: None,
            partitions,
            output: Vec::new(),
            limit: None,
            offset: 0,
            ignore_growing: false,
            order: Vec::new(),
            snapshot: None,
        };
        let (_, selected) = self.select_rows(&request).await?;
        let key = collection.schema().primary_key()?;
        let mut columns = Vec::with_capacity(selected.len());
        for Selected { unit, selection, .. } in &selected {
            let rows = unit.take(&[&key.name], &selection.rows(unit)).await?;
            columns.extend(rows.columns().first().cloned());
        }
        let keys = if columns.is_empty() {
            empty_keys(&collection)?
        } else {
            keys_of(&columns)?
        };
        Ok(collection.delete(keys, ids).await?)
    }

    /// These columns of the selected rows, a batch of each unit; limit and order are not looked at.
    pub(super) async fn selected_columns(
        &self,
        request: &QueryRequest,
        schema: &SchemaRef,
    ) -> Result<Vec<RecordBatch>> {
        let names = column_names(schema);
        let (_, selected) = self.select_rows(request).await?;
        let mut batches = Vec::with_capacity(selected.len());
        for Selected { unit, selection, .. } in &selected {
            let rows = unit.take(&names, &selection.rows(unit)).await?;
            batches.push(RecordBatch::try_new(Arc::clone(schema), rows.columns().to_vec())?);
        }
        Ok(batches)
    }

    async fn select_rows(&self, request: &QueryRequest) -> Result<(Arc<Snapshot>, Vec<Selected>)> {
        let collection = &request.collection;
        let predicates = self.compiled(collection, request.filter.as_ref())?;
        let partitions = Self::loaded_partitions(collection, &request.partitions)?;
        let snapshot = request.snapshot.clone().unwrap_or_else(|| collection.snapshot());
        let mut selected = Vec::new();
        for number in readable_units(&snapshot, collection, &partitions, request.ignore_growing) {
            let Some(unit) = snapshot.units.get(number as usize) else {
                continue;
            };
            let selection = self.select_in(unit, request.keys.as_ref(), &predicates).await?;
            if selection.count(unit) > 0 {
                selected.push(Selected {
                    number,
                    unit: Arc::clone(unit),
                    selection,
                });
            }
        }
        Ok((snapshot, selected))
    }

    async fn select_in(
        &self,
        unit: &Arc<Unit>,
        keys: Option<&Keys>,
        predicates: &[Arc<Predicate>],
    ) -> Result<Selection> {
        let from = match keys {
            None => Selection::Live,
            Some(keys) => Selection::of_rows(unit.rows(), unit.find_keys(keys).await?),
        };
        let mut used = IndexUse::default();
        Ok(select(unit, from, predicates, &self.inner.resources, &mut used).await?)
    }

    /// The first `wanted` selected rows in primary key order.
    async fn first_by_key(
        &self,
        selected: Vec<Selected>,
        primary_key: &str,
        wanted: usize,
    ) -> Result<Vec<Hit>> {
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(selected.len());
        let mut rows = 0;
        for Selected { unit, selection, .. } in &selected {
            let batch = read_columns(unit, &[primary_key]).await?;
            columns.extend(batch.columns().first().cloned());
            rows += selection.count(unit);
        }
        let work = move |_: Wanted<'_>| smallest_keys(&selected, &columns, wanted);
        self.inner.resources.compute.run(rows * STEPS_PER_KEY, work).await
    }
}

fn empty_keys(collection: &Collection) -> Result<Keys> {
    let schema = collection.schema();
    Ok(match schema.primary_key()?.data_type {
        elanus_collection::DataType::Int64 => Keys::Int64(Vec::new()),
        _ => Keys::VarChar(Vec::new()),
    })
}

/// The `wanted` rows with the smallest keys, in their order; `columns` has the keys of each of `selected`.
fn smallest_keys(selected: &[Selected], columns: &[ArrayRef], wanted: usize) -> Vec<Hit> {
    let ints: Option<Vec<&Int64Array>> = columns.iter().map(|column| column.as_primitive_opt()).collect();
    if let Some(ints) = ints {
        return smallest(selected, wanted, |index, row| {
            ints.get(index)?.values().get(row as usize).copied()
        });
    }
    smallest(selected, wanted, |index, row| {
        let texts = columns.get(index)?.as_string_opt::<i32>()?;
        ((row as usize) < texts.len()).then(|| texts.value(row as usize))
    })
}

fn smallest<K: Ord + Copy>(
    selected: &[Selected],
    wanted: usize,
    key: impl Fn(usize, u32) -> Option<K>,
) -> Vec<Hit> {
    let mut rows: Vec<(Option<K>, u32, u32)> = Vec::new();
    for (
        index,
        Selected {
            number,
            unit,
            selection,
        },
    ) in selected.iter().enumerate()
    {
        rows.extend(
            selection
                .rows(unit)
                .into_iter()
                .map(|row| (key(index, row), *number, row)),
        );
    }
    if wanted < rows.len() && wanted > 0 {
        rows.select_nth_unstable(wanted - 1);
    }
    rows.truncate(wanted);
    rows.sort_unstable();
    rows.into_iter()
        .map(|(_, unit, row)| Hit {
            unit,
            row,
            element: None,
            distance: None,
        })
        .collect()
}

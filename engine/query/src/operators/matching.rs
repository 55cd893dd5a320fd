//! [`Matching`]: a vector join in which each row of the input may only find rows that are equal to it in something.
//!
//! ```text
//!   FROM q, LATERAL (SELECT .. FROM docs WHERE docs.cat = q.cat ORDER BY docs.v <-> q.v LIMIT 3)
//! ```
//!
//! The rows that may be found are read once and put under their values ([`ByValue`]). Input rows of the same values are
//! searched for together, among the rows under these values: how many searches of a bitset there are depends on the
//! different values, not on the rows. NULL equals nothing, as in SQL: such rows neither find nor are found.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, Schema};
use arrow::row::{RowConverter, SortField};
use datafusion::error::Result;
use datafusion::execution::memory_pool::MemoryReservation;
use datafusion::physical_expr::utils::{collect_columns, reassign_expr_columns};
use datafusion::physical_plan::PhysicalExpr;
use elanus_index::VectorRef;
use rayon::prelude::*;

use crate::compute::Wanted;
use crate::error::{QueryError, external};
use crate::search::{Hit, SearchSpec, Target, Totals, search_targets};
use crate::selection::Selection;

/// What must be equal: something of the input row and something of a row of the table, pair by pair.
#[derive(Debug, Clone, Default)]
pub(crate) struct Matching {
    /// Over the columns of the input.
    pub ours: Vec<Arc<dyn PhysicalExpr>>,
    /// Over the columns of the table that is searched, as many.
    pub theirs: Vec<Arc<dyn PhysicalExpr>>,
}

impl Matching {
    /// Whether nothing has to be equal.
    pub fn is_empty(&self) -> bool {
        self.ours.is_empty()
    }
}

impl fmt::Display for Matching {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, (ours, theirs)) in self.ours.iter().zip(&self.theirs).enumerate() {
            let and = if number > 0 { " AND " } else { "" };
            write!(f, "{and}{theirs} = {ours}")?;
        }
        Ok(())
    }
}

/// Rows of one target.
#[derive(Debug)]
struct RowsOf {
    target: usize,
    rows: Vec<u32>,
}

/// The rows that may be found, under their values.
#[derive(Debug)]
pub(super) struct ByValue {
    converter: RowConverter,
    rows: HashMap<Box<[u8]>, Vec<RowsOf>>,
    /// Held as long as the rows.
    _memory: MemoryReservation,
}

/// Input rows of the same values.
pub(super) type Group = (Box<[u8]>, Vec<usize>);

impl ByValue {
    /// Reads the values of all rows of `targets`; `schema` is that of the expressions.
    pub async fn of(
        targets: &[Target],
        theirs: &[Arc<dyn PhysicalExpr>],
        schema: &Schema,
        memory: MemoryReservation,
    ) -> Result<Self> {
        let fields = theirs
            .iter()
            .map(|expr| Ok(SortField::new(expr.data_type(schema)?)))
            .collect::<Result<_>>()?;
        let converter = RowConverter::new(fields)?;
        let mut names: Vec<String> = Vec::new();
        for column in theirs.iter().flat_map(collect_columns) {
            if !names.iter().any(|name| name == column.name()) {
                names.push(column.name().to_string());
            }
        }
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut rows: HashMap<Box<[u8]>, Vec<RowsOf>> = HashMap::new();
        for (number, target) in targets.iter().enumerate() {
            let chosen = target.selection.rows(&target.unit);
            let columns = target.unit.take(&names, &chosen).await.map_err(external)?;
            let read = columns.schema();
            let exprs = theirs
                .iter()
                .map(|expr| reassign_expr_columns(Arc::clone(expr), &read));
            let exprs: Vec<_> = exprs.collect::<Result<_>>()?;
            for (position, value) in values(&converter, &exprs, &columns)? {
                let Some(row) = chosen.get(position) else { continue };
                let known = match rows.get_mut(&value) {
                    Some(known) => known,
                    None => {
                        memory.try_grow(value.len() + KEY_BYTES)?;
                        rows.entry(value).or_default()
                    }
                };
                match known.last_mut().filter(|last| last.target == number) {
                    Some(last) => last.rows.push(*row),
                    None => known.push(RowsOf {
                        target: number,
                        rows: vec![*row],
                    }),
                }
            }
            memory.try_grow(chosen.len() * size_of::<u32>())?;
        }
        Ok(Self {
            converter,
            rows,
            _memory: memory,
        })
    }

    /// The rows of a batch of the input by their values; rows with a NULL among them are in no group.
    pub fn groups(&self, ours: &[Arc<dyn PhysicalExpr>], input: &RecordBatch) -> Result<Vec<Group>> {
        let mut groups: Vec<Group> = Vec::new();
        let mut known: HashMap<Box<[u8]>, usize> = HashMap::new();
        for (row, value) in values(&self.converter, ours, input)? {
            match known.get(&value).and_then(|place| groups.get_mut(*place)) {
                Some((_, rows)) => rows.push(row),
                None => {
                    known.insert(value.clone(), groups.len());
                    groups.push((value, vec![row]));
                }
            }
        }
        Ok(groups)
    }

    /// As [`search_targets`], for the queries of each group among the rows under its values.
    pub fn search(
        &self,
        targets: &[Target],
        spec: &SearchSpec,
        queries: &[Option<VectorRef<'_>>],
        groups: &[Group],
        wanted: Wanted<'_>,
    ) -> Result<(Vec<Vec<Hit>>, Totals), QueryError> {
        let search = |(value, rows): &Group| {
            let among = self.targets(targets, value);
            let of_group: Vec<_> = rows.iter().filter_map(|row| queries.get(*row).copied()).collect();
            search_targets(&among, spec, &of_group, wanted)
        };
        let found: Vec<(Vec<Vec<Hit>>, Totals)> = groups.par_iter().map(search).collect::<Result<_, _>>()?;
        let mut hits = vec![Vec::new(); queries.len()];
        let mut totals = Totals::default();
        for ((_, rows), (of_group, its_totals)) in groups.iter().zip(found) {
            totals = totals.merge(its_totals);
            for (row, of_row) in rows.iter().zip(of_group) {
                if let Some(slot) = hits.get_mut(*row) {
                    *slot = of_row;
                }
            }
        }
        Ok((hits, totals))
    }

    /// The targets with the rows under a value alone.
    fn targets(&self, all: &[Target], value: &[u8]) -> Vec<Target> {
        let rows = self.rows.get(value).map(Vec::as_slice).unwrap_or_default();
        let chosen = rows.iter().filter_map(|rows| {
            let target = all.get(rows.target)?;
            Some(Target {
                selection: Selection::of_rows(target.unit.rows(), rows.rows.iter().copied()),
                elements: None,
                ..target.clone()
            })
        });
        chosen.collect()
    }
}

/// What a value takes beside its bytes, about.
const KEY_BYTES: usize = 96;

/// The values of each row that has no NULL among them.
fn values(
    converter: &RowConverter,
    exprs: &[Arc<dyn PhysicalExpr>],
    batch: &RecordBatch,
) -> Result<Vec<(usize, Box<[u8]>)>> {
    let rows = batch.num_rows();
    let columns: Vec<ArrayRef> = exprs
        .iter()
        .map(|expr| expr.evaluate(batch)?.into_array(rows))
        .collect::<Result<_>>()?;
    let encoded = converter.convert_columns(&columns)?;
    let has_all = |row: &usize| columns.iter().all(|column| column.is_valid(*row));
    let values = (0..rows)
        .filter(has_all)
        .map(|row| (row, encoded.row(row).data().into()));
    Ok(values.collect())
}

/// Whether rows with the same bytes of a value of this type are those that SQL calls equal.
pub(crate) fn is_comparable(data_type: &DataType) -> bool {
    match data_type {
        DataType::Boolean
        | DataType::Utf8
        | DataType::LargeUtf8
        | DataType::Utf8View
        | DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::Date32
        | DataType::Date64
        | DataType::Timestamp(..) => true,
        numeric => numeric.is_numeric(),
    }
}

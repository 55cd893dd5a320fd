//! The buckets of the rows that a search kept.

use std::cmp::Ordering;
use std::collections::HashMap;

use arrow::array::{Array, ArrayRef, RecordBatch};
use chrono_tz::Tz;
use elanus_collection::{CollectionSchema, DataType, Keys};
use elanus_query::SearchResponse;
use milvus::proto::schema::{AggBucket, AggHit, AggHitField, BucketKeyEntry, MetricValue, agg_hit};

use super::cell::Cell;
use super::{BucketKey, Facets, Hits, Level, Metric, MetricKind, Source};
use crate::convert::output::Output;
use crate::convert::results;
use crate::status::{Error, Result};

/// Column of the scores in the engine's answer.
const SCORE_COLUMN: &str = "_score";

/// What was found, to be put into buckets.
struct Rows<'a> {
    schema: &'a CollectionSchema,
    rows: &'a RecordBatch,
    scores: Vec<f32>,
    /// The scores as they are written out.
    written: Vec<f32>,
    keys: Keys,
    output: &'a Output,
    zone: Tz,
}

/// A bucket while its level is sorted.
struct Bucket {
    key: Vec<Cell>,
    rows: Vec<usize>,
    metrics: Vec<Cell>,
}

impl Facets {
    /// The buckets of all queries behind one another, and how many each query has. By exact scores; beside them those that are
    /// written out.
    ///
    /// # Errors
    /// An internal one, when the rows lack a column that was asked for.
    pub fn buckets(
        &self,
        schema: &CollectionSchema,
        found: &SearchResponse,
        (scores, written): (Vec<f32>, Vec<f32>),
        output: &Output,
        zone: Tz,
    ) -> Result<(Vec<AggBucket>, Vec<i64>)> {
        let rows = Rows {
            schema,
            rows: &found.rows,
            keys: results::keys(schema, &found.rows)?,
            scores,
            written,
            output,
            zone,
        };
        let larger_is_better = found.scoring.larger_is_better();
        let (mut all, mut counts, mut from) = (Vec::new(), Vec::new(), 0);
        for count in &found.counts {
            let mut of_query: Vec<usize> = (from..from + count).collect();
            from += count;
            of_query.sort_by(|one, other| {
                let order = rows.score(*one).total_cmp(&rows.score(*other));
                let order = if larger_is_better { order.reverse() } else { order };
                order.then_with(|| rows.by_key(*one, *other))
            });
            let buckets = rows.level(&self.levels, &of_query)?;
            counts.push(i64::try_from(buckets.len()).unwrap_or(i64::MAX));
            all.extend(buckets);
        }
        Ok((all, counts))
    }
}

impl Rows<'_> {
    /// The buckets of the first of `levels` among `rows`, which come best first.
    fn level(&self, levels: &[Level], rows: &[usize]) -> Result<Vec<AggBucket>> {
        let Some((level, below)) = levels.split_first() else {
            return Ok(Vec::new());
        };
        let mut buckets = self.split(level, rows)?;
        for bucket in &mut buckets {
            let metrics = level.metrics.iter();
            bucket.metrics = metrics
                .map(|(_, metric)| self.metric(metric, &bucket.rows))
                .collect::<Result<_>>()?;
        }
        // Stable: what no order tells apart stays in the order in which it was found.
        buckets.sort_by(|one, other| level.compare(one, other));
        buckets.truncate(level.size);
        let buckets = buckets.into_iter();
        buckets.map(|bucket| self.finish(level, below, &bucket)).collect()
    }

    fn split(&self, level: &Level, rows: &[usize]) -> Result<Vec<Bucket>> {
        let columns: Vec<&ArrayRef> = level
            .fields
            .iter()
            .map(|name| self.column(name))
            .collect::<Result<_>>()?;
        let mut buckets: Vec<Bucket> = Vec::new();
        let mut known: HashMap<String, usize> = HashMap::new();
        for row in rows {
            let key: Vec<Cell> = columns
                .iter()
                .map(|column| Cell::of(column, *row).ok_or_else(broken))
                .collect::<Result<_>>()?;
            let next = buckets.len();
            // This text tells all values apart: texts are quoted in it.
            let place = *known.entry(format!("{key:?}")).or_insert(next);
            match buckets.get_mut(place) {
                Some(bucket) => bucket.rows.push(*row),
                None => buckets.push(Bucket {
                    key,
                    rows: vec![*row],
                    metrics: Vec::new(),
                }),
            }
        }
        Ok(buckets)
    }

    fn metric(&self, metric: &Metric, rows: &[usize]) -> Result<Cell> {
        let count = |number: usize| Cell::Int(i64::try_from(number).unwrap_or(i64::MAX));
        if let (MetricKind::Count, Source::Field(name)) = (metric.kind, &metric.of) {
            // Of any type, an array and a vector too.
            let column = self.column(name)?;
            return Ok(count(rows.iter().filter(|row| column.is_valid(**row)).count()));
        }
        let mut values = Vec::with_capacity(rows.len());
        for row in rows {
            let value = self.value(&metric.of, *row)?;
            if !value.is_null() {
                values.push(value);
            }
        }
        Ok(match metric.kind {
            MetricKind::Count => count(rows.len()),
            MetricKind::Sum => sum(&values),
            MetricKind::Avg => mean(&values),
            MetricKind::Min => values.into_iter().min_by(Cell::compare).unwrap_or(Cell::Null),
            MetricKind::Max => values.into_iter().max_by(Cell::compare).unwrap_or(Cell::Null),
        })
    }

    fn finish(&self, level: &Level, below: &[Level], bucket: &Bucket) -> Result<AggBucket> {
        let key = level.fields.iter().zip(&bucket.key);
        let metrics = level.metrics.iter().zip(&bucket.metrics);
        Ok(AggBucket {
            key: key
                .map(|(name, cell)| BucketKeyEntry {
                    field_id: self.id_of(name),
                    field_name: name.clone(),
                    value: cell.key(self.zone),
                })
                .collect(),
            count: i64::try_from(bucket.rows.len()).unwrap_or(i64::MAX),
            metrics: metrics
                .map(|((alias, _), cell)| {
                    let value = cell.metric(self.zone);
                    (alias.clone(), MetricValue { value })
                })
                .collect(),
            hits: match &level.hits {
                Some(hits) => self.hits(hits, &bucket.rows)?,
                None => Vec::new(),
            },
            sub_groups: self.level(below, &bucket.rows)?,
        })
    }

    fn hits(&self, hits: &Hits, rows: &[usize]) -> Result<Vec<AggHit>> {
        let mut sorted = Vec::with_capacity(rows.len());
        for row in rows {
            let keys: Vec<Cell> = hits
                .order
                .iter()
                .map(|order| self.value(&order.by, *row))
                .collect::<Result<_>>()?;
            sorted.push((keys, *row));
        }
        sorted.sort_by(|(one, _), (other, _)| {
            let keys = one.iter().zip(other).zip(&hits.order);
            keys.map(|((one, other), order)| one.ordered(other, order.descending, order.nulls_first))
                .find(|order| order.is_ne())
                .unwrap_or(Ordering::Equal)
        });
        let best = sorted.into_iter().take(hits.size);
        best.map(|(_, row)| self.hit(row)).collect()
    }

    fn hit(&self, row: usize) -> Result<AggHit> {
        let mut fields = Vec::with_capacity(self.output.columns.len());
        for name in &self.output.columns {
            let cell = Cell::of(self.column(name)?, row).ok_or_else(broken)?;
            let field = self.schema.field(name);
            let json = field.is_some_and(|field| field.data_type == DataType::Json);
            fields.push(AggHitField {
                field_id: self.id_of(name),
                field_name: name.clone(),
                value: cell.field(json, self.zone),
            });
        }
        let pk = match &self.keys {
            Keys::Int64(keys) => keys.get(row).map(|key| agg_hit::Pk::IntPk(*key)),
            Keys::VarChar(keys) => keys.get(row).map(|key| agg_hit::Pk::StrPk(key.clone())),
        };
        Ok(AggHit {
            score: self.written.get(row).copied().unwrap_or(f32::NAN),
            fields,
            pk,
        })
    }

    fn value(&self, of: &Source, row: usize) -> Result<Cell> {
        match of {
            Source::Row => Ok(Cell::Bool(true)),
            Source::Score => Ok(Cell::Float(self.score(row))),
            Source::Field(name) => Cell::of(self.column(name)?, row).ok_or_else(broken),
        }
    }

    fn by_key(&self, one: usize, other: usize) -> Ordering {
        match &self.keys {
            Keys::Int64(keys) => keys.get(one).cmp(&keys.get(other)),
            Keys::VarChar(keys) => keys.get(one).cmp(&keys.get(other)),
        }
    }

    fn score(&self, row: usize) -> f32 {
        self.scores.get(row).copied().unwrap_or(f32::NAN)
    }

    fn column(&self, name: &str) -> Result<&ArrayRef> {
        let found = self.rows.column_by_name(name).filter(|_| name != SCORE_COLUMN);
        found.ok_or_else(broken)
    }

    fn id_of(&self, name: &str) -> i64 {
        self.schema.field(name).map_or(0, |field| field.id)
    }
}

impl Level {
    fn compare(&self, one: &Bucket, other: &Bucket) -> Ordering {
        let orders = self.order.iter().map(|order| {
            let (descending, nulls_first) = (order.descending, order.nulls_first);
            match &order.by {
                BucketKey::Metric(at) => match (one.metrics.get(*at), other.metrics.get(*at)) {
                    (Some(one), Some(other)) => one.ordered(other, descending, nulls_first),
                    (_, _) => Ordering::Equal,
                },
                BucketKey::Count if descending => other.rows.len().cmp(&one.rows.len()),
                BucketKey::Count => one.rows.len().cmp(&other.rows.len()),
                BucketKey::Key => one
                    .key
                    .iter()
                    .zip(&other.key)
                    .map(|(one, other)| one.ordered(other, descending, nulls_first))
                    .find(|order| order.is_ne())
                    .unwrap_or(Ordering::Equal),
            }
        });
        orders
            .into_iter()
            .find(|order| order.is_ne())
            .unwrap_or(Ordering::Equal)
    }
}

/// The sum, of integers an integer as long as it is one of 64 bits; NULL of nothing.
fn sum(values: &[Cell]) -> Cell {
    if values.is_empty() {
        return Cell::Null;
    }
    let integer = |value: &Cell| match value {
        Cell::Int(value) => Some(i128::from(*value)),
        Cell::Null | Cell::Bool(_) | Cell::Float(_) | Cell::Double(_) | Cell::Text(_) | Cell::Instant(_) => {
            None
        }
    };
    let integers: Option<i128> = values.iter().map(integer).sum();
    match integers.map(i64::try_from) {
        Some(Ok(sum)) => Cell::Int(sum),
        Some(Err(_)) | None => Cell::Double(values.iter().filter_map(Cell::number).sum()),
    }
}

#[expect(clippy::cast_precision_loss, reason = "at most ten thousand rows are kept")]
fn mean(values: &[Cell]) -> Cell {
    if values.is_empty() {
        return Cell::Null;
    }
    let sum: f64 = values.iter().filter_map(Cell::number).sum();
    Cell::Double(sum / values.len() as f64)
}

fn broken() -> Error {
    Error::unexpected("internal error: a search aggregation lacks a column that it asked for")
}

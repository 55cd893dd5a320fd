//! Search aggregation: buckets of what a search found, with counts, metrics and their best rows, in up to four levels.
//!
//! ```text
//!   search_aggregation                       what was kept, best first           buckets
//!   fields [brand], size 2                   A 0.9 | B 0.8 | A 0.7 | C 0.6       A: count 2, hits 0.9 0.7
//!   top_hits size 2                                                              B: count 1, hits 0.8
//! ```
//!
//! It is a grouped search: the groups are told apart by the fields of all levels together, each keeps as many rows as the
//! largest `top_hits`, and there are as many as the product of the levels' sizes. Buckets are made of these rows alone, as in
//! Milvus.

mod buckets;
mod cell;

use elanus_collection::{CollectionSchema, DataType, Field};
use elanus_query::{Grouping, JsonCast};
use milvus::proto::common::{SearchAggregationSpec, SortSpec};

use crate::convert::output::Output;
use crate::status::{Error, Result};

/// Most levels.
const MAX_LEVELS: usize = 4;
/// Most fields of all levels together.
const MAX_FIELDS: usize = 10;
/// Most rows that all queries of a request may keep.
const MAX_ENTRIES: usize = 10_000;
/// The score of a row, among fields.
const SCORE: &str = "_score";

/// The buckets that a request asks for.
#[derive(Debug)]
pub(crate) struct Facets {
    levels: Vec<Level>,
    /// Groups that the search finds for each query.
    pub groups: usize,
    /// Rows that each group keeps.
    pub kept: usize,
}

/// One level of buckets.
#[derive(Debug)]
struct Level {
    fields: Vec<String>,
    size: usize,
    metrics: Vec<(String, Metric)>,
    order: Vec<Order<BucketKey>>,
    hits: Option<Hits>,
}

/// A number of the rows of a bucket.
#[derive(Debug)]
struct Metric {
    kind: MetricKind,
    of: Source,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MetricKind {
    Count,
    Sum,
    Avg,
    Min,
    Max,
}

/// What a metric or an order looks at.
#[derive(Debug, PartialEq, Eq)]
enum Source {
    /// The row itself.
    Row,
    Score,
    Field(String),
}

#[derive(Debug)]
struct Order<K> {
    by: K,
    descending: bool,
    nulls_first: bool,
}

#[derive(Debug)]
enum BucketKey {
    /// Place among the level's metrics.
    Metric(usize),
    Count,
    Key,
}

#[derive(Debug)]
struct Hits {
    size: usize,
    order: Vec<Order<Source>>,
}

impl Facets {
    /// Reads and checks what `nq` queries ask for.
    ///
    /// # Errors
    /// What the levels, their fields, sizes, metrics and orders must be.
    pub fn of(spec: SearchAggregationSpec, schema: &CollectionSchema, nq: usize) -> Result<Self> {
        let (mut levels, mut groups, mut kept) = (Vec::new(), 1usize, 1);
        let mut next = Some(spec);
        while let Some(mut spec) = next {
            if levels.len() == MAX_LEVELS {
                return Err(invalid(format!("at most {MAX_LEVELS} levels")));
            }
            next = spec.sub_aggregation.take().map(|sub| *sub);
            let size = positive(spec.size, "size")?;
            let searched = match spec.search_size {
                0 => size,
                given => positive(given, "search_size")?,
            };
            if searched < size {
                return Err(invalid(format!(
                    "search_size {searched} must be at least size {size}"
                )));
            }
            groups = groups.saturating_mul(searched);
            let level = Level::of(spec, size, schema)?;
            kept = level.hits.as_ref().map_or(kept, |hits| kept.max(hits.size));
            levels.push(level);
        }
        let facets = Self { levels, groups, kept };
        let fields = facets.fields();
        if fields.len() > MAX_FIELDS {
            return Err(invalid(format!("{} fields, at most {MAX_FIELDS}", fields.len())));
        }
        for (at, name) in fields.iter().enumerate() {
            if fields.iter().take(at).any(|other| other == name) {
                return Err(invalid(format!(
                    "field {name} twice among the fields of its levels"
                )));
            }
        }
        let entries = nq.saturating_mul(groups).saturating_mul(kept);
        if entries > MAX_ENTRIES {
            return Err(invalid(format!(
                "{nq} queries x {groups} buckets x {kept} hits = {entries} entries, at most {MAX_ENTRIES}"
            )));
        }
        Ok(facets)
    }

    /// The groups that the search is about.
    pub fn grouping(&self) -> Grouping {
        Grouping {
            by: self.fields(),
            json: JsonCast::default(),
            size: self.kept,
            fill: self.kept > 1,
        }
    }

    fn fields(&self) -> Vec<String> {
        self.levels
            .iter()
            .flat_map(|level| level.fields.clone())
            .collect()
    }

    /// The columns that it looks at.
    pub fn columns(&self) -> Vec<String> {
        let mut columns = self.fields();
        for level in &self.levels {
            let metrics = level.metrics.iter().map(|(_, metric)| &metric.of);
            let orders = level
                .hits
                .iter()
                .flat_map(|hits| &hits.order)
                .map(|order| &order.by);
            for source in metrics.chain(orders) {
                if let Source::Field(name) = source {
                    columns.push(name.clone());
                }
            }
        }
        columns
    }

    /// Checks that the fields of hits are values that a hit can have.
    ///
    /// # Errors
    /// Vectors, arrays and keys of the dynamic field.
    pub fn check_output(&self, output: &Output, schema: &CollectionSchema) -> Result<()> {
        for name in &output.columns {
            let field = schema.field(name);
            let fits = |field: &Field| {
                !field.dynamic
                    && !field.data_type.is_vector()
                    && !matches!(
                        field.data_type,
                        DataType::Array { .. } | DataType::StructArray { .. }
                    )
            };
            if !field.is_some_and(fits) {
                return Err(Error::unsupported(format!(
                    "{name} among the output fields of a search aggregation: hits have scalar fields"
                )));
            }
        }
        Ok(())
    }
}

impl Level {
    fn of(spec: SearchAggregationSpec, size: usize, schema: &CollectionSchema) -> Result<Self> {
        if spec.fields.is_empty() {
            return Err(invalid("a level without fields"));
        }
        for name in &spec.fields {
            let data_type = &field(name, schema)?.data_type;
            if !is_ordered(data_type) || matches!(data_type, DataType::Float | DataType::Double) {
                return Err(invalid(format!(
                    "buckets by {name}, which is {}; allowed are BOOL, INT8, INT16, INT32, INT64, VARCHAR, TIMESTAMPTZ",
                    data_type.name()
                )));
            }
        }
        let mut metrics = Vec::with_capacity(spec.metrics.len());
        for (alias, metric) in spec.metrics {
            let metric = Metric::of(&alias, &metric.op, &metric.field_name, schema)?;
            metrics.push((alias, metric));
        }
        let mut order = Vec::with_capacity(spec.order.len());
        for by in spec.order {
            let key = match by.key.as_str() {
                "_count" => BucketKey::Count,
                "_key" => BucketKey::Key,
                alias => match metrics.iter().position(|(known, _)| known == alias) {
                    Some(at) => BucketKey::Metric(at),
                    None => {
                        let known: Vec<&str> = metrics.iter().map(|(alias, _)| alias.as_str()).collect();
                        return Err(invalid(format!(
                            "order by {alias}, which is no metric of its level; allowed are _count, _key{}{}",
                            if known.is_empty() { "" } else { ", " },
                            known.join(", ")
                        )));
                    }
                },
            };
            order.push(Order::new(key, &by.direction, by.null_first)?);
        }
        let hits = match spec.top_hits {
            None => None,
            Some(hits) => Some(Hits {
                size: positive(hits.size, "top_hits size")?,
                order: hits
                    .sort
                    .iter()
                    .map(|by| sort(by, schema))
                    .collect::<Result<_>>()?,
            }),
        };
        Ok(Self {
            fields: spec.fields,
            size,
            metrics,
            order,
            hits,
        })
    }
}

fn sort(by: &SortSpec, schema: &CollectionSchema) -> Result<Order<Source>> {
    let source = match by.field_name.as_str() {
        SCORE => Source::Score,
        name => {
            let field = field(name, schema)?;
            if !is_ordered(&field.data_type) {
                return Err(invalid(format!(
                    "top_hits sorted by {name}, which is {}",
                    field.data_type.name()
                )));
            }
            Source::Field(name.to_owned())
        }
    };
    Order::new(source, &by.direction, by.null_first)
}

impl<K> Order<K> {
    fn new(by: K, direction: &str, nulls_first: bool) -> Result<Self> {
        let descending = match direction.to_ascii_lowercase().as_str() {
            "" | "asc" => false,
            "desc" => true,
            _ => return Err(invalid(format!("direction {direction}; allowed are asc, desc"))),
        };
        Ok(Self {
            by,
            descending,
            nulls_first,
        })
    }
}

impl Metric {
    fn of(alias: &str, op: &str, name: &str, schema: &CollectionSchema) -> Result<Self> {
        let kind = match op.to_ascii_lowercase().as_str() {
            "count" => MetricKind::Count,
            "sum" => MetricKind::Sum,
            "avg" => MetricKind::Avg,
            "min" => MetricKind::Min,
            "max" => MetricKind::Max,
            _ => {
                return Err(invalid(format!(
                    "metric {alias} with op {op}; allowed are count, sum, avg, min, max"
                )));
            }
        };
        let of = match (name, kind) {
            ("*", MetricKind::Count) => Source::Row,
            ("*", _) => return Err(invalid(format!("metric {alias}: * is for count alone"))),
            (SCORE, MetricKind::Count) => {
                return Err(invalid(format!(
                    "metric {alias}: {SCORE} is for sum, avg, min, max"
                )));
            }
            (SCORE, _) => Source::Score,
            (name, _) => {
                let field = field(name, schema)?;
                let fits = match kind {
                    MetricKind::Count => field.data_type != DataType::Json && !field.dynamic,
                    MetricKind::Sum | MetricKind::Avg => is_number(&field.data_type),
                    MetricKind::Min | MetricKind::Max => {
                        is_ordered(&field.data_type) && field.data_type != DataType::Bool
                    }
                };
                if !fits {
                    return Err(invalid(format!(
                        "metric {alias}: {op} of {name}, which is {}",
                        field.data_type.name()
                    )));
                }
                Source::Field(name.to_owned())
            }
        };
        Ok(Self { kind, of })
    }
}

fn field<'a>(name: &str, schema: &'a CollectionSchema) -> Result<&'a Field> {
    schema
        .field(name)
        .ok_or_else(|| invalid(format!("field {name} not found")))
}

fn is_number(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Int8
            | DataType::Int16
            | DataType::Int32
            | DataType::Int64
            | DataType::Float
            | DataType::Double
    )
}

fn is_ordered(data_type: &DataType) -> bool {
    is_number(data_type)
        || matches!(
            data_type,
            DataType::Bool | DataType::VarChar { .. } | DataType::Text | DataType::TimestampTz
        )
}

fn positive(number: i64, what: &str) -> Result<usize> {
    match usize::try_from(number) {
        Ok(number) if number > 0 => Ok(number),
        Ok(_) | Err(_) => Err(invalid(format!("{what} {number} must be at least 1"))),
    }
}

fn invalid(reason: impl std::fmt::Display) -> Error {
    Error::invalid(format!("search_aggregation: {reason}"))
}

//! Aggregates among the output fields of a query: `count(*)`, `sum(price)`.

use arrow::array::RecordBatch;
use arrow::datatypes::DataType as ArrowType;
use chrono_tz::Tz;
use elanus_collection::{CollectionSchema, DataType, Field};
use elanus_query::{Aggregate, AggregateKind};
use milvus::proto::schema::FieldData;

use crate::convert::results::column_to_wire;
use crate::status::{Error, Result};

/// What a query with aggregates gives: columns of groups and numbers, in the order in which they were asked for.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Aggregates {
    /// Output fields, without spaces around their parts.
    pub names: Vec<String>,
    /// Those that are aggregates.
    pub aggregates: Vec<Aggregate>,
}

/// The aggregates of `output`, if it has any or `group_by` asks for groups.
///
/// # Errors
/// Fields beside aggregates that are not grouped by.
pub(crate) fn of_output(output: &[String], group_by: &[String]) -> Result<Option<Aggregates>> {
    let mut found = Aggregates::default();
    let mut plain = Vec::new();
    for field in output {
        match aggregate(field) {
            Some(aggregate) => {
                found.names.push(aggregate.name.clone());
                found.aggregates.push(aggregate);
            }
            None => {
                plain.push(field.trim());
                found.names.push(field.trim().to_string());
            }
        }
    }
    if found.aggregates.is_empty() && group_by.is_empty() {
        return Ok(None);
    }
    // pymilvus asks for everything where nothing was asked for.
    if found.names.is_empty() || found.names == ["*"] {
        found.names = group_by.to_vec();
        plain.clear();
    }
    if let Some(other) = plain.iter().find(|name| !group_by.iter().any(|key| key == *name)) {
        return Err(Error::invalid(format!(
            "output field {other} is neither an aggregate nor among group_by_fields [{}]",
            group_by.join(", ")
        )));
    }
    Ok(Some(found))
}

/// Reads `sum(price)`; names of functions in any case, spaces anywhere.
fn aggregate(text: &str) -> Option<Aggregate> {
    let (function, rest) = text.trim().split_once('(')?;
    let kind = match function.trim().to_lowercase().as_str() {
        "count" => AggregateKind::Count,
        "sum" => AggregateKind::Sum,
        "avg" => AggregateKind::Avg,
        "min" => AggregateKind::Min,
        "max" => AggregateKind::Max,
        _ => return None,
    };
    let column = rest.strip_suffix(')')?.trim();
    let (column, shown) = match (kind, column) {
        (AggregateKind::Count, "*") => (None, "*"),
        (_, column) => (Some(column.to_string()), column),
    };
    let name = format!("{}({shown})", function.trim().to_lowercase());
    Some(Aggregate { kind, column, name })
}

impl Aggregates {
    /// Whether it is `count(*)` alone.
    pub fn is_count(&self) -> bool {
        matches!(
            self.aggregates.as_slice(),
            [Aggregate {
                kind: AggregateKind::Count,
                column: None,
                ..
            }]
        ) && self.names.len() == 1
    }

    /// The columns of the reply.
    pub fn to_wire(&self, schema: &CollectionSchema, rows: &RecordBatch, zone: Tz) -> Result<Vec<FieldData>> {
        self.names
            .iter()
            .map(|name| {
                let column = rows
                    .column_by_name(name)
                    .ok_or_else(|| Error::unexpected(format!("internal error: column {name} is missing")))?;
                let aggregate = self.aggregates.iter().find(|aggregate| aggregate.name == *name);
                let field = match aggregate {
                    None => schema.field(name).cloned(),
                    Some(aggregate) => match (aggregate.kind, column.data_type()) {
                        (AggregateKind::Min | AggregateKind::Max, _) => {
                            let source = aggregate.column.as_ref().and_then(|column| schema.field(column));
                            source.map(|source| Field::new(name, source.data_type.clone()))
                        }
                        (_, ArrowType::Int64) => Some(Field::new(name, DataType::Int64)),
                        _ => Some(Field::new(name, DataType::Double)),
                    }
                    .map(|mut field| {
                        field.nullable = aggregate.kind != AggregateKind::Count;
                        field
                    }),
                };
                let field = field
                    .ok_or_else(|| Error::unexpected(format!("internal error: column {name} has no type")))?;
                column_to_wire(&field, column, None, zone)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(output: &[&str], group_by: &[&str]) -> Result<Option<Aggregates>> {
        let owned = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        of_output(&owned(output), &owned(group_by))
    }

    #[test]
    fn aggregates_are_told_from_fields() {
        assert_eq!(run(&["id", "n"], &[]).unwrap(), None);
        assert!(run(&["COUNT( * )"], &[]).unwrap().unwrap().is_count());
        let found = run(&["city", "sum( n )", "count(*)"], &["city"])
            .unwrap()
            .unwrap();
        assert_eq!(found.names, ["city", "sum(n)", "count(*)"]);
        assert_eq!(found.aggregates[0].column.as_deref(), Some("n"));
        assert!(!found.is_count());
        // A field may be called as it likes.
        assert_eq!(run(&["median(n)"], &[]).unwrap(), None);
    }

    #[test]
    fn fields_beside_aggregates_must_be_grouped_by() {
        let reason = run(&["city", "count(*)"], &[]).unwrap_err().to_string();
        assert!(reason.contains("output field city is neither"), "{reason}");
        let groups = run(&["*"], &["city"]).unwrap().unwrap();
        assert_eq!(groups.names, ["city"]);
    }
}

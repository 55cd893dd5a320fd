//! Values of rows by the name of a column or by a path into JSON: `brand`, `meta["maker"]["name"]`, a key of the dynamic
//! field.
//!
//! Paths are written as in filters, so the filter's grammar reads them.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int8Array, StringArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType as ArrowType, Field as ArrowField};
use datafusion::common::ScalarValue;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs};
use elanus_collection::{CollectionSchema, DataType, Unit};
use elanus_filter::ast::{ExprKind, PathStep};
use elanus_udfs::json::{JsonType, getter, push_step};

use crate::search::{Hit, take_rows};

/// A column, or a place in one of JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValuePath {
    text: String,
    column: String,
    /// JSON pointer; none: the column itself.
    pointer: Option<String>,
}

/// What the values at a path of JSON are read as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonCast {
    /// BOOL, an integer, or VARCHAR.
    pub to: DataType,
    /// Whether only values of this type are read. If not, others are converted by way of their text.
    pub strict: bool,
}

impl Default for JsonCast {
    fn default() -> Self {
        Self {
            to: DataType::VarChar {
                max_length: u32::from(u16::MAX),
            },
            strict: false,
        }
    }
}

impl ValuePath {
    /// Reads a name or a path; `None` when the collection has nothing of that name.
    pub fn of(text: &str, schema: &CollectionSchema) -> Option<Self> {
        let of_column = |column: &str, pointer| Self {
            text: text.to_string(),
            column: column.to_string(),
            pointer,
        };
        if schema.field(text).is_some() {
            return Some(of_column(text, None));
        }
        // A path is an expression of the grammar only where something is said of it.
        let ExprKind::Exists(operand) = elanus_filter::parse(&format!("exists {text}")).ok()?.kind else {
            return None;
        };
        let ExprKind::Field(path) = operand.kind else {
            return None;
        };
        let mut pointer = String::new();
        let column = match schema.field(&path.name) {
            Some(field) if field.data_type == DataType::Json => path.name.as_str(),
            Some(_) => return None,
            None => {
                push_step(&mut pointer, &path.name);
                schema.fields.iter().find(|field| field.dynamic)?.name.as_str()
            }
        };
        for step in &path.path {
            match step {
                PathStep::Key(key) => push_step(&mut pointer, key),
                PathStep::Index(index) => push_step(&mut pointer, &index.to_string()),
            }
        }
        Some(of_column(column, Some(pointer)))
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The column that has the values.
    pub fn column(&self) -> &str {
        &self.column
    }

    /// Whether it leads into JSON.
    pub fn is_json(&self) -> bool {
        self.pointer.is_some()
    }

    /// The values of rows whose values of the column are these; those of JSON as `cast` wants them, NULL where there are
    /// none or they cannot be that.
    ///
    /// # Errors
    /// A column that is not the one of the path.
    pub fn values(&self, column: &ArrayRef, cast: &JsonCast) -> Result<ArrayRef> {
        let Some(pointer) = &self.pointer else {
            return Ok(Arc::clone(column));
        };
        let to = cast.to.to_arrow();
        if cast.strict {
            let kind = match to {
                ArrowType::Boolean => JsonType::Bool,
                ArrowType::Utf8 => JsonType::Str,
                _ => JsonType::Int,
            };
            return fitting(&read(column, pointer, kind)?, &to);
        }
        let strings = read(column, pointer, JsonType::Str)?;
        let others = read(column, pointer, JsonType::Json)?;
        let texts = texts_of(&strings)?.iter().zip(texts_of(&others)?);
        let texts = texts.map(|(string, other)| string.or_else(|| other.filter(|other| *other != "null")));
        let texts: ArrayRef = Arc::new(texts.collect::<StringArray>());
        fitting(&texts, &to)
    }

    /// What rows are sorted by, the first array first: of JSON numbers come before texts and these before truth values;
    /// everything else counts as NULL.
    ///
    /// # Errors
    /// As [`ValuePath::values`].
    pub(crate) fn order_keys(&self, column: &ArrayRef) -> Result<Vec<ArrayRef>> {
        let Some(pointer) = &self.pointer else {
            return Ok(vec![Arc::clone(column)]);
        };
        let of_kind = [JsonType::Float, JsonType::Int, JsonType::Str, JsonType::Bool];
        let mut keys = Vec::with_capacity(of_kind.len() + 1);
        for kind in of_kind {
            keys.push(read(column, pointer, kind)?);
        }
        let ranks = (0..column.len()).map(|row| {
            let rank = keys.iter().position(|values| values.is_valid(row))?;
            i8::try_from(rank).ok()
        });
        keys.insert(0, Arc::new(ranks.collect::<Int8Array>()));
        Ok(keys)
    }
}

/// The values of the column of each path for the rows of hits.
pub(crate) async fn columns_of<'a>(
    units: &[Arc<Unit>],
    paths: impl Iterator<Item = &'a ValuePath>,
    hits: &[Hit],
) -> Result<Vec<ArrayRef>> {
    let mut names: Vec<&str> = Vec::new();
    let mut places = Vec::new();
    for path in paths {
        let known = names.iter().position(|name| *name == path.column());
        places.push(known.unwrap_or(names.len()));
        if known.is_none() {
            names.push(path.column());
        }
    }
    let rows = take_rows(units, &names, None, hits).await?;
    let columns = places
        .into_iter()
        .filter_map(|place| rows.columns().get(place).cloned());
    Ok(columns.collect())
}

/// `values` as another type, NULL where one does not fit.
fn fitting(values: &ArrayRef, to: &ArrowType) -> Result<ArrayRef> {
    let options = CastOptions {
        safe: true,
        ..CastOptions::default()
    };
    Ok(cast_with_options(values, to, &options)?)
}

fn texts_of(values: &ArrayRef) -> Result<&StringArray> {
    let texts = values.as_string_opt::<i32>();
    texts.ok_or_else(|| DataFusionError::Internal(format!("{} is no text", values.data_type())))
}

/// The values of one type at a place in JSON texts.
fn read(column: &ArrayRef, pointer: &str, kind: JsonType) -> Result<ArrayRef> {
    let function = getter(kind);
    texts_of(column)?;
    let place = ScalarValue::from(pointer);
    let (json, path) = (column.data_type().clone(), place.data_type());
    let field = |name: &str, data_type: ArrowType| Arc::new(ArrowField::new(name, data_type, true));
    let value = function.return_type(&[json.clone(), path.clone()])?;
    let arguments = ScalarFunctionArgs {
        args: vec![
            ColumnarValue::Array(Arc::clone(column)),
            ColumnarValue::Scalar(place),
        ],
        arg_fields: vec![field("json", json), field("path", path)],
        number_rows: column.len(),
        return_field: field("value", value),
        config_options: Arc::default(),
    };
    function.invoke_with_args(arguments)?.into_array(column.len())
}

#[cfg(test)]
mod tests {
    use arrow::array::{BooleanArray, Int64Array};
    use elanus_collection::Field;

    use super::*;

    fn schema() -> CollectionSchema {
        let fields = vec![
            Field::new("id", DataType::Int64),
            Field::new("meta", DataType::Json),
            Field {
                dynamic: true,
                ..Field::new("$meta", DataType::Json)
            },
        ];
        CollectionSchema {
            fields,
            ..CollectionSchema::default()
        }
    }

    fn path(text: &str) -> Option<(String, Option<String>)> {
        ValuePath::of(text, &schema()).map(|path| (path.column, path.pointer))
    }

    #[test]
    fn names_and_paths_lead_somewhere() {
        let to = |column: &str, pointer: &str| Some((column.to_string(), Some(pointer.to_string())));
        assert_eq!(path("id"), Some(("id".into(), None)));
        assert_eq!(path("meta['a'][0]"), to("meta", "/a/0"));
        assert_eq!(path(r#"meta["a/b"]"#), to("meta", "/a~1b"));
        assert_eq!(path("brand"), to("$meta", "/brand"));
        assert_eq!(path(r#"$meta["brand"]"#), to("$meta", "/brand"));
        assert_eq!(path(r#"brand["name"]"#), to("$meta", "/brand/name"));
        for nothing in ["id['a']", "meta['a'", "1 + 1", "", "exists brand"] {
            assert_eq!(path(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn values_are_read_as_wanted() {
        let json: ArrayRef = Arc::new(StringArray::from(vec![
            Some(r#"{"a": "7"}"#),
            Some(r#"{"a": 7}"#),
            Some(r#"{"a": true}"#),
            Some(r#"{"a": null}"#),
            Some("{}"),
            None,
        ]));
        let path = ValuePath::of("meta['a']", &schema()).unwrap();
        let values = |to, strict| path.values(&json, &JsonCast { to, strict }).unwrap();
        let text = JsonCast::default().to;
        assert_eq!(
            values(text.clone(), false).as_string::<i32>(),
            &StringArray::from(vec![Some("7"), Some("7"), Some("true"), None, None, None])
        );
        assert_eq!(
            values(text, true).as_string::<i32>(),
            &StringArray::from(vec![Some("7"), None, None, None, None, None])
        );
        let ints = |values| Int64Array::from(values);
        assert_eq!(
            values(DataType::Int64, false).as_primitive(),
            &ints(vec![Some(7), Some(7), None, None, None, None])
        );
        assert_eq!(
            values(DataType::Int64, true).as_primitive(),
            &ints(vec![None, Some(7), None, None, None, None])
        );
        assert_eq!(
            values(DataType::Bool, true).as_boolean(),
            &BooleanArray::from(vec![None, None, Some(true), None, None, None])
        );
    }
}

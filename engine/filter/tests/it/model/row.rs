//! Rows of the model and the table they make.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Float32Array, Float64Array, Int8Array, Int64Array, ListArray, ListBuilder,
    RecordBatch, StringArray, StringBuilder, TimestampMicrosecondArray,
};
use arrow::datatypes::Int64Type;

use super::datum::Datum;

#[derive(Debug, Clone)]
pub struct Row {
    pub small: Option<i8>,
    pub big: Option<i64>,
    pub real: Option<f32>,
    pub double: Option<f64>,
    pub flag: Option<bool>,
    pub text: Option<String>,
    pub other: Option<String>,
    /// Microseconds since 1970.
    pub ts: Option<i64>,
    pub ints: Option<Vec<i64>>,
    pub tags: Option<Vec<String>>,
    /// The key `k` of the dynamic field, none when the row lacks it.
    pub json: Option<Datum>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Field {
    Small,
    Big,
    Real,
    Double,
    Flag,
    Text,
    Other,
    Ints,
    /// `ints[1]`
    Int,
    Tags,
    /// `tags[0]`
    Tag,
    /// The key `k` of the dynamic field.
    Json,
    /// `k[1]`
    JsonElement,
}

impl Field {
    pub fn name(self) -> &'static str {
        match self {
            Self::Small => "small",
            Self::Big => "big",
            Self::Real => "real",
            Self::Double => "double",
            Self::Flag => "flag",
            Self::Text => "text",
            Self::Other => "other",
            Self::Ints => "ints",
            Self::Int => "ints[1]",
            Self::Tags => "tags",
            Self::Tag => "tags[0]",
            Self::Json => "k",
            Self::JsonElement => "$meta[\"k\"][1]",
        }
    }

    pub fn is_json(self) -> bool {
        matches!(self, Self::Json | Self::JsonElement)
    }

    /// The value in a row; none for NULL, for what is missing and for a `null` in JSON.
    pub fn value(self, row: &Row) -> Option<Datum> {
        let value = match self {
            Self::Small => Datum::Int(row.small?.into()),
            Self::Big => Datum::Int(row.big?),
            Self::Real => Datum::Float(row.real?.into()),
            Self::Double => Datum::Float(row.double?),
            Self::Flag => Datum::Bool(row.flag?),
            Self::Text => Datum::Text(row.text.clone()?),
            Self::Other => Datum::Text(row.other.clone()?),
            Self::Ints => Datum::Array(row.ints.as_ref()?.iter().copied().map(Datum::Int).collect()),
            Self::Int => Datum::Int(*row.ints.as_ref()?.get(1)?),
            Self::Tags => Datum::Array(row.tags.as_ref()?.iter().cloned().map(Datum::Text).collect()),
            Self::Tag => Datum::Text(row.tags.as_ref()?.first()?.clone()),
            Self::Json => row.json.clone()?,
            Self::JsonElement => match row.json.as_ref()? {
                Datum::Array(values) => values.get(1)?.clone(),
                _ => return None,
            },
        };
        (!matches!(value, Datum::Null)).then_some(value)
    }

    /// A constant as a comparison with this field sees it: floating-point columns round it to themselves.
    pub fn rounded(self, constant: &Datum) -> Datum {
        match self {
            Self::Real => Datum::Float((constant.as_f64() as f32).into()),
            Self::Double => Datum::Float(constant.as_f64()),
            _ => constant.clone(),
        }
    }
}

pub fn batch(rows: &[Row]) -> RecordBatch {
    let json = |row: &Row| match &row.json {
        None => "{}".to_owned(),
        Some(value) => format!("{{\"j\": [7], \"k\": {}}}", value.text()),
    };
    let ints = rows
        .iter()
        .map(|row| row.ints.clone().map(|ints| ints.into_iter().map(Some)));
    let mut tags = ListBuilder::new(StringBuilder::new());
    for row in rows {
        row.tags
            .iter()
            .flatten()
            .for_each(|tag| tags.values().append_value(tag));
        tags.append(row.tags.is_some());
    }
    let ts = TimestampMicrosecondArray::from_iter(rows.iter().map(|row| row.ts)).with_timezone("UTC");
    let columns: Vec<(&str, ArrayRef)> = vec![
        (
            "small",
            Arc::new(rows.iter().map(|row| row.small).collect::<Int8Array>()),
        ),
        (
            "big",
            Arc::new(rows.iter().map(|row| row.big).collect::<Int64Array>()),
        ),
        (
            "real",
            Arc::new(rows.iter().map(|row| row.real).collect::<Float32Array>()),
        ),
        (
            "double",
            Arc::new(rows.iter().map(|row| row.double).collect::<Float64Array>()),
        ),
        (
            "flag",
            Arc::new(rows.iter().map(|row| row.flag).collect::<BooleanArray>()),
        ),
        (
            "text",
            Arc::new(rows.iter().map(|row| row.text.clone()).collect::<StringArray>()),
        ),
        (
            "other",
            Arc::new(rows.iter().map(|row| row.other.clone()).collect::<StringArray>()),
        ),
        ("ts", Arc::new(ts)),
        (
            "ints",
            Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(ints)),
        ),
        ("tags", Arc::new(tags.finish())),
        (
            "$meta",
            Arc::new(StringArray::from_iter_values(rows.iter().map(json))),
        ),
    ];
    let columns = columns.into_iter().map(|(name, array)| (name, array, true));
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

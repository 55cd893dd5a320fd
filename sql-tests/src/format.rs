//! Arrow values as the text of a sqllogictest result.

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Schema};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use sqllogictest::ColumnType;

/// The letter of a column in `query IRT`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ColumnKind {
    /// `I`: integers.
    Integer,
    /// `R`: floats and decimals.
    Real,
    /// `T`: text.
    Text,
    /// `B`: booleans.
    Boolean,
    /// `P`: instants.
    Timestamp,
    /// `?`: lists, vectors and the rest.
    Other,
}

impl ColumnKind {
    /// The kind of an Arrow type.
    pub fn of(data_type: &DataType) -> Self {
        if data_type.is_integer() {
            return Self::Integer;
        }
        if data_type.is_floating() || data_type.is_decimal() {
            return Self::Real;
        }
        if matches!(
            data_type,
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
        ) {
            return Self::Text;
        }
        if data_type == &DataType::Boolean {
            return Self::Boolean;
        }
        if matches!(data_type, DataType::Timestamp(..)) {
            Self::Timestamp
        } else {
            Self::Other
        }
    }
}

impl ColumnType for ColumnKind {
    fn from_char(value: char) -> Option<Self> {
        match value {
            'I' => Some(Self::Integer),
            'R' => Some(Self::Real),
            'T' => Some(Self::Text),
            'B' => Some(Self::Boolean),
            'P' => Some(Self::Timestamp),
            '?' => Some(Self::Other),
            _ => None,
        }
    }

    fn to_char(&self) -> char {
        match self {
            Self::Integer => 'I',
            Self::Real => 'R',
            Self::Text => 'T',
            Self::Boolean => 'B',
            Self::Timestamp => 'P',
            Self::Other => '?',
        }
    }
}

/// The kinds of the columns.
pub(crate) fn types_of(schema: &Schema) -> Vec<ColumnKind> {
    let fields = schema.fields().iter();
    fields.map(|field| ColumnKind::of(field.data_type())).collect()
}

/// The rows as text. Plans and other texts of several lines become one row for each line, numbered, with dashes for the
/// indent.
pub(crate) fn rows_of(schema: &Schema, batches: &[RecordBatch]) -> Result<Vec<Vec<String>>, ArrowError> {
    let options = FormatOptions::new().with_null("NULL");
    let is_plan = schema
        .fields()
        .iter()
        .map(|field| field.name().as_str())
        .eq(["plan_type", "plan"]);
    let mut rows = Vec::new();
    for batch in batches {
        let columns = batch
            .columns()
            .iter()
            .map(|column| ArrayFormatter::try_new(column.as_ref(), &options))
            .collect::<Result<Vec<_>, _>>()?;
        for row in 0..batch.num_rows() {
            let cells: Vec<String> = columns
                .iter()
                .map(|column| cell(&column.value(row).to_string()))
                .collect();
            match cells.as_slice() {
                [kind, plan] if is_plan || plan.contains('\n') => rows.extend(plan_rows(kind, plan)),
                _ => rows.push(cells),
            }
        }
    }
    Ok(rows)
}

fn cell(text: &str) -> String {
    if text.is_empty() {
        "(empty)".to_string()
    } else {
        text.to_string()
    }
}

fn plan_rows(kind: &str, plan: &str) -> Vec<Vec<String>> {
    let lines = plan.trim_end().lines().enumerate().map(|(number, line)| {
        let rest = line.trim_start();
        let indent = "-".repeat(line.len() - rest.len());
        vec![format!("{:02}){indent}{rest}", number + 1)]
    });
    std::iter::once(vec![kind.to_string()]).chain(lines).collect()
}

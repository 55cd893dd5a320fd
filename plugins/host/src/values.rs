//! Columns on their way to a plugin and back, as plain slices: version after version of the contract is mapped to these.
//!
//! A batch of another memory layout (Arrow's, say) is turned into them by whoever calls this crate; nothing here copies.

use std::fmt;

/// Texts one after the other: row `i` is `bytes[offsets[i]..offsets[i + 1]]`, UTF-8; one offset more than rows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TextData<'a> {
    /// Ascending, from 0 to the number of bytes.
    pub offsets: &'a [u32],
    /// The texts.
    pub bytes: &'a [u8],
}

/// Vectors one after the other, `rows x dim`, row-major.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct VectorData<'a> {
    /// Values per row.
    pub dim: u32,
    /// All values.
    pub values: &'a [f32],
}

impl VectorData<'_> {
    /// How many vectors there are; none when values are left over or the dimension is 0.
    pub fn rows(&self) -> Option<usize> {
        match (self.dim as usize, self.values.len()) {
            (_, 0) => Some(0),
            (0, _) => None,
            (dim, values) => values.is_multiple_of(dim).then_some(values / dim),
        }
    }
}

/// The values of one column, one entry per row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ColumnData<'a> {
    /// 32-bit floats.
    F32s(&'a [f32]),
    /// 64-bit floats.
    F64s(&'a [f64]),
    /// 64-bit integers.
    S64s(&'a [i64]),
    /// One byte per row, 0 or 1.
    Bools(&'a [u8]),
    /// Texts.
    Text(TextData<'a>),
    /// Vectors.
    Vectors(VectorData<'a>),
    /// An Arrow IPC stream of one column; its length is not looked at.
    Ipc(&'a [u8]),
}

impl ColumnData<'_> {
    /// The form of this data.
    pub fn kind(&self) -> ColumnKind {
        match self {
            Self::F32s(_) => ColumnKind::F32s,
            Self::F64s(_) => ColumnKind::F64s,
            Self::S64s(_) => ColumnKind::S64s,
            Self::Bools(_) => ColumnKind::Bools,
            Self::Text(_) => ColumnKind::Text,
            Self::Vectors(data) => ColumnKind::Vectors(data.dim),
            Self::Ipc(_) => ColumnKind::Ipc(String::new()),
        }
    }

    /// Why this is no column of `rows` rows; nothing when it is one.
    pub(crate) fn check(&self, rows: usize) -> Result<(), String> {
        let have = match self {
            Self::F32s(values) => values.len(),
            Self::F64s(values) => values.len(),
            Self::S64s(values) => values.len(),
            Self::Bools(values) => {
                if let Some(other) = values.iter().find(|value| **value > 1) {
                    return Err(format!("a boolean is {other}, not 0 or 1"));
                }
                values.len()
            }
            Self::Text(text) => return check_text(text, rows),
            Self::Vectors(vectors) => vectors.rows().ok_or_else(|| {
                format!(
                    "{} values are no vectors of {}",
                    vectors.values.len(),
                    vectors.dim
                )
            })?,
            Self::Ipc(_) => rows,
        };
        if have == rows {
            Ok(())
        } else {
            Err(format!("{have} values for {rows} rows"))
        }
    }
}

fn check_text(text: &TextData<'_>, rows: usize) -> Result<(), String> {
    let TextData { offsets, bytes } = text;
    if offsets.len() != rows + 1 {
        return Err(format!(
            "{} offsets of texts for {rows} rows, not {}",
            offsets.len(),
            rows + 1
        ));
    }
    if offsets.first() != Some(&0) || offsets.last().map(|last| *last as usize) != Some(bytes.len()) {
        return Err(format!(
            "the offsets of texts do not go from 0 to {}",
            bytes.len()
        ));
    }
    let Ok(all) = std::str::from_utf8(bytes) else {
        return Err("a text is not UTF-8".to_owned());
    };
    let mut before = 0;
    for &offset in *offsets {
        if offset < before {
            return Err(format!("the offset {offset} of a text comes after {before}"));
        }
        if !all.is_char_boundary(offset as usize) {
            return Err(format!("the offset {offset} of a text is inside a character"));
        }
        before = offset;
    }
    Ok(())
}

/// A column of values and which of them are there.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Column<'a> {
    /// The values; of a null row any.
    pub data: ColumnData<'a>,
    /// One byte per row, 1 for a value and 0 for null; none when every row has a value.
    pub validity: Option<&'a [u8]>,
}

impl Column<'_> {
    pub(crate) fn check(&self, rows: usize) -> Result<(), String> {
        self.data.check(rows)?;
        let Some(validity) = self.validity else {
            return Ok(());
        };
        if validity.len() != rows {
            return Err(format!("{} entries of validity for {rows} rows", validity.len()));
        }
        match validity.iter().find(|valid| **valid > 1) {
            Some(other) => Err(format!("an entry of validity is {other}, not 0 or 1")),
            None => Ok(()),
        }
    }
}

/// The values of a column that a plugin returned.
#[derive(Debug, Clone, PartialEq)]
pub enum OwnedData {
    /// 32-bit floats.
    F32s(Vec<f32>),
    /// 64-bit floats.
    F64s(Vec<f64>),
    /// 64-bit integers.
    S64s(Vec<i64>),
    /// One byte per row, 0 or 1.
    Bools(Vec<u8>),
    /// Texts, laid out as [`TextData`].
    Text {
        /// See [`TextData::offsets`].
        offsets: Vec<u32>,
        /// See [`TextData::bytes`].
        bytes: Vec<u8>,
    },
    /// Vectors, laid out as [`VectorData`].
    Vectors {
        /// Values per row.
        dim: u32,
        /// All values.
        values: Vec<f32>,
    },
    /// An Arrow IPC stream. It is handed on unread: whoever decodes it has to expect anything.
    Ipc(Vec<u8>),
}

impl OwnedData {
    /// The same, borrowed.
    pub fn view(&self) -> ColumnData<'_> {
        match self {
            Self::F32s(values) => ColumnData::F32s(values),
            Self::F64s(values) => ColumnData::F64s(values),
            Self::S64s(values) => ColumnData::S64s(values),
            Self::Bools(values) => ColumnData::Bools(values),
            Self::Text { offsets, bytes } => ColumnData::Text(TextData { offsets, bytes }),
            Self::Vectors { dim, values } => ColumnData::Vectors(VectorData { dim: *dim, values }),
            Self::Ipc(bytes) => ColumnData::Ipc(bytes),
        }
    }
}

/// A column that a plugin returned, checked against what it had declared.
#[derive(Debug, Clone, PartialEq)]
pub struct OwnedColumn {
    /// The values; of a null row any.
    pub data: OwnedData,
    /// One byte per row, 1 for a value and 0 for null; none when every row has a value.
    pub validity: Option<Vec<u8>>,
}

impl OwnedColumn {
    /// The same, borrowed.
    pub fn view(&self) -> Column<'_> {
        Column {
            data: self.data.view(),
            validity: self.validity.as_deref(),
        }
    }
}

/// The form in which a column crosses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ColumnKind {
    /// 32-bit floats.
    F32s,
    /// 64-bit floats.
    F64s,
    /// 64-bit integers.
    S64s,
    /// Booleans.
    Bools,
    /// Texts.
    Text,
    /// Vectors of that many dimensions; 0 stands for any number.
    Vectors(u32),
    /// The Arrow type of this name, as an IPC stream.
    Ipc(String),
}

impl ColumnKind {
    /// Whether a column of the form `other` is what this declares.
    pub fn accepts(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Vectors(declared), Self::Vectors(given)) => *declared == 0 || declared == given,
            (Self::Ipc(_), Self::Ipc(_)) => true,
            (declared, given) => declared == given,
        }
    }
}

impl fmt::Display for ColumnKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::F32s => f.write_str("f32s"),
            Self::F64s => f.write_str("f64s"),
            Self::S64s => f.write_str("s64s"),
            Self::Bools => f.write_str("bools"),
            Self::Text => f.write_str("text"),
            Self::Vectors(0) => f.write_str("vectors"),
            Self::Vectors(dim) => write!(f, "vectors({dim})"),
            Self::Ipc(name) => write!(f, "ipc({name})"),
        }
    }
}

//! Scalar functions: the trait, what it is given, and the glue to the generated bindings.

use crate::Error;
use crate::bindings::reranker::elanus::plugin::types as raw_types;
use crate::bindings::udf::exports::elanus::plugin::scalar_functions as raw;
use crate::reranker::Text;

pub use raw::{NullHandling as Nulls, Volatility};

/// Scalar functions for SQL.
pub trait Functions {
    /// The functions. Always the same.
    fn describe() -> Library;

    /// Calls the function at that place of the description with a batch of rows.
    ///
    /// # Errors
    /// The statement ends with this error.
    fn invoke(function: usize, arguments: &[Argument], rows: usize) -> Result<Output, Error>;
}

/// The form in which a column crosses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
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
    /// Vectors of that many dimensions; 0 accepts any number.
    Vectors(u32),
    /// An Arrow type by its name, as an Arrow IPC stream.
    Ipc(String),
}

impl Kind {
    pub(crate) fn raw(self) -> raw_types::ColumnKind {
        match self {
            Self::F32s => raw_types::ColumnKind::F32s,
            Self::F64s => raw_types::ColumnKind::F64s,
            Self::S64s => raw_types::ColumnKind::S64s,
            Self::Bools => raw_types::ColumnKind::Bools,
            Self::Text => raw_types::ColumnKind::Text,
            Self::Vectors(dim) => raw_types::ColumnKind::Vectors(dim),
            Self::Ipc(name) => raw_types::ColumnKind::Ipc(name),
        }
    }
}

/// A function that the same arguments always give the same value, and null for a null.
#[derive(Debug, Clone)]
pub struct Signature {
    raw: raw::Signature,
}

impl Signature {
    /// An immutable function that is null where an argument is.
    pub fn new(name: &str, parameters: &[(&str, Kind)], returns: Kind, description: &str) -> Self {
        let parameters = parameters
            .iter()
            .map(|(name, kind)| raw::ParameterType {
                name: (*name).to_owned(),
                kind: kind.clone().raw(),
            })
            .collect();
        Self {
            raw: raw::Signature {
                name: name.to_owned(),
                description: description.to_owned(),
                parameters,
                returns: returns.raw(),
                volatility: Volatility::Immutable,
                nulls: Nulls::NullIfAnyNull,
            },
        }
    }

    /// May answer differently: within a statement or between statements.
    pub fn volatility(mut self, volatility: Volatility) -> Self {
        self.raw.volatility = volatility;
        self
    }

    /// Gets the nulls among its arguments and answers with its own.
    pub fn called_with_nulls(mut self) -> Self {
        self.raw.nulls = Nulls::CalledWithNulls;
        self
    }
}

/// A plugin with functions.
#[derive(Debug, Clone)]
pub struct Library {
    /// Lower-case letters, digits, `-` and `_`.
    pub name: String,
    /// Three numbers with dots.
    pub version: String,
    /// The functions; their places are what [`Functions::invoke`] gets.
    pub functions: Vec<Signature>,
}

/// An argument: one value per row, or one for all rows.
#[derive(Debug)]
pub struct Argument {
    column: raw_types::Column,
    constant: bool,
}

impl Argument {
    /// Whether there is one value for all rows: then it has one row.
    pub fn is_constant(&self) -> bool {
        self.constant
    }

    /// Whether there is a value in a row.
    pub fn is_there(&self, row: usize) -> bool {
        let row = if self.constant { 0 } else { row };
        self.column
            .validity
            .as_ref()
            .is_none_or(|validity| validity.get(row) == Some(&1))
    }

    /// 32-bit floats.
    ///
    /// # Errors
    /// The signature says something else.
    pub fn f32s(&self) -> Result<Values<'_, f32>, Error> {
        match &self.column.data {
            raw_types::ColumnData::F32s(values) => Ok(Values {
                values,
                constant: self.constant,
            }),
            _ => Err(wrong("f32s")),
        }
    }

    /// 64-bit floats.
    ///
    /// # Errors
    /// The signature says something else.
    pub fn f64s(&self) -> Result<Values<'_, f64>, Error> {
        match &self.column.data {
            raw_types::ColumnData::F64s(values) => Ok(Values {
                values,
                constant: self.constant,
            }),
            _ => Err(wrong("f64s")),
        }
    }

    /// 64-bit integers.
    ///
    /// # Errors
    /// The signature says something else.
    pub fn s64s(&self) -> Result<Values<'_, i64>, Error> {
        match &self.column.data {
            raw_types::ColumnData::S64s(values) => Ok(Values {
                values,
                constant: self.constant,
            }),
            _ => Err(wrong("s64s")),
        }
    }

    /// Texts; of a constant, one.
    ///
    /// # Errors
    /// The signature says something else.
    pub fn text(&self) -> Result<Text<'_>, Error> {
        match &self.column.data {
            raw_types::ColumnData::Text(data) => Ok(Text::new(data)),
            _ => Err(wrong("text")),
        }
    }

    /// Booleans, each a byte: 0 or 1; of a constant, one.
    ///
    /// # Errors
    /// The signature says something else.
    pub fn bools(&self) -> Result<&[u8], Error> {
        match &self.column.data {
            raw_types::ColumnData::Bools(values) => Ok(values),
            _ => Err(wrong("bools")),
        }
    }

    /// Vectors one after the other, and their dimension; of a constant, one.
    ///
    /// # Errors
    /// The signature says something else.
    pub fn vectors(&self) -> Result<(&[f32], usize), Error> {
        match &self.column.data {
            raw_types::ColumnData::Vectors(data) => Ok((&data.values, data.dim as usize)),
            _ => Err(wrong("vectors")),
        }
    }

    /// A column of another Arrow type, as an Arrow IPC stream; of a constant, of one row. Nulls are in the stream.
    ///
    /// # Errors
    /// The signature says something else.
    pub fn ipc(&self) -> Result<&[u8], Error> {
        match &self.column.data {
            raw_types::ColumnData::Ipc(bytes) => Ok(bytes),
            _ => Err(wrong("ipc")),
        }
    }
}

fn wrong(kind: &str) -> Error {
    Error::Internal(format!("the signature does not say {kind}"))
}

/// Numbers: one per row, or one for all rows.
#[derive(Debug, Clone, Copy)]
pub struct Values<'a, T> {
    values: &'a [T],
    constant: bool,
}

impl<'a, T: Copy> Values<'a, T> {
    /// One value for each of `rows` rows.
    pub fn rows(self, rows: usize) -> std::borrow::Cow<'a, [T]>
    where
        [T]: ToOwned<Owned = Vec<T>>,
    {
        match (self.constant, self.values.first()) {
            (true, Some(value)) => vec![*value; rows].into(),
            _ => self.values.into(),
        }
    }
}

/// What a function returns.
#[derive(Debug, Clone)]
pub struct Output {
    data: raw_types::ColumnData,
    validity: Option<Vec<u8>>,
}

impl Output {
    /// 32-bit floats.
    pub fn f32s(values: Vec<f32>) -> Self {
        Self {
            data: raw_types::ColumnData::F32s(values),
            validity: None,
        }
    }

    /// 64-bit floats.
    pub fn f64s(values: Vec<f64>) -> Self {
        Self {
            data: raw_types::ColumnData::F64s(values),
            validity: None,
        }
    }

    /// 64-bit integers.
    pub fn s64s(values: Vec<i64>) -> Self {
        Self {
            data: raw_types::ColumnData::S64s(values),
            validity: None,
        }
    }

    /// Booleans.
    pub fn bools(values: &[bool]) -> Self {
        Self {
            data: raw_types::ColumnData::Bools(values.iter().map(|value| u8::from(*value)).collect()),
            validity: None,
        }
    }

    /// Texts.
    pub fn text<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> Self {
        let (mut offsets, mut bytes) = (vec![0], Vec::new());
        for text in texts {
            bytes.extend_from_slice(text.as_ref().as_bytes());
            offsets.push(bytes.len() as u32);
        }
        Self {
            data: raw_types::ColumnData::Text(raw_types::TextData { offsets, bytes }),
            validity: None,
        }
    }

    /// Vectors of `dim` dimensions, one after the other.
    pub fn vectors(values: Vec<f32>, dim: u32) -> Self {
        Self {
            data: raw_types::ColumnData::Vectors(raw_types::VectorData { dim, values }),
            validity: None,
        }
    }

    /// A column of the Arrow type that the signature names, as an Arrow IPC stream that is not compressed.
    pub fn ipc(stream: Vec<u8>) -> Self {
        Self {
            data: raw_types::ColumnData::Ipc(stream),
            validity: None,
        }
    }

    /// Null where `there` is false.
    pub fn with_nulls(mut self, there: &[bool]) -> Self {
        self.validity = Some(there.iter().map(|there| u8::from(*there)).collect());
        self
    }
}

#[doc(hidden)]
pub fn describe<F: Functions>() -> raw::Descriptor {
    let Library {
        name,
        version,
        functions,
    } = F::describe();
    raw::Descriptor {
        name,
        version,
        functions: functions.into_iter().map(|own| own.raw).collect(),
    }
}

#[doc(hidden)]
pub fn invoke<F: Functions>(
    function: u32,
    arguments: Vec<raw::Argument>,
    rows: u32,
) -> Result<raw_types::Column, raw_types::Error> {
    let arguments: Vec<Argument> = arguments
        .into_iter()
        .map(|argument| match argument {
            raw::Argument::Column(column) => Argument {
                column,
                constant: false,
            },
            raw::Argument::Constant(column) => Argument {
                column,
                constant: true,
            },
        })
        .collect();
    let Output { data, validity } = F::invoke(function as usize, &arguments, rows as usize)?;
    Ok(raw_types::Column { data, validity })
}

/// Makes a plugin of a type that implements [`Functions`].
#[macro_export]
macro_rules! functions {
    ($functions:ty) => {
        const _: () = {
            use $crate::bindings::reranker::elanus::plugin::types;
            use $crate::bindings::udf::exports::elanus::plugin::scalar_functions as exports;

            struct Plugin;

            impl exports::Guest for Plugin {
                fn describe() -> exports::Descriptor {
                    $crate::glue::describe::<$functions>()
                }

                fn invoke(
                    function: u32,
                    arguments: Vec<exports::Argument>,
                    rows: u32,
                ) -> Result<types::Column, types::Error> {
                    $crate::glue::invoke::<$functions>(function, arguments, rows)
                }
            }

    $crate::bindings::udf::export_udf!(Plugin with_types_in $crate::bindings::udf);
        };
    };
}

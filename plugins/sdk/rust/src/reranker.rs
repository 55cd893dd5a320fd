//! Rerankers: the trait, what it is given, and the glue to the generated bindings.

use std::cell::RefCell;

use crate::Error;
use crate::bindings::reranker::elanus::plugin::{parameters as raw_parameters, types as raw_types};
use crate::bindings::reranker::exports::elanus::plugin::reranking as raw;

pub use raw::ColumnSource as Source;
pub use raw_parameters::Value;

use crate::functions::Kind;

/// Puts the candidates of a search into another order.
pub trait Reranker: Sized + 'static {
    /// What the reranker is called and needs. Always the same.
    fn describe() -> Description;

    /// Takes the parameters of the searches to come. What is costly to derive from them belongs here.
    ///
    /// # Errors
    /// A parameter has a value that the reranker does not take.
    fn new(parameters: &Parameters) -> Result<Self, Error>;

    /// Orders the candidates of one search, best first. May leave some out, but not so many that fewer than
    /// [`Request::limit`] remain. Scores are finite, larger is better.
    ///
    /// # Errors
    /// The search ends with this error.
    fn rerank(&mut self, request: &Request, candidates: &Candidates) -> Result<Vec<Place>, Error>;
}

/// A candidate in the new order: its index among the candidates, and its score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Place {
    /// Index among the candidates as they came.
    pub candidate: u32,
    /// Finite; larger is better.
    pub score: f32,
}

/// All candidates, those with the largest score first; among equals the earlier one.
pub fn by_score(scores: &[f32]) -> Vec<Place> {
    let mut places: Vec<Place> = (0..)
        .zip(scores)
        .map(|(candidate, &score)| Place { candidate, score })
        .collect();
    places.sort_by(|a, b| b.score.total_cmp(&a.score));
    places
}

/// A positive number for a distance, larger for a smaller one: what factors can be applied to. `1 / (1 + distance)`, which falls
/// from 1 at distance 0 towards 0, and `1 - distance` for the negative distances of cosines, inner products and scores.
pub fn relevance(distance: f32) -> f32 {
    if distance < 0.0 {
        1.0 - distance
    } else {
        1.0 / (1.0 + distance)
    }
}

/// What a reranker is called and needs.
#[derive(Debug, Clone)]
pub struct Description {
    raw: raw::Descriptor,
}

impl Description {
    /// A reranker that needs nothing but keys and distances. The name is of lower-case letters, digits, `-` and `_`; the
    /// version of three numbers with dots.
    pub fn new(name: &str, version: &str, description: &str) -> Self {
        Self {
            raw: raw::Descriptor {
                name: name.to_owned(),
                version: version.to_owned(),
                description: description.to_owned(),
                columns: Vec::new(),
                needs_vectors: false,
                needs_query_text: false,
                max_candidates: 0,
                parameters: Vec::new(),
            },
        }
    }

    /// Needs a column, in this form.
    pub fn column(mut self, source: Source, kind: Kind) -> Self {
        self.raw.columns.push(raw::NeededColumn {
            source,
            kind: kind.raw(),
        });
        self
    }

    /// Needs the vectors of the candidates.
    pub fn vectors(mut self) -> Self {
        self.raw.needs_vectors = true;
        self
    }

    /// Needs the text of the query.
    pub fn query_text(mut self) -> Self {
        self.raw.needs_query_text = true;
        self
    }

    /// Takes no more candidates than this.
    pub fn at_most(mut self, candidates: u32) -> Self {
        self.raw.max_candidates = candidates;
        self
    }

    /// Takes a parameter with a default.
    pub fn parameter(self, name: &str, default: Value, description: &str) -> Self {
        let kind = match default {
            Value::Boolean(_) => raw_parameters::ValueKind::Boolean,
            Value::Integer(_) => raw_parameters::ValueKind::Integer,
            Value::Number(_) => raw_parameters::ValueKind::Number,
            Value::Text(_) => raw_parameters::ValueKind::Text,
        };
        self.any_parameter(name, kind, Some(default), description)
    }

    /// Takes a parameter that must be given. Only the type of `example` counts, its value does not.
    pub fn needed_parameter(self, name: &str, example: &Value, description: &str) -> Self {
        let kind = match example {
            Value::Boolean(_) => raw_parameters::ValueKind::Boolean,
            Value::Integer(_) => raw_parameters::ValueKind::Integer,
            Value::Number(_) => raw_parameters::ValueKind::Number,
            Value::Text(_) => raw_parameters::ValueKind::Text,
        };
        self.any_parameter(name, kind, None, description)
    }

    fn any_parameter(
        mut self,
        name: &str,
        kind: raw_parameters::ValueKind,
        default: Option<Value>,
        description: &str,
    ) -> Self {
        self.raw.parameters.push(raw_parameters::Parameter {
            name: name.to_owned(),
            description: description.to_owned(),
            kind,
            default,
        });
        self
    }
}

/// The value of every declared parameter, given or default.
#[derive(Debug, Clone)]
pub struct Parameters {
    raw: Vec<raw_parameters::Argument>,
}

impl Parameters {
    fn get(&self, name: &str) -> Option<&Value> {
        self.raw
            .iter()
            .find(|argument| argument.name == name)
            .map(|argument| &argument.value)
    }

    /// The value of a parameter of type number.
    ///
    /// # Errors
    /// There is no such parameter in the description.
    pub fn number(&self, name: &str) -> Result<f64, Error> {
        match self.get(name) {
            Some(Value::Number(value)) => Ok(*value),
            _ => Err(undeclared(name, "number")),
        }
    }

    /// The value of a parameter of type integer.
    ///
    /// # Errors
    /// There is no such parameter in the description.
    pub fn integer(&self, name: &str) -> Result<i64, Error> {
        match self.get(name) {
            Some(Value::Integer(value)) => Ok(*value),
            _ => Err(undeclared(name, "integer")),
        }
    }

    /// The value of a parameter of type boolean.
    ///
    /// # Errors
    /// There is no such parameter in the description.
    pub fn boolean(&self, name: &str) -> Result<bool, Error> {
        match self.get(name) {
            Some(Value::Boolean(value)) => Ok(*value),
            _ => Err(undeclared(name, "boolean")),
        }
    }

    /// The value of a parameter of type text.
    ///
    /// # Errors
    /// There is no such parameter in the description.
    pub fn text(&self, name: &str) -> Result<&str, Error> {
        match self.get(name) {
            Some(Value::Text(value)) => Ok(value),
            _ => Err(undeclared(name, "text")),
        }
    }
}

fn undeclared(name: &str, kind: &str) -> Error {
    Error::Internal(format!(
        "there is no parameter '{name}' of type {kind} in the description"
    ))
}

/// What is searched.
#[derive(Debug)]
pub struct Request {
    raw: raw::Request,
}

impl Request {
    /// The query vectors.
    pub fn query_vectors(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        let raw_types::VectorData { dim, values } = &self.raw.query_vectors;
        values.chunks_exact((*dim).max(1) as usize)
    }

    /// The text of the query.
    pub fn query_text(&self) -> Option<&str> {
        self.raw.query_text.as_deref()
    }

    /// How many candidates the caller will use.
    pub fn limit(&self) -> usize {
        self.raw.limit as usize
    }
}

/// The key of a candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keys<'a> {
    /// Keys that are integers.
    Integers(&'a [i64]),
    /// Keys that are texts.
    Texts(Text<'a>),
}

/// Texts of all rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Text<'a> {
    offsets: &'a [u32],
    bytes: &'a [u8],
}

impl<'a> Text<'a> {
    pub(crate) fn new(data: &'a raw_types::TextData) -> Self {
        Self {
            offsets: &data.offsets,
            bytes: &data.bytes,
        }
    }

    /// The text of a row.
    pub fn get(&self, row: usize) -> &'a str {
        let range = match self.offsets {
            offsets if row + 1 < offsets.len() => offsets[row] as usize..offsets[row + 1] as usize,
            _ => return "",
        };
        self.bytes
            .get(range)
            .and_then(|bytes| std::str::from_utf8(bytes).ok())
            .unwrap_or_default()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The texts, row by row.
    pub fn iter(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let own = *self;
        (0..own.len()).map(move |row| own.get(row))
    }
}

/// What was found, best first.
#[derive(Debug)]
pub struct Candidates {
    raw: raw::Candidates,
}

impl Candidates {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.raw.distances.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.raw.distances.is_empty()
    }

    /// Their keys.
    pub fn keys(&self) -> Keys<'_> {
        match &self.raw.keys {
            raw::Keys::Integers(keys) => Keys::Integers(keys),
            raw::Keys::Texts(keys) => Keys::Texts(Text::new(keys)),
        }
    }

    /// Their distances: smaller is better, whatever the metric. They are not SQL's `_distance`: squared for `l2`, minus the
    /// cosine, minus the inner product, minus the score of a search by text and of a hybrid search.
    pub fn distances(&self) -> &[f32] {
        &self.raw.distances
    }

    /// The vector of a candidate; empty if the description does not ask for vectors.
    pub fn vector(&self, candidate: usize) -> &[f32] {
        let Some(raw_types::VectorData { dim, values }) = &self.raw.vectors else {
            return &[];
        };
        let dim = *dim as usize;
        values
            .get(candidate * dim..(candidate + 1) * dim)
            .unwrap_or_default()
    }

    /// How many columns there are: those of the description, in its order, those of a list in the order of the list.
    pub fn columns(&self) -> usize {
        self.raw.columns.len()
    }

    /// The name of a column.
    pub fn name(&self, column: usize) -> &str {
        self.raw.columns.get(column).map_or("", |own| &own.name)
    }

    fn data(&self, column: usize) -> Option<&raw_types::ColumnData> {
        self.raw.columns.get(column).map(|own| &own.column.data)
    }

    /// Whether a column has a value for a candidate.
    pub fn is_there(&self, column: usize, candidate: usize) -> bool {
        match self.raw.columns.get(column).map(|own| &own.column.validity) {
            Some(Some(validity)) => validity.get(candidate) == Some(&1),
            Some(None) => true,
            None => false,
        }
    }

    /// A column of 32-bit floats.
    ///
    /// # Errors
    /// The description does not ask for it so.
    pub fn f32s(&self, column: usize) -> Result<&[f32], Error> {
        match self.data(column) {
            Some(raw_types::ColumnData::F32s(values)) => Ok(values),
            _ => Err(no_column(column, "f32s")),
        }
    }

    /// A column of 64-bit floats.
    ///
    /// # Errors
    /// The description does not ask for it so.
    pub fn f64s(&self, column: usize) -> Result<&[f64], Error> {
        match self.data(column) {
            Some(raw_types::ColumnData::F64s(values)) => Ok(values),
            _ => Err(no_column(column, "f64s")),
        }
    }

    /// A column of 64-bit integers.
    ///
    /// # Errors
    /// The description does not ask for it so.
    pub fn s64s(&self, column: usize) -> Result<&[i64], Error> {
        match self.data(column) {
            Some(raw_types::ColumnData::S64s(values)) => Ok(values),
            _ => Err(no_column(column, "s64s")),
        }
    }

    /// A column of booleans, each a byte: 0 or 1.
    ///
    /// # Errors
    /// The description does not ask for it so.
    pub fn bools(&self, column: usize) -> Result<&[u8], Error> {
        match self.data(column) {
            Some(raw_types::ColumnData::Bools(values)) => Ok(values),
            _ => Err(no_column(column, "bools")),
        }
    }

    /// A column of texts; [`Text::get`] reads one.
    ///
    /// # Errors
    /// The description does not ask for it so.
    pub fn text(&self, column: usize) -> Result<Text<'_>, Error> {
        match self.data(column) {
            Some(raw_types::ColumnData::Text(data)) => Ok(Text::new(data)),
            _ => Err(no_column(column, "text")),
        }
    }

    /// A column of another Arrow type, as an Arrow IPC stream. Nulls are in the stream.
    ///
    /// # Errors
    /// The description does not ask for it so.
    pub fn ipc(&self, column: usize) -> Result<&[u8], Error> {
        match self.data(column) {
            Some(raw_types::ColumnData::Ipc(bytes)) => Ok(bytes),
            _ => Err(no_column(column, "ipc")),
        }
    }
}

fn no_column(column: usize, kind: &str) -> Error {
    Error::Internal(format!(
        "the description does not ask for a column {column} of {kind}"
    ))
}

/// The one instance of a reranker that lives in an instance of the plugin.
#[doc(hidden)]
pub struct Slot<R>(RefCell<Option<R>>);

// SAFETY: an instance of a plugin has one thread.
unsafe impl<R> Sync for Slot<R> {}

impl<R: Reranker> Default for Slot<R> {
    fn default() -> Self {
        Self::new()
    }
}

impl<R: Reranker> Slot<R> {
    pub const fn new() -> Self {
        Self(RefCell::new(None))
    }

    pub fn describe() -> raw::Descriptor {
        R::describe().raw
    }

    pub fn configure(&self, arguments: Vec<raw_parameters::Argument>) -> Result<(), raw_types::Error> {
        let reranker = R::new(&Parameters { raw: arguments })?;
        *self.0.borrow_mut() = Some(reranker);
        Ok(())
    }

    pub fn rerank(
        &self,
        request: raw::Request,
        candidates: raw::Candidates,
    ) -> Result<raw::Ranking, raw_types::Error> {
        let mut own = self.0.borrow_mut();
        let Some(reranker) = own.as_mut() else {
            return Err(Error::Internal("called before it was configured".to_owned()).into());
        };
        let places = reranker.rerank(&Request { raw: request }, &Candidates { raw: candidates })?;
        Ok(raw::Ranking {
            order: places.iter().map(|place| place.candidate).collect(),
            scores: places.iter().map(|place| place.score).collect(),
        })
    }
}

/// Makes a plugin of a type that implements [`Reranker`].
#[macro_export]
macro_rules! reranker {
    ($reranker:ty) => {
        const _: () = {
            use $crate::bindings::reranker::elanus::plugin as imports;
            use $crate::bindings::reranker::exports::elanus::plugin::reranking as exports;

            static SLOT: $crate::glue::Slot<$reranker> = $crate::glue::Slot::new();

            struct Plugin;

            impl exports::Guest for Plugin {
                fn describe() -> exports::Descriptor {
                    $crate::glue::Slot::<$reranker>::describe()
                }

                fn configure(
                    arguments: Vec<imports::parameters::Argument>,
                ) -> Result<(), imports::types::Error> {
                    SLOT.configure(arguments)
                }

                fn rerank(
                    request: exports::Request,
                    candidates: exports::Candidates,
                ) -> Result<exports::Ranking, imports::types::Error> {
                    SLOT.rerank(request, candidates)
                }
            }

    $crate::bindings::reranker::export_reranker!(Plugin with_types_in $crate::bindings::reranker);
        };
    };
}

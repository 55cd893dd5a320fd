//! Functions of a schema: columns that are computed from others when rows are written.
//!
//! There are two kinds: BM25, the terms of a VARCHAR field, as its analyzer makes them, counted in a sparse vector; and MinHash,
//! the signature of the text in a bit vector.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use arrow::array::{
    Array, ArrayRef, AsArray, Float32Builder, ListArray, StringArray, StructArray, UInt32Builder,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::DataType as ArrowType;
use elanus_text::{Analyzer, MinHashFunction, counts};
use serde::{Deserialize, Serialize};

use crate::analyzers::Analyzers;
use crate::error::{Error, Result};
use crate::minhash;
use crate::types::{DataType, Field};

/// Parameter of a field that says whether its text is analyzed.
pub const ENABLE_ANALYZER: &str = "enable_analyzer";
/// Parameter of a field that says whether filters may match its text.
pub const ENABLE_MATCH: &str = "enable_match";
/// Parameter of a field with the analyzer as JSON.
pub const ANALYZER_PARAMS: &str = "analyzer_params";
/// Parameter of a field with several analyzers as JSON.
pub const MULTI_ANALYZER_PARAMS: &str = "multi_analyzer_params";

/// What a function computes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FunctionKind {
    /// Counts of terms, in a sparse vector field.
    #[default]
    Bm25,
    /// Signatures, in a bit vector field.
    MinHash {
        /// As they were given, under their names in Milvus.
        params: BTreeMap<String, String>,
    },
}

impl FunctionKind {
    /// Its name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Bm25 => "BM25",
            Self::MinHash { .. } => "MinHash",
        }
    }

    fn is_bm25(&self) -> bool {
        *self == Self::Bm25
    }
}

/// A function of the text of a field: counts of its terms (BM25) or its signature (MinHash).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TextFunction {
    /// Numeric id; 0 means "not assigned yet".
    pub id: i64,
    /// Name, unique in the collection.
    pub name: String,
    /// Free text.
    pub description: String,
    /// The text field.
    pub input: String,
    /// The vector field.
    pub output: String,
    /// What it computes.
    #[serde(default, skip_serializing_if = "FunctionKind::is_bm25")]
    pub kind: FunctionKind,
    /// The analyzers of the text field, once they were needed.
    #[serde(skip)]
    analyzers: OnceLock<Analyzers>,
}

impl PartialEq for TextFunction {
    fn eq(&self, other: &Self) -> bool {
        let parts = |function: &Self| {
            let names = [
                &function.name,
                &function.description,
                &function.input,
                &function.output,
            ];
            (function.id, names.map(String::clone), function.kind.clone())
        };
        parts(self) == parts(other)
    }
}

impl TextFunction {
    /// A function of this name that counts the terms of `input` in `output`.
    pub fn new(name: impl Into<String>, input: impl Into<String>, output: impl Into<String>) -> Self {
        Self {
            id: 0,
            name: name.into(),
            description: String::new(),
            input: input.into(),
            output: output.into(),
            kind: FunctionKind::Bm25,
            analyzers: OnceLock::new(),
        }
    }

    /// The same of another kind.
    pub fn of_kind(self, kind: FunctionKind) -> Self {
        Self { kind, ..self }
    }

    /// Whether it counts terms.
    pub fn is_bm25(&self) -> bool {
        self.kind.is_bm25()
    }

    /// The parameters as they are described: those that were given, and what follows from the output among `fields`.
    pub fn described_params(&self, fields: &[Field]) -> BTreeMap<String, String> {
        match &self.kind {
            FunctionKind::Bm25 => BTreeMap::new(),
            FunctionKind::MinHash { params } => minhash::described(params, self.output_dim(fields)),
        }
    }

    /// The signatures of texts, when it makes them: as those of the text field are, with the analyzer of this name if the
    /// field has several. In the Arrow form of the output, whose field is among `fields`.
    ///
    /// # Errors
    /// [`Error::InvalidSchema`], [`Error::InvalidParameter`] as [`TextFunction::analyzers`].
    pub fn signatures(
        &self,
        fields: &[Field],
        texts: &[String],
        analyzer: Option<&str>,
    ) -> Result<Option<ArrayRef>> {
        let FunctionKind::MinHash { params } = &self.kind else {
            return Ok(None);
        };
        let analyzer = self.analyzers(fields)?.named(analyzer);
        let texts = StringArray::from_iter_values(texts);
        let function = self.minhash(params, fields)?;
        Ok(Some(Arc::new(minhash::signatures(&function, &texts, |_| {
            analyzer
        })?)))
    }

    fn minhash(&self, params: &BTreeMap<String, String>, fields: &[Field]) -> Result<MinHashFunction> {
        minhash::function_of(params, &self.output, self.output_dim(fields))
    }

    fn output_dim(&self, fields: &[Field]) -> u32 {
        let output = fields.iter().find(|field| field.name == self.output);
        output.and_then(|field| field.data_type.dim()).unwrap_or(0)
    }

    /// The analyzers of the text field among `fields`.
    ///
    /// # Errors
    /// [`Error::InvalidSchema`] when there is no such field, or its parameters make no analyzer.
    pub fn analyzers(&self, fields: &[Field]) -> Result<&Analyzers> {
        if let Some(analyzers) = self.analyzers.get() {
            return Ok(analyzers);
        }
        let Some(input) = fields.iter().find(|field| field.name == self.input) else {
            return Err(self.bad(format!("input field '{}' not found", self.input)));
        };
        let analyzers = Analyzers::of(input)?;
        Ok(self.analyzers.get_or_init(|| analyzers))
    }

    fn bad(&self, what: impl std::fmt::Display) -> Error {
        Error::InvalidSchema(format!("function '{}': {what}", self.name))
    }

    /// Checks the function against the fields of its schema.
    pub(crate) fn validate(&self, fields: &[Field]) -> Result<()> {
        let field = |name: &str, what: &str| {
            let found = fields.iter().find(|field| field.name == name);
            found.ok_or_else(|| self.bad(format!("{what} field '{name}' not found")))
        };
        if self.name.is_empty() {
            return Err(self.bad("a function must have a name"));
        }
        let (input, output) = (field(&self.input, "input")?, field(&self.output, "output")?);
        match &self.kind {
            FunctionKind::Bm25 => self.validate_bm25(input, output)?,
            FunctionKind::MinHash { params } => {
                self.validate_minhash(input, output)?;
                self.minhash(params, fields)?;
            }
        }
        if output.nullable {
            return Err(self.bad(format!(
                "function output field cannot be nullable: field '{}'",
                output.name
            )));
        }
        if let Some(by_field) = self.analyzers(fields)?.by_field()
            && !field(by_field, "analyzer")?.data_type.is_text()
        {
            return Err(self.bad(format!(
                "field '{by_field}' chooses the analyzers of '{}': it must be a VARCHAR field",
                input.name
            )));
        }
        Ok(())
    }

    fn validate_minhash(&self, input: &Field, output: &Field) -> Result<()> {
        if !input.data_type.is_text() {
            return Err(self.bad(format!(
                "minhash function input field '{}' is not string type, is {}",
                input.name,
                input.data_type.name()
            )));
        }
        if !matches!(output.data_type, DataType::BinaryVector { .. }) {
            return Err(self.bad(format!(
                "minhash function output field '{}' is not binary vector type",
                output.name
            )));
        }
        Ok(())
    }

    fn validate_bm25(&self, input: &Field, output: &Field) -> Result<()> {
        if !input.data_type.is_text() || !is_analyzed(input) {
            return Err(self.bad(format!(
                "BM25 function input field must be a VARCHAR or TEXT field with {ENABLE_ANALYZER}, field '{}' is {}{}",
                input.name,
                input.data_type.name(),
                if is_analyzed(input) { "" } else { " without" }
            )));
        }
        if output.data_type != DataType::SparseFloatVector {
            return Err(self.bad(format!(
                "BM25 function output field must be a SparseFloatVector field, but got {} for field '{}'",
                output.data_type.name(),
                output.name
            )));
        }
        Ok(())
    }

    /// Whether the output is made of this field, among `fields`.
    pub(crate) fn reads(&self, field: &str, fields: &[Field]) -> bool {
        let by_field = self.analyzers(fields).ok().and_then(Analyzers::by_field);
        self.input == field || by_field == Some(field)
    }

    /// The output of rows whose fields `column` gives; NULL has no terms, and the signature of an empty text.
    pub(crate) fn apply(
        &self,
        fields: &[Field],
        column: impl Fn(&Field) -> Result<ArrayRef>,
    ) -> Result<ArrayRef> {
        let analyzers = self.analyzers(fields)?;
        let texts = self.texts(fields, &self.input, &column)?;
        let names = analyzers
            .by_field()
            .map(|name| self.texts(fields, name, &column))
            .transpose()?;
        let analyzer = |row: usize| -> &Analyzer {
            let names = names.as_ref().filter(|names| names.is_valid(row));
            analyzers.named(names.map(|names| names.value(row)))
        };
        match &self.kind {
            FunctionKind::Bm25 => self.count(&texts, analyzer),
            FunctionKind::MinHash { params } => {
                let function = self.minhash(params, fields)?;
                Ok(Arc::new(minhash::signatures(&function, &texts, analyzer)?))
            }
        }
    }

    /// The terms of texts, counted.
    fn count<'a>(&self, texts: &StringArray, analyzer: impl Fn(usize) -> &'a Analyzer) -> Result<ArrayRef> {
        let ArrowType::List(item) = DataType::SparseFloatVector.to_arrow() else {
            return Err(self.bad("output has no lists"));
        };
        let ArrowType::Struct(elements) = item.data_type().clone() else {
            return Err(self.bad("output has no elements"));
        };
        let (mut indices, mut values) = (UInt32Builder::new(), Float32Builder::new());
        let mut lengths = Vec::with_capacity(texts.len());
        for (row, text) in texts.iter().enumerate() {
            let counts = text.map(|text| counts(analyzer(row), text)).unwrap_or_default();
            lengths.push(counts.len());
            for (term, count) in counts {
                indices.append_value(term);
                values.append_value(count);
            }
        }
        let columns: Vec<ArrayRef> = vec![Arc::new(indices.finish()), Arc::new(values.finish())];
        let elements = StructArray::try_new(elements, columns, None)?;
        let offsets = OffsetBuffer::<i32>::from_lengths(lengths);
        Ok(Arc::new(ListArray::try_new(
            item,
            offsets,
            Arc::new(elements),
            None,
        )?))
    }

    fn texts(
        &self,
        fields: &[Field],
        name: &str,
        column: impl Fn(&Field) -> Result<ArrayRef>,
    ) -> Result<StringArray> {
        let Some(field) = fields.iter().find(|field| field.name == name) else {
            return Err(self.bad(format!("field '{name}' not found")));
        };
        let texts = column(field)?;
        let found = texts.as_string_opt::<i32>().cloned();
        found.ok_or_else(|| self.bad(format!("field '{name}' is of type {}", texts.data_type())))
    }

    /// Refuses values for the output: they are computed. What is NULL throughout was filled in on the way.
    pub(crate) fn refuse_given(&self, given: Option<&ArrayRef>) -> Result<()> {
        match given {
            Some(column) if column.logical_null_count() < column.len() => Err(Error::InvalidData(format!(
                "field '{}' is the output of function '{}': leave it out",
                self.output, self.name
            ))),
            Some(_) | None => Ok(()),
        }
    }
}

/// Whether the text of a field is analyzed.
pub fn is_analyzed(field: &Field) -> bool {
    is_on(field, ENABLE_ANALYZER)
}

/// Whether filters may match the text of a field.
pub(crate) fn is_matched(field: &Field) -> bool {
    is_on(field, ENABLE_MATCH)
}

fn is_on(field: &Field, param: &str) -> bool {
    let value = field.params.get(param);
    value.is_some_and(|value| value.eq_ignore_ascii_case("true"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_of_older_schemas_count_terms() {
        let old = r#"{"id":3,"name":"f","description":"","input":"text","output":"terms"}"#;
        let read: TextFunction = serde_json::from_str(old).unwrap();
        assert!(read.is_bm25());
        assert_eq!(serde_json::to_string(&read).unwrap(), old);
    }

    #[test]
    fn a_query_has_the_signature_of_a_row_of_its_text() {
        let params = [("shingle_size".to_string(), "2".to_string())].into();
        let function = TextFunction::new("f", "text", "signature").of_kind(FunctionKind::MinHash { params });
        let fields = [
            Field::new("text", DataType::VarChar { max_length: 100 }),
            Field::new("signature", DataType::BinaryVector { dim: 128 }),
        ];
        function.validate(&fields).unwrap();
        let texts = StringArray::from(vec![Some("one two three"), None, Some("")]);
        let rows = function.apply(&fields, |_| Ok(Arc::new(texts.clone()))).unwrap();
        let queries = ["ONE, two; three!", "", ""].map(String::from);
        let queries = function.signatures(&fields, &queries, None).unwrap().unwrap();
        assert_eq!(&rows, &queries);
        assert_eq!(rows.data_type(), &DataType::BinaryVector { dim: 128 }.to_arrow());
        let read: TextFunction = serde_json::from_value(serde_json::json!(function)).unwrap();
        assert_eq!(read, function);
        let counts = function.clone().of_kind(FunctionKind::Bm25);
        assert!(counts.signatures(&fields, &[], None).unwrap().is_none());
        assert_ne!(counts, function);
    }
}

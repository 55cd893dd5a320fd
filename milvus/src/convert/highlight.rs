//! The highlighter of a search: pieces of text fields around the terms that were searched for.

use std::collections::{BTreeMap, HashSet};

use arrow::array::{Array, AsArray, RecordBatch};
use elanus_collection::{CollectionSchema, analyzer_of, is_analyzed};
use elanus_query::{Queries, SearchRequest};
use elanus_text::{Analyzer, highlight::Highlighter};
use milvus::proto::common::{self, HighlightData, HighlightResult, HighlightType};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::status::{Error, Result};

/// What a request asks for.
pub(crate) struct Highlight {
    highlighter: Highlighter,
    fields: Vec<TextField>,
}

/// A text field with the terms to be marked in it.
struct TextField {
    name: String,
    analyzer: Analyzer,
    /// In the rows of every query.
    always: HashSet<String>,
    /// In the rows of the first query, the second, ..
    of_query: Vec<HashSet<String>>,
}

/// One entry of `highlight_query`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HighlightQuery {
    r#type: String,
    field: String,
    text: String,
}

const KEYS: [&str; 7] = [
    "pre_tags",
    "post_tags",
    "fragment_offset",
    "fragment_size",
    "num_of_fragments",
    "highlight_query",
    "highlight_search_text",
];

impl Highlight {
    /// Reads the highlighter of `search`.
    ///
    /// # Errors
    /// A highlighter that is not there, a parameter that is none or of another type, a field without an analyzer.
    pub fn of(request: common::Highlighter, search: &SearchRequest) -> Result<Self> {
        if HighlightType::try_from(request.r#type) != Ok(HighlightType::Lexical) {
            return Err(Error::unsupported(
                "the semantic highlighter, which needs a model service; the lexical one is there",
            ));
        }
        let mut params = Params::read(request.params)?;
        let default = Highlighter::default();
        let highlighter = Highlighter {
            pre_tags: params
                .json("pre_tags", "a list of texts")?
                .unwrap_or(default.pre_tags),
            post_tags: params
                .json("post_tags", "a list of texts")?
                .unwrap_or(default.post_tags),
            fragment_offset: params
                .json("fragment_offset", "a whole number of at least 0")?
                .unwrap_or(default.fragment_offset),
            fragment_size: params.positive("fragment_size")?.unwrap_or(default.fragment_size),
            num_of_fragments: params
                .positive("num_of_fragments")?
                .unwrap_or(default.num_of_fragments),
        };
        if highlighter.pre_tags.is_empty() || highlighter.post_tags.is_empty() {
            return Err(Error::invalid(
                "pre_tags and post_tags of a highlighter cannot be empty lists",
            ));
        }
        let schema = search.collection.schema();
        let mut fields: Vec<TextField> = Vec::new();
        if params.flag("highlight_search_text")? {
            let (Some(function), Queries::Texts { texts, .. }) =
                (schema.bm25_of(&search.field), &search.queries)
            else {
                return Err(Error::invalid(
                    "highlight_search_text needs a full-text search: texts for a field that a BM25 function fills",
                ));
            };
            let mut field = TextField::new(schema, &function.input)?;
            field.of_query = texts.iter().map(|text| field.terms(text)).collect();
            fields.push(field);
        }
        let queries: Option<Vec<HighlightQuery>> =
            params.json("highlight_query", "a list of objects with type, field and text")?;
        for query in queries.unwrap_or_default() {
            if !query.r#type.eq_ignore_ascii_case("TextMatch") {
                return Err(Error::invalid(format!(
                    "highlight_query of type {} is not known; allowed is TextMatch",
                    query.r#type
                )));
            }
            let at = match fields.iter().position(|field| field.name == query.field) {
                Some(at) => at,
                None => {
                    fields.push(TextField::new(schema, &query.field)?);
                    fields.len() - 1
                }
            };
            if let Some(field) = fields.get_mut(at) {
                let terms = field.terms(&query.text);
                field.always.extend(terms);
            }
        }
        if fields.is_empty() {
            return Err(Error::invalid(
                "a highlighter needs highlight_search_text or highlight_query, which say what to highlight",
            ));
        }
        Ok(Self { highlighter, fields })
    }

    /// The columns that are read for it.
    pub fn columns(&self) -> impl Iterator<Item = &String> {
        self.fields.iter().map(|field| &field.name)
    }

    /// The pieces of every row, `counts` of them for each query.
    pub fn results(&self, rows: &RecordBatch, counts: &[usize]) -> Vec<HighlightResult> {
        let fields = self.fields.iter();
        fields
            .map(|field| HighlightResult {
                field_name: field.name.clone(),
                datas: self.of_field(field, rows, counts),
            })
            .collect()
    }

    fn of_field(&self, field: &TextField, rows: &RecordBatch, counts: &[usize]) -> Vec<HighlightData> {
        let texts = rows
            .column_by_name(&field.name)
            .and_then(|column| column.as_string_opt::<i32>());
        let mut datas = Vec::with_capacity(rows.num_rows());
        for (query, count) in counts.iter().enumerate() {
            let mut terms = field.always.clone();
            terms.extend(field.of_query.get(query).into_iter().flatten().cloned());
            for row in datas.len()..datas.len() + count {
                let text = texts.filter(|texts| row < texts.len() && texts.is_valid(row));
                let text = text.map(|texts| texts.value(row));
                let fragments = text.map(|text| self.highlighter.fragments(&field.analyzer, &terms, text));
                datas.push(HighlightData {
                    fragments: fragments.unwrap_or_default(),
                    scores: Vec::new(),
                });
            }
        }
        datas
    }
}

impl TextField {
    fn new(schema: &CollectionSchema, name: &str) -> Result<Self> {
        let Some(field) = schema.field(name) else {
            return Err(Error::invalid(format!("highlight field {name} not found")));
        };
        if !is_analyzed(field) {
            return Err(Error::invalid(format!(
                "highlight field {name} has no analyzer: it was made without enable_analyzer"
            )));
        }
        Ok(Self {
            name: name.to_owned(),
            analyzer: analyzer_of(field)?,
            always: HashSet::new(),
            of_query: Vec::new(),
        })
    }

    fn terms(&self, text: &str) -> HashSet<String> {
        let tokens = self.analyzer.tokens(text).into_iter();
        tokens.map(|token| token.text).collect()
    }
}

/// Parameters by name; each value is JSON text.
struct Params(BTreeMap<String, String>);

impl Params {
    fn read(pairs: Vec<common::KeyValuePair>) -> Result<Self> {
        let mut params = BTreeMap::new();
        for pair in pairs {
            if !KEYS.contains(&pair.key.as_str()) {
                return Err(Error::invalid(format!(
                    "unknown parameter {} of a highlighter; allowed are {}",
                    pair.key,
                    KEYS.join(", ")
                )));
            }
            params.insert(pair.key, pair.value);
        }
        Ok(Self(params))
    }

    fn json<T: DeserializeOwned>(&mut self, key: &str, what: &str) -> Result<Option<T>> {
        let Some(text) = self.0.remove(key) else {
            return Ok(None);
        };
        serde_json::from_str(&text)
            .map(Some)
            .map_err(|_| Error::invalid(format!("{key} of a highlighter must be {what}, got {text}")))
    }

    fn positive(&mut self, key: &str) -> Result<Option<usize>> {
        let number: Option<usize> = self.json(key, "a whole number of at least 1")?;
        match number {
            Some(0) => Err(Error::invalid(format!(
                "{key} of a highlighter must be a whole number of at least 1, got 0"
            ))),
            other => Ok(other),
        }
    }

    /// As Python and JSON write it.
    fn flag(&mut self, key: &str) -> Result<bool> {
        match self.0.remove(key).as_deref() {
            None | Some("false" | "False") => Ok(false),
            Some("true" | "True") => Ok(true),
            Some(other) => Err(Error::invalid(format!(
                "{key} of a highlighter must be true or false, got {other}"
            ))),
        }
    }
}

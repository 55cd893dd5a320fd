//! Full-text queries: texts as weights of terms, from the statistics of the whole collection.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::ArrayRef;
use elanus_collection::{Analyzers, Collection, Snapshot, TextFunction};
use elanus_index::typed::idf;
use elanus_index::{Bm25, Bm25Params, Bm25Query, SparseVector, VectorRef};
use elanus_text::counts;

use crate::error::{QueryError, Result};

/// Texts to search a field of counted terms for.
#[derive(Debug, Clone)]
pub(crate) struct TextQueries {
    bm25: Bm25,
    /// Terms and their weights, of each query.
    weights: Vec<(Vec<u32>, Vec<f32>)>,
}

impl TextQueries {
    /// Analyzes `texts` as the texts of the field are, by the analyzer of this name if the field has several, and weighs
    /// their terms.
    ///
    /// # Errors
    /// [`QueryError::InvalidParameter`] when the field is not the output of a BM25 function, or has one analyzer and
    /// another is named.
    pub fn new(
        collection: &Collection,
        snapshot: &Snapshot,
        (field, analyzer): (&str, Option<&str>),
        texts: &[String],
    ) -> Result<Self> {
        let schema = collection.schema();
        let Some(function) = schema.bm25_of(field) else {
            return Err(QueryError::InvalidParameter(format!(
                "a text query needs a field that a BM25 function fills, field '{field}' is none"
            )));
        };
        let params = constants(collection, function)?;
        let analyzers = function.analyzers(&schema.fields)?;
        check_analyzer(analyzers, analyzer, function)?;
        let analyzer = analyzers.named(analyzer);
        let counted: Vec<BTreeMap<u32, f32>> = texts.iter().map(|text| counts(analyzer, text)).collect();
        let terms: BTreeSet<u32> = counted.iter().flat_map(BTreeMap::keys).copied().collect();
        let terms: Vec<u32> = terms.into_iter().collect();
        let statistics = snapshot.text_statistics(field, &terms)?;
        let weight_of: BTreeMap<u32, f64> = terms
            .iter()
            .zip(&statistics.with_term)
            .map(|(term, with_term)| (*term, idf(statistics.rows, *with_term)))
            .collect();
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a weight is a float, as the element of a vector is"
        )]
        let weigh = |(term, count): (&u32, &f32)| {
            let weight = weight_of.get(term).copied().unwrap_or(0.0) * f64::from(*count);
            (*term, weight as f32)
        };
        Ok(Self {
            bm25: Bm25 {
                k1: params.k1,
                b: params.b,
                mean_length: statistics.mean_length(),
            },
            weights: counted
                .iter()
                .map(|counts| counts.iter().map(weigh).unzip())
                .collect(),
        })
    }

    /// The queries one by one.
    pub fn all(&self) -> impl Iterator<Item = VectorRef<'_>> {
        self.weights.iter().map(|(terms, weights)| {
            VectorRef::Terms(Bm25Query {
                weights: SparseVector::new(terms, weights).unwrap_or(SparseVector::empty()),
                bm25: self.bm25,
            })
        })
    }
}

/// The signatures of `texts`, as those of the field are made, by the analyzer of this name if the field has several; `None`
/// when the field has no signatures of texts.
///
/// # Errors
/// As [`TextQueries::new`].
pub(crate) fn signatures(
    collection: &Collection,
    (field, analyzer): (&str, Option<&str>),
    texts: &[String],
) -> Result<Option<ArrayRef>> {
    let schema = collection.schema();
    let Some(function) = schema.function_of(field).filter(|function| !function.is_bm25()) else {
        return Ok(None);
    };
    check_analyzer(function.analyzers(&schema.fields)?, analyzer, function)?;
    Ok(function.signatures(&schema.fields, texts, analyzer)?)
}

/// Refuses the name of an analyzer for a field that has one alone.
fn check_analyzer(analyzers: &Analyzers, name: Option<&str>, function: &TextFunction) -> Result<()> {
    match (name, analyzers.by_field()) {
        (Some(name), None) => Err(QueryError::InvalidParameter(format!(
            "analyzer_name '{name}': field '{}' has one analyzer, not several",
            function.input
        ))),
        _ => Ok(()),
    }
}

/// `bm25_k1` and `bm25_b` of the index on the function's output, or their defaults.
fn constants(collection: &Collection, function: &TextFunction) -> Result<Bm25Params> {
    let index = collection
        .indexes()
        .into_iter()
        .find(|index| index.field == function.output);
    let params = index.map(|index| index.params).unwrap_or_default();
    Bm25Params::parse(&params).map_err(|error| QueryError::InvalidParameter(error.to_string()))
}

//! What BM25 knows of all texts of a collection: how many there are, how long they are, how many have a term.
//!
//! Every unit knows this of its own rows: from its inverted index, or else counted once from the vectors and kept. Deleted
//! rows are taken off, so that the sums of a snapshot are those of its live rows, however they are spread over segments.

use std::collections::HashMap;

use elanus_index::{AnyMetric, SparseVectors, VectorsRef};

use crate::error::{Error, Result};
use crate::snapshot::Snapshot;
use crate::unit::Unit;

/// Statistics of the texts of a field.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TextStatistics {
    /// Texts.
    pub rows: u64,
    /// Terms of all texts, each time they occur.
    pub total_length: f64,
    /// Texts that have each of the terms that were asked for, in their order.
    pub with_term: Vec<u64>,
}

impl TextStatistics {
    /// Mean length of a text; 0 without texts.
    #[expect(clippy::cast_precision_loss, reason = "counts of rows are far below 2^53")]
    pub fn mean_length(&self) -> f64 {
        if self.rows == 0 {
            0.0
        } else {
            self.total_length / self.rows as f64
        }
    }
}

impl Snapshot {
    /// Statistics of the live rows over all partitions, for these terms; `field` holds the counts of terms.
    ///
    /// # Errors
    /// [`Error::FieldNotFound`], or [`Error::InvalidParameter`] when the field has no sparse vectors.
    pub fn text_statistics(&self, field: &str, terms: &[u32]) -> Result<TextStatistics> {
        let mut all = TextStatistics {
            with_term: vec![0; terms.len()],
            ..TextStatistics::default()
        };
        for unit in &self.units {
            add(&mut all, unit, field, terms)?;
        }
        Ok(all)
    }
}

/// Counts of all rows of a column, deleted ones too.
#[derive(Debug)]
pub(crate) struct ColumnTerms {
    rows: u64,
    total_length: f64,
    with_term: HashMap<u32, u64>,
}

impl ColumnTerms {
    pub fn count(vectors: SparseVectors<'_>, has_vector: impl Fn(usize) -> bool) -> Self {
        let mut counted = Self {
            rows: 0,
            total_length: 0.0,
            with_term: HashMap::new(),
        };
        for row in (0..vectors.len()).filter(|row| has_vector(*row)) {
            let vector = vectors.row(row);
            counted.rows += 1;
            counted.total_length += length(vector.values());
            for (term, value) in vector.indices().iter().zip(vector.values()) {
                if *value != 0.0 {
                    *counted.with_term.entry(*term).or_default() += 1;
                }
            }
        }
        counted
    }
}

fn length(values: &[f32]) -> f64 {
    values.iter().map(|value| f64::from(*value)).sum()
}

fn add(all: &mut TextStatistics, unit: &Unit, field: &str, terms: &[u32]) -> Result<()> {
    let column = unit.vectors(field)?;
    let VectorsRef::Sparse(vectors) = column.vectors()? else {
        return Err(Error::InvalidParameter(format!(
            "field '{field}' has no sparse vectors"
        )));
    };
    let index = unit
        .index(field)
        .filter(|index| index.metric() == AnyMetric::Bm25)
        .and_then(|index| index.as_sparse());
    if let Some(index) = index {
        all.rows += index.count() as u64;
        all.total_length += index.total_length();
        for (count, term) in all.with_term.iter_mut().zip(terms) {
            *count += index.rows_with(*term) as u64;
        }
    } else {
        let counted = column.terms(vectors);
        all.rows += counted.rows;
        all.total_length += counted.total_length;
        for (count, term) in all.with_term.iter_mut().zip(terms) {
            *count += counted.with_term.get(term).copied().unwrap_or(0);
        }
    }
    for row in unit.deletes().iter().map(|row| row as usize) {
        if column.valid().is_some_and(|valid| !valid.get(row)) {
            continue;
        }
        let vector = vectors.row(row);
        all.rows = all.rows.saturating_sub(1);
        all.total_length -= length(vector.values());
        for (count, term) in all.with_term.iter_mut().zip(terms) {
            let place = vector.indices().binary_search(term).ok();
            let value = place.and_then(|place| vector.values().get(place));
            if value.is_some_and(|value| *value != 0.0) {
                *count = count.saturating_sub(1);
            }
        }
    }
    Ok(())
}

//! What every family knows of the rows it indexes: their shape, which of them have a vector, their inverse norms; and
//! what every search settles first: does it fit, and which rows may it return?

use std::borrow::Cow;

use crate::any_metric::AnyMetric;
use crate::bitset::Bitset;
use crate::blob::{Array, Header, Reader, Writer};
use crate::error::OpenError;
use crate::exact::{exact_batch_in, exact_in};
use crate::index::SearchStats;
use crate::metric::Metric;
use crate::neighbor::Neighbor;
use crate::params::BuildParams;
use crate::scorer::{Space, inverse_norms};
use crate::typed::ElementType;
use crate::vectors::Vectors;
use crate::window::Window;

/// The rows of a segment as an index sees them. The first two arrays of its blob.
#[derive(Debug)]
pub(crate) struct IndexedRows {
    pub(crate) metric: Metric,
    pub(crate) dim: usize,
    /// Rows of the segment, those without a vector included.
    pub(crate) len: usize,
    valid: Validity,
    /// One per row under COSINE, else empty.
    inverse_norms: Array<f32>,
}

impl IndexedRows {
    /// Arrays of a blob that [`IndexedRows::writer`] puts before those of the family.
    pub(crate) const ARRAYS: usize = 2;

    /// The rows of `vectors` that are in `valid`; all, when `None`.
    pub(crate) fn new(metric: Metric, vectors: Vectors<'_>, valid: Option<&Bitset>) -> Self {
        let norms = match metric {
            Metric::Cosine => inverse_norms(vectors),
            Metric::L2 | Metric::Ip => Vec::new(),
        };
        Self {
            metric,
            dim: vectors.dim(),
            len: vectors.len(),
            valid: Validity::new(vectors.len(), valid),
            inverse_norms: Array::Owned(norms),
        }
    }

    /// The same with inverse norms, one per row under COSINE, that were computed elsewhere.
    pub(crate) fn with_inverse_norms(mut self, norms: Vec<f32>) -> Self {
        if norms.len() == self.inverse_norms.len() {
            self.inverse_norms = Array::Owned(norms);
        }
        self
    }

    /// Reads the rows of a blob of 32-bit floats.
    pub(crate) fn open(reader: &Reader) -> Result<Self, OpenError> {
        Self::open_of(reader, ElementType::Float)
    }

    /// Reads the rows of a blob of numbers of the type given.
    pub(crate) fn open_of(reader: &Reader, expected: ElementType) -> Result<Self, OpenError> {
        let Header {
            element,
            metric,
            dim,
            rows,
            ..
        } = *reader.header();
        let AnyMetric::Numbers(metric) = metric else {
            return Err(OpenError::corrupt(format!(
                "metric {metric} of {element:?} vectors"
            )));
        };
        if element != expected {
            return Err(OpenError::corrupt(format!(
                "{element:?} vectors in an index of {expected:?} vectors"
            )));
        }
        if dim == 0 {
            return Err(OpenError::corrupt("dimension 0"));
        }
        let norms = if metric == Metric::Cosine { rows } else { 0 };
        Ok(Self {
            metric,
            dim,
            len: rows,
            valid: Validity::open(reader, rows)?,
            inverse_norms: reader.array_of(1, norms, "inverse norms")?,
        })
    }

    /// A blob of 32-bit floats that starts with these rows.
    pub(crate) fn writer(&self, params: BuildParams) -> Writer<'_> {
        self.writer_of(params, ElementType::Float)
    }

    /// A blob of numbers of a type that starts with these rows.
    pub(crate) fn writer_of(&self, params: BuildParams, element: ElementType) -> Writer<'_> {
        let mut writer = Writer::new(&Header {
            params,
            element,
            metric: self.metric.into(),
            dim: self.dim,
            rows: self.len,
        });
        writer.put(self.valid().map_or(&[][..], Bitset::words));
        writer.put(&*self.inverse_norms);
        writer
    }

    /// The rows with a vector, `None` when all have one.
    pub(crate) fn valid(&self) -> Option<&Bitset> {
        self.valid.set.as_ref()
    }

    /// Number of rows with a vector.
    pub(crate) fn count(&self) -> usize {
        self.valid.count
    }

    /// The rows with a vector, ascending.
    pub(crate) fn numbers(&self) -> Vec<u32> {
        self.valid.numbers(self.len)
    }

    /// The filter `allow` without rows that have no vector; `None` without a filter.
    pub(crate) fn filtered<'a>(&self, allow: Option<&'a Bitset>) -> Option<Cow<'a, Bitset>> {
        self.valid.filtered(allow)
    }

    /// `1 / |row|` for every row under COSINE, else none.
    pub(crate) fn inverse_norms(&self) -> &[f32] {
        &self.inverse_norms
    }

    /// The stored rows under the metric.
    pub(crate) fn space<'a>(&'a self, vectors: Vectors<'a>) -> Space<'a> {
        Space::new(self.metric, vectors, Some(&self.inverse_norms))
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.valid.memory_bytes() + self.inverse_norms.bytes()
    }

    /// What a search over `vectors` under the filter `allow` starts from. `None`, and an error in the log, when the
    /// shapes are not those of the index: the caller's mistake.
    pub(crate) fn candidates<'a>(
        &'a self,
        vectors: Vectors<'a>,
        query_dim: usize,
        allow: Option<&'a Bitset>,
    ) -> Option<Candidates<'a>> {
        if query_dim != self.dim || vectors.dim() != self.dim || vectors.len() != self.len {
            tracing::error!(
                dim = self.dim,
                rows = self.len,
                query_dim,
                vectors_dim = vectors.dim(),
                vectors_rows = vectors.len(),
                "search does not have the shape of the index"
            );
            return None;
        }
        let filter = self.valid.filtered(allow);
        Some(Candidates {
            space: self.space(vectors),
            allowed: filter.as_ref().map(|filter| filter.count_range(0, self.len)),
            filter,
            valid: self.valid(),
        })
    }
}

/// Which rows have a vector, and how many. The first array of every blob.
#[derive(Debug)]
pub(crate) struct Validity {
    /// `None` when all have one.
    set: Option<Bitset>,
    count: usize,
}

impl Validity {
    pub(crate) fn new(rows: usize, valid: Option<&Bitset>) -> Self {
        let set = valid.map(|valid| {
            let mut set = Bitset::full(rows);
            set.and(valid);
            set
        });
        let count = set.as_ref().map_or(rows, Bitset::count);
        Self {
            set: set.filter(|_| count < rows),
            count,
        }
    }

    pub(crate) fn open(reader: &Reader, rows: usize) -> Result<Self, OpenError> {
        let words = reader.array::<u64>(0, "validity words")?;
        if words.is_empty() {
            return Ok(Self::new(rows, None));
        }
        if words.len() != rows.div_ceil(64) {
            let count = words.len();
            return Err(OpenError::corrupt(format!(
                "{count} validity words for {rows} rows"
            )));
        }
        Ok(Self::new(rows, Some(&Bitset::from_words(words.to_vec(), rows))))
    }

    /// The rows with a vector, `None` when all have one.
    pub(crate) fn set(&self) -> Option<&Bitset> {
        self.set.as_ref()
    }

    /// The filter `allow` without rows that have no vector; `None` without a filter.
    pub(crate) fn filtered<'a>(&self, allow: Option<&'a Bitset>) -> Option<Cow<'a, Bitset>> {
        allow.map(|allow| match self.set() {
            None => Cow::Borrowed(allow),
            Some(valid) => {
                let mut both = valid.clone();
                both.and(allow);
                Cow::Owned(both)
            }
        })
    }

    /// How many rows have a vector.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// The rows with a vector out of `rows`, ascending.
    pub(crate) fn numbers(&self, rows: usize) -> Vec<u32> {
        match self.set() {
            None => (0..rows as u32).collect(),
            Some(valid) => valid.iter().map(|row| row as u32).collect(),
        }
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.set().map_or(0, |set| size_of_val(set.words()))
    }
}

/// The rows that one search may return.
pub(crate) struct Candidates<'a> {
    pub(crate) space: Space<'a>,
    /// The caller's filter without rows that have no vector; `None` without a filter.
    filter: Option<Cow<'a, Bitset>>,
    /// Rows that the filter lets through; `None` without a filter.
    pub(crate) allowed: Option<usize>,
    /// Rows with a vector; structures hold no others, so it matters to a scan only.
    valid: Option<&'a Bitset>,
}

impl Candidates<'_> {
    /// The filter, without rows that have no vector.
    pub(crate) fn filter(&self) -> Option<&Bitset> {
        self.filter.as_deref()
    }

    /// The rows that a scan looks at; all, when `None`.
    pub(crate) fn scanned(&self) -> Option<&Bitset> {
        self.filter().or(self.valid)
    }

    /// Exact search over all of them.
    pub(crate) fn scan(
        &self,
        query: &[f32],
        k: usize,
        within: Window,
        stats: &mut SearchStats,
    ) -> Vec<Neighbor> {
        exact_in(&self.space, query, k, within, self.scanned(), stats)
    }

    /// [`Candidates::scan`] for every row of `queries`.
    pub(crate) fn scan_batch(
        &self,
        queries: Vectors<'_>,
        k: usize,
        within: Window,
        stats: &mut SearchStats,
    ) -> Vec<Vec<Neighbor>> {
        exact_batch_in(&self.space, queries, k, within, self.scanned(), stats)
    }
}

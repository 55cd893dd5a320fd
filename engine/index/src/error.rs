//! The errors of this crate: shapes, parameters, building, opening.

use std::ops::RangeInclusive;

use crate::gpu::GpuError;

/// Row-major data whose length is no multiple of its dimension, or whose dimension is zero.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "vector data of {len} floats is not a whole number of rows of dimension {dim} (dimension must be 1 or more)"
)]
pub struct ShapeError {
    /// Number of floats given.
    pub len: usize,
    /// Dimension given.
    pub dim: usize,
}

/// A parameter that cannot be used; the text names the parameter, the given value and what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParamError {
    /// An integer outside its range.
    #[error("param '{name}' ({given}) should be in range [{}, {}]", range.start(), range.end())]
    OutOfRange {
        /// Parameter name as clients write it.
        name: &'static str,
        /// The text given.
        given: String,
        /// Allowed values.
        range: RangeInclusive<u32>,
    },
    /// A number that is not an integer.
    #[error("wrong data type in json, key: '{name}', value: '{given}', should be an integer in range [{}, {}]", range.start(), range.end())]
    WrongType {
        /// Parameter name as clients write it.
        name: &'static str,
        /// The text given.
        given: String,
        /// Allowed values.
        range: RangeInclusive<u32>,
    },
    /// A text that is no number.
    #[error("invalid integer value, key: '{name}', value: '{given}', should be an integer in range [{}, {}]", range.start(), range.end())]
    NotInteger {
        /// Parameter name as clients write it.
        name: &'static str,
        /// The text given.
        given: String,
        /// Allowed values.
        range: RangeInclusive<u32>,
    },
    /// A number outside its range.
    #[error("param '{name}' ({given}) should be in range {allowed}")]
    NumberOutOfRange {
        /// Parameter name as clients write it.
        name: &'static str,
        /// The text given.
        given: String,
        /// Allowed values.
        allowed: &'static str,
    },
    /// A text that is no number, where one with a fraction is meant.
    #[error("invalid number, key: '{name}', value: '{given}', should be in range {allowed}")]
    NotNumber {
        /// Parameter name as clients write it.
        name: &'static str,
        /// The text given.
        given: String,
        /// Allowed values.
        allowed: &'static str,
    },
    /// An algorithm of the inverted index that nobody knows.
    #[error(
        "sparse inverted index algo {given} not found or not supported, supported: [DAAT_MAXSCORE DAAT_WAND TAAT_NAIVE \
         BLOCK_MAX_MAXSCORE BLOCK_MAX_WAND SINDI]"
    )]
    UnknownAlgorithm {
        /// The algorithm given.
        given: String,
    },
    /// `ef` below the number of wanted results.
    #[error("ef({ef}) should be larger than k({k})")]
    EfBelowK {
        /// `ef` as given.
        ef: u32,
        /// Wanted results.
        k: usize,
    },
    /// `search_list` below the number of wanted results.
    #[error("search_list_size({search_list}) should be larger than k({k})")]
    SearchListBelowK {
        /// `search_list` as given.
        search_list: u32,
        /// Wanted results.
        k: usize,
    },
    /// A parameter that has no default.
    #[error("param '{name}' not exist in json")]
    Missing {
        /// Parameter name as clients write it.
        name: &'static str,
    },
    /// A word that is none of those allowed.
    #[error("param '{name}' ({given}) should be one of {allowed}")]
    NotOneOf {
        /// Parameter name as clients write it.
        name: &'static str,
        /// The text given.
        given: String,
        /// Allowed words.
        allowed: &'static str,
    },
    /// More bits per codeword than there are codebooks for.
    #[error("not supported: param 'nbits' ({given}), supported are 1 to {max}")]
    Bits {
        /// Bits given.
        given: u32,
        /// Most bits.
        max: u32,
    },
    /// Groups of dimensions that are not of equal size.
    #[error("the dimension should be a multiple of '{name}': dimension {dim}, {name} {value}")]
    Divisor {
        /// Parameter name as clients write it.
        name: &'static str,
        /// The number given.
        value: u32,
        /// Floats per row.
        dim: usize,
    },
    /// `reorder_k` below the number of wanted results.
    #[error("reorder_k({reorder_k}) should be larger than k({k})")]
    ReorderBelowK {
        /// `reorder_k` as given.
        reorder_k: u32,
        /// Wanted results.
        k: usize,
    },
    /// An index type that exists elsewhere but not here.
    #[error(
        "not supported: index type {given}, supported: FLAT, IVF_FLAT, IVF_SQ8, IVF_PQ, IVF_RABITQ, IVF_RABITQ_FASTSCAN, SCANN, HNSW, HNSW_SQ, HNSW_PQ, HNSW_PRQ, DISKANN, AUTOINDEX"
    )]
    UnsupportedIndexType {
        /// The type given.
        given: String,
    },
    /// An index type nobody knows.
    #[error(
        "invalid index type: {given}, supported: FLAT, IVF_FLAT, IVF_SQ8, IVF_PQ, IVF_RABITQ, IVF_RABITQ_FASTSCAN, SCANN, HNSW, HNSW_SQ, HNSW_PQ, HNSW_PRQ, DISKANN, AUTOINDEX"
    )]
    UnknownIndexType {
        /// The type given.
        given: String,
    },
    /// A type of index on a device, which cannot be had here.
    #[error(transparent)]
    Gpu(#[from] GpuError),
    /// A metric nobody knows.
    #[error("metric type not found or not supported: {given}, supported: [L2 IP COSINE]")]
    UnknownMetric {
        /// The metric given.
        given: String,
    },
    /// A metric that no kind of vector has.
    #[error(
        "metric type not found or not supported: {given}, supported: [L2 IP COSINE HAMMING JACCARD MHJACCARD BM25 MAX_SIM \
         MAX_SIM_COSINE MAX_SIM_IP MAX_SIM_L2 MAX_SIM_HAMMING MAX_SIM_JACCARD]"
    )]
    UnknownMetricOfAny {
        /// The metric given.
        given: String,
    },
}

/// Vectors that have no distance: of different types, lengths, or compared by a metric that their type does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PairError {
    /// The two sides are of different types.
    #[error("a vector of type {left} has no distance to one of type {right}")]
    Types {
        /// Type of the query.
        left: &'static str,
        /// Type of the rows.
        right: &'static str,
    },
    /// The two sides have different dimensions.
    #[error("vectors have different dimensions, {left} and {right}")]
    Dimensions {
        /// Dimension of the query.
        left: usize,
        /// Dimension of the rows.
        right: usize,
    },
    /// The type does not have the metric.
    #[error("vectors of type {kind} have no metric {metric}, allowed are {allowed}")]
    Metric {
        /// Type of the vectors.
        kind: &'static str,
        /// Metric asked for.
        metric: String,
        /// Metrics of the type.
        allowed: &'static str,
    },
}

/// Why an index was not built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// [`crate::Progress::cancelled`] said so.
    #[error("index build was cancelled")]
    Cancelled,
    /// Parameters out of range.
    #[error(transparent)]
    Params(#[from] ParamError),
    /// More memory than builds may take.
    #[error(
        "the index needs up to {needed} bytes of memory while it is built, index builds may take {allowed}"
    )]
    Memory {
        /// Bytes at a time, as [`crate::build_bytes`] has them.
        needed: usize,
        /// What [`crate::BuildOptions::memory`] allows.
        allowed: usize,
    },
    /// More rows than a row number can address.
    #[error("an index holds at most {max} rows, got {rows}")]
    TooManyRows {
        /// Rows given.
        rows: usize,
        /// Rows allowed.
        max: usize,
    },
    /// More runs of characters than an index on parts of texts holds.
    #[error(
        "the distinct texts have {runs} runs of {min} to {max} characters, {characters} in all; an NGRAM index holds at most \
         268435456 and 4294967296 in all: a smaller max_gram gives fewer"
    )]
    TooManyRuns {
        /// Runs that there are.
        runs: usize,
        /// Characters of all of them.
        characters: usize,
        /// Characters of the shortest.
        min: u32,
        /// Characters of the longest.
        max: u32,
    },
    /// A metric that the kind of index does not have.
    #[error("{kind} has no metric {metric}, allowed are {allowed}")]
    Metric {
        /// The kind of index.
        kind: &'static str,
        /// Metric asked for.
        metric: String,
        /// Metrics of the kind.
        allowed: &'static str,
    },
    /// An index that the vectors cannot have.
    #[error("an index {index} with metric {metric} cannot be built on vectors of this type")]
    Kind {
        /// Type of the index.
        index: String,
        /// Metric asked for.
        metric: String,
    },
    /// A value that no search could order.
    #[error("the vector of row {row} has a value that is not finite")]
    NotFinite {
        /// Row number in the segment.
        row: usize,
    },
    /// An index of a device, without one.
    #[error(transparent)]
    Gpu(#[from] GpuError),
    /// The worker threads could not be started.
    #[error("cannot start {threads} index build threads: {reason}")]
    Threads {
        /// Threads asked for.
        threads: usize,
        /// What the system said.
        reason: String,
    },
}

/// Why bytes are not an index.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The bytes are damaged, or were never an index.
    #[error("corrupt index file: {what}")]
    Corrupt {
        /// What does not hold.
        what: String,
    },
    /// Written by a newer version.
    #[error("index file has format version {found}, this build reads version {known}")]
    Version {
        /// Version in the file.
        found: u32,
        /// Version understood here.
        known: u32,
    },
    /// The file cannot be read.
    #[error("cannot read index file {path}: {reason}")]
    Read {
        /// The file.
        path: String,
        /// What the system said.
        reason: String,
    },
}

impl OpenError {
    pub(crate) fn corrupt(what: impl Into<String>) -> Self {
        Self::Corrupt { what: what.into() }
    }
}

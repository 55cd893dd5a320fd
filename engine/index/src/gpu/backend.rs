//! What a search asks of a device: buffers, and one method for each kernel.
//!
//! [`super::cuda`] runs the kernels on a device; [`super::twin`] does the same in plain Rust. Everything above this trait,
//! such as which rows are compared when, how much memory is used, and what is asked again, is the same for both.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use parking_lot::Mutex;

use super::budget::Budget;
use super::error::GpuError;
use crate::any_metric::{AnyMetric, BitMetric};
use crate::metric::Metric;
pub use crate::typed::ElementType;

/// What buffers hold: 32 bits, any of which are a value.
pub trait Word: Copy + Default + Send + Sync + 'static + private::Sealed {
    /// Its bits.
    fn to_word(self) -> u32;
    /// The value of these bits.
    fn from_word(word: u32) -> Self;
}

mod private {
    pub trait Sealed {}
    impl Sealed for u32 {}
    impl Sealed for f32 {}
}

impl Word for u32 {
    fn to_word(self) -> u32 {
        self
    }

    fn from_word(word: u32) -> Self {
        word
    }
}

impl Word for f32 {
    fn to_word(self) -> u32 {
        self.to_bits()
    }

    fn from_word(word: u32) -> Self {
        Self::from_bits(word)
    }
}

/// How kernels compare; the codes of `kernels/common.cuh`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Comparison {
    /// Squared lengths and a product.
    L2 = 0,
    /// A product.
    Ip = 1,
    /// A product and inverse lengths.
    Cosine = 2,
    /// L2 by squared differences, for rows that are much longer than their differences.
    L2Direct = 3,
    /// Bits that differ.
    Hamming = 4,
    /// Bits that are set in both, and how many are set in each.
    Jaccard = 5,
}

impl Comparison {
    /// The one of a metric; `far` when rows are much longer than their differences.
    pub fn new(metric: Metric, far: bool) -> Self {
        match (metric, far) {
            (Metric::L2, false) => Self::L2,
            (Metric::L2, true) => Self::L2Direct,
            (Metric::Ip, _) => Self::Ip,
            (Metric::Cosine, _) => Self::Cosine,
        }
    }

    /// The one by which lists of numbers of a type are scanned: L2 by differences, of integers by products, which are exact.
    pub(super) fn of_lists(element: ElementType, metric: Metric) -> Self {
        Self::new(metric, !element.is_exact())
    }

    /// Whether a distance needs a term of each row.
    pub fn has_row_terms(self) -> bool {
        match self {
            Self::L2 | Self::Cosine | Self::Jaccard => true,
            Self::Ip | Self::L2Direct | Self::Hamming => false,
        }
    }

    /// The one of any metric that rows on a device have.
    pub fn of(metric: AnyMetric, far: bool) -> Option<Self> {
        match metric {
            AnyMetric::Numbers(metric) => Some(Self::new(metric, far)),
            AnyMetric::Bits(BitMetric::Hamming) => Some(Self::Hamming),
            AnyMetric::Bits(BitMetric::Jaccard) => Some(Self::Jaccard),
            AnyMetric::Bits(BitMetric::MinHash(_)) | AnyMetric::MaxSim(_) | AnyMetric::Bm25 => None,
        }
    }
}

/// Rows that lie on a device: `count` x `stride`, row-major.
#[derive(Debug)]
pub struct RowsOf<'a, B> {
    /// What they are made of.
    pub element: ElementType,
    /// The rows, zeros after the dimension.
    pub data: &'a B,
    /// One number for each, see [`Backend::row_terms`].
    pub terms: &'a B,
    /// One bit for each, set when it may be found; all may be when `None`.
    pub allow: Option<&'a B>,
    /// Number of the first row.
    pub base: u32,
}

/// A batch of queries on a device: `count` x `stride`, row-major. A unit is a float for rows of floats of any width, and of
/// integers and bits a word of them, see [`ElementType::stride`].
#[derive(Debug)]
pub struct QueriesOf<'a, B> {
    /// The queries, zeros after the dimension.
    pub data: &'a B,
    /// Squared length under L2, inverse length under COSINE; of integers the squared length as a whole number, and of bits how
    /// many are set.
    pub terms: &'a B,
    /// What a distance must not exceed.
    pub bounds: &'a B,
    /// How many.
    pub count: u32,
    /// Units of a query and of a row, a multiple of 4.
    pub stride: u32,
}

/// A list of neighbours for each query of a batch: `room` places for each, of which `counts` are in use. Counts above
/// `room` say that entries were lost.
#[derive(Debug)]
pub struct ListsOf<B> {
    /// Distances, as far as the kernels know them.
    pub distances: B,
    /// Row numbers.
    pub rows: B,
    /// Entries of each query.
    pub counts: B,
    /// Places for each query.
    pub room: u32,
}

impl<B> ListsOf<B> {
    /// Lists whose contents are not known.
    pub(super) fn allocate(
        backend: &impl Backend<Buffer = B>,
        queries: usize,
        room: usize,
    ) -> Result<Self, GpuError> {
        Ok(Self {
            distances: backend.allocate(queries * room)?,
            rows: backend.allocate(queries * room)?,
            counts: backend.allocate(queries)?,
            room: room as u32,
        })
    }

    /// Lists that are copied as a whole, places behind their entries included.
    pub(super) fn allocate_to_read(
        backend: &impl Backend<Buffer = B>,
        queries: usize,
        room: usize,
    ) -> Result<Self, GpuError> {
        Ok(Self {
            distances: backend.allocate_to_read(queries * room)?,
            rows: backend.allocate_to_read(queries * room)?,
            counts: backend.allocate_to_read(queries)?,
            room: room as u32,
        })
    }
}

/// Rows of inverted lists on a device, in groups of [`GROUP`] rows of one list, `words` words for each row, see
/// [`ElementType::list_words`]. Word `4 c + i` of place `p` of group `g` is at `4 ((g * words / 4 + c) * GROUP + p) + i`.
#[derive(Debug)]
pub struct InvertedOf<'a, B> {
    /// The rows, zeros after the dimension and in places without a row.
    pub data: &'a B,
    /// What [`Backend::row_terms`] says of each place's row where [`Comparison::has_row_terms`], else one word.
    pub terms: &'a B,
    /// The row of each place; [`NO_ROW`] where there is none.
    pub numbers: &'a B,
    /// The first group of each list, and the end of the last.
    pub starts: &'a B,
    /// One bit for each row, set when it may be found; all may be when `None`.
    pub allow: Option<&'a B>,
    /// Groups of the longest list.
    pub longest: u32,
}

/// Rows of a group of [`InvertedOf`].
pub const GROUP: usize = 32;
/// A place of [`InvertedOf`] that holds no row.
pub const NO_ROW: u32 = u32::MAX;

/// Codebooks of a product quantizer on a device: of each of `parts` groups of `width` dimensions `2^bits` codewords.
#[derive(Debug)]
pub struct BooksOf<'a, B> {
    /// Groups x dimensions of a group x codewords.
    pub data: &'a B,
    /// Squared length of each codeword: groups x codewords.
    pub norms: &'a B,
    /// Groups.
    pub parts: u32,
    /// Dimensions of a group.
    pub width: u32,
    /// Bits of a codeword's number, at most 8.
    pub bits: u32,
}

impl<B> BooksOf<'_, B> {
    /// Numbers of a code that lie in one word: eight of up to 4 bits, else four.
    pub fn per_word(&self) -> usize {
        codes_per_word(self.bits)
    }

    /// Words of a code.
    pub fn code_words(&self) -> usize {
        (self.parts as usize).div_ceil(self.per_word())
    }

    /// Words of a query's tables: 16 or 256 bytes for each group, and for those that the last word of a code has room for.
    pub fn table_words(&self) -> usize {
        table_words(self.parts as usize, self.bits)
    }
}

pub(super) fn codes_per_word(bits: u32) -> usize {
    if bits <= 4 { 8 } else { 4 }
}

/// Bytes of a group in tables.
pub(super) fn table_entries(bits: u32) -> usize {
    if bits <= 4 { 16 } else { 256 }
}

pub(super) fn table_words(parts: usize, bits: u32) -> usize {
    parts.next_multiple_of(codes_per_word(bits)) * table_entries(bits) / 4
}

/// Tables of a batch of queries, see [`Backend::code_tables`].
#[derive(Debug)]
pub struct TablesOf<B> {
    /// Queries x [`BooksOf::table_words`].
    pub bytes: B,
    /// Scale and bias of each query.
    pub lines: B,
    /// Least product of each query and group.
    pub lows: B,
}

/// Lists to look at: for each query the places `first..first + count` out of `room`.
#[derive(Debug)]
pub struct ProbesOf<'a, B> {
    /// Numbers of lists.
    pub lists: &'a B,
    /// Places for each query.
    pub room: u32,
    /// The first place to look at.
    pub first: u32,
    /// How many.
    pub count: u32,
}

/// A graph of rows on a device. Nodes are numbered without gaps.
#[derive(Debug)]
pub struct GraphOf<'a, B> {
    /// What rows are made of.
    pub element: ElementType,
    /// The row of each node: `nodes` x `stride` units, row-major, zeros after the dimension.
    pub data: &'a B,
    /// Of floats of any width the inverse length of each node's row under COSINE, else one word; of integers and bits one number for
    /// each node, see [`Backend::row_terms`].
    pub terms: &'a B,
    /// The number of each node's row.
    pub numbers: &'a B,
    /// Nodes x degree; [`NO_ROW`] in places that are not used.
    pub links: &'a B,
    /// How many.
    pub nodes: u32,
    /// Places for links of a node.
    pub degree: u32,
    /// One bit for each row, set when it may be found; all may be when `None`.
    pub allow: Option<&'a B>,
}

/// Links of all nodes of a graph on a device: `nodes` x `degree`, [`NO_ROW`] in places that are not used.
#[derive(Debug)]
pub struct LinksOf<'a, B> {
    /// The links, best first.
    pub data: &'a B,
    /// How many nodes.
    pub nodes: u32,
    /// Places of a node, at most [`MOST_LINKS`].
    pub degree: u32,
}

/// Most places for links of a node of [`LinksOf`], and most room for those that are made of them.
pub const MOST_LINKS: u32 = 2048;
/// Longest list of [`WalkOf`].
pub const MOST_LIST: u32 = 1024;

/// How a graph is walked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WalkOf {
    /// Walks for each query, which share the nodes near it.
    pub walks: u32,
    /// Nodes that a walk keeps, at most [`MOST_LIST`].
    pub list: u32,
    /// Nodes whose links a walk follows at a time, at most as many as it keeps.
    pub width: u32,
    /// Most rounds.
    pub rounds: u32,
    /// Lanes that compare a row: 2, 4, 8, 16 or 32.
    pub team: u32,
    /// Places of a walk's table of nodes that it has seen: a power of two above what it can see.
    pub marks: u32,
    /// Places of the table that several walks of a query share: a power of two above the nodes whose links they can follow or keep,
    /// and with a filter also those that they can see.
    pub shared: u32,
}

impl WalkOf {
    /// Words of the tables of a query.
    pub(super) fn table_words(&self) -> usize {
        self.walks as usize * self.marks as usize + self.shared as usize
    }
}

/// What walks of a batch of queries write down.
#[derive(Debug)]
pub struct MarksOf<B> {
    /// Tables of the walks, whose contents do not matter.
    pub own: B,
    /// Tables that walks of a query share, whose contents do not matter.
    pub shared: B,
    /// Nodes that were compared, for each query.
    pub scored: B,
}

impl<B> MarksOf<B> {
    /// Room for the walks of `queries` queries, of which none has compared anything.
    ///
    /// # Errors
    /// As the driver says.
    pub fn allocate(
        backend: &impl Backend<Buffer = B>,
        queries: usize,
        walk: WalkOf,
    ) -> Result<Self, GpuError> {
        let mut scored = backend.allocate(queries)?;
        backend.write(&mut scored, 0, &vec![0u32; queries])?;
        Ok(Self {
            own: backend.allocate(queries * walk.walks as usize * walk.marks as usize)?,
            shared: backend.allocate(queries * walk.shared as usize)?,
            scored,
        })
    }
}

/// A device, or what stands in for one. Calls are carried out in their order; but [`Backend::write_beside`] only waits for calls
/// that name the same buffer, and is only waited for by those.
pub trait Backend: Send + Sync + fmt::Debug {
    /// 32-bit words on the device.
    type Buffer: Send + Sync + fmt::Debug;

    /// Parts of the device that work side by side.
    fn multiprocessors(&self) -> u32;

    /// Room for `words` words, at least 1, whose contents are not known.
    ///
    /// # Errors
    /// As the driver says.
    fn allocate(&self, words: usize) -> Result<Self::Buffer, GpuError>;

    /// [`Backend::allocate`] for what is copied from the device as a whole, of which kernels write a part. Nobody relies on the
    /// rest; that it is written keeps tools silent which look for copies of what never was.
    ///
    /// # Errors
    /// As the driver says.
    fn allocate_to_read(&self, words: usize) -> Result<Self::Buffer, GpuError> {
        self.allocate(words)
    }

    /// Copies to the device, from word `at` on.
    ///
    /// # Errors
    /// When the buffer is too small, or as the driver says.
    fn write<W: Word>(&self, to: &mut Self::Buffer, at: usize, values: &[W]) -> Result<(), GpuError>;

    /// [`Backend::allocate`] for what [`Backend::write_beside`] writes to, whose first word is 0.
    ///
    /// # Errors
    /// As the driver says.
    fn allocate_beside(&self, words: usize) -> Result<Self::Buffer, GpuError> {
        let mut buffer = self.allocate(words)?;
        // Memory too is there in the order of calls: what waits for this write waits for it.
        self.write(&mut buffer, 0, &[0u32])?;
        Ok(buffer)
    }

    /// [`Backend::write`] while the device does other things.
    ///
    /// # Errors
    /// As [`Backend::write`].
    fn write_beside<W: Word>(&self, to: &mut Self::Buffer, at: usize, values: &[W]) -> Result<(), GpuError>;

    /// Copies from the device the first words of a buffer, when all that was asked for before is done.
    ///
    /// # Errors
    /// When the buffer is too small, or as the driver says.
    fn read<W: Word>(&self, from: &Self::Buffer, values: &mut [W]) -> Result<(), GpuError>;

    /// Copies a buffer to another of the same size.
    ///
    /// # Errors
    /// When the sizes differ, or as the driver says.
    fn copy(&self, from: &Self::Buffer, to: &mut Self::Buffer) -> Result<(), GpuError>;

    /// What comparisons need of `count` rows besides products: squared lengths, or under COSINE inverse lengths (0 for a
    /// row of zeros, no number where the squared length is below 1e-30). Those of integers are whole numbers, and those of bits
    /// tell how many are set. `largest[0]` grows to the bits of the largest squared length.
    ///
    /// # Errors
    /// As the driver says.
    fn row_terms(
        &self,
        element_and_comparison: (ElementType, Comparison),
        rows: &Self::Buffer,
        count: u32,
        stride: u32,
        terms: &mut Self::Buffer,
        largest: &mut Self::Buffer,
    ) -> Result<(), GpuError>;

    /// Compares all queries with the rows `first..first + count` and appends the pairs that are allowed and not beyond the
    /// query's bound. Row numbers of the result start at `rows.base`. What is no number counts as infinitely near. Distances of
    /// integers and bits are exact, and only what is nearer than the bound is appended.
    ///
    /// # Errors
    /// As the driver says.
    fn candidates(
        &self,
        comparison: Comparison,
        rows: &RowsOf<'_, Self::Buffer>,
        first: u32,
        count: u32,
        queries: &QueriesOf<'_, Self::Buffer>,
        lists: &mut ListsOf<Self::Buffer>,
    ) -> Result<(), GpuError>;

    /// The best `k` of each list of `queries` queries by distance, then row, in any order. `bounds` becomes the worst
    /// distance of a list with `k` entries, infinity for a shorter one. `overflow[0]` becomes 1 when a list had lost
    /// entries; then the result is worth nothing.
    ///
    /// # Errors
    /// As the driver says.
    fn select(
        &self,
        lists: &ListsOf<Self::Buffer>,
        queries: u32,
        k: u32,
        best: &mut ListsOf<Self::Buffer>,
        bounds: &mut Self::Buffer,
        overflow: &mut Self::Buffer,
    ) -> Result<(), GpuError>;

    /// The nearest of `count` rows for each query, as a key of its distance and its number, low word first, see
    /// [`Neighbor::key`](crate::Neighbor). `nearest` holds two words for each query, all bits set or an earlier key, which
    /// stays where it is smaller. Bounds and filter are not looked at. Rows are of 32-bit floats.
    ///
    /// # Errors
    /// As the driver says.
    fn nearest(
        &self,
        comparison: Comparison,
        rows: &RowsOf<'_, Self::Buffer>,
        count: u32,
        queries: &QueriesOf<'_, Self::Buffer>,
        nearest: &mut Self::Buffer,
    ) -> Result<(), GpuError>;

    /// The mean of each of `lists` lists of rows, `members[offsets[i]..offsets[i + 1]]` being list `i`. Row `r` is multiplied by
    /// `weights[r]`; sums have 64 bits and run in the order of the list. Means of empty lists stay what they are.
    ///
    /// # Errors
    /// As the driver says.
    fn list_means(
        &self,
        rows_and_weights: (&Self::Buffer, &Self::Buffer),
        members_and_offsets: (&Self::Buffer, &Self::Buffer),
        lists: u32,
        stride: u32,
        means: &mut Self::Buffer,
    ) -> Result<(), GpuError>;

    /// Compares each query with the rows of its lists, and appends those that are allowed and not beyond its bound. `seen[query]`
    /// grows by all that are allowed. What is no number counts as infinitely near.
    ///
    /// # Errors
    /// As the driver says.
    fn scan_lists(
        &self,
        element_and_comparison: (ElementType, Comparison),
        inverted: &InvertedOf<'_, Self::Buffer>,
        queries: &QueriesOf<'_, Self::Buffer>,
        probes: &ProbesOf<'_, Self::Buffer>,
        seen: &mut Self::Buffer,
        lists: &mut ListsOf<Self::Buffer>,
    ) -> Result<(), GpuError>;

    /// The nearest codeword of each group of `count` rows, the first of equally near ones, as a byte: `pitch` bytes for each row,
    /// a multiple of 4. Nearness is `|w|^2 - 2 <x, w>`, in single steps and in the order of the dimensions, so that every backend
    /// finds the same.
    ///
    /// # Errors
    /// As the driver says.
    fn nearest_words(
        &self,
        rows: &Self::Buffer,
        count: u32,
        stride: u32,
        books: &BooksOf<'_, Self::Buffer>,
        pitch: u32,
        codes: &mut Self::Buffer,
    ) -> Result<(), GpuError>;

    /// The products of queries, less `mean`, with all codewords, rounded to bytes: an entry stands for `scale` times itself and
    /// its group's least product; all of those are summed in the bias. The same on every backend, bit for bit.
    ///
    /// # Errors
    /// As the driver says.
    fn code_tables(
        &self,
        queries: &QueriesOf<'_, Self::Buffer>,
        mean: &Self::Buffer,
        books: &BooksOf<'_, Self::Buffer>,
        tables: &mut TablesOf<Self::Buffer>,
    ) -> Result<(), GpuError>;

    /// [`Backend::scan_lists`] by codes, whose estimates take the place of distances. `coded.data` are codes in words, in groups
    /// as rows are; `coded.terms` are added under L2, one for each place. `bases` are lists x stride: distances count from them.
    ///
    /// # Errors
    /// As the driver says.
    fn scan_codes(
        &self,
        metric: Metric,
        coded: (
            &InvertedOf<'_, Self::Buffer>,
            &Self::Buffer,
            &BooksOf<'_, Self::Buffer>,
        ),
        queries: (&QueriesOf<'_, Self::Buffer>, &TablesOf<Self::Buffer>),
        probes: &ProbesOf<'_, Self::Buffer>,
        seen: &mut Self::Buffer,
        lists: &mut ListsOf<Self::Buffer>,
    ) -> Result<(), GpuError>;

    /// For each link of the nodes `of`, how many ways over one other node there are both links of which come earlier in their
    /// lists. Links lie nearest first.
    ///
    /// # Errors
    /// As the driver says.
    fn count_detours(
        &self,
        links: &LinksOf<'_, Self::Buffer>,
        of: Range<u32>,
        detours: &mut Self::Buffer,
    ) -> Result<(), GpuError>;

    /// The `kept` links of each of the nodes `of` with the fewest `detours`, the earlier of equal ones first. `best` is nodes x
    /// `kept`, of all nodes.
    ///
    /// # Errors
    /// As the driver says.
    fn best_links(
        &self,
        links: &LinksOf<'_, Self::Buffer>,
        of: Range<u32>,
        detours: &Self::Buffer,
        kept: u32,
        best: &mut Self::Buffer,
    ) -> Result<(), GpuError>;

    /// The nodes that link to each of the nodes `of`, those where the link comes first in their lists first, then by number, `room`
    /// at most: `room` x 2 words for each, the complements of a node's number and of the link's place; zeros in places that are not
    /// used.
    ///
    /// # Errors
    /// As the driver says.
    fn reverse_links(
        &self,
        links: &LinksOf<'_, Self::Buffer>,
        of: Range<u32>,
        room: u32,
        reverse: &mut Self::Buffer,
    ) -> Result<(), GpuError>;

    /// `room` links of each of the nodes `of`, none twice: the first of its own, half as many as there is room for, then those of
    /// [`Backend::reverse_links`], then the rest of its own.
    ///
    /// # Errors
    /// As the driver says.
    fn join_links(
        &self,
        links: &LinksOf<'_, Self::Buffer>,
        of: Range<u32>,
        reverse: &Self::Buffer,
        room: u32,
        joined: &mut Self::Buffer,
    ) -> Result<(), GpuError>;

    /// Walks a graph for each query from nodes all over it. Floats of any width are compared by differences under L2, which
    /// `comparison` says; distances of integers and bits are exact. Appends the nodes that were kept
    /// or, with a filter, all that were scored and are allowed; several walks also append what they kept until they had followed
    /// its links. No node is appended twice. `marks.scored[query]` grows by the nodes compared; with a filter, a node that
    /// several walks compare counts once. Bounds are not looked at.
    ///
    /// # Errors
    /// As the driver says.
    fn walk_graph(
        &self,
        comparison: Comparison,
        graph: &GraphOf<'_, Self::Buffer>,
        queries: &QueriesOf<'_, Self::Buffer>,
        walk: WalkOf,
        marks: &mut MarksOf<Self::Buffer>,
        lists: &mut ListsOf<Self::Buffer>,
    ) -> Result<(), GpuError>;
}

/// A device and how it is shared.
#[derive(Debug)]
pub struct Device<B> {
    /// Runs the kernels.
    pub backend: B,
    /// Its memory.
    pub budget: Arc<Budget>,
    /// Held while a search is on the device, so that searches do not need memory at the same time.
    pub(crate) turn: Mutex<()>,
    /// Devices that it shares its work with.
    peers: Vec<Arc<Self>>,
}

impl<B: Backend> Device<B> {
    /// A device of which `limit` bytes may be used.
    pub fn new(backend: B, limit: usize) -> Arc<Self> {
        Self::with_peers(backend, limit, Vec::new())
    }

    /// The same, with devices that it shares its work with: each keeps a part of the rows of an index.
    pub fn with_peers(backend: B, limit: usize, peers: Vec<Arc<Self>>) -> Arc<Self> {
        Arc::new(Self {
            backend,
            budget: Budget::new(limit),
            turn: Mutex::new(()),
            peers,
        })
    }

    /// The device and those that it shares its work with.
    pub(super) fn all(self: &Arc<Self>) -> Vec<Arc<Self>> {
        let mut all = vec![Arc::clone(self)];
        all.extend(self.peers.iter().cloned());
        all
    }
}

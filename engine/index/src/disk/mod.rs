//! DISKANN: a graph whose nodes lie on disk, and codes in memory to walk it by (Subramanya et al., DiskANN, 2019).
//!
//! ```text
//!   in memory   codes of all nodes, some bytes each; the first blocks of the file
//!   on disk     block | block | block | ..      per node its row, its vector, its links: one read tells all
//! ```
//!
//! The graph is Vamana: one layer, links that leave out what a kept link gets near to by a factor. It is built by the parts
//! of [`crate::hnsw`]. Nodes are numbered as a breadth-first walk from the entry meets them, so the blocks that every search
//! begins with are the first of the file, and are kept in memory as far as `search_cache_budget_gb_ratio` goes.
//!
//! The vectors are stored again beside the links: a search that walks touches neither the segment's vectors nor any other
//! memory than that of the codes. Where a scan is cheaper, it is the segment's vectors that are scanned; also when a block
//! cannot be read or is damaged, which is logged.
//!
//! The blob is a head like that of every index (see [`crate::blob`]), which is read into memory, and after it, from the next
//! page on, the blocks.
//!
//! ```text
//!   0   words of the rows with a vector; none when all have one
//!   1   most links of a node
//!   2.. mean, codebooks and codes
//! ```
//!
//! | file | part |
//! |---|---|
//! | `params` | the parameters |
//! | `layout` | nodes in blocks |
//! | `apart` | distances that a graph of this kind can be built by |
//! | `build` | construction |
//! | `codes` | codes and estimates |
//! | `pages`, `file`, `uring` | reading blocks |
//! | `search` | the beam search |

mod apart;
mod build;
mod codes;
mod file;
pub(crate) mod layout;
mod pages;
pub(crate) mod params;
mod search;
#[cfg(target_os = "linux")]
mod uring;

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use bytes::Bytes;

use crate::any_metric::AnyMetric;
use crate::bitset::Bitset;
use crate::blob::{Header, Reader, Writer, head_bytes};
use crate::codes::rows::RowSource;
use crate::error::{BuildError, OpenError, PairError};
use crate::exact_search_any;
use crate::hnsw::{Allowed, Points, ScratchPool};
use crate::index::{IndexKind, MAX_ROWS, SearchStats, VectorIndex, in_pool};
use crate::indexed_rows::Validity;
use crate::kernels::narrow::{BFloat16, Half};
use crate::metric::Metric;
use crate::neighbor::Neighbor;
use crate::params::{BuildParams, SearchParams};
use crate::progress::BuildOptions;
use crate::scorer::{Space, inverse_norms};
use crate::typed::{ElementType, Narrow, NumberPoints, Rows, VectorRef, VectorsRef};
use crate::vectors::Vectors;
use codes::Codes;
use file::NodeFile;
use layout::{Layout, PAGE};
use pages::Blocks;
use params::DiskParams;

/// An index on disk over vectors of 32- or 16-bit floats.
#[derive(Debug)]
pub struct DiskIndex {
    params: DiskParams,
    element: ElementType,
    metric: Metric,
    dim: usize,
    /// Rows of the segment, those without a vector included.
    len: usize,
    valid: Validity,
    layout: Layout,
    codes: Codes,
    blocks: Blocks,
    scratch: ScratchPool,
}

/// Arrays before those of the codes.
const ARRAYS: usize = 2;

/// Bytes of a number.
fn number_bytes(element: ElementType) -> Option<usize> {
    match element {
        ElementType::Float => Some(4),
        ElementType::Half | ElementType::BFloat16 => Some(2),
        ElementType::Int8 | ElementType::Bit => None,
    }
}

impl DiskIndex {
    /// Builds an index; `None` when vectors of this type do not have it, or not with this metric.
    pub(crate) fn build(
        params: DiskParams,
        metric: AnyMetric,
        vectors: VectorsRef<'_>,
        valid: Option<&Bitset>,
        options: &BuildOptions<'_>,
    ) -> Option<Result<Self, BuildError>> {
        let AnyMetric::Numbers(metric) = metric else {
            return None;
        };
        matches!(
            vectors,
            VectorsRef::Floats(_) | VectorsRef::Halves(_) | VectorsRef::BFloat16s(_)
        )
        .then(|| Self::build_checked(params, metric, vectors, valid, options))
    }

    fn build_checked(
        params: DiskParams,
        metric: Metric,
        vectors: VectorsRef<'_>,
        valid: Option<&Bitset>,
        options: &BuildOptions<'_>,
    ) -> Result<Self, BuildError> {
        params.check()?;
        if vectors.len() > MAX_ROWS {
            return Err(BuildError::TooManyRows {
                rows: vectors.len(),
                max: MAX_ROWS,
            });
        }
        if options.progress.cancelled() {
            return Err(BuildError::Cancelled);
        }
        let valid = Validity::new(vectors.len(), valid);
        in_pool(options, || match vectors {
            VectorsRef::Floats(rows) => {
                let norms = match metric {
                    Metric::Cosine => inverse_norms(rows),
                    Metric::L2 | Metric::Ip => Vec::new(),
                };
                let points = Space::new(metric, rows, Some(&norms));
                let write = |row: u32, out: &mut Vec<u8>| {
                    let numbers = rows.row(row as usize).iter();
                    out.extend(numbers.flat_map(|number| number.to_le_bytes()));
                };
                Self::of(params, ElementType::Float, metric, &points, valid, write, options)
            }
            VectorsRef::Halves(rows) => {
                Self::of_narrow::<Half>(params, ElementType::Half, metric, rows, valid, options)
            }
            VectorsRef::BFloat16s(rows) => {
                Self::of_narrow::<BFloat16>(params, ElementType::BFloat16, metric, rows, valid, options)
            }
            VectorsRef::Int8s(_) | VectorsRef::Bits(_) | VectorsRef::Sparse(_) | VectorsRef::Lists(_) => {
                Err(BuildError::Kind {
                    index: IndexKind::DiskAnn.to_string(),
                    metric: metric.to_string(),
                })
            }
        })
    }

    fn of_narrow<N: Narrow<Bits = u16>>(
        params: DiskParams,
        element: ElementType,
        metric: Metric,
        rows: Rows<'_, u16>,
        valid: Validity,
        options: &BuildOptions<'_>,
    ) -> Result<Self, BuildError> {
        let norms = match metric {
            Metric::Cosine => crate::typed::inverse_norms::<N>(rows),
            Metric::L2 | Metric::Ip => Vec::new(),
        };
        let points = NumberPoints::<N> {
            metric,
            rows,
            inverse_norms: &norms,
        };
        let write = |row: u32, out: &mut Vec<u8>| {
            let numbers = rows.row(row as usize).iter();
            out.extend(numbers.flat_map(|number| number.to_le_bytes()));
        };
        Self::of(params, element, metric, &points, valid, write, options)
    }

    fn of<P: Points + RowSource>(
        params: DiskParams,
        element: ElementType,
        metric: Metric,
        points: &P,
        valid: Validity,
        write: impl Fn(u32, &mut Vec<u8>) + Sync,
        options: &BuildOptions<'_>,
    ) -> Result<Self, BuildError> {
        let (dim, len) = (points.dim(), RowSource::len(points));
        let vector_bytes = dim * number_bytes(element).unwrap_or(0);
        let members = valid.numbers(len);
        let built = build::build(params, metric, points, &members, vector_bytes, write, options)?;
        Ok(Self {
            params,
            element,
            metric,
            dim,
            len,
            scratch: ScratchPool::new(valid.count()),
            valid,
            layout: built.layout,
            codes: built.codes,
            blocks: Blocks::in_memory(built.layout, Bytes::from(built.blocks)),
        })
    }

    /// Opens a blob as a whole: its blocks stay where they are, and are checked once.
    pub(crate) fn open(reader: &Reader) -> Result<Self, OpenError> {
        let tail = reader.tail().clone();
        let index = Self::open_head(reader, tail.len() as u64, |layout| {
            Ok(Blocks::in_memory(layout, tail))
        })?;
        let blocks = index.layout.blocks(index.valid.count());
        index
            .blocks
            .check(blocks)
            .map_err(|error| OpenError::corrupt(error.to_string()))?;
        Ok(index)
    }

    /// Opens a blob in a file: its head is read, and the first of its blocks as far as the parameters say. The others are
    /// checked when they are read.
    pub(crate) fn open_file(path: &Path) -> Result<Self, OpenError> {
        let failed = |error: io::Error| OpenError::Read {
            path: path.display().to_string(),
            reason: error.to_string(),
        };
        let mut file = File::open(path).map_err(failed)?;
        let length = file.metadata().map_err(failed)?.len();
        let bytes = head_bytes(&mut file).map_err(failed)?;
        let bytes = bytes.filter(|&bytes| bytes <= length);
        let bytes = bytes.ok_or_else(|| OpenError::corrupt(format!("{length} bytes hold no whole head")))?;
        // Exactly the room that is needed, for most of it stays.
        let mut head = Vec::with_capacity(usize::try_from(bytes).unwrap_or(0));
        let mut whole = File::open(path).map_err(failed)?.take(bytes);
        whole.read_to_end(&mut head).map_err(failed)?;
        let reader = Reader::new(Bytes::from(head))?;
        let offset = bytes.next_multiple_of(PAGE as u64);
        let mut index = Self::open_head(&reader, length.saturating_sub(offset), |layout| {
            let file = NodeFile::open(path, offset).map_err(failed)?;
            Ok(Blocks::in_file(layout, file))
        })?;
        let nodes = index.valid.count();
        let budget = index.params.cache_ratio.part_of(nodes * index.vector_bytes());
        let first = budget / index.layout.block_bytes();
        let kept = index.blocks.keep_first(first.min(index.layout.blocks(nodes)));
        kept.map_err(|error| OpenError::corrupt(error.to_string()))?;
        Ok(index)
    }

    /// `tail` are the bytes of the blocks.
    fn open_head(
        reader: &Reader,
        tail: u64,
        blocks: impl FnOnce(Layout) -> Result<Blocks, OpenError>,
    ) -> Result<Self, OpenError> {
        let Header {
            params,
            element,
            metric,
            dim,
            rows,
        } = *reader.header();
        let bytes = number_bytes(element).and_then(|bytes| dim.checked_mul(bytes));
        let (BuildParams::Disk(params), AnyMetric::Numbers(metric), Some(vector_bytes @ 1..)) =
            (params, metric, bytes)
        else {
            return Err(OpenError::corrupt(format!(
                "{} of {element:?} vectors of dimension {dim} with metric {metric}",
                params.kind()
            )));
        };
        let valid = Validity::open(reader, rows)?;
        let nodes = valid.count();
        let degree = reader.array_of::<u32>(1, 1, "most links")?;
        let degree = degree.first().copied().unwrap_or(0);
        if degree > params.max_degree {
            return Err(OpenError::corrupt(format!(
                "{degree} links of a node, at most {} were asked for",
                params.max_degree
            )));
        }
        let layout = Layout::new(vector_bytes, degree as usize);
        let layout = layout.ok_or_else(|| OpenError::corrupt(format!("dimension {dim}")))?;
        let expected = (layout.blocks(nodes) as u64).checked_mul(layout.block_bytes() as u64);
        if expected != Some(tail) {
            return Err(OpenError::corrupt(format!(
                "{tail} bytes of blocks for {nodes} nodes"
            )));
        }
        if reader.arrays() != ARRAYS + Codes::ARRAYS {
            return Err(OpenError::corrupt(format!("{} arrays", reader.arrays())));
        }
        let budget = params.code_bytes(vector_bytes);
        Ok(Self {
            params,
            element,
            metric,
            dim,
            len: rows,
            codes: Codes::open(reader, ARRAYS, metric, nodes, budget)?,
            scratch: ScratchPool::new(nodes),
            valid,
            layout,
            blocks: blocks(layout)?,
        })
    }

    fn vector_bytes(&self) -> usize {
        self.dim * number_bytes(self.element).unwrap_or(0)
    }

    /// Whether a row is in the index.
    fn has(&self, row: u32) -> bool {
        match self.valid.set() {
            Some(set) => set.get(row as usize),
            None => (row as usize) < self.len,
        }
    }

    pub(crate) fn element(&self) -> ElementType {
        self.element
    }

    /// The rows nearest to `query`, see [`crate::AnyIndex::search`].
    pub(crate) fn search_any(
        &self,
        vectors: VectorsRef<'_>,
        query: VectorRef<'_>,
        k: usize,
        params: &SearchParams,
        allow: Option<&Bitset>,
        stats: &mut SearchStats,
    ) -> Result<Vec<Neighbor>, PairError> {
        let filter = self.valid.filtered(allow);
        let filter = filter.as_deref();
        let wide: Option<Vec<f32>> = match (self.element, query) {
            (ElementType::Float, VectorRef::Floats(query)) => Some(query.to_vec()),
            (ElementType::Half, VectorRef::Halves(query)) => {
                Some(query.iter().map(|&bits| <Half as Narrow>::widen(bits)).collect())
            }
            (ElementType::BFloat16, VectorRef::BFloat16s(query)) => Some(
                query
                    .iter()
                    .map(|&bits| <BFloat16 as Narrow>::widen(bits))
                    .collect(),
            ),
            _ => None,
        };
        if let Some(wide) = wide
            && wide.len() == self.dim
            && vectors.len() == self.len
        {
            let allowed = Allowed {
                filter,
                count: filter.map(|filter| filter.count_range(0, self.len)),
            };
            if let Some(found) = self.walk(query, wide, allowed, k, params, stats) {
                return Ok(found);
            }
        }
        let scanned = filter.or(self.valid.set());
        exact_search_any(
            self.metric.into(),
            vectors,
            query,
            k,
            params.within,
            scanned,
            stats,
        )
    }
}

impl VectorIndex for DiskIndex {
    fn kind(&self) -> IndexKind {
        IndexKind::DiskAnn
    }

    fn metric(&self) -> Metric {
        self.metric
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn rows(&self) -> usize {
        self.len
    }

    fn params(&self) -> BuildParams {
        BuildParams::Disk(self.params)
    }

    fn memory_bytes(&self) -> usize {
        self.valid.memory_bytes()
            + self.codes.memory_bytes()
            + self.blocks.memory_bytes()
            + self.scratch.memory_bytes()
    }

    fn search(
        &self,
        vectors: Vectors<'_>,
        query: &[f32],
        k: usize,
        params: &SearchParams,
        allow: Option<&Bitset>,
        stats: &mut SearchStats,
    ) -> Vec<Neighbor> {
        let rows = VectorsRef::Floats(vectors);
        let fits = query.len() == self.dim && vectors.dim() == self.dim && vectors.len() == self.len;
        let found = if fits {
            self.search_any(rows, VectorRef::Floats(query), k, params, allow, stats)
                .map_err(|error| error.to_string())
        } else {
            Err("search does not have the shape of the index".to_owned())
        };
        found.unwrap_or_else(|error| {
            tracing::error!(
                error,
                dim = self.dim,
                rows = self.len,
                "a DISKANN index is not searched"
            );
            Vec::new()
        })
    }

    fn serialize(&self) -> Vec<u8> {
        let mut writer = Writer::new(&Header {
            params: BuildParams::Disk(self.params),
            element: self.element,
            metric: self.metric.into(),
            dim: self.dim,
            rows: self.len,
        });
        writer.put(self.valid.set().map_or(&[][..], Bitset::words));
        writer.put(vec![self.layout.degree() as u32]);
        self.codes.write(&mut writer);
        let blocks = self.layout.blocks(self.valid.count());
        let mut blob = writer.finish_before(blocks * self.layout.block_bytes(), PAGE);
        if let Some(all) = self.blocks.in_one() {
            blob.extend_from_slice(all);
            return blob;
        }
        let mut pages = self.blocks.take();
        for block in 0..blocks {
            match self.blocks.fetch(&[block], &mut pages) {
                Ok(()) => {
                    blob.extend_from_slice(pages.bytes().get(..self.layout.block_bytes()).unwrap_or_default())
                }
                Err(error) => {
                    // The blob is short by a block, so nobody will open it.
                    tracing::error!(%error, "nodes of a DISKANN index cannot be read, nor written");
                    break;
                }
            }
        }
        self.blocks.give_back(pages);
        blob
    }
}

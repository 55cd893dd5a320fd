//! The container of a serialized index: a header, a table of arrays, the arrays.
//!
//! ```text
//!   0   magic "ELANUSIX" (8)
//!   8   format version (u32): 2 where the type of the elements is not 0, else 1
//!   12  kind, metric, type of the elements, 0 (u8 each)
//!   16  dim (u32), arrays (u32)
//!   24  rows (u64)
//!   32  four parameters of the kind (u32 each)
//!   48  bytes after the header (u64)
//!   56  CRC-32C of those bytes (u32), CRC-32C of the header up to here (u32)
//!   64  table: offset from the start, length in bytes (u64 each) per array
//!   ..  arrays, each at a multiple of 64, zeros between
//! ```
//!
//! Some indexes have more after that, from the next page on, which is not in the checksum of the header and has its own: see
//! [`crate::disk`].
//!
//! All numbers are little-endian. Arrays are used in place: [`Array`] keeps the bytes alive and views them as numbers.
//!
//! What the header's codes and numbers mean is up to the family of indexes, see [`Heading`]: [`Header`] is that of indexes
//! on vectors, [`crate::scalar`] has its own.

use std::io::{self, Read};
use std::ops::{Deref, Range};

use bytes::Bytes;

use crate::any_metric::{AnyMetric, BitMetric, ElementMetric};
use crate::disk::params::{DiskParams, Ratio};
use crate::error::OpenError;
use crate::gpu::PqParams;
use crate::gpu::cagra::CagraParams;
use crate::hnsw::params::{GraphCode, HnswCodedParams, ScalarFormat};
use crate::index::MAX_ROWS;
use crate::ivf::params::{Code, CodedParams, Precision};
use crate::metric::Metric;
use crate::minhash::{MinHash, MinHashParams};
use crate::params::BuildParams;
use crate::sparse::params::{SparseAlgorithm, SparseParams};
use crate::typed::ElementType;

const MAGIC: &[u8; 8] = b"ELANUSIX";
/// The newest version, and the one of what older readers know.
const VERSION: u32 = 2;
const OLD_VERSION: u32 = 1;
const HEADER: usize = 64;
const ALIGN: usize = 64;
/// What comes after the arrays starts at a multiple of this.
const TAIL_ALIGN: usize = 4096;
/// The code of the kind that has more after its arrays.
const DISK: u8 = 13;
/// Kind of the exact search on a device.
const GPU_BRUTE_FORCE: u8 = 14;
/// Kind of the lists on a device; its arrays are those of IVF_FLAT, without codes.
const GPU_IVF_FLAT: u8 = 15;
/// Kind of the lists with product codes on a device; its arrays are those of IVF_PQ.
const GPU_IVF_PQ: u8 = 23;
/// Kind of the index of bands of signatures.
const MINHASH_LSH: u8 = 22;
/// Kind of the graph on a device; its arrays are those of HNSW, without codes.
const GPU_CAGRA: u8 = 20;
/// More arrays than any kind writes.
const MAX_ARRAYS: usize = 1024;

/// A header as it is written, whatever its family.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) kind: u8,
    pub(crate) metric: u8,
    pub(crate) element: u8,
    pub(crate) dim: usize,
    pub(crate) rows: usize,
    pub(crate) numbers: [u32; 4],
}

/// What the headers of a family of indexes say.
pub(crate) trait Heading: Sized {
    fn to_shape(&self) -> Shape;
    fn from_shape(shape: &Shape) -> Result<Self, OpenError>;

    /// Whether a blob of this kind has more after its arrays.
    fn has_tail(_kind: u8) -> bool {
        false
    }
}

/// What the blob of an index on vectors says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) params: BuildParams,
    pub(crate) element: ElementType,
    pub(crate) metric: AnyMetric,
    pub(crate) dim: usize,
    pub(crate) rows: usize,
}

/// Numbers that arrays hold: any bits are a value.
pub(crate) trait Number: Copy + std::fmt::Debug + Send + Sync + 'static {
    fn append(self, out: &mut Vec<u8>);
    fn from_le(bytes: &[u8]) -> Self;
}

macro_rules! number {
    ($($type:ty),*) => {$(
        impl Number for $type {
            fn append(self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }

            fn from_le(bytes: &[u8]) -> Self {
                bytes.try_into().map_or(Self::default(), Self::from_le_bytes)
            }
        }
    )*};
}
number!(u8, u16, u32, u64, f32, f64);

/// Numbers that were built here, or that lie in an opened blob.
#[derive(Debug)]
pub(crate) enum Array<T> {
    Owned(Vec<T>),
    /// Little-endian numbers, aligned for `T`; only made on little-endian machines.
    Mapped(Bytes),
}

impl<T: Number> Array<T> {
    fn from_bytes(bytes: Bytes) -> Self {
        let aligned = (bytes.as_ptr() as usize).is_multiple_of(align_of::<T>());
        if aligned && cfg!(target_endian = "little") {
            return Self::Mapped(bytes);
        }
        Self::Owned(bytes.chunks_exact(size_of::<T>()).map(T::from_le).collect())
    }

    /// Bytes that the numbers take.
    pub(crate) fn bytes(&self) -> usize {
        size_of_val::<[T]>(self)
    }
}

impl<T: Number> Deref for Array<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        match self {
            Self::Owned(numbers) => numbers,
            Self::Mapped(bytes) => {
                // SAFETY: any bits are a valid `Number`; `align_to` itself takes care of alignment and length.
                let (_, numbers, _) = unsafe { bytes.align_to::<T>() };
                numbers
            }
        }
    }
}

/// An array on its way into a blob, borrowed where it can be: an index may be as large as half of the memory.
pub(crate) trait Numbers {
    fn bytes(&self) -> usize;
    fn append(&self, out: &mut Vec<u8>);
}

impl<T: Number> Numbers for &[T] {
    fn bytes(&self) -> usize {
        size_of_val(*self)
    }

    fn append(&self, out: &mut Vec<u8>) {
        for &number in *self {
            number.append(out);
        }
    }
}

impl<T: Number> Numbers for Vec<T> {
    fn bytes(&self) -> usize {
        self.as_slice().bytes()
    }

    fn append(&self, out: &mut Vec<u8>) {
        self.as_slice().append(out);
    }
}

/// Puts a blob together.
pub(crate) struct Writer<'a> {
    shape: Shape,
    arrays: Vec<Box<dyn Numbers + 'a>>,
}

impl<'a> Writer<'a> {
    pub(crate) fn new(heading: &impl Heading) -> Self {
        Self {
            shape: heading.to_shape(),
            arrays: Vec::new(),
        }
    }

    /// Adds an array; readers take it by the order of these calls.
    pub(crate) fn put(&mut self, numbers: impl Numbers + 'a) {
        self.arrays.push(Box::new(numbers));
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.finish_before(0, 1)
    }

    /// The blob up to where a tail starts, at a multiple of `align`, with room for `tail` more bytes.
    pub(crate) fn finish_before(self, tail: usize, align: usize) -> Vec<u8> {
        let table = (HEADER + 16 * self.arrays.len()).next_multiple_of(ALIGN);
        let sizes = self
            .arrays
            .iter()
            .map(|array| array.bytes().next_multiple_of(ALIGN));
        let bytes = (table + sizes.sum::<usize>()).next_multiple_of(align);
        let mut blob = Vec::with_capacity(bytes + tail);
        blob.resize(HEADER, 0);
        let mut offset = table;
        for array in &self.arrays {
            (offset as u64).append(&mut blob);
            (array.bytes() as u64).append(&mut blob);
            offset = (offset + array.bytes()).next_multiple_of(ALIGN);
        }
        for array in &self.arrays {
            blob.resize(blob.len().next_multiple_of(ALIGN), 0);
            array.append(&mut blob);
        }
        let header = self.header_of(blob.get(HEADER..).unwrap_or_default());
        if let Some(room) = blob.get_mut(..HEADER) {
            room.copy_from_slice(&header);
        }
        blob.resize(blob.len().next_multiple_of(align), 0);
        blob
    }

    /// The header of a blob with this `body`, [`HEADER`] bytes.
    fn header_of(&self, body: &[u8]) -> Vec<u8> {
        let Shape {
            kind,
            metric,
            element,
            dim,
            rows,
            numbers,
        } = self.shape;
        let mut header = Vec::with_capacity(HEADER);
        header.extend_from_slice(MAGIC);
        let version = if element == 0 { OLD_VERSION } else { VERSION };
        version.append(&mut header);
        header.extend_from_slice(&[kind, metric, element, 0]);
        (dim as u32).append(&mut header);
        (self.arrays.len() as u32).append(&mut header);
        (rows as u64).append(&mut header);
        for number in numbers {
            number.append(&mut header);
        }
        (body.len() as u64).append(&mut header);
        crc32c::crc32c(body).append(&mut header);
        crc32c::crc32c(&header).append(&mut header);
        header
    }
}

impl Heading for Header {
    fn to_shape(&self) -> Shape {
        let (kind, numbers) = encode_params(self.params);
        Shape {
            kind,
            metric: encode_metric(self.metric),
            element: self.element.code(),
            dim: self.dim,
            rows: self.rows,
            numbers,
        }
    }

    fn from_shape(shape: &Shape) -> Result<Self, OpenError> {
        let params = decode_params(shape.kind, shape.numbers)?;
        let metric = match (params, decode_metric(shape.metric)?) {
            (BuildParams::MinHash(params), metric) if metric.minhash().is_some() => params.metric().into(),
            (_, metric) => metric,
        };
        Ok(Self {
            params,
            element: ElementType::from_code(shape.element)
                .ok_or_else(|| OpenError::corrupt(format!("code {} of a type of elements", shape.element)))?,
            metric,
            dim: shape.dim,
            rows: shape.rows,
        })
    }

    fn has_tail(kind: u8) -> bool {
        kind == DISK
    }
}

/// Metrics of indexes, by their codes.
const METRICS: [AnyMetric; 12] = [
    AnyMetric::Numbers(Metric::L2),
    AnyMetric::Numbers(Metric::Ip),
    AnyMetric::Numbers(Metric::Cosine),
    AnyMetric::Bm25,
    AnyMetric::Bits(BitMetric::Hamming),
    AnyMetric::Bits(BitMetric::Jaccard),
    AnyMetric::MaxSim(ElementMetric::Numbers(Metric::L2)),
    AnyMetric::MaxSim(ElementMetric::Numbers(Metric::Ip)),
    AnyMetric::MaxSim(ElementMetric::Numbers(Metric::Cosine)),
    AnyMetric::MaxSim(ElementMetric::Bits(BitMetric::Hamming)),
    AnyMetric::MaxSim(ElementMetric::Bits(BitMetric::Jaccard)),
    // The parameters of the index say how wide elements are.
    AnyMetric::Bits(BitMetric::MinHash(MinHash::EIGHT_BITS)),
];

fn encode_metric(metric: AnyMetric) -> u8 {
    let metric = match metric.minhash() {
        Some(_) => MinHash::EIGHT_BITS.into(),
        None => metric,
    };
    let code = METRICS.iter().position(|known| *known == metric);
    code.map_or(u8::MAX, |code| code as u8)
}

fn decode_metric(code: u8) -> Result<AnyMetric, OpenError> {
    let known = METRICS.get(usize::from(code)).copied();
    known.ok_or_else(|| OpenError::corrupt(format!("metric code {code} (known: 0 to {})", METRICS.len() - 1)))
}

fn encode_params(params: BuildParams) -> (u8, [u32; 4]) {
    match params {
        BuildParams::Flat => (0, [0; 4]),
        BuildParams::IvfFlat { nlist } => (1, [nlist, 0, 0, 0]),
        BuildParams::Hnsw { m, ef_construction } => (2, [m, ef_construction, 0, 0]),
        BuildParams::Sparse(SparseParams { algorithm, block }) => {
            let code = SparseAlgorithm::ALL.iter().position(|known| *known == algorithm);
            (3, [code.unwrap_or(0) as u32, block, 0, 0])
        }
        BuildParams::IvfCoded(params) => encode_coded(params),
        BuildParams::HnswCoded(params) => encode_hnsw_coded(params),
        BuildParams::Disk(params) => (
            DISK,
            [
                params.max_degree,
                params.search_list_size,
                params.code_ratio.0,
                params.cache_ratio.0,
            ],
        ),
        BuildParams::GpuBruteForce => (GPU_BRUTE_FORCE, [0; 4]),
        BuildParams::GpuIvfFlat { nlist } => (GPU_IVF_FLAT, [nlist, 0, 0, 0]),
        BuildParams::GpuIvfPq(params) => (GPU_IVF_PQ, [params.nlist, params.m, params.nbits, 0]),
        BuildParams::MinHash(params) => (MINHASH_LSH, [params.element_bits, params.bands, 0, 0]),
        BuildParams::GpuCagra(params) => {
            let adapt = u32::from(params.adapt_for_cpu);
            (GPU_CAGRA, [params.degree, params.intermediate_degree, adapt, 0])
        }
    }
}

fn decode_params(code: u8, numbers: [u32; 4]) -> Result<BuildParams, OpenError> {
    let params = match code {
        0 => BuildParams::Flat,
        GPU_BRUTE_FORCE => BuildParams::GpuBruteForce,
        GPU_IVF_FLAT => BuildParams::GpuIvfFlat { nlist: numbers[0] },
        GPU_IVF_PQ => BuildParams::GpuIvfPq(PqParams {
            nlist: numbers[0],
            m: numbers[1],
            nbits: numbers[2],
        }),
        MINHASH_LSH => BuildParams::MinHash(MinHashParams {
            element_bits: numbers[0],
            bands: numbers[1],
        }),
        GPU_CAGRA => BuildParams::GpuCagra(CagraParams {
            degree: numbers[0],
            intermediate_degree: numbers[1],
            adapt_for_cpu: numbers[2] != 0,
        }),
        1 => BuildParams::IvfFlat { nlist: numbers[0] },
        2 => BuildParams::Hnsw {
            m: numbers[0],
            ef_construction: numbers[1],
        },
        3 => {
            let algorithm = SparseAlgorithm::ALL.get(numbers[0] as usize).copied();
            let algorithm = algorithm
                .ok_or_else(|| OpenError::corrupt(format!("code {} of an algorithm", numbers[0])))?;
            BuildParams::Sparse(SparseParams {
                algorithm,
                block: numbers[1],
            })
        }
        4..=7 => BuildParams::IvfCoded(decode_coded(code, numbers)?),
        10..=12 => BuildParams::HnswCoded(decode_hnsw_coded(code, numbers)?),
        DISK => BuildParams::Disk(DiskParams {
            max_degree: numbers[0],
            search_list_size: numbers[1],
            code_ratio: Ratio(numbers[2]),
            cache_ratio: Ratio(numbers[3]),
        }),
        _ => {
            return Err(OpenError::corrupt(format!(
                "index kind code {code} (known: 0 to 7, 10 to 15, 20, 22, 23)"
            )));
        }
    };
    params
        .check()
        .map_err(|error| OpenError::corrupt(error.to_string()))?;
    Ok(params)
}

/// Of an index of lists with codes: lists, two numbers of the code, and what was asked for by `refine` (bit 0) and
/// `refine_type` (from bit 8 on, 0 where there is none).
fn encode_coded(params: CodedParams) -> (u8, [u32; 4]) {
    let CodedParams {
        nlist,
        code,
        refine,
        refine_type,
    } = params;
    let refine = u32::from(refine) | encode_precision(refine_type) << 8;
    match code {
        Code::Scalar { bits } => (4, [nlist, bits, 0, refine]),
        Code::Product { m, nbits } => (5, [nlist, m, nbits, refine]),
        Code::Rabitq { bits, fast_scan } => (6, [nlist, bits, u32::from(fast_scan), refine]),
        Code::Scann { sub_dim } => (7, [nlist, sub_dim, 0, refine]),
    }
}

fn decode_coded(kind: u8, [nlist, first, second, refine]: [u32; 4]) -> Result<CodedParams, OpenError> {
    let code = match kind {
        4 => Code::Scalar { bits: first },
        5 => Code::Product {
            m: first,
            nbits: second,
        },
        6 => Code::Rabitq {
            bits: first,
            fast_scan: second != 0,
        },
        _ => Code::Scann { sub_dim: first },
    };
    Ok(CodedParams {
        nlist,
        code,
        refine: refine & 1 == 1,
        refine_type: decode_precision(refine >> 8)?,
    })
}

/// 0 for none.
fn encode_precision(precision: Option<Precision>) -> u32 {
    let place = Precision::ALL
        .iter()
        .position(|&(known, _)| Some(known) == precision);
    place.map_or(0, |place| place as u32 + 1)
}

fn decode_precision(code: u32) -> Result<Option<Precision>, OpenError> {
    let Some(place) = (code as usize).checked_sub(1) else {
        return Ok(None);
    };
    let known = Precision::ALL.get(place);
    let known = known.ok_or_else(|| OpenError::corrupt(format!("code {code} of a precision")))?;
    Ok(Some(known.0))
}

/// Of a graph with codes: both of the graph, the format of numbers or the groups of dimensions, and bytes: `refine`,
/// `refine_type` (0 where there is none), bits of a codeword's number, codewords of a group.
fn encode_hnsw_coded(params: HnswCodedParams) -> (u8, [u32; 4]) {
    let HnswCodedParams {
        m: degree,
        ef_construction,
        code,
        refine,
        refine_type,
    } = params;
    let (kind, first, nbits, nrq) = match code {
        GraphCode::Scalar(format) => {
            let place = ScalarFormat::ALL.iter().position(|&(known, _)| known == format);
            (10, place.unwrap_or(0) as u32, 0, 0)
        }
        GraphCode::Product { m, nbits } => (11, m, nbits, 0),
        GraphCode::Residual { m, nrq, nbits } => (12, m, nbits, nrq),
    };
    let rest = u32::from(refine) | encode_precision(refine_type) << 8 | nbits << 16 | nrq << 24;
    (kind, [degree, ef_construction, first, rest])
}

fn decode_hnsw_coded(
    kind: u8,
    [degree, ef_construction, first, rest]: [u32; 4],
) -> Result<HnswCodedParams, OpenError> {
    let [refine, precision, nbits, nrq] = rest.to_le_bytes().map(u32::from);
    let code = match kind {
        10 => {
            let known = ScalarFormat::ALL.get(first as usize);
            let known =
                known.ok_or_else(|| OpenError::corrupt(format!("code {first} of a format of numbers")))?;
            GraphCode::Scalar(known.0)
        }
        11 => GraphCode::Product { m: first, nbits },
        _ => GraphCode::Residual { m: first, nrq, nbits },
    };
    Ok(HnswCodedParams {
        m: degree,
        ef_construction,
        code,
        refine: refine & 1 == 1,
        refine_type: decode_precision(precision)?,
    })
}

/// The code of what a blob says it is; nothing of it is checked.
pub(crate) fn kind_of(blob: &[u8]) -> Option<u8> {
    blob.get(12).copied()
}

/// Whether this is the beginning of a blob that is best opened from its file.
pub(crate) fn belongs_in_file(blob: &[u8]) -> bool {
    blob.starts_with(MAGIC) && kind_of(blob) == Some(DISK)
}

/// Length of a blob without its tail, by its first bytes; `None` when they are none of a blob.
///
/// # Errors
/// When there are fewer, or they cannot be read.
pub(crate) fn head_bytes(file: &mut impl Read) -> io::Result<Option<u64>> {
    let mut head = [0; HEADER];
    file.read_exact(&mut head)?;
    let body: u64 = number_at(&head, 48);
    Ok(body
        .checked_add(HEADER as u64)
        .filter(|_| head.starts_with(MAGIC)))
}

/// A blob whose checksums hold and whose arrays lie inside it.
#[derive(Debug)]
pub(crate) struct Reader<H = Header> {
    header: H,
    blob: Bytes,
    /// Where each array lies in the blob.
    arrays: Vec<Range<usize>>,
    /// What comes after the arrays.
    tail: Bytes,
}

/// Number at `at`; the caller made sure that it is there.
fn number_at<T: Number>(bytes: &[u8], at: usize) -> T {
    T::from_le(bytes.get(at..at + size_of::<T>()).unwrap_or(&[]))
}

impl<H: Heading> Reader<H> {
    pub(crate) fn new(mut blob: Bytes) -> Result<Self, OpenError> {
        let (Some(head), Some(body)) = (blob.get(..HEADER), blob.get(HEADER..)) else {
            return Err(OpenError::corrupt(format!(
                "{} bytes, a header has {HEADER}",
                blob.len()
            )));
        };
        if !head.starts_with(MAGIC) {
            return Err(OpenError::corrupt("no index (magic bytes differ)"));
        }
        let found: u32 = number_at(head, 8);
        if found > VERSION {
            return Err(OpenError::Version {
                found,
                known: VERSION,
            });
        }
        if crc32c::crc32c(&head[..HEADER - 4]) != number_at::<u32>(head, HEADER - 4) {
            return Err(OpenError::corrupt("header checksum differs"));
        }
        let expected: u64 = number_at(head, 48);
        let end = usize::try_from(expected).ok().filter(|&end| end < body.len());
        let (body, tail) = match end {
            Some(end) if H::has_tail(head[12]) => (&body[..end], cut_tail(&blob, HEADER + end)?),
            _ => (body, Bytes::new()),
        };
        if body.len() as u64 != expected {
            return Err(OpenError::corrupt(format!(
                "{} bytes after the header, expected {expected}",
                body.len()
            )));
        }
        if crc32c::crc32c(body) != number_at::<u32>(head, 56) {
            return Err(OpenError::corrupt("checksum differs"));
        }
        let dim = number_at::<u32>(head, 16) as usize;
        let rows: u64 = number_at(head, 24);
        let rows = usize::try_from(rows).ok().filter(|&rows| rows <= MAX_ROWS);
        let Some(rows) = rows else {
            return Err(OpenError::corrupt(format!(
                "dimension {dim}, rows {}",
                number_at::<u64>(head, 24)
            )));
        };
        let header = H::from_shape(&Shape {
            kind: head[12],
            metric: head[13],
            element: head[14],
            dim,
            rows,
            numbers: [32, 36, 40, 44].map(|at| number_at(head, at)),
        })?;
        let count = number_at::<u32>(head, 20) as usize;
        let end = HEADER + body.len();
        blob.truncate(end);
        let arrays = read_table(&blob, count)?;
        Ok(Self {
            header,
            arrays,
            tail,
            blob,
        })
    }

    pub(crate) fn header(&self) -> &H {
        &self.header
    }

    /// What comes after the arrays, from the next page on.
    pub(crate) fn tail(&self) -> &Bytes {
        &self.tail
    }

    /// Number of arrays.
    pub(crate) fn arrays(&self) -> usize {
        self.arrays.len()
    }

    /// Array `index`, whatever its length; `what` names it in errors.
    pub(crate) fn array<T: Number>(&self, index: usize, what: &str) -> Result<Array<T>, OpenError> {
        let range = self
            .arrays
            .get(index)
            .ok_or_else(|| OpenError::corrupt(format!("no {what}")))?;
        let bytes = self.blob.slice(range.clone());
        if !bytes.len().is_multiple_of(size_of::<T>()) {
            return Err(OpenError::corrupt(format!(
                "{} bytes of {what}, not whole numbers",
                bytes.len()
            )));
        }
        Ok(Array::from_bytes(bytes))
    }

    /// The bytes of array `index`; `what` names it in errors.
    pub(crate) fn bytes_of(&self, index: usize, what: &str) -> Result<Bytes, OpenError> {
        let range = self.arrays.get(index);
        let range = range.ok_or_else(|| OpenError::corrupt(format!("no {what}")))?;
        Ok(self.blob.slice(range.clone()))
    }

    /// Array `index` with exactly `len` numbers.
    pub(crate) fn array_of<T: Number>(
        &self,
        index: usize,
        len: usize,
        what: &str,
    ) -> Result<Array<T>, OpenError> {
        let array = self.array(index, what)?;
        if array.len() != len {
            return Err(OpenError::corrupt(format!(
                "{} {what}, expected {len}",
                array.len()
            )));
        }
        Ok(array)
    }
}

/// What comes from the first page after `end` on; only zeros come before it.
fn cut_tail(blob: &Bytes, end: usize) -> Result<Bytes, OpenError> {
    let start = end.next_multiple_of(TAIL_ALIGN);
    match blob.get(end..start) {
        Some(between) if between.iter().all(|&byte| byte == 0) => Ok(blob.slice(start..)),
        _ => Err(OpenError::corrupt(format!(
            "no zeros from byte {end} to the next page"
        ))),
    }
}

fn read_table(blob: &[u8], count: usize) -> Result<Vec<Range<usize>>, OpenError> {
    let table = blob
        .get(HEADER..HEADER + 16 * count.min(MAX_ARRAYS))
        .filter(|_| count <= MAX_ARRAYS);
    let Some(table) = table else {
        return Err(OpenError::corrupt(format!(
            "a table of {count} arrays does not fit"
        )));
    };
    let entries = table
        .chunks_exact(16)
        .map(|entry| (number_at::<u64>(entry, 0), number_at::<u64>(entry, 8)));
    entries
        .map(|(offset, len)| {
            let start = usize::try_from(offset)
                .ok()
                .filter(|start| start.is_multiple_of(ALIGN));
            let end = start
                .zip(usize::try_from(len).ok())
                .and_then(|(start, len)| start.checked_add(len));
            match (start, end) {
                (Some(start), Some(end)) if end <= blob.len() => Ok(start..end),
                _ => Err(OpenError::corrupt(format!(
                    "an array of {len} bytes at {offset} in {} bytes",
                    blob.len()
                ))),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<u8> {
        let header = Header {
            params: BuildParams::IvfFlat { nlist: 3 },
            element: ElementType::Float,
            metric: Metric::Ip.into(),
            dim: 5,
            rows: 7,
        };
        let mut writer = Writer::new(&header);
        writer.put(vec![1u32, 2, 3]);
        writer.put(&[0.0f32; 0][..]);
        writer.put(vec![9u64]);
        writer.finish()
    }

    #[test]
    fn arrays_come_back_in_order() {
        let reader = Reader::<Header>::new(Bytes::from(sample())).unwrap();
        assert_eq!(reader.header().params, BuildParams::IvfFlat { nlist: 3 });
        assert_eq!(
            (reader.header().metric, reader.header().dim, reader.header().rows),
            (Metric::Ip.into(), 5, 7)
        );
        assert_eq!(*reader.array::<u32>(0, "numbers").unwrap(), [1, 2, 3]);
        assert!(reader.array::<f32>(1, "floats").unwrap().is_empty());
        assert_eq!(*reader.array_of::<u64>(2, 1, "words").unwrap(), [9]);
        assert!(reader.array_of::<u64>(2, 2, "words").is_err());
        assert!(reader.array::<u64>(0, "words").is_err());
        assert!(reader.array::<u64>(3, "words").is_err());
    }

    #[test]
    fn unaligned_bytes_are_copied_and_read_the_same() {
        let mut shifted = vec![0u8; 1];
        shifted.extend(sample());
        for cut in 1..2 {
            let reader = Reader::<Header>::new(Bytes::from(shifted.clone()).slice(cut..)).unwrap();
            assert_eq!(*reader.array::<u32>(0, "numbers").unwrap(), [1, 2, 3]);
        }
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let blob = sample();
        for bit in 0..blob.len() * 8 {
            let mut damaged = blob.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(Reader::<Header>::new(Bytes::from(damaged)).is_err(), "bit {bit}");
        }
        for len in 0..blob.len() {
            assert!(
                Reader::<Header>::new(Bytes::from(blob[..len].to_vec())).is_err(),
                "length {len}"
            );
        }
    }

    #[test]
    fn a_newer_version_is_named() {
        let mut blob = sample();
        blob[8] = 9;
        let error = Reader::<Header>::new(Bytes::from(blob)).unwrap_err();
        assert_eq!(
            error,
            OpenError::Version {
                found: 9,
                known: VERSION
            }
        );
    }
}

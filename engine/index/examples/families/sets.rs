//! Vectors of every type, drawn.

use elanus_index::kernels::narrow::f32_to_bfloat16;
use elanus_index::typed::{DEFAULT_B, DEFAULT_K1, ElementType, idf};
use elanus_index::{
    Bm25, Bm25Query, Elements, Rows, SparseVector, SparseVectors, VectorLists, VectorRef, Vectors, VectorsRef,
};

use crate::data::{Mixture, Rng};

/// Numbers of a vector; of bits four times as many.
pub const DIM: usize = 64;
/// Vectors of a list.
pub const OF_LIST: usize = 3;
/// 32-bit elements of a signature.
pub const OF_SIGNATURE: usize = 128;
/// Signatures that have fewer and fewer elements in common with the first of them.
const RELATED: usize = 100;
/// Terms that there are, and words of a sparse row.
const TERMS: f32 = 3_000.0;
const WORDS: usize = 20;

/// Dense vectors of one type.
pub enum Dense {
    Floats(Vec<f32>),
    Halves(Vec<u16>),
    BFloat16s(Vec<u16>),
    Int8s(Vec<i8>),
    Bits(Vec<u8>, usize),
}

impl Dense {
    /// Base and queries out of one mixture.
    pub fn draw(kind: ElementType, rows: usize, queries: usize) -> [Self; 2] {
        let mut mixture = Mixture::new(dim_of(kind), 200, 1);
        [rows, queries].map(|rows| Self::rounded(kind, mixture.draw(rows)))
    }

    /// The elements of base and queries that are lists of [`OF_LIST`], each list about one thing: a draw that its vectors
    /// share, and some of a draw of their own.
    pub fn draw_lists(kind: ElementType, lists: usize, queries: usize) -> [Self; 2] {
        const OWN: f32 = 0.4;
        let dim = dim_of(kind);
        let mut mixture = Mixture::new(dim, 200, 1);
        [lists, queries].map(|lists| {
            let (shared, own) = (mixture.draw(lists), mixture.draw(OF_LIST * lists));
            let lists = shared.chunks(dim).zip(own.chunks(OF_LIST * dim));
            let numbers = lists.flat_map(|(shared, own)| {
                let shared = shared.iter().cycle();
                own.iter().zip(shared).map(|(own, shared)| shared + OWN * own)
            });
            Self::rounded(kind, numbers.collect())
        })
    }

    fn rounded(kind: ElementType, data: Vec<f32>) -> Self {
        match kind {
            ElementType::Float => Self::Floats(data),
            ElementType::Half => Self::Halves(data.into_iter().map(half).collect()),
            ElementType::BFloat16 => Self::BFloat16s(data.into_iter().map(f32_to_bfloat16).collect()),
            ElementType::Int8 => Self::Int8s(data.into_iter().map(|value| (value * 30.0) as i8).collect()),
            ElementType::Bit => {
                let byte = |eight: &[f32]| {
                    eight
                        .iter()
                        .fold(0, |byte, value| byte << 1 | u8::from(*value > 0.0))
                };
                Self::Bits(data.chunks(8).map(byte).collect(), DIM / 2)
            }
        }
    }

    /// Base and queries of signatures.
    pub fn signatures(rows: usize, queries: usize) -> [Self; 2] {
        let mut rng = Rng(7);
        let (mut base, mut firsts) = (Vec::new(), Vec::new());
        let mut first = Vec::new();
        for row in 0..rows {
            let far = row % RELATED;
            if far == 0 {
                first = (0..OF_SIGNATURE).map(|_| rng.bits() as u32).collect();
                firsts.extend(first.iter().flat_map(|element| element.to_le_bytes()));
            }
            for &element in &first {
                let kept = rng.below(RELATED) >= far;
                let element = if kept { element } else { rng.bits() as u32 };
                base.extend(element.to_le_bytes());
            }
        }
        let width = 4 * OF_SIGNATURE;
        firsts.truncate(queries * width);
        [base, firsts].map(|bytes| Self::Bits(bytes, width))
    }

    pub fn rows(&self) -> VectorsRef<'_> {
        match self {
            Self::Floats(data) => VectorsRef::Floats(Vectors::new(data, DIM).unwrap()),
            Self::Halves(data) => VectorsRef::Halves(Rows::new(data, DIM).unwrap()),
            Self::BFloat16s(data) => VectorsRef::BFloat16s(Rows::new(data, DIM).unwrap()),
            Self::Int8s(data) => VectorsRef::Int8s(Rows::new(data, DIM).unwrap()),
            Self::Bits(data, width) => VectorsRef::Bits(Rows::new(data, *width).unwrap()),
        }
    }
}

fn dim_of(kind: ElementType) -> usize {
    if kind == ElementType::Bit { 4 * DIM } else { DIM }
}

/// Where lists of [`OF_LIST`] vectors begin and end.
pub fn ends_of_lists(lists: usize) -> Vec<i32> {
    let ends = (0..=lists).map(|list| i32::try_from(OF_LIST * list).unwrap());
    ends.collect()
}

/// The vectors as lists.
pub fn lists<'a>(ends: &'a [i32], vectors: &'a Dense) -> VectorsRef<'a> {
    let elements = Elements::of(vectors.rows()).unwrap();
    VectorsRef::Lists(VectorLists::new(ends, elements).unwrap())
}

/// Sparse rows: of terms with weights, or with how often they occur.
pub struct Sparse {
    offsets: Vec<i32>,
    terms: Vec<u32>,
    values: Vec<f32>,
}

impl Sparse {
    /// Low terms are frequent ones.
    pub fn draw(rows: usize, seed: u64, counts: bool) -> Self {
        let mut rng = Rng(seed);
        let (mut offsets, mut terms, mut values) = (vec![0i32], Vec::new(), Vec::new());
        for _ in 0..rows {
            let mut words: Vec<u32> = (0..WORDS).map(|_| (rng.unit().powi(3) * TERMS) as u32).collect();
            words.sort_unstable();
            for same in words.chunk_by(|left, right| left == right) {
                terms.extend(same.first());
                values.push(if counts { same.len() as f32 } else { rng.unit() });
            }
            offsets.push(i32::try_from(terms.len()).unwrap());
        }
        Self {
            offsets,
            terms,
            values,
        }
    }

    fn vectors(&self) -> SparseVectors<'_> {
        SparseVectors::new(&self.offsets, &self.terms, &self.values).unwrap()
    }

    pub fn rows(&self) -> VectorsRef<'_> {
        VectorsRef::Sparse(self.vectors())
    }

    /// The counts of queries times the inverse frequencies of their terms in `base`.
    pub fn weighed_by(mut self, base: &Self) -> Self {
        let rows = (base.offsets.len() - 1) as u64;
        let mut rows_with = vec![0u64; TERMS as usize + 1];
        for term in &base.terms {
            rows_with[*term as usize] += 1;
        }
        for (term, value) in self.terms.iter().zip(&mut self.values) {
            *value *= idf(rows, rows_with[*term as usize]) as f32;
        }
        self
    }

    /// The rows as queries of BM25 over `base`.
    pub fn texts<'a>(&'a self, base: &Self) -> Vec<VectorRef<'a>> {
        let length: f64 = base.values.iter().map(|count| f64::from(*count)).sum();
        let bm25 = Bm25 {
            k1: DEFAULT_K1,
            b: DEFAULT_B,
            mean_length: length / (base.offsets.len() - 1) as f64,
        };
        let query = |weights: SparseVector<'a>| VectorRef::Terms(Bm25Query { weights, bm25 });
        let rows = self.vectors();
        (0..rows.len()).map(|row| query(rows.row(row))).collect()
    }
}

/// The half towards zero.
fn half(value: f32) -> u16 {
    let bits = value.to_bits();
    let sign = (bits >> 16) as u16 & 0x8000;
    match (bits >> 23 & 0xff) as i32 - 112 {
        ..=0 => sign,
        exponent @ 1..=30 => sign | (exponent as u16) << 10 | (bits >> 13) as u16 & 0x3ff,
        _ => sign | 0x7bff,
    }
}

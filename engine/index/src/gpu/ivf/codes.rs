//! GPU_IVF_PQ: lists of product codes on the device, and who finds the codes.
//!
//! A row is estimated by what its code stands for, as of IVF_PQ: with `x̂` for its residual, under L2
//!
//! ```text
//!   |q - base|² + add(row) - 2 <q - mean, x̂>        add(row) = |x̂|² + 2 <base - mean, x̂>
//! ```
//!
//! and `-<q, base> - <q, x̂>` otherwise. What depends on both a row and its list is stored with the row, so that one set of tables
//! does for all lists of a query. Rounded to bytes they fit into the shared memory of a block, and sums are whole numbers,
//! the same ones as on a processor.

use super::ask::ListAsk;
use super::places::{Groups, Places, Share, bytes};
use super::scan::{ListHost, OnDeviceLists, Scan};
use crate::codes::product::ProductQuantizer;
use crate::error::BuildError;
use crate::gpu::backend::{Backend, BooksOf, Device, GROUP, TablesOf, codes_per_word, table_words};
use crate::gpu::budget::Reservation;
use crate::gpu::error::GpuError;
use crate::gpu::index::Host;
use crate::gpu::parts::{COPY_WORDS, padded, stride_of};
use crate::gpu::queries::Queries;
use crate::gpu::ranges::MAX_SELECT;
use crate::gpu::threads::for_chunks;
use crate::indexed_rows::IndexedRows;
use crate::ivf::lists::Lists;
use crate::ivf::{Coder, IvfCoded};
use crate::metric::Metric;
use crate::params::BuildParams;
use crate::typed::{ElementType, VectorsRef};

impl Host for IvfCoded {
    const READS_ROWS_ONCE: bool = false;

    fn indexed(&self) -> &IndexedRows {
        Self::indexed(self)
    }

    fn serialize_as(&self, params: BuildParams) -> Vec<u8> {
        Self::serialize_as(self, params, ElementType::Float)
    }
}

impl ListHost for IvfCoded {
    fn inverted(&self) -> &Lists {
        Self::inverted(self)
    }

    fn effort(&self, ask: &ListAsk<'_>) -> Option<(usize, usize)> {
        let probes = self.probes(&ask.wide_query(0), ask.k, ask.params, ask.allowed)?;
        let width = self.rescored(ask.k, ask.params).min(Self::indexed(self).count());
        (width <= MAX_SELECT).then_some((probes, width))
    }
}

/// Codebooks on the device.
#[derive(Debug)]
struct Books<B: Backend> {
    data: B::Buffer,
    norms: B::Buffer,
    parts: usize,
    width: usize,
    bits: u32,
}

impl<B: Backend> Books<B> {
    fn upload(backend: &B, quantizer: &ProductQuantizer) -> Result<Self, GpuError> {
        let (parts, bits) = (quantizer.parts(), quantizer.bits());
        let mut data = backend.allocate(quantizer.books().len())?;
        backend.write(&mut data, 0, quantizer.books())?;
        let mut norms = backend.allocate(quantizer.norms().len())?;
        backend.write(&mut norms, 0, quantizer.norms())?;
        Ok(Self {
            data,
            norms,
            parts,
            width: (quantizer.books().len() >> bits) / parts.max(1),
            bits,
        })
    }

    fn of(&self) -> BooksOf<'_, B::Buffer> {
        BooksOf {
            data: &self.data,
            norms: &self.norms,
            parts: self.parts as u32,
            width: self.width as u32,
            bits: self.bits,
        }
    }
}

/// Words of a code, its number and what is added to it left out.
pub(super) fn code_words(m: usize, nbits: u32) -> usize {
    m.div_ceil(codes_per_word(nbits))
}

/// Words of the codebooks, their norms and the mean.
pub(super) fn book_words(dim: usize, m: usize, nbits: u32) -> usize {
    ((dim + m) << nbits) + stride_of(dim)
}

/// Codes in lists on the device.
#[derive(Debug)]
pub(crate) struct CodeLists<B: Backend> {
    codes: B::Buffer,
    adds: B::Buffer,
    /// Lists x stride; `None` under L2, where the centroids are the bases.
    bases: Option<B::Buffer>,
    mean: B::Buffer,
    books: Books<B>,
    places: Places<B>,
    _reserved: Reservation,
}

impl<B: Backend> OnDeviceLists<B> for CodeLists<B> {
    type Host = IvfCoded;
    type Prepared = TablesOf<B::Buffer>;

    fn upload(
        device: &Device<B>,
        host: &IvfCoded,
        _vectors: VectorsRef<'_>,
        share: Share,
    ) -> Result<Self, GpuError> {
        let (backend, lists, dim) = (&device.backend, host.inverted(), host.indexed().dim);
        let quantizer = host.product().ok_or_else(|| GpuError::Driver {
            what: "take an index",
            reason: "its codes are no product codes".to_owned(),
        })?;
        let stride = stride_of(dim);
        let groups = Groups::of(lists, share);
        let (count, words) = (
            groups.members.len(),
            code_words(quantizer.parts(), quantizer.bits()),
        );
        let of_books = 4 * book_words(dim, quantizer.parts(), quantizer.bits());
        let needed = of_books + bytes(count, lists.count(), dim, words + 1, stride);
        let reserved = device.budget.reserve("the lists of an index", needed)?;

        let mut codes = backend.allocate(count * words * GROUP)?;
        let at_once = (COPY_WORDS / (words * GROUP).max(1)).max(1);
        for (turn, some) in groups.members.chunks(at_once).enumerate() {
            let mut interleaved = vec![0u32; some.len() * words * GROUP];
            for_chunks(&mut interleaved, words * GROUP, |at, group| {
                if let Some(&(list, first, rows)) = some.get(at) {
                    interleave(group, host, (list, first, rows.len()), quantizer);
                }
            });
            backend.write(&mut codes, turn * at_once * words * GROUP, &interleaved)?;
        }
        let metric = host.indexed().metric;
        let mut of_places = vec![0.0f32; if metric == Metric::L2 { count * GROUP } else { 1 }];
        if metric == Metric::L2 {
            for (places, &(list, first, rows)) in of_places.chunks_exact_mut(GROUP).zip(&groups.members) {
                let of_list = host.adds(list, first + rows.len());
                for (place, &add) in places.iter_mut().zip(of_list.iter().skip(first)) {
                    *place = add;
                }
            }
        }
        let mut adds = backend.allocate(of_places.len())?;
        backend.write(&mut adds, 0, &of_places)?;
        let bases = if metric == Metric::L2 {
            None
        } else {
            let of_lists = (0..lists.count() as u32).map(|list| host.base(list));
            let mut bases = backend.allocate(lists.count() * stride)?;
            backend.write(&mut bases, 0, &padded(of_lists, stride))?;
            Some(bases)
        };
        let mut of_rows = host.mean().to_vec();
        of_rows.resize(stride, 0.0);
        let mut mean = backend.allocate(stride)?;
        backend.write(&mut mean, 0, &of_rows)?;
        Ok(Self {
            codes,
            adds,
            bases,
            mean,
            books: Books::upload(backend, quantizer)?,
            places: Places::upload(device, lists, &groups, dim)?,
            _reserved: reserved,
        })
    }

    fn places(&self) -> &Places<B> {
        &self.places
    }

    fn query_words(&self) -> usize {
        table_words(self.books.parts, self.books.bits) + self.books.parts + 2
    }

    fn prepare(
        &self,
        backend: &B,
        queries: &Queries<B>,
        _asked: (&ListAsk<'_>, &[usize]),
    ) -> Result<TablesOf<B::Buffer>, GpuError> {
        let (queries, books) = (queries.of(), self.books.of());
        let count = queries.count as usize;
        let mut tables = TablesOf {
            bytes: backend.allocate(count * books.table_words())?,
            lines: backend.allocate(2 * count)?,
            lows: backend.allocate(count * self.books.parts)?,
        };
        backend.code_tables(&queries, &self.mean, &books, &mut tables)?;
        Ok(tables)
    }

    fn scan(&self, backend: &B, tables: &TablesOf<B::Buffer>, scan: Scan<'_, B>) -> Result<(), GpuError> {
        let inverted = self.places.inverted(&self.codes, &self.adds, scan.allow);
        let bases = self.bases.as_ref().unwrap_or_else(|| self.places.centroids());
        backend.scan_codes(
            scan.metric,
            (&inverted, bases, &self.books.of()),
            (&scan.queries.of(), tables),
            &scan.probes,
            scan.seen,
            scan.best,
        )
    }
}

/// Puts the codes of some rows of a list into a group, a word of each after the other.
fn interleave(
    group: &mut [u32],
    host: &IvfCoded,
    (list, first, rows): (u32, usize, usize),
    quantizer: &ProductQuantizer,
) {
    let per_word = codes_per_word(quantizer.bits());
    for lane in 0..rows {
        for part in 0..quantizer.parts() {
            let number = u32::from(host.number(list, first + lane, part));
            if let Some(word) = group.get_mut(part / per_word * GROUP + lane) {
                *word |= number << (part % per_word * (32 / per_word));
            }
        }
    }
}

/// Looks for codewords on a device, which keeps the codebooks meanwhile.
pub(super) struct OnDeviceCoder<'a, B: Backend> {
    device: &'a Device<B>,
    books: Option<(Books<B>, Reservation)>,
}

impl<'a, B: Backend> OnDeviceCoder<'a, B> {
    pub(super) fn new(device: &'a Device<B>) -> Self {
        Self { device, books: None }
    }

    fn find(&mut self, quantizer: &ProductQuantizer, residuals: &[f32]) -> Result<Vec<u8>, GpuError> {
        let (device, backend) = (self.device, &self.device.backend);
        let _turn = device.turn.lock();
        let books = match self.books.take() {
            Some(books) => books,
            None => {
                let floats = quantizer.books().len() + quantizer.norms().len();
                let reserved = device.budget.reserve("the codebooks of an index", 4 * floats)?;
                (Books::upload(backend, quantizer)?, reserved)
            }
        };
        let (books, _) = &*self.books.insert(books);
        let (parts, dim) = (books.parts, books.parts * books.width);
        let (stride, pitch) = (stride_of(dim), parts.next_multiple_of(4));
        let mut codes = Vec::with_capacity(residuals.len() / dim.max(1) * parts);
        let row_bytes = 4 * stride + pitch;
        let at_once = (device.budget.free() / 2 / row_bytes).clamp(1, (COPY_WORDS / stride).max(1));
        for some in residuals.chunks(at_once * dim) {
            let count = some.len() / dim;
            let what = "rows that are encoded";
            let _reserved = device.budget.reserve(what, count * row_bytes)?;
            let mut rows = backend.allocate(count * stride)?;
            backend.write(&mut rows, 0, &padded(some.chunks_exact(dim), stride))?;
            let mut found = backend.allocate_to_read(count * pitch / 4)?;
            let (of_device, stride) = (count as u32, stride as u32);
            backend.nearest_words(&rows, of_device, stride, &books.of(), pitch as u32, &mut found)?;
            let mut words = vec![0u32; count * pitch / 4];
            backend.read(&found, &mut words)?;
            for row in words.chunks_exact((pitch / 4).max(1)) {
                let bytes = row.iter().flat_map(|word| word.to_le_bytes());
                codes.extend(bytes.take(parts));
            }
        }
        Ok(codes)
    }
}

impl<B: Backend> Coder for OnDeviceCoder<'_, B> {
    fn codes(&mut self, quantizer: &ProductQuantizer, residuals: &[f32]) -> Result<Vec<u8>, BuildError> {
        Ok(self.find(quantizer, residuals)?)
    }
}

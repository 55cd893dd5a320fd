//! GPU_IVF_FLAT: lists of rows on the device, as they are stored: rows of 16-bit floats take half the memory of 32-bit floats, and
//! those of 8-bit integers a quarter.

use super::ask::ListAsk;
use super::places::{Groups, Places, Share, bytes};
use super::scan::{ListHost, OnDeviceLists, Scan};
use crate::gpu::backend::{Backend, Comparison, Device, ElementType, GROUP, NO_ROW, QueriesOf};
use crate::gpu::budget::Reservation;
use crate::gpu::error::GpuError;
use crate::gpu::index::Host;
use crate::gpu::parts::COPY_WORDS;
use crate::gpu::queries::Queries;
use crate::gpu::ranges::width;
use crate::gpu::sides::Sides;
use crate::gpu::threads::for_chunks;
use crate::gpu::units::{pack, shape_of};
use crate::indexed_rows::IndexedRows;
use crate::ivf::IvfFlat;
use crate::ivf::lists::Lists;
use crate::kernels::narrow::int8_dot;
use crate::params::BuildParams;
use crate::typed::{VectorRef, VectorsRef};

impl Host for IvfFlat {
    const READS_ROWS_ONCE: bool = false;

    fn indexed(&self) -> &IndexedRows {
        Self::indexed(self)
    }

    fn serialize_as(&self, params: BuildParams) -> Vec<u8> {
        Self::serialize_as(self, params, ElementType::Float)
    }
}

impl ListHost for IvfFlat {
    fn inverted(&self) -> &Lists {
        Self::inverted(self)
    }

    fn effort(&self, ask: &ListAsk<'_>) -> Option<(usize, usize)> {
        let probes = self.probes(ask.k, ask.params, ask.allowed);
        Some((probes, width(ask.k, 0)?))
    }
}

/// Rows in lists on the device.
#[derive(Debug)]
pub(crate) struct FlatLists<B: Backend> {
    element: ElementType,
    comparison: Comparison,
    /// Units of a query.
    stride: usize,
    data: B::Buffer,
    terms: B::Buffer,
    places: Places<B>,
    _reserved: Reservation,
}

/// Words of a row of `dim` numbers on the device, its number left out.
pub(super) fn row_words(element: ElementType, dim: usize) -> usize {
    element.list_words(element.stride(dim)) + 1
}

impl<B: Backend> OnDeviceLists<B> for FlatLists<B> {
    type Host = IvfFlat;
    /// Queries of integers as they are, for rows; centroids have them as floats, as rows of floats do.
    type Prepared = Option<Queries<B>>;

    fn upload(
        device: &Device<B>,
        host: &IvfFlat,
        vectors: VectorsRef<'_>,
        share: Share,
    ) -> Result<Self, GpuError> {
        let (backend, lists) = (&device.backend, host.inverted());
        let (element, dim) = shape_of(vectors).ok_or_else(|| GpuError::Driver {
            what: "take an index",
            reason: "its vectors are of a type that no device takes".to_owned(),
        })?;
        let comparison = Comparison::of_lists(element, host.indexed().metric);
        let groups = Groups::of(lists, share);
        let count = groups.members.len();
        let needed = bytes(count, lists.count(), dim, row_words(element, dim), 0);
        let reserved = device.budget.reserve("the lists of an index", needed)?;

        let of_row = element.list_words(element.stride(dim));
        let words = GROUP * of_row;
        let mut data = backend.allocate(count * words)?;
        let at_once = (COPY_WORDS / words).max(1);
        for (turn, some) in groups.members.chunks(at_once).enumerate() {
            let mut interleaved = vec![0u32; some.len() * words];
            for_chunks(&mut interleaved, words, |at, group| {
                if let Some((_, _, rows)) = some.get(at) {
                    interleave(group, rows, vectors, of_row);
                }
            });
            backend.write(&mut data, turn * at_once * words, &interleaved)?;
        }
        let of_places = place_terms(comparison, &groups.numbers(), host.indexed(), vectors);
        let mut terms = backend.allocate(of_places.len())?;
        backend.write(&mut terms, 0, &of_places)?;
        Ok(Self {
            element,
            comparison,
            stride: element.stride(dim),
            data,
            terms,
            places: Places::upload(device, lists, &groups, dim)?,
            _reserved: reserved,
        })
    }

    fn places(&self) -> &Places<B> {
        &self.places
    }

    fn query_words(&self) -> usize {
        if self.element.is_exact() {
            self.stride + 2
        } else {
            0
        }
    }

    fn prepare(
        &self,
        backend: &B,
        _queries: &Queries<B>,
        (ask, batch): (&ListAsk<'_>, &[usize]),
    ) -> Result<Option<Queries<B>>, GpuError> {
        if !self.element.is_exact() {
            return Ok(None);
        }
        let batch: Vec<u32> = batch.iter().map(|&query| query as u32).collect();
        let Some(sides) = Sides::new(ask.metric.into(), ask.vectors, ask.queries) else {
            return Err(GpuError::Driver {
                what: "take a batch of queries",
                reason: "they are not like the rows of the index".to_owned(),
            });
        };
        let (units, terms) = sides.query_words(&batch);
        Queries::of_units(backend, self.stride, &units, &terms).map(Some)
    }

    fn scan(&self, backend: &B, prepared: &Option<Queries<B>>, scan: Scan<'_, B>) -> Result<(), GpuError> {
        let inverted = self.places.inverted(&self.data, &self.terms, scan.allow);
        let queries = match prepared {
            None => scan.queries.of(),
            Some(own) => QueriesOf {
                bounds: &scan.queries.bounds,
                ..own.of()
            },
        };
        backend.scan_lists(
            (self.element, self.comparison),
            &inverted,
            &queries,
            &scan.probes,
            scan.seen,
            scan.best,
        )
    }
}

/// What a distance needs of the row at each place, see [`Backend::row_terms`].
fn place_terms(
    comparison: Comparison,
    numbers: &[u32],
    indexed: &IndexedRows,
    vectors: VectorsRef<'_>,
) -> Vec<u32> {
    if !comparison.has_row_terms() {
        return vec![0];
    }
    let norms = indexed.inverse_norms();
    let of_row = |&row: &u32| {
        if row == NO_ROW {
            return 0;
        }
        if comparison == Comparison::Cosine {
            return norms.get(row as usize).map_or(0, |norm| norm.to_bits());
        }
        // By products are integers alone.
        let VectorRef::Int8s(values) = vectors.row(row as usize) else {
            return 0;
        };
        u32::try_from(int8_dot(values, values)).unwrap_or(u32::MAX)
    };
    numbers.iter().map(of_row).collect()
}

/// Puts rows of `words` words into a group, four words of each after the other; zeros stay where there is nothing.
fn interleave(group: &mut [u32], members: &[u32], vectors: VectorsRef<'_>, words: usize) {
    let mut row_words = vec![0u32; words];
    for (lane, &row) in members.iter().enumerate() {
        // Every row fills the same words.
        pack(vectors.row(row as usize), &mut row_words);
        for (chunk, four) in row_words.chunks_exact(4).enumerate() {
            let at = 4 * (chunk * GROUP + lane);
            if let Some(places) = group.get_mut(at..at + 4) {
                places.copy_from_slice(four);
            }
        }
    }
}

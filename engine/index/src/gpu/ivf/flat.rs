//! GPU_IVF_FLAT: lists of rows on the device.

use super::places::{Groups, Places, Share, bytes};
use super::scan::{ListHost, OnDeviceLists, Scan};
use crate::gpu::backend::{Backend, Device, GROUP};
use crate::gpu::budget::Reservation;
use crate::gpu::error::GpuError;
use crate::gpu::index::{Ask, Host};
use crate::gpu::parts::{COPY_WORDS, stride_of};
use crate::gpu::queries::Queries;
use crate::gpu::ranges::width;
use crate::gpu::threads::for_chunks;
use crate::indexed_rows::IndexedRows;
use crate::ivf::IvfFlat;
use crate::ivf::lists::Lists;
use crate::params::BuildParams;
use crate::typed::ElementType;
use crate::vectors::Vectors;

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

    fn effort(&self, ask: &Ask<'_>) -> Option<(usize, usize)> {
        let probes = self.probes(ask.k, ask.params, ask.candidates.allowed);
        Some((probes, width(ask.k, 0)?))
    }
}

/// Rows in lists on the device.
#[derive(Debug)]
pub(crate) struct FlatLists<B: Backend> {
    data: B::Buffer,
    terms: B::Buffer,
    places: Places<B>,
    _reserved: Reservation,
}

/// Words of a row of `dim` floats on the device, its number left out.
pub(super) fn row_words(dim: usize) -> usize {
    stride_of(dim) + 1
}

impl<B: Backend> OnDeviceLists<B> for FlatLists<B> {
    type Host = IvfFlat;
    /// Rows are compared with queries as they are.
    type Prepared = ();

    fn upload(
        device: &Device<B>,
        host: &IvfFlat,
        vectors: Vectors<'_>,
        share: Share,
    ) -> Result<Self, GpuError> {
        let (backend, lists, dim) = (&device.backend, host.inverted(), vectors.dim());
        let groups = Groups::of(lists, share);
        let count = groups.members.len();
        let needed = bytes(count, lists.count(), dim, row_words(dim), 0);
        let reserved = device.budget.reserve("the lists of an index", needed)?;

        let words = GROUP * stride_of(dim);
        let mut data = backend.allocate(count * words)?;
        let at_once = (COPY_WORDS / words).max(1);
        for (turn, some) in groups.members.chunks(at_once).enumerate() {
            let mut interleaved = vec![0.0f32; some.len() * words];
            for_chunks(&mut interleaved, words, |at, group| {
                if let Some((_, _, rows)) = some.get(at) {
                    interleave(group, rows, vectors);
                }
            });
            backend.write(&mut data, turn * at_once * words, &interleaved)?;
        }
        let of_places: Vec<f32> = match host.indexed().inverse_norms() {
            [] => vec![0.0],
            norms => {
                let norm = |row: &u32| norms.get(*row as usize).copied().unwrap_or(0.0);
                groups.numbers().iter().map(norm).collect()
            }
        };
        let mut terms = backend.allocate(of_places.len())?;
        backend.write(&mut terms, 0, &of_places)?;
        Ok(Self {
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
        0
    }

    fn prepare(&self, _backend: &B, _queries: &Queries<B>) -> Result<(), GpuError> {
        Ok(())
    }

    fn scan(&self, backend: &B, (): &(), scan: Scan<'_, B>) -> Result<(), GpuError> {
        let inverted = self.places.inverted(&self.data, &self.terms, scan.allow);
        backend.scan_lists(
            scan.metric,
            &inverted,
            &scan.queries.of(),
            &scan.probes,
            scan.seen,
            scan.best,
        )
    }
}

/// Puts rows into a group, four numbers of each after the other; zeros stay where there is nothing.
fn interleave(group: &mut [f32], members: &[u32], vectors: Vectors<'_>) {
    for (lane, &row) in members.iter().enumerate() {
        for (chunk, four) in vectors.row(row as usize).chunks(4).enumerate() {
            let at = 4 * (chunk * GROUP + lane);
            if let Some(places) = group.get_mut(at..at + four.len()) {
                places.copy_from_slice(four);
            }
        }
    }
}

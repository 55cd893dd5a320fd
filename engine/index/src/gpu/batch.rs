//! The lists of a batch of queries on the device, and how ranges of rows bring them up to date.

use super::backend::{Backend, ListsOf, RowsOf};
use super::brute::{BruteForce, Rounds, Task};
use super::budget::Reservation;
use super::error::GpuError;
use super::parts::{Part, filter_words};
use super::queries::Queries;
use super::ranges::{next_count, range_end};

/// The lists of a batch on the device.
pub(super) struct State<B: Backend> {
    width: usize,
    queries: Queries<B>,
    front: ListsOf<B::Buffer>,
    back: ListsOf<B::Buffer>,
    /// Entries of the front that selections left.
    kept: B::Buffer,
    overflow: B::Buffer,
    /// Rows seen that may be found.
    seen: usize,
    _held: Reservation,
}

/// Candidates of a batch: `width` rows for each query, of which `counts` are in use.
pub(super) struct Found {
    pub(super) width: usize,
    pub(super) rows: Vec<u32>,
    pub(super) counts: Vec<u32>,
    pub(super) bounds: Vec<f32>,
    pub(super) largest: f32,
}

impl<B: Backend> BruteForce<B> {
    pub(super) fn state(&self, task: &Task<'_>, batch: &[u32], width: usize) -> Result<State<B>, GpuError> {
        let backend = &self.device.backend;
        let (stride, count) = (task.sides.stride(), batch.len());
        let room = self.room(width);
        let bytes = count * self.query_bytes(width, stride);
        let held = self.device.budget.reserve("a batch of queries", bytes)?;
        let (units, terms) = task.sides.query_words(batch);
        let queries = Queries::of_units(backend, stride, &units, &terms)?;
        let mut front = ListsOf::allocate(backend, count, room)?;
        let mut kept = backend.allocate(count)?;
        backend.write(&mut front.counts, 0, &vec![0u32; count])?;
        backend.write(&mut kept, 0, &vec![0u32; count])?;
        let mut overflow = backend.allocate(1)?;
        backend.write(&mut overflow, 0, &[0u32])?;
        Ok(State {
            width,
            queries,
            front,
            back: ListsOf::allocate(backend, count, room)?,
            kept,
            overflow,
            seen: 0,
            _held: held,
        })
    }

    /// Brings the lists up to date with the rows of a part.
    pub(super) fn compare(
        &self,
        task: &Task<'_>,
        part: &Part<B>,
        state: &mut State<B>,
        queries: usize,
        rounds: &mut Rounds,
    ) -> Result<(), GpuError> {
        let backend = &self.device.backend;
        let (room, end) = (state.front.room as usize, part.first + part.count);
        let _held;
        let allow = match task.allow {
            None => None,
            Some(allow) => {
                let words = filter_words(allow, part.first, part.count);
                _held = self
                    .device
                    .budget
                    .reserve("the filter of a search", 4 * words.len())?;
                let mut buffer = backend.allocate(words.len())?;
                backend.write(&mut buffer, 0, &words)?;
                Some(buffer)
            }
        };
        let rows = RowsOf {
            element: task.sides.element,
            data: &part.data,
            terms: &part.terms,
            allow: allow.as_ref(),
            base: part.first as u32,
        };
        let mut from = part.first;
        // The end of a range that is compared again, piece by piece.
        let mut pieces_to = part.first;
        while from < end {
            let certain = room - state.width.min(state.seen);
            let wanted = if from < pieces_to {
                certain
            } else {
                next_count(state.seen, room, state.width)
            };
            let limit = if from < pieces_to { pieces_to } else { end };
            let (to, held) = range_end(task.allow, from, limit, wanted);
            if held > 0 {
                let (first, count) = ((from - part.first) as u32, (to - from) as u32);
                backend.candidates(
                    task.sides.comparison,
                    &rows,
                    first,
                    count,
                    &state.queries.of(),
                    &mut state.front,
                )?;
                rounds.ranges += 1;
                if !self.select(state, queries, held > certain)? {
                    rounds.overflows += 1;
                    pieces_to = to;
                    continue;
                }
                state.seen += held;
            }
            from = to;
        }
        Ok(())
    }

    /// Keeps the best of every list; false, and the lists as before, when one had lost entries, which only those that
    /// `may_overflow` can.
    fn select(&self, state: &mut State<B>, queries: usize, may_overflow: bool) -> Result<bool, GpuError> {
        let backend = &self.device.backend;
        let width = state.width as u32;
        if may_overflow {
            // The bounds that hold until now are needed again.
            let mut bounds = backend.allocate(queries)?;
            backend.select(
                &state.front,
                queries as u32,
                width,
                &mut state.back,
                &mut bounds,
                &mut state.overflow,
            )?;
            let mut overflow = [0u32];
            backend.read(&state.overflow, &mut overflow)?;
            if overflow != [0] {
                backend.write(&mut state.overflow, 0, &[0u32])?;
                backend.copy(&state.kept, &mut state.front.counts)?;
                return Ok(false);
            }
            state.queries.bounds = bounds;
        } else {
            backend.select(
                &state.front,
                queries as u32,
                width,
                &mut state.back,
                &mut state.queries.bounds,
                &mut state.overflow,
            )?;
        }
        std::mem::swap(&mut state.front, &mut state.back);
        backend.copy(&state.front.counts, &mut state.kept)?;
        Ok(true)
    }

    /// Reads the lists, packed.
    pub(super) fn collect(
        &self,
        mut state: State<B>,
        queries: usize,
        largest: f32,
    ) -> Result<Found, GpuError> {
        let backend = &self.device.backend;
        let width = state.width;
        let mut packed = ListsOf::allocate_to_read(backend, queries, width)?;
        backend.select(
            &state.front,
            queries as u32,
            width as u32,
            &mut packed,
            &mut state.queries.bounds,
            &mut state.overflow,
        )?;
        let mut found = Found {
            width,
            rows: vec![0; queries * width],
            counts: vec![0; queries],
            bounds: vec![0.0; queries],
            largest,
        };
        backend.read(&packed.rows, &mut found.rows)?;
        backend.read(&packed.counts, &mut found.counts)?;
        backend.read(&state.queries.bounds, &mut found.bounds)?;
        Ok(found)
    }
}

//! Rows that do not stay on the device: they go there part by part for each batch of queries, and while one part is compared the
//! next is on its way.
//!
//! ```text
//!   a thread, copies    part 1 --> a | part 2 --> b | wait | part 3 --> a         | ..
//!   kernels                          | compare a           | compare b            | compare a ..
//! ```

use std::sync::mpsc::channel;

use super::backend::Backend;
use super::batch::State;
use super::brute::{BruteForce, Rounds, Task};
use super::error::GpuError;
use super::parts::{Packed, Part, copy_rows};

impl<B: Backend> BruteForce<B> {
    /// Brings the lists of a batch of queries up to date with all rows. Gives the largest squared length, of the bits of which
    /// those of what is no number are largest.
    pub(super) fn compare_parts(
        &self,
        task: &Task<'_>,
        state: &mut State<B>,
        queries: usize,
        rounds: &mut Rounds,
    ) -> Result<f32, GpuError> {
        let (backend, total) = (&self.device.backend, task.sides.vectors.len());
        let (stride, row_words) = (task.sides.stride(), task.row_words());
        let (rows, buffers) = self.part_rows(task)?;
        let mut largest = backend.allocate(1)?;
        backend.write(&mut largest, 0, &[0u32])?;
        let mut parts = Vec::new();
        for _ in 0..buffers.min(total.div_ceil(rows)) {
            let held = self
                .device
                .budget
                .reserve("rows of an index", 4 * rows * (row_words + 1))?;
            parts.push(Part {
                first: 0,
                count: 0,
                data: backend.allocate_beside(rows * row_words)?,
                terms: backend.allocate(rows)?,
                largest: 0.0,
                held,
            });
        }
        std::thread::scope(|scope| {
            let (empty, empties) = channel::<Part<B>>();
            let (filled, filleds) = channel::<Result<Part<B>, GpuError>>();
            for part in parts {
                // The other end is there.
                let _ = empty.send(part);
            }
            scope.spawn(move || {
                for first in (0..total).step_by(rows) {
                    // No parts come back when comparing has failed.
                    let Ok(mut part) = empties.recv() else { return };
                    part.first = first;
                    part.count = rows.min(total - first);
                    let copied = copy_rows(task, first, part.count, |at, rows| match rows {
                        Packed::Floats(values) => backend.write_beside(&mut part.data, at, values),
                        Packed::Words(words) => backend.write_beside(&mut part.data, at, words),
                    });
                    let has_failed = copied.is_err();
                    if filled.send(copied.map(|()| part)).is_err() || has_failed {
                        return;
                    }
                }
            });
            for part in filleds {
                let mut part = part?;
                backend.row_terms(
                    (task.sides.element, task.sides.comparison),
                    &part.data,
                    part.count as u32,
                    stride as u32,
                    &mut part.terms,
                    &mut largest,
                )?;
                self.compare(task, &part, state, queries, rounds)?;
                // Nobody waits for one behind the last part.
                let _ = empty.send(part);
            }
            Ok(())
        })?;
        let mut bits = [0.0f32];
        backend.read(&largest, &mut bits)?;
        Ok(bits[0])
    }
}

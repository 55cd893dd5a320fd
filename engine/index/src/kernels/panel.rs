//! Panels: many queries against rows by number, as a matrix product of which only the promising pairs are kept.
//!
//! ```text
//!   panel     [dimension][query]: the queries side by side, one per lane of the registers
//!   row 0..8  one number of each row at a time meets all lanes
//!   sums      8 rows x width queries, held in registers over the whole dimension
//!   masks     one bit per pair: the sum is not below `offsets[query] + slopes[query] * terms[row]`
//! ```
//!
//! The sums leave the registers as bits only: a pair that passes is scored again by the exact kernel, so that no distance
//! depends on how a batch was cut. Rows are read where they lie; only the queries are copied, once per batch.
//!
//! A sum is the inner product, or minus the squared distance. It is one chain of `dim` fused multiplications and
//! additions, which bounds its rounding error.

use super::Kernels;
use crate::vectors::Vectors;

/// Rows that a panel kernel works on at once.
pub const PANEL_ROWS: usize = 8;
/// The most queries of a panel, on any instruction set.
pub const PANEL_QUERIES: usize = 48;

/// What is summed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PanelSum {
    /// `q . x`
    Product,
    /// `-|q - x|²`
    NegatedL2,
}

/// Queries side by side.
#[derive(Debug, Clone)]
pub struct Panel {
    /// `dim` x `width`; lanes without a query are zero.
    numbers: Vec<f32>,
    dim: usize,
    width: usize,
}

/// What the sums of a panel's pairs are compared with: `offsets[q] + slopes[q] * terms[r]`.
#[derive(Debug, Clone)]
pub struct Limits {
    pub(crate) offsets: [f32; PANEL_QUERIES],
    pub(crate) slopes: [f32; PANEL_QUERIES],
}

impl Limits {
    /// Limits of as many queries as a panel may have.
    pub fn new(offsets: [f32; PANEL_QUERIES], slopes: [f32; PANEL_QUERIES]) -> Self {
        Self { offsets, slopes }
    }
}

/// The form of a panel kernel. Contract: `panel` has `dim * width` floats, and `width` is a multiple of the table's lanes
/// and at most three times as many; every pointer has `dim` floats behind it.
pub(super) type PanelKernel = unsafe fn(
    panel: &[f32],
    width: usize,
    rows: &[*const f32; PANEL_ROWS],
    limits: &Limits,
    terms: &[f32; PANEL_ROWS],
    masks: &mut [u64; PANEL_ROWS],
);

impl Panel {
    /// Puts `queries` side by side, as many as [`Kernels::panel_queries`] at most; more are left out.
    pub fn new<'q>(kernels: &Kernels, dim: usize, queries: impl ExactSizeIterator<Item = &'q [f32]>) -> Self {
        let count = queries.len().min(kernels.panel_queries());
        let width = count.next_multiple_of(kernels.panel_lanes);
        let mut numbers = vec![0.0; dim * width];
        for (lane, query) in queries.take(count).enumerate() {
            for (numbers, &value) in numbers.chunks_exact_mut(width).zip(query) {
                if let Some(slot) = numbers.get_mut(lane) {
                    *slot = value;
                }
            }
        }
        Self { numbers, dim, width }
    }
}

impl Kernels {
    /// Queries of a full panel.
    pub fn panel_queries(&self) -> usize {
        3 * self.panel_lanes
    }

    /// Queries that a panel is a multiple of: missing ones cost as much as others.
    pub fn panel_lanes(&self) -> usize {
        self.panel_lanes
    }

    /// The pairs of the queries of `panel` and of at most [`PANEL_ROWS`] `rows` that pass `limits`: bit `q` of `masks[i]`
    /// for query `q` and row `rows[i]`. A comparison with something that is no number passes. All pairs pass when a row
    /// does not exist or the dimensions differ.
    #[inline]
    pub fn panel(
        &self,
        sum: PanelSum,
        panel: &Panel,
        vectors: Vectors<'_>,
        rows: &[u32],
        limits: &Limits,
        terms: &[f32],
    ) -> [u64; PANEL_ROWS] {
        let mut masks = [0u64; PANEL_ROWS];
        let count = rows.len().min(PANEL_ROWS).min(terms.len());
        let highest = rows.iter().fold(0, |highest, &row| highest.max(row));
        let sound = (highest as usize) < vectors.len() && vectors.dim() == panel.dim && panel.width > 0;
        if !sound || count == 0 {
            debug_assert!(
                count == 0 || panel.width == 0,
                "row {highest} of {}",
                vectors.len()
            );
            masks[..count].fill(u64::MAX);
            return masks;
        }
        // Missing rows repeat the last one; their masks are cleared.
        let mut pointers = [std::ptr::null(); PANEL_ROWS];
        let mut all_terms = [0.0; PANEL_ROWS];
        for (place, (pointer, term)) in pointers.iter_mut().zip(&mut all_terms).enumerate() {
            let place = place.min(count - 1);
            *pointer = vectors.row(rows[place] as usize).as_ptr();
            *term = terms[place];
        }
        let kernel = match sum {
            PanelSum::Product => self.panel_dot,
            PanelSum::NegatedL2 => self.panel_l2,
        };
        // SAFETY: the table is only handed out when the machine has its instruction set; `Panel::new` made `dim * width`
        // floats, at most three registers wide; every row exists and has `dim` floats.
        unsafe {
            kernel(
                &panel.numbers,
                panel.width,
                &pointers,
                limits,
                &all_terms,
                &mut masks,
            )
        };
        masks[count..].fill(0);
        masks
    }
}

/// Writes a panel kernel for registers of `$lanes` floats. A block of rows has `$rows` sums per register of queries: as
/// many as there are registers for.
macro_rules! panel_kernel {
    (
        $(#[$feature:meta])* $name:ident, lanes $lanes:literal, rows $rows:literal,
        load $load:expr, splat $splat:expr, zero $zero:expr, step $step:expr, line $line:expr, passes $passes:expr
    ) => {
        $(#[$feature])*
        pub(super) unsafe fn $name(
            panel: &[f32],
            width: usize,
            rows: &[*const f32; $crate::kernels::panel::PANEL_ROWS],
            limits: &$crate::kernels::panel::Limits,
            terms: &[f32; $crate::kernels::panel::PANEL_ROWS],
            masks: &mut [u64; $crate::kernels::panel::PANEL_ROWS],
        ) {
            $(#[$feature])*
            #[inline]
            unsafe fn of<const REGISTERS: usize>(
                panel: &[f32],
                rows: &[*const f32; $rows],
                limits: &$crate::kernels::panel::Limits,
                terms: &[f32; $rows],
                masks: &mut [u64],
            ) {
                let dim = panel.len() / (REGISTERS * $lanes);
                let mut at = panel.as_ptr();
                let mut sums = [[$zero; REGISTERS]; $rows];
                for column in 0..dim {
                    // SAFETY: `panel` has `dim` columns of so many registers, and every row `dim` floats.
                    unsafe {
                        let queries: [_; REGISTERS] = std::array::from_fn(|register| $load(at.add(register * $lanes)));
                        for (sums, row) in sums.iter_mut().zip(rows) {
                            let value = $splat(row.add(column));
                            for (sum, query) in sums.iter_mut().zip(&queries) {
                                *sum = $step(*sum, *query, value);
                            }
                        }
                        at = at.add(REGISTERS * $lanes);
                    }
                }
                for ((mask, sums), term) in masks.iter_mut().zip(&sums).zip(terms) {
                    *mask = 0;
                    for (register, sum) in sums.iter().enumerate() {
                        // SAFETY: limits have three registers of floats.
                        let passing = unsafe {
                            let slopes = $load(limits.slopes.as_ptr().add(register * $lanes));
                            let offsets = $load(limits.offsets.as_ptr().add(register * $lanes));
                            $passes(*sum, $line(slopes, $splat(term), offsets))
                        };
                        *mask |= u64::from(passing) << (register * $lanes);
                    }
                }
            }
            let groups = rows.as_chunks::<$rows>().0.iter().zip(terms.as_chunks::<$rows>().0);
            for ((rows, terms), masks) in groups.zip(masks.chunks_exact_mut($rows)) {
                // SAFETY: as the caller promised.
                unsafe {
                    match width / $lanes {
                        1 => of::<1>(panel, rows, limits, terms, masks),
                        2 => of::<2>(panel, rows, limits, terms, masks),
                        _ => of::<3>(panel, rows, limits, terms, masks),
                    }
                }
            }
        }
    };
}
pub(super) use panel_kernel;

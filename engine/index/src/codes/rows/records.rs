//! Rows of codes in memory: one record after the other, each with a number of its own where the metric needs one.

use crate::kernels::prefetch;

/// Records between asking for one and using it.
const AHEAD: usize = 8;

/// Records of equal length: `head` bytes (none, or one little-endian `f32`, the row's term) and a code.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Records<'a> {
    pub(crate) bytes: &'a [u8],
    /// Bytes of a record.
    pub(crate) stride: usize,
    /// 0 or 4.
    pub(crate) head: usize,
}

/// What makes a distance of the product of a query with a code: `add + term + mul * product`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Line {
    pub(crate) add: f32,
    pub(crate) mul: f32,
}

impl<'a> Records<'a> {
    /// Bytes of a code.
    #[inline]
    pub(crate) fn code_bytes(self) -> usize {
        self.stride - self.head
    }

    /// Term and code of a row.
    #[inline(always)]
    fn split(self, row: u32) -> Option<(f32, &'a [u8])> {
        let (head, code) = self.record(row)?.split_at_checked(self.head)?;
        let term = head.try_into().map_or(0.0, f32::from_le_bytes);
        Some((term, code))
    }

    #[inline(always)]
    fn record(self, row: u32) -> Option<&'a [u8]> {
        let start = (row as usize).checked_mul(self.stride)?;
        self.bytes.get(start..start.checked_add(self.stride)?)
    }

    #[inline(always)]
    pub(super) fn prefetch(self, row: u32) {
        if let Some(record) = self.record(row) {
            prefetch(record);
            // A record need not start a line: its end may lie in one more than it has lines.
            prefetch(record.get(record.len() - 1..).unwrap_or(&[]));
        }
    }
}

/// Distances of the rows given by number, as `product` and `line` say; infinite where there is no such row, or no such
/// distance.
#[inline(always)]
pub(super) fn gather_rows(
    records: Records<'_>,
    line: Line,
    rows: &[u32],
    out: &mut [f32],
    product: impl Fn(&[u8]) -> f32,
) {
    for &row in rows.iter().take(AHEAD) {
        records.prefetch(row);
    }
    for (index, (&row, slot)) in rows.iter().zip(out).enumerate() {
        if let Some(&later) = rows.get(index + AHEAD) {
            records.prefetch(later);
        }
        *slot = match records.split(row) {
            Some((term, code)) => {
                let distance = line.add + term + line.mul * product(code);
                if distance.is_nan() {
                    f32::INFINITY
                } else {
                    distance
                }
            }
            None => f32::INFINITY,
        };
    }
}

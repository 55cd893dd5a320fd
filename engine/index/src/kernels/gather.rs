//! One query against rows by number, around a kernel of pairs.

use super::prefetch;

/// The rows as one slice where their numbers follow each other, as those of a scan do: they need neither be looked up nor
/// asked for.
#[inline(always)]
pub(super) fn run<'a, T>(width: usize, data: &'a [T], rows: &[u32]) -> Option<&'a [T]> {
    let (first, last) = (*rows.first()?, *rows.last()?);
    if width == 0 || last.checked_sub(first)? as usize != rows.len() - 1 {
        return None;
    }
    // No early exit: it vectorizes, and practically always all of them follow.
    let expected = (0u32..).zip(rows);
    let follow = expected.fold(true, |follow, (index, row)| {
        follow & (row.wrapping_sub(first) == index)
    });
    let start = (first as usize).checked_mul(width)?;
    let rows = data.get(start..start.checked_add(rows.len().checked_mul(width)?)?)?;
    follow.then_some(rows)
}

/// `out[i]` = what `pair` gives for row `rows[i]` of `data`, which has rows of `width` elements; infinite for a row that is not
/// there.
#[inline(always)]
pub(super) fn gather_body<T>(
    width: usize,
    data: &[T],
    rows: &[u32],
    out: &mut [f32],
    pair: impl Fn(&[T]) -> f32,
) {
    /// Rows between asking for a row and using it.
    const AHEAD: usize = 6;
    if let Some(rows) = run(width, data, rows) {
        for (row, slot) in rows.chunks_exact(width).zip(out) {
            *slot = pair(row);
        }
        return;
    }
    let row_at = |row: u32| {
        let start = (row as usize).checked_mul(width)?;
        data.get(start..start.checked_add(width)?)
    };
    for &row in rows.iter().take(AHEAD) {
        prefetch(row_at(row).unwrap_or(&[]));
    }
    for (index, (&row, slot)) in rows.iter().zip(out).enumerate() {
        if let Some(&later) = rows.get(index + AHEAD) {
            prefetch(row_at(later).unwrap_or(&[]));
        }
        *slot = row_at(row).map_or(f32::INFINITY, &pair);
    }
}

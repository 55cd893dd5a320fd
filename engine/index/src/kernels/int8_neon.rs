//! The kernels of 8-bit integers with the dot products of ARMv8.2, which multiply four pairs for each 32-bit lane and add them up:
//! the compiler makes them of plain sums. Those are exact, as the portable form's are.

use super::gather::gather_body;
use super::narrow::{INT8_RUN, int8_dot_body};

/// Whether this machine has them.
#[inline]
pub(super) fn is_there() -> bool {
    std::arch::is_aarch64_feature_detected!("dotprod")
}

/// The inner product over the shared length.
#[inline]
#[target_feature(enable = "neon,dotprod")]
pub(super) fn dot(a: &[i8], b: &[i8]) -> i64 {
    int8_dot_body(a, b)
}

/// The squared Euclidean distance over the shared length, `a² + b² - 2ab`: a difference has nine bits.
#[inline]
#[target_feature(enable = "neon,dotprod")]
pub(super) fn l2(a: &[i8], b: &[i8]) -> i64 {
    let shared = a.len().min(b.len());
    let mut total = 0;
    for (a, b) in a[..shared].chunks(INT8_RUN).zip(b[..shared].chunks(INT8_RUN)) {
        let (mut squares, mut products) = ([0i32; 2], 0i32);
        for (&a, &b) in a.iter().zip(b) {
            let (a, b) = (i32::from(a), i32::from(b));
            squares[0] += a * a;
            squares[1] += b * b;
            products += a * b;
        }
        total += i64::from(squares[0]) + i64::from(squares[1]) - 2 * i64::from(products);
    }
    total
}

/// [`dot`] with rows of `data` by number, infinite where there is none.
#[target_feature(enable = "neon,dotprod")]
pub(super) fn dot_gather(query: &[i8], data: &[i8], rows: &[u32], out: &mut [f32]) {
    gather_body(query.len(), data, rows, out, |row| dot(query, row) as f32);
}

/// [`l2`] to rows of `data` by number, infinite where there is none.
#[target_feature(enable = "neon,dotprod")]
pub(super) fn l2_gather(query: &[i8], data: &[i8], rows: &[u32], out: &mut [f32]) {
    gather_body(query.len(), data, rows, out, |row| l2(query, row) as f32);
}

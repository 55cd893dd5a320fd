//! Inner products, four values at a time where WebAssembly has vectors (`-C target-feature=+simd128`, which
//! `elanus plugin build` sets).

/// Rows that are multiplied with one vector at a time: it is read once for all, and their sums do not wait for each other.
const ROWS: usize = 4;

/// Values of one step of a row: two registers.
const STEP: usize = 2 * LANES;

/// The inner product of two vectors. What one has beyond the length of the other counts for nothing.
pub fn dot(one: &[f32], other: &[f32]) -> f32 {
    block(one, [other])[0]
}

/// The inner products of one vector with each of the others, in their order: about twice as fast as one by one.
pub fn dots(one: &[f32], others: &[&[f32]]) -> Vec<f32> {
    let mut products = Vec::with_capacity(others.len());
    for rows in others.chunks(ROWS) {
        match *rows {
            [a, b, c, d] if rows.iter().all(|row| row.len() == one.len()) => {
                products.extend(block(one, [a, b, c, d]));
            }
            _ => products.extend(rows.iter().map(|row| dot(one, row))),
        }
    }
    products
}

fn block<const N: usize>(one: &[f32], others: [&[f32]; N]) -> [f32; N] {
    let length = others.iter().map(|other| other.len()).fold(one.len(), usize::min);
    let whole = length - length % STEP;
    let mut sums = [[Lanes::ZERO; 2]; N];
    for at in (0..whole).step_by(STEP) {
        // SAFETY: whole is a multiple of STEP and no slice is shorter: `at + STEP` is at most its length.
        let own = unsafe { [Lanes::load(one, at), Lanes::load(one, at + LANES)] };
        for (sum, other) in sums.iter_mut().zip(others) {
            // SAFETY: as above.
            let other = unsafe { [Lanes::load(other, at), Lanes::load(other, at + LANES)] };
            *sum = [
                sum[0].add_product(own[0], other[0]),
                sum[1].add_product(own[1], other[1]),
            ];
        }
    }
    let mut products = [0.0; N];
    for ((product, [first, second]), other) in products.iter_mut().zip(sums).zip(others) {
        let rest = one[whole..length].iter().zip(&other[whole..length]);
        *product = first.sum() + second.sum() + rest.map(|(x, y)| x * y).sum::<f32>();
    }
    products
}

const LANES: usize = 4;

#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
#[derive(Clone, Copy)]
struct Lanes(core::arch::wasm32::v128);

#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
impl Lanes {
    const ZERO: Self = Self(core::arch::wasm32::f32x4(0.0, 0.0, 0.0, 0.0));

    /// # Safety
    /// `at + LANES` is at most the length of `values`.
    unsafe fn load(values: &[f32], at: usize) -> Self {
        // SAFETY: the caller's promise; WebAssembly loads from any address.
        Self(unsafe { core::arch::wasm32::v128_load(values.as_ptr().add(at).cast()) })
    }

    fn add_product(self, x: Self, y: Self) -> Self {
        use core::arch::wasm32::{f32x4_add, f32x4_mul};
        Self(f32x4_add(self.0, f32x4_mul(x.0, y.0)))
    }

    fn sum(self) -> f32 {
        use core::arch::wasm32::f32x4_extract_lane as lane;
        (lane::<0>(self.0) + lane::<1>(self.0)) + (lane::<2>(self.0) + lane::<3>(self.0))
    }
}

#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
#[derive(Clone, Copy)]
struct Lanes([f32; LANES]);

#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
impl Lanes {
    const ZERO: Self = Self([0.0; LANES]);

    /// # Safety
    /// None is needed; the signature is that of the other.
    unsafe fn load(values: &[f32], at: usize) -> Self {
        Self([values[at], values[at + 1], values[at + 2], values[at + 3]])
    }

    fn add_product(self, x: Self, y: Self) -> Self {
        Self(core::array::from_fn(|lane| self.0[lane] + x.0[lane] * y.0[lane]))
    }

    fn sum(self) -> f32 {
        (self.0[0] + self.0[1]) + (self.0[2] + self.0[3])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inner_products_of_every_length_are_those_of_the_loop() {
        for length in 0..40_usize {
            let row =
                |seed: usize| -> Vec<f32> { (0..length).map(|at| ((at * seed) % 7) as f32 - 3.0).collect() };
            let one = row(3);
            let rows: Vec<Vec<f32>> = (1..12).map(row).collect();
            let expected: Vec<f32> = rows
                .iter()
                .map(|other| one.iter().zip(other).map(|(x, y)| x * y).sum())
                .collect();
            let slices: Vec<&[f32]> = rows.iter().map(Vec::as_slice).collect();
            assert_eq!(dots(&one, &slices), expected, "{length}");
            assert_eq!(dot(&one, slices[4]), expected[4]);
        }
        assert_eq!(dot(&[1.0, 2.0, 3.0], &[1.0]), 1.0);
        assert_eq!(
            dots(&[1.0], &[&[2.0, 5.0], &[], &[3.0], &[4.0]]),
            [2.0, 0.0, 3.0, 4.0]
        );
    }
}

//! Floats rounded to 16 bits: halves and bfloat16s.

use crate::kernels::narrow::f32_to_bfloat16;

/// The largest half.
const MAX_HALF: f32 = 65_504.0;
/// The largest finite bfloat16, as bits.
const MAX_BFLOAT16: u16 = 0x7f7f;

/// The half nearest to `value`, ties to even, as bits; the largest one for what lies beyond it.
pub(super) fn half(value: f32) -> u16 {
    let sign = (value.to_bits() >> 16) as u16 & 0x8000;
    let size = value.abs().min(MAX_HALF);
    let bits = if size < f32::from_bits(113 << 23) {
        // Subnormal: a multiple of 2^-24. The smallest normal number follows the largest of them.
        (size * 16_777_216.0).round_ties_even() as u16
    } else {
        let bits = size.to_bits();
        let even = (bits >> 13) & 1;
        (((bits + 0xfff + even) >> 13) - (112 << 10)) as u16
    };
    sign | bits
}

/// The bfloat16 nearest to `value`, ties to even, as bits; the largest one for what lies beyond it.
pub(super) fn bfloat16(value: f32) -> u16 {
    let bits = f32_to_bfloat16(value);
    let sign = bits & 0x8000;
    sign | (bits & 0x7fff).min(MAX_BFLOAT16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::narrow::{bfloat16_to_f32, half_to_f32};
    use proptest::prelude::*;

    #[test]
    fn every_half_reads_back() {
        for bits in (0..0x7c00).flat_map(|bits| [bits, bits | 0x8000]) {
            assert_eq!(half(half_to_f32(bits)), bits);
        }
    }

    proptest! {
        #[test]
        fn the_nearest_half_is_taken(value in -70_000f32..70_000.0) {
            let bits = half(value);
            let off = (half_to_f32(bits) - value).abs();
            for other in [bits.wrapping_add(1), bits.wrapping_sub(1)] {
                if other & 0x7fff < 0x7c00 && (other ^ bits) & 0x8000 == 0 {
                    prop_assert!(off <= (half_to_f32(other) - value).abs());
                }
            }
        }
    }

    #[test]
    fn what_lies_beyond_is_the_largest() {
        assert_eq!(half_to_f32(half(f32::MAX)), MAX_HALF);
        assert_eq!(half_to_f32(half(-1e9)), -MAX_HALF);
        assert!(bfloat16_to_f32(bfloat16(f32::MAX)).is_finite());
        assert!(bfloat16_to_f32(bfloat16(f32::MIN)).is_finite());
        assert_eq!(bfloat16_to_f32(bfloat16(-1.5)), -1.5);
    }
}

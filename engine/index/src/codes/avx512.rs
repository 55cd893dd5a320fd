//! Sums over packed codes with AVX-512: 64 codes or table entries per instruction.
//!
//! Contract of all: `codes` is a whole number of units of `unit_bytes` bytes, `out` has the packing's rows for each, and the
//! operand is as long as the packing says.

use std::arch::x86_64::{
    __m512, __m512i, _mm_cvtss_f32, _mm256_add_epi16, _mm256_permute2x128_si256, _mm256_unpackhi_epi16,
    _mm256_unpacklo_epi16, _mm512_add_epi16, _mm512_add_epi32, _mm512_and_si512, _mm512_castps512_ps128,
    _mm512_castsi512_si256, _mm512_cvtepu16_epi32, _mm512_dpbusd_epi32, _mm512_extracti64x4_epi64,
    _mm512_loadu_ps, _mm512_loadu_si512, _mm512_mask_blend_epi8, _mm512_max_ps, _mm512_min_ps,
    _mm512_movepi8_mask, _mm512_or_si512, _mm512_permute_ps, _mm512_permutex2var_epi8, _mm512_set1_epi8,
    _mm512_set1_epi32, _mm512_set1_ps, _mm512_setzero_si512, _mm512_shuffle_epi8, _mm512_shuffle_f32x4,
    _mm512_slli_epi16, _mm512_srli_epi16, _mm512_storeu_si512, _mm512_sub_epi16, _mm512_unpackhi_epi16,
    _mm512_unpacklo_epi16,
};

use super::packing::{RUN, TOGETHER};

/// Reads 64 bytes at `at`.
///
/// # Safety
/// They lie inside the slice.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn load(bytes: &[u8], at: usize) -> __m512i {
    debug_assert!(at + 64 <= bytes.len());
    // SAFETY: the caller's.
    unsafe { _mm512_loadu_si512(bytes.as_ptr().add(at).cast()) }
}

/// Four weights at `at`, in every lane.
///
/// # Safety
/// They lie inside the slice.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn weights(operand: &[u8], at: usize) -> __m512i {
    debug_assert!(at + 4 <= operand.len());
    // SAFETY: the caller's.
    let four = unsafe { operand.as_ptr().add(at).cast::<i32>().read_unaligned() };
    _mm512_set1_epi32(four)
}

/// Sums of [`super::packing::Packing::Levels`].
///
/// # Safety
/// The contract of this file.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub(super) unsafe fn levels(bits: u32, unit_bytes: usize, codes: &[u8], operand: &[u8], out: &mut [i32]) {
    let nibble = _mm512_set1_epi8(15);
    let high = _mm512_set1_epi8(0x30);
    for (unit, out) in codes.chunks_exact(unit_bytes).zip(out.chunks_exact_mut(16)) {
        // Four sums: an addition waits for the one before it.
        let mut sums = [_mm512_setzero_si512(); 4];
        // SAFETY: a unit has a whole number of steps, and the operand the weights of each, see `Packing::unit_bytes`.
        unsafe {
            match bits {
                8 => {
                    let steps = unit_bytes / 64;
                    let mut step = 0;
                    while step + 4 <= steps {
                        for (lane, sum) in sums.iter_mut().enumerate() {
                            let at = step + lane;
                            *sum = _mm512_dpbusd_epi32(*sum, load(unit, at * 64), weights(operand, at * 4));
                        }
                        step += 4;
                    }
                    while step < steps {
                        sums[0] =
                            _mm512_dpbusd_epi32(sums[0], load(unit, step * 64), weights(operand, step * 4));
                        step += 1;
                    }
                }
                6 => {
                    for step in 0..unit_bytes / 192 {
                        let (first, second) = (load(unit, step * 192), load(unit, step * 192 + 64));
                        let top = load(unit, step * 192 + 128);
                        let numbers = [
                            _mm512_or_si512(
                                _mm512_and_si512(first, nibble),
                                _mm512_and_si512(_mm512_slli_epi16::<4>(top), high),
                            ),
                            _mm512_or_si512(
                                _mm512_and_si512(_mm512_srli_epi16::<4>(first), nibble),
                                _mm512_and_si512(_mm512_slli_epi16::<2>(top), high),
                            ),
                            _mm512_or_si512(_mm512_and_si512(second, nibble), _mm512_and_si512(top, high)),
                            _mm512_or_si512(
                                _mm512_and_si512(_mm512_srli_epi16::<4>(second), nibble),
                                _mm512_and_si512(_mm512_srli_epi16::<2>(top), high),
                            ),
                        ];
                        for (lane, (sum, number)) in sums.iter_mut().zip(numbers).enumerate() {
                            *sum = _mm512_dpbusd_epi32(*sum, number, weights(operand, step * 16 + lane * 4));
                        }
                    }
                }
                _ => {
                    for step in 0..unit_bytes / 64 {
                        let both = load(unit, step * 64);
                        let low = _mm512_and_si512(both, nibble);
                        let top = _mm512_and_si512(_mm512_srli_epi16::<4>(both), nibble);
                        let pair = step % 2 * 2;
                        sums[pair] = _mm512_dpbusd_epi32(sums[pair], low, weights(operand, step * 8));
                        sums[pair + 1] =
                            _mm512_dpbusd_epi32(sums[pair + 1], top, weights(operand, step * 8 + 4));
                    }
                }
            }
            let sum = _mm512_add_epi32(
                _mm512_add_epi32(sums[0], sums[1]),
                _mm512_add_epi32(sums[2], sums[3]),
            );
            _mm512_storeu_si512(out.as_mut_ptr().cast(), sum);
        }
    }
}

/// Sums of [`super::packing::Packing::Levels`] of 8 bits for several operands.
///
/// # Safety
/// The contract of this file, for each operand and its sums.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub(super) unsafe fn levels_of(
    unit_bytes: usize,
    codes: &[u8],
    operands: [&[u8]; TOGETHER],
    mut out: [&mut [i32]; TOGETHER],
) {
    /// Sums of `UNITS` units from `first` on: a register of codes meets the weights of all operands, and the weights of an
    /// operand the codes of all units.
    ///
    /// # Safety
    /// There are as many, and the contract of this file.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    unsafe fn units<const UNITS: usize>(
        first: usize,
        unit_bytes: usize,
        codes: &[u8],
        operands: [&[u8]; TOGETHER],
        out: &mut [&mut [i32]; TOGETHER],
    ) {
        let mut sums = [[_mm512_setzero_si512(); TOGETHER]; UNITS];
        for step in 0..unit_bytes / 64 {
            // SAFETY: a unit has a whole number of steps, and each operand the weights of each.
            let weights = operands.map(|operand| unsafe { weights(operand, step * 4) });
            for (unit, sums) in sums.iter_mut().enumerate() {
                // SAFETY: as above.
                let codes = unsafe { load(codes, (first + unit) * unit_bytes + step * 64) };
                for (sum, weights) in sums.iter_mut().zip(weights) {
                    *sum = _mm512_dpbusd_epi32(*sum, codes, weights);
                }
            }
        }
        for (unit, sums) in sums.into_iter().enumerate() {
            for (sum, out) in sums.into_iter().zip(out.iter_mut()) {
                let at = (first + unit) * 16;
                debug_assert!(at + 16 <= out.len());
                // SAFETY: 16 slots for each unit.
                unsafe { _mm512_storeu_si512(out.as_mut_ptr().add(at).cast(), sum) };
            }
        }
    }
    let count = codes.len() / unit_bytes;
    let mut first = 0;
    while first < count {
        let there = (count - first).min(4);
        // SAFETY: as many units are left.
        unsafe {
            match there {
                1 => units::<1>(first, unit_bytes, codes, operands, &mut out),
                2 => units::<2>(first, unit_bytes, codes, operands, &mut out),
                3 => units::<3>(first, unit_bytes, codes, operands, &mut out),
                _ => units::<4>(first, unit_bytes, codes, operands, &mut out),
            }
        }
        first += there;
    }
}

/// Sums of bytes as 16-bit numbers: `all` adds both bytes of a pair (the upper one 256-fold), `upper` the upper ones.
#[derive(Clone, Copy)]
struct Wide {
    all: __m512i,
    upper: __m512i,
}

impl Wide {
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn zero() -> Self {
        Self {
            all: _mm512_setzero_si512(),
            upper: _mm512_setzero_si512(),
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    fn add(&mut self, bytes: __m512i) {
        self.all = _mm512_add_epi16(self.all, bytes);
        self.upper = _mm512_add_epi16(self.upper, _mm512_srli_epi16::<8>(bytes));
    }

    /// `(lower bytes' sums, upper bytes' sums)`; what wrapped around in `all` unwraps here.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    fn split(self) -> (__m512i, __m512i) {
        (
            _mm512_sub_epi16(self.all, _mm512_slli_epi16::<8>(self.upper)),
            self.upper,
        )
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    fn plus(self, other: Self) -> Self {
        Self {
            all: _mm512_add_epi16(self.all, other.all),
            upper: _mm512_add_epi16(self.upper, other.upper),
        }
    }

    /// Adds the sums of 32 rows, which both halves of a register belong to.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    fn add_to(self, totals: &mut [__m512i; 2]) {
        let (even, odd) = self.split();
        let fold = |sums: __m512i| {
            _mm256_add_epi16(_mm512_castsi512_si256(sums), _mm512_extracti64x4_epi64::<1>(sums))
        };
        let (even, odd) = (fold(even), fold(odd));
        let (outer, inner) = (_mm256_unpacklo_epi16(even, odd), _mm256_unpackhi_epi16(even, odd));
        let rows = [
            _mm256_permute2x128_si256::<0x20>(outer, inner),
            _mm256_permute2x128_si256::<0x31>(outer, inner),
        ];
        for (total, rows) in totals.iter_mut().zip(rows) {
            *total = _mm512_add_epi32(*total, _mm512_cvtepu16_epi32(rows));
        }
    }
}

/// Sums of [`super::packing::Packing::Nibbles`].
///
/// # Safety
/// The contract of this file.
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) unsafe fn nibbles(unit_bytes: usize, codes: &[u8], operand: &[u8], out: &mut [i32]) {
    let nibble = _mm512_set1_epi8(15);
    let steps = unit_bytes / 64;
    for (unit, out) in codes.chunks_exact(unit_bytes).zip(out.chunks_exact_mut(32)) {
        let mut totals = [_mm512_setzero_si512(); 2];
        let mut first = 0;
        while first < steps {
            let last = (first + RUN / 4).min(steps);
            let (mut low, mut high) = (Wide::zero(), Wide::zero());
            for step in first..last {
                // SAFETY: a unit has `steps` steps of 64 bytes, the operand 128 bytes of tables for each.
                let (code, low_tables, high_tables) = unsafe {
                    (
                        load(unit, step * 64),
                        load(operand, step * 128),
                        load(operand, step * 128 + 64),
                    )
                };
                low.add(_mm512_shuffle_epi8(low_tables, _mm512_and_si512(code, nibble)));
                let upper = _mm512_and_si512(_mm512_srli_epi16::<4>(code), nibble);
                high.add(_mm512_shuffle_epi8(high_tables, upper));
            }
            low.plus(high).add_to(&mut totals);
            first = last;
        }
        for (slots, total) in out.chunks_exact_mut(16).zip(totals) {
            // SAFETY: 16 slots.
            unsafe { _mm512_storeu_si512(slots.as_mut_ptr().cast(), total) };
        }
    }
}

/// Sums of [`super::packing::Packing::Nibbles`] for several operands.
///
/// # Safety
/// The contract of this file, for each operand and its sums.
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) unsafe fn nibbles_of(
    unit_bytes: usize,
    codes: &[u8],
    operands: [&[u8]; TOGETHER],
    mut out: [&mut [i32]; TOGETHER],
) {
    let nibble = _mm512_set1_epi8(15);
    let steps = unit_bytes / 64;
    for (index, unit) in codes.chunks_exact(unit_bytes).enumerate() {
        let mut totals = [[_mm512_setzero_si512(); 2]; TOGETHER];
        let mut first = 0;
        while first < steps {
            let last = (first + RUN / 4).min(steps);
            let mut sums = [Wide::zero(); TOGETHER];
            for step in first..last {
                // SAFETY: a unit has `steps` steps of 64 bytes.
                let code = unsafe { load(unit, step * 64) };
                let lower = _mm512_and_si512(code, nibble);
                let upper = _mm512_and_si512(_mm512_srli_epi16::<4>(code), nibble);
                for (sum, operand) in sums.iter_mut().zip(operands) {
                    // SAFETY: an operand has 128 bytes of tables for each step.
                    let (low, high) = unsafe { (load(operand, step * 128), load(operand, step * 128 + 64)) };
                    sum.add(_mm512_shuffle_epi8(low, lower));
                    sum.add(_mm512_shuffle_epi8(high, upper));
                }
            }
            for (sum, totals) in sums.into_iter().zip(&mut totals) {
                sum.add_to(totals);
            }
            first = last;
        }
        for (totals, out) in totals.into_iter().zip(out.iter_mut()) {
            let slots = out.get_mut(index * 32..index * 32 + 32).unwrap_or_default();
            for (slots, total) in slots.chunks_exact_mut(16).zip(totals) {
                // SAFETY: 16 slots.
                unsafe { _mm512_storeu_si512(slots.as_mut_ptr().cast(), total) };
            }
        }
    }
}

/// Sums of [`super::packing::Packing::Bytes`].
///
/// # Safety
/// The contract of this file.
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
pub(super) unsafe fn bytes(unit_bytes: usize, codes: &[u8], operand: &[u8], out: &mut [i32]) {
    let places = unit_bytes / 64;
    for (unit, out) in codes.chunks_exact(unit_bytes).zip(out.chunks_exact_mut(64)) {
        let mut totals = [_mm512_setzero_si512(); 4];
        let mut first = 0;
        while first < places {
            let last = (first + RUN).min(places);
            let mut sums = Wide::zero();
            for place in first..last {
                // SAFETY: a unit has 64 bytes for each place, the operand a table of 256.
                let (code, tables) = unsafe {
                    let start = place * 256;
                    let table = [0, 64, 128, 192].map(|at| load(operand, start + at));
                    (load(unit, place * 64), table)
                };
                // The lookup takes the lower seven bits; the eighth says in which half of the table.
                let lower = _mm512_permutex2var_epi8(tables[0], code, tables[1]);
                let upper = _mm512_permutex2var_epi8(tables[2], code, tables[3]);
                sums.add(_mm512_mask_blend_epi8(_mm512_movepi8_mask(code), lower, upper));
            }
            let (even, odd) = sums.split();
            // Rows 0-7, 16-23, 32-39, 48-55 and the others, as 16-bit numbers.
            let (outer, inner) = (_mm512_unpacklo_epi16(even, odd), _mm512_unpackhi_epi16(even, odd));
            let halves = [
                (_mm512_castsi512_si256(outer), _mm512_castsi512_si256(inner)),
                (
                    _mm512_extracti64x4_epi64::<1>(outer),
                    _mm512_extracti64x4_epi64::<1>(inner),
                ),
            ];
            for ((outer, inner), totals) in halves.into_iter().zip(totals.chunks_exact_mut(2)) {
                let rows = [
                    _mm256_permute2x128_si256::<0x20>(outer, inner),
                    _mm256_permute2x128_si256::<0x31>(outer, inner),
                ];
                for (total, rows) in totals.iter_mut().zip(rows) {
                    *total = _mm512_add_epi32(*total, _mm512_cvtepu16_epi32(rows));
                }
            }
            first = last;
        }
        for (slots, total) in out.chunks_exact_mut(16).zip(totals) {
            // SAFETY: 16 slots.
            unsafe { _mm512_storeu_si512(slots.as_mut_ptr().cast(), total) };
        }
    }
}

/// Smallest numbers of tables of `entries` floats, a multiple of 16, and the widest range, as the plain form finds them.
#[target_feature(enable = "avx512f")]
pub(super) fn ranges(tables: &[f32], entries: usize, lows: &mut [f32]) -> f32 {
    /// Lanes 8 to 15, 4 to 7, 2 and 3, and 1, in front.
    macro_rules! fold {
        ($values:expr, $pick:ident) => {{
            let mut values: __m512 = $values;
            values = $pick(_mm512_shuffle_f32x4::<0b01_00_11_10>(values, values), values);
            values = $pick(_mm512_shuffle_f32x4::<0b10_11_00_01>(values, values), values);
            values = $pick(_mm512_permute_ps::<0b01_00_11_10>(values), values);
            values = $pick(_mm512_permute_ps::<0b10_11_00_01>(values), values);
            _mm_cvtss_f32(_mm512_castps512_ps128(values))
        }};
    }
    let mut widest = 0.0f32;
    for (table, slot) in tables.chunks_exact(entries).zip(lows) {
        let mut low = _mm512_set1_ps(f32::INFINITY);
        let mut high = _mm512_set1_ps(f32::NEG_INFINITY);
        for part in table.as_chunks::<16>().0 {
            // SAFETY: 16 floats.
            let part = unsafe { _mm512_loadu_ps(part.as_ptr()) };
            // A number that is none is left out, and the earlier of equal ones counts.
            low = _mm512_min_ps(part, low);
            high = _mm512_max_ps(part, high);
        }
        let (low, high) = (fold!(low, _mm512_min_ps), fold!(high, _mm512_max_ps));
        *slot = low;
        widest = widest.max(high - low);
    }
    widest
}

//! The formats that floats are stored in, and how their bits become 32-bit floats.

#[cfg(target_arch = "aarch64")]
use std::arch::aarch64::{float32x4_t, vld1_u16, vld1q_f32, vreinterpretq_f32_u32, vshll_n_u16};
#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{
    __m256, __m512, _mm_loadu_si128, _mm256_castsi256_ps, _mm256_cvtepu16_epi32, _mm256_cvtph_ps,
    _mm256_loadu_ps, _mm256_loadu_si256, _mm256_slli_epi32, _mm512_castsi512_ps, _mm512_cvtepu16_epi32,
    _mm512_cvtph_ps, _mm512_loadu_ps, _mm512_slli_epi32,
};

/// A format of floats, read from its bits.
pub(crate) trait Format: Send + Sync + 'static {
    /// A number as it is stored.
    type Bits: Copy + std::fmt::Debug + Send + Sync + 'static;

    /// The number that `bits` stand for; infinities and NaN are not stored and may read as anything.
    fn widen(bits: Self::Bits) -> f32;

    /// Sixteen of them at once.
    ///
    /// # Safety
    /// The machine has AVX-512F, and `bits` points to sixteen numbers.
    #[cfg(target_arch = "x86_64")]
    unsafe fn sixteen(bits: *const Self::Bits) -> __m512;

    /// Eight of them at once.
    ///
    /// # Safety
    /// The machine has AVX2 and F16C, and `bits` points to eight numbers.
    #[cfg(target_arch = "x86_64")]
    unsafe fn eight(bits: *const Self::Bits) -> __m256;

    /// Four of them at once.
    ///
    /// # Safety
    /// The machine has NEON, and `bits` points to four numbers.
    #[cfg(target_arch = "aarch64")]
    unsafe fn four(bits: *const Self::Bits) -> float32x4_t;
}

/// 32-bit floats, which are wide already.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Single;

impl Format for Single {
    type Bits = f32;

    #[inline(always)]
    fn widen(bits: f32) -> f32 {
        bits
    }

    #[cfg(target_arch = "x86_64")]
    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn sixteen(bits: *const f32) -> __m512 {
        // SAFETY: the caller says that sixteen numbers are there.
        unsafe { _mm512_loadu_ps(bits) }
    }

    #[cfg(target_arch = "x86_64")]
    #[inline]
    #[target_feature(enable = "avx2,f16c")]
    unsafe fn eight(bits: *const f32) -> __m256 {
        // SAFETY: the caller says that eight numbers are there.
        unsafe { _mm256_loadu_ps(bits) }
    }

    #[cfg(target_arch = "aarch64")]
    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn four(bits: *const f32) -> float32x4_t {
        // SAFETY: the caller says that four numbers are there.
        unsafe { vld1q_f32(bits) }
    }
}

/// IEEE 754 binary16.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Half;

impl Format for Half {
    type Bits = u16;

    #[inline(always)]
    fn widen(bits: u16) -> f32 {
        /// 2^112, the distance of the two exponents' biases: exact for normal and subnormal halves alike.
        const REBIAS: f32 = f32::from_bits((127 + 112) << 23);
        let magnitude = f32::from_bits(u32::from(bits & 0x7fff) << 13) * REBIAS;
        f32::from_bits(magnitude.to_bits() | u32::from(bits & 0x8000) << 16)
    }

    #[cfg(target_arch = "x86_64")]
    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn sixteen(bits: *const u16) -> __m512 {
        // SAFETY: the caller says that sixteen numbers are there.
        _mm512_cvtph_ps(unsafe { _mm256_loadu_si256(bits.cast()) })
    }

    #[cfg(target_arch = "x86_64")]
    #[inline]
    #[target_feature(enable = "avx2,f16c")]
    unsafe fn eight(bits: *const u16) -> __m256 {
        // SAFETY: the caller says that eight numbers are there.
        _mm256_cvtph_ps(unsafe { _mm_loadu_si128(bits.cast()) })
    }

    #[cfg(target_arch = "aarch64")]
    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn four(bits: *const u16) -> float32x4_t {
        // SAFETY: the caller says that four numbers are there.
        let four = unsafe { vld1_u16(bits) };
        let wide: float32x4_t;
        // SAFETY: an instruction of NEON that touches nothing but its operands.
        unsafe {
            std::arch::asm!(
                "fcvtl {wide:v}.4s, {four:v}.4h", wide = lateout(vreg) wide, four = in(vreg) four,
                options(pure, nomem, nostack, preserves_flags)
            );
        }
        wide
    }
}

/// The upper half of an `f32`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BFloat16;

impl Format for BFloat16 {
    type Bits = u16;

    #[inline(always)]
    fn widen(bits: u16) -> f32 {
        f32::from_bits(u32::from(bits) << 16)
    }

    #[cfg(target_arch = "x86_64")]
    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn sixteen(bits: *const u16) -> __m512 {
        // SAFETY: the caller says that sixteen numbers are there.
        let sixteen = unsafe { _mm256_loadu_si256(bits.cast()) };
        _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(sixteen)))
    }

    #[cfg(target_arch = "x86_64")]
    #[inline]
    #[target_feature(enable = "avx2,f16c")]
    unsafe fn eight(bits: *const u16) -> __m256 {
        // SAFETY: the caller says that eight numbers are there.
        let eight = unsafe { _mm_loadu_si128(bits.cast()) };
        _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(eight)))
    }

    #[cfg(target_arch = "aarch64")]
    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn four(bits: *const u16) -> float32x4_t {
        // SAFETY: the caller says that four numbers are there.
        vreinterpretq_f32_u32(vshll_n_u16::<16>(unsafe { vld1_u16(bits) }))
    }
}

/// The half-precision number of these bits.
pub fn half_to_f32(bits: u16) -> f32 {
    Half::widen(bits)
}

/// The bfloat16 of these bits.
pub fn bfloat16_to_f32(bits: u16) -> f32 {
    BFloat16::widen(bits)
}

/// The bfloat16 nearest to `value`, ties to even, as bits. A finite number above the largest bfloat16 becomes infinite.
pub fn f32_to_bfloat16(value: f32) -> u16 {
    let bits = value.to_bits();
    if value.is_nan() {
        return (bits >> 16) as u16 | 0x0040;
    }
    let even = (bits >> 16) & 1;
    (bits.wrapping_add(0x7fff + even) >> 16) as u16
}

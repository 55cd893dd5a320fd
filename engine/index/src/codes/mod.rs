//! Codes: vectors in a quarter to a thirty-second of their bytes, laid out for scans.
//!
//! Whatever the code, a row's vector is estimated by some `x̂`, and a scan needs `<q, x̂>` for one query and many rows. All
//! codes here bring it to the same form:
//!
//! ```text
//!   code of a row:  small numbers c_0, c_1, ..      one per dimension (scalar, RaBitQ) or group of dimensions (product)
//!   query:          an operand of bytes per place   weights of 8 bits, or tables of 16 or 256 bytes
//!   <q, x̂>  ~  scale * (integer sum over the places) + bias
//! ```
//!
//! Distances follow from the inner product and numbers kept beside the code ([`estimate`]). Sums are integers, so every
//! instruction set gives the same answer, bit for bit. What a scan finds is an estimate: callers score the best rows
//! again, from the stored vectors.
//!
//! | file | part |
//! |---|---|
//! | `level` | the instruction sets that scans use |
//! | [`packing`] | how codes of many rows lie in memory, and the sums over them |
//! | `avx2`, `avx512` | those sums in registers |
//! | [`estimate`] | sums to distances, compared with a bound |
//! | [`scalar`] | 4, 6 or 8 bits per dimension |
//! | [`product`] | one of up to 256 codewords per group of dimensions |
//! | [`rotation`] | a random rotation that costs little |
//! | [`rabitq`] | 1 to 9 bits per dimension of the rotated vector |
//! | `planes` | the bits after the first of those |

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
pub(crate) mod estimate;
pub(crate) mod level;
pub(crate) mod packing;
pub(crate) mod planes;
pub(crate) mod product;
pub(crate) mod rabitq;
pub(crate) mod rotation;
pub(crate) mod scalar;

/// A query as the scan of a code takes it: `<q, x̂> ~ scale * sum + bias`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Operand {
    /// What [`packing::Packing::sums`] reads.
    pub(crate) bytes: Vec<u8>,
    pub(crate) scale: f32,
    pub(crate) bias: f32,
}

/// Tables of `parts` places with `entries` numbers each, rounded to 8 bits at one scale. A table's smallest number becomes 0
/// and goes to the bias.
pub(crate) fn round_tables(packing: packing::Packing, tables: &[f32], entries: usize) -> Operand {
    let bounds = |table: &[f32]| {
        let low = table.iter().copied().fold(f32::INFINITY, f32::min);
        let high = table.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        (low, high)
    };
    let entries = entries.max(1);
    let (mut range, mut bias) = (0.0f32, 0.0f64);
    for table in tables.chunks_exact(entries) {
        let (low, high) = bounds(table);
        range = range.max(high - low);
        bias += f64::from(low);
    }
    let scale = range / 255.0;
    let inverse = if scale > 0.0 { scale.recip() } else { 0.0 };
    let mut rounded = vec![0u8; tables.len()];
    for (table, rounded) in tables
        .chunks_exact(entries)
        .zip(rounded.chunks_exact_mut(entries))
    {
        let (low, _) = bounds(table);
        for (&value, slot) in table.iter().zip(rounded) {
            // Truncation of a number that is half too large: rounds, and saturates at both ends.
            *slot = ((value - low) * inverse + 0.5) as u8;
        }
    }
    Operand {
        bytes: packing.operand_of_tables(&rounded, entries),
        scale,
        bias: bias as f32,
    }
}

//! What the kernels of rows of any type compute, see `kernels/elements.cuh`.

use std::borrow::Cow;

use super::backend::{Comparison, ElementType, Word};
use super::twin::{distance, dot, squared_differences};
use crate::kernels::narrow::{bfloat16_to_f32, half_to_f32};

/// Squared lengths below this have lost digits.
const LEAST_SQUARE: f32 = 1e-30;

/// The units of a row, from its words.
pub(super) fn units_of(element: ElementType, words: &[u32]) -> Cow<'_, [u32]> {
    let widened = |widen: fn(u16) -> f32| {
        let numbers = words.iter().flat_map(|&word| [word as u16, (word >> 16) as u16]);
        Cow::Owned(numbers.map(|bits| widen(bits).to_bits()).collect())
    };
    match element {
        ElementType::Float | ElementType::Int8 | ElementType::Bit => Cow::Borrowed(words),
        ElementType::Half => widened(half_to_f32),
        ElementType::BFloat16 => widened(bfloat16_to_f32),
    }
}

/// The sum over the products of two words of four numbers each.
fn int8_dot(a: &[u32], b: &[u32]) -> i32 {
    let of_words = |a: u32, b: u32| -> i32 {
        let pairs = a.to_le_bytes().into_iter().zip(b.to_le_bytes());
        pairs.map(|(a, b)| i32::from(a as i8) * i32::from(b as i8)).sum()
    };
    a.iter().zip(b).map(|(&a, &b)| of_words(a, b)).sum()
}

/// Bits that are set in what `join` makes of two vectors.
fn count(a: &[u32], b: &[u32], join: impl Fn(u32, u32) -> u32) -> u32 {
    a.iter().zip(b).map(|(&a, &b)| join(a, b).count_ones()).sum()
}

/// A row's term and the bits of its squared length, see [`super::Backend::row_terms`]; of bits that is how many are set.
pub(super) fn row_term(element: ElementType, comparison: Comparison, words: &[u32]) -> (u32, u32) {
    let units = units_of(element, words);
    let cosine = comparison == Comparison::Cosine;
    match element {
        ElementType::Float | ElementType::Half | ElementType::BFloat16 => {
            let square = dot(&units, &units);
            let inverse = if units.iter().all(|&unit| f32::from_word(unit) == 0.0) {
                0.0
            } else if square >= LEAST_SQUARE {
                1.0 / square.sqrt()
            } else {
                f32::NAN
            };
            let term = if cosine { inverse } else { square };
            (term.to_word(), square.to_bits() & 0x7fff_ffff)
        }
        ElementType::Int8 => {
            let square = int8_dot(&units, &units);
            let inverse = if square == 0 {
                0.0
            } else {
                1.0 / (square as f32).sqrt()
            };
            let term = if cosine { inverse.to_word() } else { square as u32 };
            (term, square as u32)
        }
        ElementType::Bit => {
            let set = count(&units, &units, |a, b| a & b);
            (set, set)
        }
    }
}

/// The distance of a query, in units, to a row, in words; what is no number counts as nearest.
pub(super) fn compared(
    (element, comparison): (ElementType, Comparison),
    (query, query_term): (&[u32], u32),
    (row, row_term): (&[u32], u32),
) -> f32 {
    let units = units_of(element, row);
    match element {
        ElementType::Float | ElementType::Half | ElementType::BFloat16 => {
            let sum = match comparison {
                Comparison::L2Direct => squared_differences(query, &units),
                Comparison::L2
                | Comparison::Ip
                | Comparison::Cosine
                | Comparison::Hamming
                | Comparison::Jaccard => dot(query, &units),
            };
            distance(
                comparison,
                sum,
                f32::from_word(query_term),
                f32::from_word(row_term),
            )
        }
        ElementType::Int8 => {
            let product = int8_dot(query, &units);
            match comparison {
                Comparison::L2 | Comparison::L2Direct => {
                    (query_term + row_term).wrapping_sub(2u32.wrapping_mul(product as u32)) as i32 as f32
                }
                Comparison::Ip | Comparison::Hamming | Comparison::Jaccard => 0.0 - product as f32,
                Comparison::Cosine => {
                    let cosine = product as f32 * f32::from_word(query_term) * f32::from_word(row_term);
                    0.0 - cosine.clamp(-1.0, 1.0)
                }
            }
        }
        ElementType::Bit => {
            if comparison == Comparison::Hamming {
                return count(query, &units, |a, b| a ^ b) as f32;
            }
            let both = count(query, &units, |a, b| a & b);
            let either = query_term + row_term - both;
            if either == 0 {
                1.0
            } else {
                (either - both) as f32 / either as f32
            }
        }
    }
}

/// Whether a row is wanted: exact distances of later rows must be below the bound.
pub(super) fn passes(element: ElementType, distance: f32, bound: f32) -> bool {
    distance < bound || (!element.is_exact() && distance == bound)
}

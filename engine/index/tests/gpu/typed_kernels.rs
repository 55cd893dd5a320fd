//! Kernels of rows that are not 32-bit floats, next to their twin: words of any bits for integers and bits, of whole numbers for
//! floats, so that the lists must be equal bit for bit.

use elanus_index::gpu::backend::{Comparison, ElementType};
use elanus_index::gpu::twin::Twin;

use crate::data::{NARROW, Rng, half};
use crate::device::lend;
use crate::kernels::{Case, run};

fn comparisons(element: ElementType) -> &'static [Comparison] {
    match element {
        ElementType::Bit => &[Comparison::Hamming, Comparison::Jaccard],
        ElementType::Int8 => &[Comparison::L2, Comparison::Ip, Comparison::Cosine],
        ElementType::Float | ElementType::Half | ElementType::BFloat16 => &[
            Comparison::L2,
            Comparison::Ip,
            Comparison::Cosine,
            Comparison::L2Direct,
        ],
    }
}

/// A row and the same as a query, `stride` units of it.
pub fn vector(rng: &mut Rng, element: ElementType, stride: usize) -> (Vec<u32>, Vec<u32>) {
    match element {
        ElementType::Int8 | ElementType::Bit => {
            let words: Vec<u32> = (0..stride).map(|_| rng.bits() as u32).collect();
            (words.clone(), words)
        }
        ElementType::Float => {
            let words: Vec<u32> = rng.integers(stride).iter().map(|value| value.to_bits()).collect();
            (words.clone(), words)
        }
        ElementType::Half | ElementType::BFloat16 => {
            let values = rng.integers(stride);
            let narrow = |value: f32| {
                if element == ElementType::Half {
                    u32::from(half(value))
                } else {
                    value.to_bits() >> 16
                }
            };
            let pairs = values.as_chunks::<2>().0.iter();
            let words = pairs.map(|&[low, high]| narrow(low) | narrow(high) << 16);
            (
                words.collect(),
                values.iter().map(|value| value.to_bits()).collect(),
            )
        }
    }
}

pub fn query_term(element: ElementType, comparison: Comparison, units: &[u32]) -> u32 {
    let bytes = || units.iter().flat_map(|unit| unit.to_le_bytes());
    let cosine = comparison == Comparison::Cosine;
    let of_length = |square: f32| {
        let term = if cosine { 1.0 / square.sqrt() } else { square };
        term.to_bits()
    };
    match element {
        ElementType::Bit => units.iter().map(|unit| unit.count_ones()).sum(),
        ElementType::Int8 => {
            let square: i32 = bytes().map(|byte| i32::from(byte as i8).pow(2)).sum();
            if cosine {
                of_length(square as f32)
            } else {
                square as u32
            }
        }
        ElementType::Float | ElementType::Half | ElementType::BFloat16 => {
            of_length(units.iter().map(|&unit| f32::from_bits(unit).powi(2)).sum())
        }
    }
}

#[test]
fn candidates_of_every_type_are_those_of_the_twin() {
    let Some(lent) = lend() else { return };
    let mut rng = Rng(11);
    let mut case_number = 0;
    for element in NARROW {
        for query_count in [1, 3, 4, 5, 49] {
            for (row_count, stride) in [(1usize, 4usize), (127, 12), (300, 36)] {
                for &comparison in comparisons(element) {
                    case_number += 1;
                    lent.set_seed(case_number % 4);
                    let (mut rows, mut queries, mut query_terms) = (Vec::new(), Vec::new(), Vec::new());
                    for row in 0..row_count {
                        let (words, _) = vector(&mut rng, element, stride);
                        // Some row is zero.
                        rows.extend(words.iter().map(|word| if row == 7 { 0 } else { *word }));
                    }
                    for _ in 0..query_count {
                        let (_, units) = vector(&mut rng, element, stride);
                        query_terms.push(query_term(element, comparison, &units));
                        queries.extend(units);
                    }
                    let percent = [100, 60, 3][case_number as usize % 3];
                    let mut word = || {
                        (0..32).fold(0u32, |word, bit| {
                            word | u32::from(rng.below(100) < percent) << bit
                        })
                    };
                    let allow =
                        (percent < 100).then(|| (0..row_count.div_ceil(32)).map(|_| word()).collect());
                    let bounds = (0..query_count).map(|query| match query % 3 {
                        0 => f32::INFINITY,
                        1 => 0.0,
                        _ => f32::NEG_INFINITY,
                    });
                    let first = rng.below(row_count);
                    let mut case = Case {
                        element,
                        comparison,
                        stride,
                        rows,
                        queries,
                        query_terms,
                        bounds: bounds.collect(),
                        allow,
                        first,
                        count: 1 + rng.below(row_count - first),
                        room: row_count,
                    };
                    let what = format!(
                        "{element:?}, {comparison:?}, {query_count} queries, {row_count} rows x {stride}"
                    );
                    let expected = run(&Twin::new(), &case);
                    assert_eq!(run(&lent.device.backend, &case), expected, "{what}");
                    // A bound that is the distance of some row: only floats may let it by.
                    let Some(&(bound, row)) = expected.0[0].get(expected.0[0].len() / 2) else {
                        continue;
                    };
                    case.bounds[0] = f32::from_bits(bound);
                    let expected = run(&Twin::new(), &case);
                    assert_eq!(run(&lent.device.backend, &case), expected, "{what}, with a bound");
                    let by = expected.0[0].iter().any(|entry| entry.1 == row);
                    let is_float = matches!(element, ElementType::Half | ElementType::BFloat16);
                    assert_eq!(by, is_float, "{what}");
                }
            }
        }
    }
}

/// Subnormal and largest halves, bfloat16s with the exponents of 32-bit floats.
#[test]
fn every_bit_of_a_narrow_float_is_read() {
    let Some(lent) = lend() else { return };
    for element in [ElementType::Half, ElementType::BFloat16] {
        let rows: Vec<u32> = (0u32..256)
            .flat_map(|high| {
                let bits = high << 8 | 0x5a;
                let finite = if element == ElementType::Half && bits & 0x7c00 == 0x7c00 {
                    bits & 0x83ff
                } else {
                    bits
                };
                // One number at each place of a row, with zeros around.
                [finite << (16 * (high % 2)), 0]
            })
            .collect();
        let case = Case {
            element,
            comparison: Comparison::Ip,
            stride: 4,
            rows,
            queries: vec![1f32.to_bits(); 4],
            query_terms: vec![0],
            bounds: vec![f32::INFINITY],
            allow: None,
            first: 0,
            count: 256,
            room: 256,
        };
        let (lists, ..) = run(&lent.device.backend, &case);
        let (expected, ..) = run(&Twin::new(), &case);
        assert_eq!(lists, expected, "{element:?}");
        let distinct: std::collections::BTreeSet<u32> = lists[0].iter().map(|entry| entry.0).collect();
        assert!(distinct.len() > 200, "{element:?}");
    }
}

/// Integers of the largest dimension and difference: sums that only just fit.
#[test]
fn the_largest_sums_of_integers_are_exact() {
    let Some(lent) = lend() else { return };
    let stride = ElementType::Int8.stride(32_768);
    let (low, high) = (0x8080_8080u32, 0x7f7f_7f7fu32);
    for (query, square) in [(low, 32_768 * 128 * 128), (high, 32_768 * 127 * 127u32)] {
        let case = Case {
            element: ElementType::Int8,
            comparison: Comparison::L2,
            stride,
            rows: [vec![low; stride], vec![high; stride]].concat(),
            queries: vec![query; stride],
            query_terms: vec![square],
            bounds: vec![f32::INFINITY],
            allow: None,
            first: 0,
            count: 2,
            room: 2,
        };
        let far = (32_768.0f32 * 255.0 * 255.0).to_bits();
        let expected = if query == low { [0, far] } else { [far, 0] };
        for (lists, ..) in [run(&Twin::new(), &case), run(&lent.device.backend, &case)] {
            let distances: Vec<u32> = lists[0].iter().map(|entry| entry.0).collect();
            assert_eq!(distances, expected);
        }
    }
}

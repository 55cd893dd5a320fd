//! Every table against a reference in `f64`, on every form, for all lengths up to 2048.

use proptest::prelude::*;

use super::panel::{Limits, PANEL_QUERIES, PANEL_ROWS, Panel, PanelSum};
use super::{TILE, available};
use crate::vectors::Vectors;

/// Relative to the sum of absolute terms, what `f32` summation may lose.
const TOLERANCE: f64 = 2e-6;

fn reference(a: &[f32], b: &[f32], term: fn(f64, f64) -> f64) -> (f64, f64) {
    let terms = a.iter().zip(b).map(|(&x, &y)| term(f64::from(x), f64::from(y)));
    terms.fold((0.0, 0.0), |(sum, size), term| (sum + term, size + term.abs()))
}

fn close(got: f32, (expected, size): (f64, f64)) -> bool {
    (f64::from(got) - expected).abs() <= TOLERANCE * size + 1e-12
}

fn l2_of(a: &[f32], b: &[f32]) -> (f64, f64) {
    reference(a, b, |x, y| (x - y) * (x - y))
}

fn dot_of(a: &[f32], b: &[f32]) -> (f64, f64) {
    reference(a, b, |x, y| x * y)
}

/// Floats from a seed, so that a failing case shrinks in its shape and not float by float.
fn floats(count: usize, seed: u64) -> Vec<f32> {
    let mut rng = crate::rng::Rng::new(seed);
    (0..count).map(|_| rng.normal()).collect()
}

fn dims() -> impl Strategy<Value = usize> {
    prop_oneof![1usize..70, 1usize..=2048, Just(64), Just(128), Just(2048)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn one_to_one_equals_the_reference(dim in dims(), seed in any::<u64>()) {
        let data = floats(2 * dim, seed);
        let (a, b) = data.split_at(dim);
        for kernels in available() {
            prop_assert!(close(kernels.l2(a, b), l2_of(a, b)), "{:?} l2", kernels.tier());
            prop_assert!(close(kernels.dot(a, b), dot_of(a, b)), "{:?} dot", kernels.tier());
            prop_assert_eq!(kernels.dot_square(a, b), (kernels.dot(a, b), kernels.dot(b, b)), "{:?}", kernels.tier());
        }
    }

    #[test]
    fn block_and_gather_equal_one_to_one_bit_for_bit(
        dim in 1usize..150, rows in prop_oneof![0usize..20, 60usize..140], seed in any::<u64>()
    ) {
        let data = floats((rows + 1) * dim, seed);
        let (query, block) = data.split_at(dim);
        let vectors = Vectors::new(block, dim).unwrap();
        let picks: Vec<u32> = (0..rows as u32).rev().chain(0..rows as u32 / 2).collect();
        for kernels in available() {
            let mut out = vec![0.0; rows];
            let mut picked = vec![0.0; picks.len()];
            kernels.l2_block(query, block, &mut out);
            kernels.l2_gather(query, vectors, &picks, &mut picked);
            prop_assert!((0..rows).all(|row| out[row] == kernels.l2(query, vectors.row(row))));
            prop_assert!(picks.iter().zip(&picked).all(|(&row, &got)| got == out[row as usize]));
            kernels.dot_block(query, block, &mut out);
            kernels.dot_gather(query, vectors, &picks, &mut picked);
            prop_assert!((0..rows).all(|row| out[row] == kernels.dot(query, vectors.row(row))));
            prop_assert!(picks.iter().zip(&picked).all(|(&row, &got)| got == out[row as usize]));
        }
    }

    #[test]
    fn tiles_equal_the_reference_for_every_row_count(dim in dims(), rows in 0usize..11, seed in any::<u64>()) {
        let data = floats((rows + TILE) * dim, seed);
        let (queries, block) = data.split_at(TILE * dim);
        for kernels in available() {
            let mut out = vec![0.0; TILE * rows];
            let mut dots = vec![0.0; TILE * rows];
            kernels.l2_tile(queries, dim, block, &mut out);
            kernels.dot_tile(queries, dim, block, &mut dots);
            for (q, query) in queries.chunks(dim).enumerate() {
                for (r, row) in block.chunks(dim).enumerate() {
                    prop_assert!(close(out[q * rows + r], l2_of(query, row)), "{:?} l2 {q} {r}", kernels.tier());
                    prop_assert!(close(dots[q * rows + r], dot_of(query, row)), "{:?} dot {q} {r}", kernels.tier());
                }
            }
        }
    }

    #[test]
    fn panels_pass_what_the_reference_passes(
        dim in 1usize..200, queries in 1usize..=PANEL_QUERIES, count in 1usize..=PANEL_ROWS, seed in any::<u64>()
    ) {
        let data = floats((queries + 12) * dim, seed);
        let (queries_data, block) = data.split_at(queries * dim);
        let vectors = Vectors::new(block, dim).unwrap();
        let rows: Vec<u32> = (0..count as u32).map(|row| (row * 5 + 3) % 12).collect();
        let numbers = floats(2 * PANEL_QUERIES + count, seed ^ 1);
        let mut limits = Limits { offsets: [0.0; PANEL_QUERIES], slopes: [0.0; PANEL_QUERIES] };
        limits.offsets.copy_from_slice(&numbers[..PANEL_QUERIES]);
        limits.slopes.copy_from_slice(&numbers[PANEL_QUERIES..2 * PANEL_QUERIES]);
        let terms = &numbers[2 * PANEL_QUERIES..];
        for kernels in available() {
            for sum in [PanelSum::Product, PanelSum::NegatedL2] {
                let panel = Panel::new(kernels, dim, queries_data.chunks_exact(dim));
                let masks = kernels.panel(sum, &panel, vectors, &rows, &limits, terms);
                prop_assert!(masks[count..].iter().all(|mask| *mask == 0));
                let of_panel = queries_data.chunks_exact(dim).take(kernels.panel_queries()).enumerate();
                for ((lane, query), (place, &row)) in
                    of_panel.flat_map(|query| rows.iter().enumerate().map(move |row| (query, row)))
                {
                    let (got, size) = match sum {
                        PanelSum::Product => dot_of(query, vectors.row(row as usize)),
                        PanelSum::NegatedL2 => {
                            let (sum, size) = l2_of(query, vectors.row(row as usize));
                            (-sum, size)
                        }
                    };
                    let limit = f64::from(limits.offsets[lane])
                        + f64::from(limits.slopes[lane]) * f64::from(terms[place]);
                    // What is closer than rounding may go either way.
                    if (got - limit).abs() > TOLERANCE * (size + limit.abs()) + 1e-5 {
                        prop_assert_eq!(
                            masks[place] >> lane & 1 == 1, got >= limit,
                            "{:?} {:?} {} {}", kernels.tier(), sum, got, limit
                        );
                    }
                }
            }
        }
    }
}

/// The largest dimension, at every alignment of a float within a register.
#[test]
fn long_and_unaligned_rows_equal_the_reference() {
    let dim = 32_768;
    let data = floats(2 * dim + 16, 9);
    for shift in 0..16 {
        let (a, b) = (
            &data[shift..shift + dim],
            &data[dim + 16 - shift..2 * dim + 16 - shift],
        );
        for kernels in available() {
            assert!(close(kernels.l2(a, b), l2_of(a, b)), "{:?} l2", kernels.tier());
            assert!(close(kernels.dot(a, b), dot_of(a, b)), "{:?} dot", kernels.tier());
        }
    }
}

#[test]
fn lengths_that_do_not_fit_are_cut_never_read() {
    for kernels in available() {
        assert_eq!(kernels.l2(&[1.0, 2.0, 3.0], &[1.0]), 0.0);
        assert_eq!(kernels.dot(&[], &[1.0]), 0.0);
        let mut out = [7.0; 3];
        kernels.l2_block(&[1.0, 1.0], &[1.0, 1.0, 2.0], &mut out);
        assert_eq!(out, [0.0, 7.0, 7.0]);
        kernels.dot_block(&[], &[1.0], &mut out);
        assert_eq!(out, [0.0, 7.0, 7.0]);
    }
}

#[test]
fn panels_pass_what_is_no_number_and_rows_that_are_not_there() {
    let vectors = Vectors::new(&[1.0, 2.0, 3.0], 1).unwrap();
    let limits = Limits {
        offsets: [f32::NAN; PANEL_QUERIES],
        slopes: [0.0; PANEL_QUERIES],
    };
    for kernels in available() {
        let panel = Panel::new(kernels, 1, [[1.0f32].as_slice()].into_iter());
        let masks = kernels.panel(PanelSum::Product, &panel, vectors, &[2, 0], &limits, &[0.0; 2]);
        assert!(masks[0] & 1 == 1 && masks[1] & 1 == 1 && masks[2..].iter().all(|mask| *mask == 0));
        let nothing = kernels.panel(PanelSum::Product, &panel, vectors, &[], &limits, &[]);
        assert_eq!(nothing, [0; PANEL_ROWS]);
    }
}

#[test]
fn the_scalar_table_is_always_there_and_last() {
    assert_eq!(
        available().last().map(|kernels| kernels.tier()),
        Some(super::Tier::Scalar)
    );
}

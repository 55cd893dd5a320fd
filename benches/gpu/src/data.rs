//! Random rows, drawn by all cores, the same ones for a seed.

use std::time::{SystemTime, UNIX_EPOCH};

use rayon::prelude::*;

/// Floats that one stream of random numbers draws.
const PIECE: usize = 1 << 16;

/// Another one at every start.
pub fn fresh_seed() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(1, |since| since.as_nanos() as u64)
}

/// SplitMix64 (Steele, Lea and Flood, 2014).
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// `count` numbers of about normal distribution: sums of four even ones, which is quick.
pub fn normals(count: usize, seed: u64) -> Vec<f32> {
    let mut out = vec![0.0f32; count];
    out.par_chunks_mut(PIECE).enumerate().for_each(|(piece, values)| {
        let mut state = seed.wrapping_add((piece as u64).wrapping_mul(0xd134_2543_de82_ef95));
        for value in values {
            let bits = next(&mut state);
            let sum: u32 = (0..4).map(|part| (bits >> (16 * part)) as u32 & 0xffff).sum();
            // Mean 2, variance a third.
            *value = (sum as f32 / 65_536.0 - 2.0) * 1.732;
        }
    });
    out
}

/// Rows around a thousand centers, which are the same ones for every seed: what indexes of lists are made for.
pub fn clusters(rows: usize, dim: usize, seed: u64) -> Vec<f32> {
    let centers = normals(1000 * dim, 0x00c3_17e5);
    let mut out = normals(rows * dim, seed);
    out.par_chunks_mut(dim).enumerate().for_each(|(row, values)| {
        let mut state = seed ^ row as u64;
        let center = (next(&mut state) % 1000) as usize * dim;
        for (value, center) in values.iter_mut().zip(&centers[center..]) {
            *value = 0.5 * *value + center;
        }
    });
    out
}

//! Nanoseconds per distance of every kernel form, instruction set and some dimensions.
//!
//! `cargo bench -p elanus-index --bench kernels`; rows fit into the second-level cache, so that the kernels are measured
//! and not the memory.
#![expect(clippy::print_stdout, reason = "a command line tool")]

use std::hint::black_box;
use std::time::Instant;

use elanus_index::Vectors;
use elanus_index::kernels::panel::{Limits, PANEL_QUERIES, PANEL_ROWS, Panel, PanelSum};
use elanus_index::kernels::{Kernels, TILE, available};

const ROWS: usize = 128;

fn main() {
    println!(
        "{:<8} {:>5} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8}",
        "tier", "dim", "l2", "dot", "block", "gather", "tile", "panel", "GFLOP/s"
    );
    for kernels in available() {
        for dim in [32, 128, 384, 768, 1536] {
            let data: Vec<f32> = (0..(ROWS + TILE) * dim)
                .map(|i| ((i * 37) % 101) as f32 / 50.0 - 1.0)
                .collect();
            let data = aligned(&data);
            let (queries, block) = data.split_at(TILE * dim);
            let Ok(vectors) = Vectors::new(block, dim) else {
                continue;
            };
            let query = &queries[..dim];
            let rows: Vec<u32> = (0..ROWS as u32).rev().collect();
            let (mut out, mut tile_out) = (vec![0.0; ROWS], vec![0.0; TILE * ROWS]);
            let per_row = |passes: f64| passes / ROWS as f64;
            let forms = [
                per_row(nanoseconds(|| {
                    for row in 0..ROWS {
                        black_box(kernels.l2(black_box(query), vectors.row(row)));
                    }
                })),
                per_row(nanoseconds(|| {
                    for row in 0..ROWS {
                        black_box(kernels.dot(black_box(query), vectors.row(row)));
                    }
                })),
                per_row(nanoseconds(|| {
                    kernels.l2_block(black_box(query), block, black_box(&mut out))
                })),
                per_row(nanoseconds(|| {
                    kernels.l2_gather(black_box(query), vectors, &rows, black_box(&mut out))
                })),
                per_row(nanoseconds(|| {
                    kernels.l2_tile(black_box(queries), dim, block, black_box(&mut tile_out))
                })) / TILE as f64,
                panel(kernels, vectors),
            ];
            print!("{:<8} {dim:>5}", format!("{:?}", kernels.tier()));
            for form in forms {
                print!(" {form:>8.2}");
            }
            // What the panel multiplies and adds.
            println!(" {:>8.1}", 2.0 * dim as f64 / forms[5]);
        }
    }
}

/// Of a full panel of queries and all rows, none of which passes.
fn panel(kernels: &Kernels, vectors: Vectors<'_>) -> f64 {
    let (dim, width) = (vectors.dim(), kernels.panel_queries());
    let panel = Panel::new(kernels, dim, vectors.rows(0, width).chunks_exact(dim));
    let limits = Limits::new([f32::INFINITY; PANEL_QUERIES], [0.0; PANEL_QUERIES]);
    let rows: Vec<u32> = (0..ROWS as u32).collect();
    let pass = nanoseconds(|| {
        for rows in rows.chunks(PANEL_ROWS) {
            let terms = [0.0; PANEL_ROWS];
            black_box(kernels.panel(
                PanelSum::Product,
                &panel,
                vectors,
                black_box(rows),
                &limits,
                &terms,
            ));
        }
    });
    pass / (ROWS * width) as f64
}

/// The same numbers at the start of a cache line, where mapped segments have them: loads that straddle two lines take
/// twice as long. Leaks, which a benchmark may.
fn aligned(data: &[f32]) -> &'static [f32] {
    const LINE: usize = 16;
    let mut room = vec![0.0f32; data.len() + LINE];
    let start = room.as_ptr().align_offset(LINE * size_of::<f32>()).min(LINE);
    room[start..start + data.len()].copy_from_slice(data);
    &room.leak()[start..start + data.len()]
}

/// The best of a few rounds of many calls.
fn nanoseconds(mut call: impl FnMut()) -> f64 {
    const CALLS: u32 = 200;
    let round = |call: &mut dyn FnMut()| {
        let start = Instant::now();
        for _ in 0..CALLS {
            call();
        }
        start.elapsed().as_nanos() as f64 / f64::from(CALLS)
    };
    (0..7).map(|_| round(&mut call)).fold(f64::INFINITY, f64::min)
}

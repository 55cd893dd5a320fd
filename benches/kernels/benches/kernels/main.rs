//! Every form of the distance kernels, by type, instruction set and dimension, next to `lance-linalg` where it has the same;
//! [`codes`] has those of codes and of sparse vectors.
//!
//! A benchmark is named `sum/type/dimension/form`. It takes the distances from one query (for `tile` and `panel`, some
//! queries) to [`ROWS`] rows, which fit into the second-level cache, so that kernels are measured and not the memory. The
//! throughput is in distances. Nothing is selected: both sides fill one slot for each row.

use std::hint::black_box;
use std::time::Duration;

use criterion::{
    BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main, measurement::WallTime,
};
use elanus_index::bench::{Bits, Block, float_block, inverse_norms};
use elanus_index::kernels::panel::{Limits, PANEL_QUERIES, PANEL_ROWS, Panel, PanelSum};
use elanus_index::kernels::{Kernels, TILE, available};
use elanus_index::{AnyMetric, BitMetric, Metric, Rows, VectorRef, Vectors, VectorsRef};
use half::{bf16, f16};
use lance_linalg::distance::{
    cosine_distance_batch, dot_distance_batch_into, hamming, l2_distance_batch_into,
};

mod codes;

const ROWS: usize = 128;
const DIMENSIONS: [usize; 5] = [32, 128, 384, 768, 1536];

fn floats(bench: &mut Criterion) {
    for dim in DIMENSIONS {
        let data: Vec<f32> = numbers((ROWS + TILE) * dim).collect();
        let data = aligned(&data);
        let (queries, block) = data.split_at(TILE * dim);
        let vectors = Vectors::new(block, dim).expect("rows of that dimension");
        let query = &queries[..dim];
        let rows: Vec<u32> = (0..ROWS as u32).rev().collect();
        let mut out = vec![0.0; ROWS];
        let mut tile_out = vec![0.0; TILE * ROWS];

        let mut group = bench.benchmark_group(format!("l2/f32/{dim}"));
        group.throughput(Throughput::Elements(ROWS as u64));
        for kernels in available() {
            let tier = format!("{:?}", kernels.tier()).to_lowercase();
            group.bench_function(format!("pair {tier}"), |bench| {
                bench.iter(|| {
                    for row in 0..ROWS {
                        black_box(kernels.l2(black_box(query), vectors.row(row)));
                    }
                });
            });
            group.bench_function(format!("block {tier}"), |bench| {
                bench.iter(|| kernels.l2_block(black_box(query), block, black_box(&mut out)));
            });
            group.bench_function(format!("gather {tier}"), |bench| {
                bench.iter(|| kernels.l2_gather(black_box(query), vectors, &rows, black_box(&mut out)));
            });
        }
        group.bench_function("block lance", |bench| {
            bench.iter(|| l2_distance_batch_into(black_box(query), block, dim, black_box(&mut out)));
        });
        group.throughput(Throughput::Elements((TILE * ROWS) as u64));
        for kernels in available() {
            let tier = format!("{:?}", kernels.tier()).to_lowercase();
            group.bench_function(format!("tile {tier}"), |bench| {
                bench.iter(|| kernels.l2_tile(black_box(queries), dim, block, black_box(&mut tile_out)));
            });
        }
        group.finish();

        let mut group = bench.benchmark_group(format!("dot/f32/{dim}"));
        group.throughput(Throughput::Elements(ROWS as u64));
        for kernels in available() {
            let tier = format!("{:?}", kernels.tier()).to_lowercase();
            group.bench_function(format!("block {tier}"), |bench| {
                bench.iter(|| kernels.dot_block(black_box(query), block, black_box(&mut out)));
            });
        }
        group.bench_function("block lance", |bench| {
            bench.iter(|| dot_distance_batch_into(black_box(query), block, dim, black_box(&mut out)));
        });
        for kernels in available() {
            panel(&mut group, kernels, vectors);
        }
        group.finish();

        let norms = inverse_norms(vectors);
        let mut group = bench.benchmark_group(format!("cosine/f32/{dim}"));
        group.throughput(Throughput::Elements(ROWS as u64));
        for (name, norms) in [("block, norms kept", Some(norms.as_slice())), ("block", None)] {
            group.bench_function(name, |bench| {
                bench.iter(|| {
                    float_block(
                        Metric::Cosine,
                        black_box(query),
                        vectors,
                        norms,
                        black_box(&mut out),
                    )
                });
            });
        }
        group.bench_function("block lance", |bench| {
            bench.iter(|| fill(&mut out, cosine_distance_batch(black_box(query), block, dim)));
        });
        group.finish();
    }
}

fn fill(out: &mut [f32], distances: impl Iterator<Item = f32>) {
    for (slot, distance) in black_box(out).iter_mut().zip(distances) {
        *slot = distance;
    }
}

/// A full panel of queries and all rows, none of which passes. Two operations for each number: `dimension` times the
/// throughput, twice, is the rate of the multiplication.
fn panel(group: &mut BenchmarkGroup<'_, WallTime>, kernels: &Kernels, vectors: Vectors<'_>) {
    let (dim, width) = (vectors.dim(), kernels.panel_queries());
    let panel = Panel::new(kernels, dim, vectors.rows(0, width).chunks_exact(dim));
    let limits = Limits::new([f32::INFINITY; PANEL_QUERIES], [0.0; PANEL_QUERIES]);
    let rows: Vec<u32> = (0..ROWS as u32).collect();
    group.throughput(Throughput::Elements((ROWS * width) as u64));
    group.bench_function(format!("panel {:?}", kernels.tier()).to_lowercase(), |bench| {
        bench.iter(|| {
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
    });
}

fn narrow(bench: &mut Criterion) {
    for dim in DIMENSIONS {
        let halves: Vec<f16> = numbers((ROWS + 1) * dim).map(f16::from_f32).collect();
        let bits: Vec<u16> = halves.iter().map(|number| number.to_bits()).collect();
        let (query, rows) = bits.split_at(dim);
        let ours = (VectorsRef::Halves(of(rows, dim)), VectorRef::Halves(query));
        against(bench, "f16", dim, ours, |out, metric| {
            let (query, rows) = (black_box(&halves[..dim]), &halves[dim..]);
            match metric {
                Metric::L2 => l2_distance_batch_into(query, rows, dim, out),
                Metric::Ip => dot_distance_batch_into(query, rows, dim, out),
                Metric::Cosine => fill(out, cosine_distance_batch(query, rows, dim)),
            }
        });

        let brains: Vec<bf16> = numbers((ROWS + 1) * dim).map(bf16::from_f32).collect();
        let bits: Vec<u16> = brains.iter().map(|number| number.to_bits()).collect();
        let (query, rows) = bits.split_at(dim);
        let ours = (VectorsRef::BFloat16s(of(rows, dim)), VectorRef::BFloat16s(query));
        against(bench, "bf16", dim, ours, |out, metric| {
            let (query, rows) = (black_box(&brains[..dim]), &brains[dim..]);
            match metric {
                Metric::L2 => l2_distance_batch_into(query, rows, dim, out),
                Metric::Ip => dot_distance_batch_into(query, rows, dim, out),
                Metric::Cosine => fill(out, cosine_distance_batch(query, rows, dim)),
            }
        });

        // The other side's 8-bit integers have no sign.
        let bytes: Vec<u8> = numbers((ROWS + 1) * dim)
            .map(|number| (number * 60.0 + 60.0) as u8)
            .collect();
        let signed: Vec<i8> = bytes.iter().map(|&byte| byte as i8).collect();
        let (query, rows) = signed.split_at(dim);
        let ours = (VectorsRef::Int8s(of(rows, dim)), VectorRef::Int8s(query));
        against(bench, "int8", dim, ours, |out, metric| {
            let (query, rows) = (black_box(&bytes[..dim]), &bytes[dim..]);
            match metric {
                Metric::L2 => l2_distance_batch_into(query, rows, dim, out),
                Metric::Ip => dot_distance_batch_into(query, rows, dim, out),
                Metric::Cosine => fill(out, cosine_distance_batch(query, rows, dim)),
            }
        });
    }
}

fn of<T>(rows: &[T], dim: usize) -> Rows<'_, T> {
    Rows::new(rows, dim).expect("rows of that dimension")
}

/// The distances of one query to all rows, by both sides.
fn against(
    bench: &mut Criterion,
    kind: &str,
    dim: usize,
    (vectors, query): (VectorsRef<'_>, VectorRef<'_>),
    lance: impl Fn(&mut [f32], Metric),
) {
    let mut out = vec![0.0; ROWS];
    for (name, metric) in [
        ("l2", Metric::L2),
        ("dot", Metric::Ip),
        ("cosine", Metric::Cosine),
    ] {
        let block = Block::new(AnyMetric::Numbers(metric), query, vectors).expect("a metric of numbers");
        let mut group = bench.benchmark_group(format!("{name}/{kind}/{dim}"));
        group.throughput(Throughput::Elements(ROWS as u64));
        group.bench_function("block", |bench| {
            bench.iter(|| black_box(&block).distances(black_box(&mut out)))
        });
        group.bench_function("block lance", |bench| {
            bench.iter(|| lance(black_box(&mut out), metric))
        });
        group.finish();
    }
}

fn bits(bench: &mut Criterion) {
    for dim in [128, 256, 512, 768, 1024, 4096] {
        let width = dim / 8;
        let bytes: Vec<u8> = (0..(ROWS + 1) * width).map(|i| (i * 37 % 251) as u8).collect();
        let (query, rows) = bytes.split_at(width);
        let forward: Vec<u32> = (0..ROWS as u32).collect();
        let backward: Vec<u32> = forward.iter().rev().copied().collect();
        let mut out = vec![0.0; ROWS];
        for (name, metric) in [("hamming", BitMetric::Hamming), ("jaccard", BitMetric::Jaccard)] {
            let mut group = bench.benchmark_group(format!("{name}/bits/{dim}"));
            group.throughput(Throughput::Elements(ROWS as u64));
            for table in Bits::available() {
                group.bench_function(format!("pair {}", table.name()), |bench| {
                    bench.iter(|| {
                        for row in rows.chunks_exact(width) {
                            black_box(table.pair(metric, black_box(query), row));
                        }
                    });
                });
                for (form, numbers) in [("block", &forward), ("gather", &backward)] {
                    group.bench_function(format!("{form} {}", table.name()), |bench| {
                        bench.iter(|| {
                            table.gather(metric, black_box(query), rows, numbers, black_box(&mut out))
                        });
                    });
                }
            }
            if metric == BitMetric::Hamming {
                group.bench_function("block lance", |bench| {
                    bench.iter(|| {
                        fill(
                            &mut out,
                            hamming::hamming_distance_batch(black_box(query), rows, width),
                        )
                    });
                });
            }
            group.finish();
        }
    }
}

fn numbers(count: usize) -> impl Iterator<Item = f32> {
    (0..count).map(|i| ((i * 37) % 101) as f32 / 50.0 - 1.0)
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

fn quick() -> Criterion {
    Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(50))
        .measurement_time(Duration::from_millis(200))
        .without_plots()
}

criterion_group! { name = kernels; config = quick(); targets = floats, narrow, bits, codes::scans, codes::sparse }
criterion_main!(kernels);

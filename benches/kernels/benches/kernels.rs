//! Every form of the distance kernels, by type, instruction set and dimension, next to `lance-linalg` where it has the same.
//!
//! A benchmark is named `sum/type/dimension/form`. It takes the distances from one query (for `tile` and `panel`, some
//! queries) to [`ROWS`] rows, which fit into the second-level cache, so that kernels are measured and not the memory. The
//! throughput is in distances. `search` is a whole exact search, its selection of the ten nearest included; the kernels of
//! the types that have only this form here are not public.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main, measurement::WallTime};
use elanus_index::kernels::panel::{Limits, PANEL_QUERIES, PANEL_ROWS, Panel, PanelSum};
use elanus_index::kernels::{Kernels, TILE, available};
use elanus_index::{
    AnyMetric, BitMetric, Metric, Rows, SearchStats, VectorRef, Vectors, VectorsRef, Window, exact_search_any,
};
use half::{bf16, f16};
use lance_linalg::distance::{dot_distance_batch_into, hamming, l2_distance_batch_into};

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
                black_box(kernels.panel(PanelSum::Product, &panel, vectors, black_box(rows), &limits, &terms));
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
        against(bench, "f16", dim, ours, |out, dot| {
            let (query, rows) = halves.split_at(dim);
            match dot {
                true => dot_distance_batch_into(black_box(query), rows, dim, out),
                false => l2_distance_batch_into(black_box(query), rows, dim, out),
            }
        });

        let brains: Vec<bf16> = numbers((ROWS + 1) * dim).map(bf16::from_f32).collect();
        let bits: Vec<u16> = brains.iter().map(|number| number.to_bits()).collect();
        let (query, rows) = bits.split_at(dim);
        let ours = (VectorsRef::BFloat16s(of(rows, dim)), VectorRef::BFloat16s(query));
        against(bench, "bf16", dim, ours, |out, dot| {
            let (query, rows) = brains.split_at(dim);
            match dot {
                true => dot_distance_batch_into(black_box(query), rows, dim, out),
                false => l2_distance_batch_into(black_box(query), rows, dim, out),
            }
        });

        // The other side's 8-bit integers have no sign.
        let bytes: Vec<u8> = numbers((ROWS + 1) * dim).map(|number| (number * 60.0 + 60.0) as u8).collect();
        let signed: Vec<i8> = bytes.iter().map(|&byte| byte as i8).collect();
        let (query, rows) = signed.split_at(dim);
        let ours = (VectorsRef::Int8s(of(rows, dim)), VectorRef::Int8s(query));
        against(bench, "int8", dim, ours, |out, dot| {
            let (query, rows) = bytes.split_at(dim);
            match dot {
                true => dot_distance_batch_into(black_box(query), rows, dim, out),
                false => l2_distance_batch_into(black_box(query), rows, dim, out),
            }
        });
    }
}

fn of<T>(rows: &[T], dim: usize) -> Rows<'_, T> {
    Rows::new(rows, dim).expect("rows of that dimension")
}

/// A search of ours next to the other side's distances of the same rows, without a selection.
fn against(
    bench: &mut Criterion,
    kind: &str,
    dim: usize,
    (vectors, query): (VectorsRef<'_>, VectorRef<'_>),
    lance: impl Fn(&mut [f32], bool),
) {
    let mut out = vec![0.0; ROWS];
    for (name, metric) in [("l2", Metric::L2), ("dot", Metric::Ip)] {
        let mut group = bench.benchmark_group(format!("{name}/{kind}/{dim}"));
        group.throughput(Throughput::Elements(ROWS as u64));
        group.bench_function("search", |bench| bench.iter(|| search(AnyMetric::Numbers(metric), vectors, query)));
        group.bench_function("block lance", |bench| bench.iter(|| lance(black_box(&mut out), name == "dot")));
        group.finish();
    }
}

fn bits(bench: &mut Criterion) {
    for dim in [256, 1024, 4096] {
        let width = dim / 8;
        let bytes: Vec<u8> = (0..(ROWS + 1) * width).map(|i| (i * 37 % 251) as u8).collect();
        let (query, rows) = bytes.split_at(width);
        let mut group = bench.benchmark_group(format!("hamming/bits/{dim}"));
        group.throughput(Throughput::Elements(ROWS as u64));
        group.bench_function("search", |bench| {
            let metric = AnyMetric::Bits(BitMetric::Hamming);
            bench.iter(|| search(metric, VectorsRef::Bits(of(rows, width)), VectorRef::Bits(query)));
        });
        group.bench_function("block lance", |bench| {
            bench.iter(|| rows.chunks_exact(width).map(|row| hamming::hamming(black_box(query), row)).sum::<f32>());
        });
        group.finish();
    }
}

fn search(metric: AnyMetric, vectors: VectorsRef<'_>, query: VectorRef<'_>) -> usize {
    let mut stats = SearchStats::default();
    let within = Window::default();
    exact_search_any(metric, vectors, black_box(query), 10, within, None, &mut stats).map_or(0, |found| found.len())
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

criterion_group! { name = kernels; config = quick(); targets = floats, narrow, bits }
criterion_main!(kernels);

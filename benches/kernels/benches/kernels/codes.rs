//! Scans of codes and products of sparse vectors, by instruction set.
//!
//! What is not a kernel is left out: a scan gives integer sums, which a search makes distances of and compares with a bound.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use elanus_index::bench::{Block, Code, Planes, Scan};
use elanus_index::{AnyMetric, Metric, SparseVector, SparseVectors, VectorRef, VectorsRef};

use crate::ROWS;

const DIMENSIONS: [usize; 3] = [128, 768, 1536];
/// Dimensions of a part of a product quantizer.
const PART: usize = 4;

/// Codes of rows of a dimension, named as the index that has them.
pub fn scans(bench: &mut Criterion) {
    for dim in DIMENSIONS {
        let codes = [
            ("sq8", Code::Levels(8), dim),
            ("sq6", Code::Levels(6), dim),
            ("sq4", Code::Levels(4), dim),
            ("pq8", Code::Bytes, dim / PART),
            ("pq4", Code::Nibbles, dim / PART),
            // Four dimensions to a number.
            ("rabitq1", Code::Nibbles, dim / 4),
        ];
        for (name, code, numbers) in codes {
            let mut group = bench.benchmark_group(format!("sums/{name}/{dim}"));
            group.throughput(Throughput::Elements(ROWS as u64));
            let mut out = vec![0; ROWS];
            for scan in Scan::available(code, numbers, ROWS) {
                group.bench_function(format!("scan {}", scan.name()), |bench| {
                    bench.iter(|| black_box(&scan).sums(black_box(&mut out)));
                });
            }
            group.finish();
        }
        for bits in [3, 7] {
            let mut group = bench.benchmark_group(format!("dot/rabitq{}/{dim}", bits + 1));
            group.throughput(Throughput::Elements(ROWS as u64));
            let mut out = vec![0.0; ROWS];
            for planes in Planes::available(bits, dim, ROWS) {
                group.bench_function(format!("further bits {}", planes.name()), |bench| {
                    bench.iter(|| black_box(&planes).products(black_box(&mut out)));
                });
            }
            group.finish();
        }
    }
}

/// Rows and a query of as many elements each, of 30,000 dimensions.
pub fn sparse(bench: &mut Criterion) {
    for elements in [16, 64, 256] {
        let count = (ROWS + 1) * elements;
        let step = 30_000 / elements;
        let indices: Vec<u32> = (0..count)
            .map(|at| (at % elements * step + at * 7919 % 3) as u32)
            .collect();
        let values: Vec<f32> = (0..count).map(|at| (at % 17) as f32 + 0.5).collect();
        let offsets: Vec<i32> = (0..=ROWS).map(|row| (row * elements) as i32).collect();
        let query = SparseVector::new(&indices[..elements], &values[..elements]).expect("ascending indexes");
        let rows =
            SparseVectors::new(&offsets, &indices[elements..], &values[elements..]).expect("whole rows");
        let mut out = vec![0.0; ROWS];
        for (name, metric) in [("l2", Metric::L2), ("dot", Metric::Ip)] {
            let block = Block::new(
                AnyMetric::Numbers(metric),
                VectorRef::Sparse(query),
                VectorsRef::Sparse(rows),
            )
            .expect("a metric of numbers");
            let mut group = bench.benchmark_group(format!("{name}/sparse/{elements}"));
            group.throughput(Throughput::Elements(ROWS as u64));
            group.bench_function("block", |bench| {
                bench.iter(|| black_box(&block).distances(black_box(&mut out)));
            });
            group.finish();
        }
    }
}

//! What it takes to build an index out of those of parts of its rows, next to building it from nothing, and what both find.
//!
//! `merge BASE.npy QUERIES.npy METRIC THREADS ROWS [INDEX [name=value ..]]` takes the first `ROWS` rows of `BASE.npy` (`<f4`),
//! cuts them into parts, drops some rows of each, builds the parts' indexes, and then in turns the new index both ways. One
//! line per case: seconds of the processor each way, their ratio, and recall@10 at three lengths of the list.
#![expect(clippy::print_stdout, reason = "a command line tool")]

#[path = "ann/npy.rs"]
#[expect(dead_code, reason = "shared with another example")]
mod npy;

use std::collections::BTreeMap;
use std::error::Error;

use elanus_index::{
    AnyIndex, BuildOptions, BuildParams, GONE, IndexPart, Metric, Neighbor, SearchParams, SearchStats,
    VectorRef, Vectors, VectorsRef, exact_search_batch,
};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Shares of the rows in each part, and in percent how many rows are gone.
const CASES: [(&[usize], usize); 10] = [
    (&[1], 0),
    (&[1], 20),
    (&[1], 40),
    (&[1], 60),
    (&[1], 80),
    (&[7, 3], 0),
    (&[1, 1], 0),
    (&[1, 1, 1, 1], 0),
    (&[1, 1, 1, 1], 20),
    (&[1, 1, 1, 1, 1, 1, 1, 1], 0),
];
const LISTS: [u32; 3] = [32, 64, 128];
const K: usize = 10;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [base, queries, metric, threads, rows, rest @ ..] = arguments.as_slice() else {
        return Err("usage: merge BASE.npy QUERIES.npy METRIC THREADS ROWS [INDEX [name=value ..]]".into());
    };
    let (npy::Table::Floats(base, dim), npy::Table::Floats(queries, _)) =
        (npy::read(base)?, npy::read(queries)?)
    else {
        return Err("expected files of <f4".into());
    };
    let rows = rows.parse::<usize>()?.min(base.len() / dim);
    let (base, queries) = (&base[..rows * dim], Vectors::new(queries, dim)?);
    let metric: Metric = metric.parse()?;
    let name = rest.first().map_or("HNSW", String::as_str);
    let mut given: BTreeMap<String, String> = rest
        .iter()
        .skip(1)
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (name.to_string(), value.to_string()))
        .collect();
    given.entry("M".into()).or_insert("16".into());
    given.entry("efConstruction".into()).or_insert("200".into());
    let params = BuildParams::parse(name, &given)?;
    let options = BuildOptions {
        threads: threads.parse()?,
        ..BuildOptions::default()
    };
    println!("parts | gone % | rows | reused | anew s | merged s | ratio | recall anew | merged");
    let only: Option<usize> = std::env::var("CASE").ok().and_then(|case| case.parse().ok());
    for (number, (shares, gone)) in CASES.into_iter().enumerate() {
        if only.is_none_or(|only| only == number) {
            run(base, dim, queries, metric, &params, (shares, gone), &options)?;
        }
    }
    Ok(())
}

fn run(
    base: &[f32],
    dim: usize,
    queries: Vectors<'_>,
    metric: Metric,
    params: &BuildParams,
    (shares, gone): (&[usize], usize),
    options: &BuildOptions<'_>,
) -> Result<()> {
    let total = base.len() / dim;
    let sum: usize = shares.iter().sum();
    let (mut merged, mut maps, mut indexes) = (Vec::new(), Vec::new(), Vec::new());
    let mut first = 0;
    for (number, share) in shares.iter().enumerate() {
        let count = if number + 1 == shares.len() {
            total - first
        } else {
            total * share / sum
        };
        let part = &base[first * dim..(first + count) * dim];
        let index = AnyIndex::build(
            params,
            metric.into(),
            VectorsRef::Floats(Vectors::new(part, dim)?),
            None,
            options,
        )?;
        let mut map = vec![GONE; count];
        for (row, now) in map.iter_mut().enumerate() {
            // Knuth's multiplicative hash.
            let draw = ((first + row) as u32).wrapping_mul(2_654_435_761) >> 8;
            if draw as usize % 100 >= gone {
                *now = (merged.len() / dim) as u32;
                merged.extend_from_slice(&part[row * dim..(row + 1) * dim]);
            }
        }
        maps.push(map);
        indexes.push(index);
        first += count;
    }
    let vectors = Vectors::new(&merged, dim)?;
    let rows = VectorsRef::Floats(vectors);
    let parts: Vec<IndexPart<'_>> = indexes
        .iter()
        .zip(&maps)
        .map(|(index, rows)| IndexPart { index, rows })
        .collect();
    let start = processor_seconds()?;
    let anew = AnyIndex::build(params, metric.into(), rows, None, options)?;
    let between = processor_seconds()?;
    let out_of_parts = AnyIndex::merge(params, metric.into(), rows, None, &parts, options)?;
    let end = processor_seconds()?;
    let mut stats = SearchStats::default();
    let truth = exact_search_batch(metric, vectors, queries, K, None, &mut stats);
    println!(
        "{shares:?} | {gone} | {} | {} | {:.2} | {:.2} | {:.2} | {} | {}",
        vectors.len(),
        out_of_parts.reused_rows,
        between - start,
        end - between,
        (end - between) / (between - start),
        recalls(&anew, rows, queries, &truth)?,
        recalls(&out_of_parts.index, rows, queries, &truth)?,
    );
    Ok(())
}

/// Recall and distances per query, for each length of the list.
fn recalls(
    index: &AnyIndex,
    rows: VectorsRef<'_>,
    queries: Vectors<'_>,
    truth: &[Vec<Neighbor>],
) -> Result<String> {
    let mut all = Vec::new();
    for ef in LISTS {
        let params = SearchParams {
            ef: Some(ef),
            ..SearchParams::default()
        };
        let (mut hits, mut stats) = (0, SearchStats::default());
        for (query, truth) in truth.iter().enumerate() {
            let query = VectorRef::Floats(queries.row(query));
            let found = index.search(rows, query, K, &params, None, &mut stats)?;
            let last = truth.last().map_or(0.0, |last| last.distance);
            hits += found.iter().filter(|neighbor| neighbor.distance <= last).count();
        }
        let queries = queries.len();
        all.push(format!(
            "{:.4} ({})",
            hits as f64 / (K * queries) as f64,
            stats.distances / queries as u64
        ));
    }
    Ok(all.join(" "))
}

/// Seconds that this process has computed, on all threads.
fn processor_seconds() -> Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = stat.rsplit_once(')').ok_or("no name in /proc/self/stat")?;
    // After the name: state, parents and faults; fields 14 and 15 of all are user and system time in hundredths.
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks: f64 = ticks.filter_map(|field| field.parse::<f64>().ok()).sum();
    Ok(ticks / 100.0)
}

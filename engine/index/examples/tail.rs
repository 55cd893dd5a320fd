//! What fresh rows cost a search while they have no index, next to what it costs to link them one after the other.
//!
//! `tail BASE.npy QUERIES.npy METRIC` takes more and more rows of `BASE.npy` (`<f4`). One line per number of rows, in
//! microseconds of the processor, which other programs do not count in: an exact search of all of them; a walk of their graph (`M` 16, `efConstruction` 200, `ef` 64); one
//! more row on its way into that graph; and after how many queries per row linking has paid for itself.
#![expect(clippy::print_stdout, reason = "a command line tool")]

#[path = "ann/npy.rs"]
#[expect(dead_code, reason = "shared with another example")]
mod npy;

use std::error::Error;

use elanus_index::{
    AnyIndex, BuildOptions, BuildParams, IndexPart, Metric, SearchParams, SearchStats, VectorRef, Vectors,
    VectorsRef, exact_search,
};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const ROWS: [usize; 4] = [1_000, 4_096, 16_384, 65_536];
const K: usize = 10;
/// Rows that are linked one after another: the next ones of the file.
const MORE: usize = 1_000;
const PASSES: usize = 3;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [base, queries, metric] = arguments.as_slice() else {
        return Err("usage: tail BASE.npy QUERIES.npy METRIC".into());
    };
    let (npy::Table::Floats(base, dim), npy::Table::Floats(queries, _)) =
        (npy::read(base)?, npy::read(queries)?)
    else {
        return Err("expected files of <f4".into());
    };
    let (metric, queries): (Metric, _) = (metric.parse()?, Vectors::new(queries, dim)?);
    let (params, options) = (
        BuildParams::Hnsw {
            m: 16,
            ef_construction: 200,
        },
        BuildOptions {
            threads: 1,
            ..BuildOptions::default()
        },
    );
    println!("rows | exact us | walk us | link us | queries per row");
    for count in ROWS {
        if (count + MORE) * dim > base.len() {
            break;
        }
        let rows = Vectors::new(&base[..count * dim], dim)?;
        let more = VectorsRef::Floats(Vectors::new(&base[..(count + MORE) * dim], dim)?);
        let index = AnyIndex::build(&params, metric.into(), VectorsRef::Floats(rows), None, &options)?;
        let places: Vec<u32> = (0..count as u32).collect();
        let part = IndexPart {
            index: &index,
            rows: &places,
        };
        let search = SearchParams {
            ef: Some(64),
            ..SearchParams::default()
        };
        let mut stats = SearchStats::default();
        let (mut exact, mut walk, mut link) = (f64::MAX, f64::MAX, f64::MAX);
        for _ in 0..PASSES {
            let asked = queries.len().min(200);
            let start = thread_seconds()?;
            for query in 0..asked {
                exact_search(metric, rows, queries.row(query), K, None, &mut stats);
            }
            exact = exact.min((thread_seconds()? - start) / asked as f64);
            let start = thread_seconds()?;
            for query in 0..asked {
                let query = VectorRef::Floats(queries.row(query));
                index.search(VectorsRef::Floats(rows), query, K, &search, None, &mut stats)?;
            }
            walk = walk.min((thread_seconds()? - start) / asked as f64);
            let start = process_seconds()?;
            AnyIndex::merge(&params, metric.into(), more, None, &[part], &options)?;
            let between = process_seconds()?;
            // The same without rows to link: codes, and a copy of the links.
            AnyIndex::merge(
                &params,
                metric.into(),
                VectorsRef::Floats(rows),
                None,
                &[part],
                &options,
            )?;
            let (whole, rest) = (between - start, process_seconds()? - between);
            link = link.min((whole - rest).max(0.0) / MORE as f64);
        }
        let paid = if walk < exact {
            format!("{:.2}", link / (exact - walk))
        } else {
            "never".to_string()
        };
        let [exact, walk, link] = [exact, walk, link].map(|seconds| seconds * 1e6);
        println!("{count} | {exact:.1} | {walk:.1} | {link:.1} | {paid}");
    }
    Ok(())
}

/// Seconds that the main thread has computed.
fn thread_seconds() -> Result<f64> {
    let text = std::fs::read_to_string("/proc/self/schedstat")?;
    let nanoseconds = text
        .split_whitespace()
        .next()
        .ok_or("an empty /proc/self/schedstat")?;
    Ok(nanoseconds.parse::<f64>()? / 1e9)
}

/// Seconds that all threads have computed, in hundredths.
fn process_seconds() -> Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = stat.rsplit_once(')').ok_or("no name in /proc/self/stat")?;
    // Fields 14 and 15 of all, user and system time; the name is the second.
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks: f64 = ticks.filter_map(|field| field.parse::<f64>().ok()).sum();
    Ok(ticks / 100.0)
}

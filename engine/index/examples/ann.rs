//! Builds an index over vectors from `.npy` files (or small synthetic ones) and prints recall, speed and sizes.
//!
//! ```text
//! cargo run --release -p elanus-index --example ann -- \
//!     --base X.npy --queries Q.npy --gt GT.npy --metric L2 \
//!     --index HNSW --params M=16,efConstruction=200 --search ef=64 --search ef=128
//! ```
//!
//! Options, all of them optional:
//!
//! | option | meaning | default |
//! |---|---|---|
//! | `--base`, `--queries` | rows of `<f4`, C order | drawn from a mixture of Gaussians |
//! | `--rows`, `--dim` | shape of the drawn base; there are 500 queries | 20000, 64 |
//! | `--gt` | exact neighbours as `<i4`, one row per query | computed |
//! | `--metric` | `L2`, `IP` or `COSINE` | `L2` |
//! | `--index`, `--params` | type and build parameters | `HNSW`, the type's defaults |
//! | `--search` | search parameters, may be repeated | the type's defaults |
//! | `--k` | results per query | 10 |
//! | `--allow` | percent of rows a random filter lets through; neighbours are then computed | no filter |
//! | `--file` | serialized index: opened when it exists, written otherwise | not kept |
//! | `--threads`, `--seed` | of the build; 0 threads: one per core | 0, 1 |
//!
//! Queries run one after the other on one thread; the best of three passes counts.
#![expect(clippy::print_stdout, reason = "a command line tool")]

use std::collections::BTreeMap;
use std::error::Error;
use std::time::Instant;

use elanus_index::{
    Bitset, BuildOptions, BuildParams, Metric, Neighbor, SearchParams, SearchStats, Vectors, build,
    exact_search_batch, open,
};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let options = Options::read(std::env::args().skip(1))?;
    let (base, dim) = match options.one("base") {
        Some(path) => read_floats(path)?,
        None => {
            let dim = options.number("dim", 64)?;
            (mixture(options.number("rows", 20_000)?, dim, 1), dim)
        }
    };
    let (queries, query_dim) = match options.one("queries") {
        Some(path) => read_floats(path)?,
        None => (mixture(500, dim, 2), dim),
    };
    if query_dim != dim {
        return Err(format!("base has dimension {dim}, queries have {query_dim}").into());
    }
    let (base, queries) = (
        Vectors::new(aligned(&base), dim)?,
        Vectors::new(aligned(&queries), dim)?,
    );
    let metric: Metric = options.one("metric").unwrap_or("L2").parse()?;
    let k: usize = options.number("k", 10)?;
    let allow = match options.one("allow") {
        Some(percent) => Some(random_filter(base.len(), percent.parse()?)),
        None => None,
    };
    let truth = match options.one("gt") {
        Some(path) if allow.is_none() => read_rows(path)?,
        _ => exact_rows(metric, base, queries, k, allow.as_ref()),
    };

    let params = BuildParams::parse(
        options.one("index").unwrap_or("HNSW"),
        &pairs(options.one("params"))?,
    )?;
    let build_options = BuildOptions {
        seed: options.number("seed", 1)?,
        threads: options.number("threads", 0)?,
        progress: &(),
    };
    println!(
        "{} x {} {metric}, {} queries, {params:?}",
        base.len(),
        dim,
        queries.len()
    );
    let kept = options
        .one("file")
        .filter(|path| std::path::Path::new(path).exists());
    let blob = match kept {
        Some(path) => std::fs::read(path)?,
        None => {
            let start = Instant::now();
            let built = build(&params, metric, base, None, &build_options)?;
            println!("build {:.2} s", start.elapsed().as_secs_f64());
            built.serialize()
        }
    };
    if let (None, Some(path)) = (kept, options.one("file")) {
        std::fs::write(path, &blob)?;
    }
    let index = open(blob.into())?;
    if (index.kind(), index.metric(), index.dim(), index.rows()) != (params.kind(), metric, dim, base.len()) {
        return Err("the kept index was built from something else".into());
    }
    println!(
        "index {:.1} MB besides the vectors",
        index.memory_bytes() as f64 / 1e6
    );

    let searches = if options.all("search").is_empty() {
        vec![""]
    } else {
        options.all("search")
    };
    for text in searches {
        let search = SearchParams::parse(params.kind(), &pairs(Some(text))?, k)?;
        let (mut best, mut found, mut stats) = (f64::INFINITY, Vec::new(), SearchStats::default());
        for _ in 0..3 {
            stats = SearchStats::default();
            let start = Instant::now();
            let results = (0..queries.len())
                .map(|query| index.search(base, queries.row(query), k, &search, allow.as_ref(), &mut stats));
            found = results.collect();
            best = best.min(start.elapsed().as_secs_f64());
        }
        let count = queries.len() as f64;
        println!(
            "{text:<12} recall@{k} {:.4}  {:.0} queries/s  {:.0} distances and {:.0} hops per query, {}",
            recall(&found, &truth, k),
            count / best,
            stats.distances as f64 / count,
            stats.hops as f64 / count,
            stats.strategy,
        );
    }
    Ok(())
}

/// The same numbers at the start of a cache line, where mapped segments have them: loads that straddle two lines take
/// twice as long. Leaks, which a program this short may.
fn aligned(data: &[f32]) -> &'static [f32] {
    const LINE: usize = 16;
    let mut room = vec![0.0f32; data.len() + LINE];
    let start = room.as_ptr().align_offset(LINE * size_of::<f32>()).min(LINE);
    room[start..start + data.len()].copy_from_slice(data);
    &room.leak()[start..start + data.len()]
}

/// `--name value` pairs in the order given.
struct Options(Vec<(String, String)>);

impl Options {
    fn read(mut arguments: impl Iterator<Item = String>) -> Result<Self> {
        const KNOWN: [&str; 14] = [
            "base", "queries", "rows", "dim", "gt", "metric", "index", "params", "search", "k", "allow",
            "file", "threads", "seed",
        ];
        let mut found = Vec::new();
        while let Some(argument) = arguments.next() {
            let name = argument.strip_prefix("--").unwrap_or_default();
            if !KNOWN.contains(&name) {
                return Err(format!("unknown option {argument}, known: --{}", KNOWN.join(" --")).into());
            }
            let value = arguments.next().ok_or(format!("{argument} needs a value"))?;
            found.push((name.to_owned(), value));
        }
        Ok(Self(found))
    }

    fn all(&self, name: &str) -> Vec<&str> {
        self.0
            .iter()
            .filter(|(found, _)| found == name)
            .map(|(_, value)| value.as_str())
            .collect()
    }

    fn one(&self, name: &str) -> Option<&str> {
        self.all(name).last().copied()
    }

    fn number<T: std::str::FromStr<Err = std::num::ParseIntError>>(
        &self,
        name: &str,
        default: T,
    ) -> Result<T> {
        Ok(self.one(name).map(str::parse).transpose()?.unwrap_or(default))
    }
}

/// Reads `a=1,b=2`.
fn pairs(text: Option<&str>) -> Result<BTreeMap<String, String>> {
    let items = text
        .unwrap_or_default()
        .split(',')
        .filter(|item| !item.is_empty());
    items
        .map(|item| match item.split_once('=') {
            Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
            None => Err(format!("expected name=value, got {item}").into()),
        })
        .collect()
}

fn exact_rows(
    metric: Metric,
    base: Vectors<'_>,
    queries: Vectors<'_>,
    k: usize,
    allow: Option<&Bitset>,
) -> Vec<Vec<u32>> {
    let found = exact_search_batch(metric, base, queries, k, allow, &mut SearchStats::default());
    found
        .iter()
        .map(|rows| rows.iter().map(|neighbor| neighbor.row).collect())
        .collect()
}

fn recall(found: &[Vec<Neighbor>], truth: &[Vec<u32>], k: usize) -> f64 {
    let (mut hits, mut wanted) = (0, 0);
    for (found, truth) in found.iter().zip(truth) {
        let truth = &truth[..k.min(truth.len())];
        wanted += truth.len();
        hits += found
            .iter()
            .filter(|neighbor| truth.contains(&neighbor.row))
            .count();
    }
    hits as f64 / f64::from(wanted.max(1) as u32)
}

/// The four bytes of every number in a two-dimensional, C-ordered `.npy` file of type `kind`, and its columns.
fn read_npy(path: &str, kind: &str) -> Result<(Vec<[u8; 4]>, usize)> {
    let bytes = std::fs::read(path).map_err(|error| format!("{path}: {error}"))?;
    let bad = |what: &str| format!("{path}: {what}");
    if bytes.len() < 12 || !bytes.starts_with(b"\x93NUMPY") {
        return Err(bad("not a .npy file").into());
    }
    let (start, len) = match bytes[6] {
        1 => (10, usize::from(u16::from_le_bytes([bytes[8], bytes[9]]))),
        _ => (
            12,
            u32::from_le_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]) as usize,
        ),
    };
    let header = bytes
        .get(start..start + len)
        .ok_or_else(|| bad("header cut off"))?;
    let header = String::from_utf8_lossy(header);
    if !header.contains(&format!("'descr': '{kind}'")) || !header.contains("'fortran_order': False") {
        return Err(bad(&format!("expected {kind} in C order, got {header}")).into());
    }
    let shape = header
        .split_once('(')
        .and_then(|(_, rest)| rest.split_once(')'))
        .map_or("", |(shape, _)| shape);
    let shape: Vec<usize> = shape
        .split(',')
        .filter_map(|part| part.trim().parse().ok())
        .collect();
    let &[rows, columns] = shape.as_slice() else {
        return Err(bad(&format!("expected two dimensions, got {header}")).into());
    };
    let (numbers, _) = bytes[start + len..].as_chunks::<4>();
    if numbers.len() != rows * columns {
        return Err(bad("data cut off").into());
    }
    Ok((numbers.to_vec(), columns))
}

fn read_floats(path: &str) -> Result<(Vec<f32>, usize)> {
    let (numbers, columns) = read_npy(path, "<f4")?;
    Ok((numbers.into_iter().map(f32::from_le_bytes).collect(), columns))
}

fn read_rows(path: &str) -> Result<Vec<Vec<u32>>> {
    let (numbers, columns) = read_npy(path, "<i4")?;
    let rows: Vec<u32> = numbers.into_iter().map(u32::from_le_bytes).collect();
    Ok(rows.chunks(columns.max(1)).map(<[u32]>::to_vec).collect())
}

/// SplitMix64.
fn bits(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Uniform in `(0, 1]`.
fn unit(state: &mut u64) -> f32 {
    ((bits(state) >> 40) + 1) as f32 / (1u64 << 24) as f32
}

fn normal(state: &mut u64) -> f32 {
    (-2.0 * unit(state).ln()).sqrt() * (std::f32::consts::TAU * unit(state)).cos()
}

/// `rows` of `dim` floats from 100 overlapping Gaussians in 16 latent dimensions; the mixture is the same for every
/// `seed`, which only draws other rows.
fn mixture(rows: usize, dim: usize, seed: u64) -> Vec<f32> {
    const LATENT: usize = 16;
    let mut fixed = 42;
    let basis: Vec<f32> = (0..LATENT * dim).map(|_| normal(&mut fixed) / 4.0).collect();
    let centers: Vec<f32> = (0..LATENT * 100).map(|_| normal(&mut fixed)).collect();
    let mut state = seed;
    let mut out = Vec::with_capacity(rows * dim);
    for _ in 0..rows {
        let center = &centers[(bits(&mut state) % 100) as usize * LATENT..][..LATENT];
        let latent: Vec<f32> = center
            .iter()
            .map(|mean| mean + 0.7 * normal(&mut state))
            .collect();
        for column in 0..dim {
            let projected: f32 = latent
                .iter()
                .enumerate()
                .map(|(axis, value)| value * basis[axis * dim + column])
                .sum();
            out.push(projected + 0.1 * normal(&mut state));
        }
    }
    out
}

fn random_filter(rows: usize, percent: f32) -> Bitset {
    let mut state = 3;
    Bitset::from_fn(rows, |_| unit(&mut state) * 100.0 <= percent)
}

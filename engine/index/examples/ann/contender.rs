//! Builds, searches and takes times.

use std::collections::BTreeMap;
use std::time::Instant;

use elanus_index::{
    AnyIndex, AnyMetric, Bitset, BuildOptions, BuildParams, IndexKind, Neighbor, SearchParams, SearchStats,
    VectorRef, VectorsRef, Window, exact_search_any, exact_search_batch,
};
use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};
use serde_json::{Value, json};

use crate::Result;
use crate::ceiling;
use crate::npy::{self, Table};
use crate::opening;

pub struct Contender {
    base: VectorsRef<'static>,
    base_bytes: usize,
    queries: VectorsRef<'static>,
    metric: AnyMetric,
    /// What a single search runs on.
    one_thread: ThreadPool,
    /// What a batch runs on.
    threads: ThreadPool,
    allow: Option<Bitset>,
    index: Option<AnyIndex>,
}

impl Contender {
    pub fn new(
        base: &Table,
        queries: &Table,
        metric: AnyMetric,
        threads: usize,
        allowed: Option<&Table>,
    ) -> Result<Self> {
        let base_bytes = base.bytes();
        let (base, queries) = (base.rows()?, queries.rows()?);
        if npy::shape(base) != npy::shape(queries) {
            let (base, queries) = (npy::shape(base), npy::shape(queries));
            return Err(format!("the base has vectors of type {base}, the queries {queries}").into());
        }
        let allow = match allowed {
            None => None,
            Some(Table::Bytes(flags, _)) if flags.len() == base.len() => {
                Some(Bitset::from_fn(base.len(), |row| flags[row] != 0))
            }
            Some(_) => return Err(format!("expected a |u1 for each of {} rows", base.len()).into()),
        };
        let pool = |threads: usize| ThreadPoolBuilder::new().num_threads(threads).build();
        Ok(Self {
            base,
            base_bytes,
            queries,
            metric,
            one_thread: pool(1)?,
            threads: pool(threads.max(1))?,
            allow,
            index: None,
        })
    }

    pub fn shape(&self) -> Value {
        json!({
            "rows": self.base.len(),
            "queries": self.queries.len(),
            "vectors": npy::shape(self.base),
            "version": env!("CARGO_PKG_VERSION"),
            "kernels": format!("{:?}", elanus_index::kernels::kernels().tier()),
        })
    }

    pub fn answer(&mut self, request: &Value) -> Result<Value> {
        match request["do"].as_str() {
            Some("truth") => self.truth(request),
            Some("build") => self.build(request),
            Some("open") => opening::open(self.index.as_ref().ok_or("open before build")?),
            Some("search") => self.search(request),
            Some("time") => self.time(request),
            Some("read") => {
                let seconds = request["seconds"].as_f64().unwrap_or(0.0);
                Ok(json!({ "bytes_per_second": ceiling::read(seconds)? }))
            }
            _ => {
                Err(format!("expected truth, build, open, search, time or read to do, got {request}").into())
            }
        }
    }

    fn truth(&self, request: &Value) -> Result<Value> {
        let (k, allow) = (number(request, "k")?, self.allow.as_ref());
        let mut stats = SearchStats::default();
        let found = match (self.base, self.queries, self.metric) {
            (VectorsRef::Floats(base), VectorsRef::Floats(queries), AnyMetric::Numbers(metric)) => {
                exact_search_batch(metric, base, queries, k, allow, &mut stats)
            }
            _ => {
                let one = |query| {
                    let (query, mut stats) = (self.queries.row(query), SearchStats::default());
                    exact_search_any(
                        self.metric,
                        self.base,
                        query,
                        k,
                        Window::default(),
                        allow,
                        &mut stats,
                    )
                };
                let found: std::result::Result<_, _> =
                    (0..self.queries.len()).into_par_iter().map(one).collect();
                found?
            }
        };
        write(request, &found, k)?;
        Ok(json!({}))
    }

    fn build(&mut self, request: &Value) -> Result<Value> {
        self.index = None;
        let params = BuildParams::parse(text(request, "index")?, &pairs(&request["params"]))?;
        let options = BuildOptions {
            threads: number(request, "threads")?,
            seed: number(request, "seed")? as u64,
            memory: None,
            progress: &(),
        };
        let before = Memory::reset()?;
        let start = Instant::now();
        let index = AnyIndex::build(&params, self.metric, self.base, None, &options)?;
        let seconds = start.elapsed().as_secs_f64();
        let after = Memory::read()?;
        let (index, held) = self.settled(index)?;
        self.index = Some(index);
        Ok(json!({
            "seconds": seconds,
            "held_bytes": held,
            "peak_growth": after.peak.saturating_sub(before.resident),
        }))
    }

    /// The index as searches find it, and the bytes that they need: one that is meant to stay on disk is opened from a file
    /// of the working directory, and needs no vectors besides.
    fn settled(&self, index: AnyIndex) -> Result<(AnyIndex, usize)> {
        let structure = index.memory_bytes();
        if index.kind() != IndexKind::DiskAnn {
            return Ok((index, structure + self.base_bytes));
        }
        let path = std::path::PathBuf::from(format!("ann-{}.idx", std::process::id()));
        std::fs::write(&path, index.serialize())?;
        drop(index);
        let opened = AnyIndex::open_file(&path);
        std::fs::remove_file(&path)?;
        let opened = opened?;
        let structure = opened.memory_bytes();
        Ok((opened, structure))
    }

    fn search(&self, request: &Value) -> Result<Value> {
        let (k, count) = (number(request, "k")?, self.queries.len());
        let params = self.params(request, k)?;
        let mut stats = SearchStats::default();
        let start = Instant::now();
        let found: Vec<_> = self.one_thread.install(|| {
            let each = (0..count).map(|query| self.one(query, k, &params, &mut stats));
            each.collect::<std::result::Result<_, String>>()
        })?;
        let seconds = start.elapsed().as_secs_f64();
        write(request, &found, k)?;
        let per_query = |sum: u64| sum as f64 / count.max(1) as f64;
        Ok(json!({
            "seconds": seconds,
            "distances": per_query(stats.distances),
            "hops": per_query(stats.hops),
            "reads": per_query(stats.reads),
            "strategy": stats.strategy.to_string(),
        }))
    }

    fn time(&self, request: &Value) -> Result<Value> {
        let k = number(request, "k")?;
        let params = self.params(request, k)?;
        let count = number(request, "queries")?.clamp(1, self.queries.len().max(1));
        let (least, batch) = (
            request["seconds"].as_f64().unwrap_or(0.0),
            request["batch"] == true,
        );
        let (mut latencies, mut done) = (Vec::new(), 0);
        let (worked, start) = (processor_seconds()?, Instant::now());
        let mut pass = || -> std::result::Result<(), String> {
            while done == 0 || start.elapsed().as_secs_f64() < least {
                if batch {
                    self.batch(count, k, &params)?;
                } else {
                    for query in 0..count {
                        let start = Instant::now();
                        std::hint::black_box(self.one(query, k, &params, &mut SearchStats::default())?);
                        latencies.push(start.elapsed().as_secs_f64() * 1e6);
                    }
                }
                done += count;
            }
            Ok(())
        };
        let pool = if batch { &self.threads } else { &self.one_thread };
        pool.install(&mut pass)?;
        let (seconds, worked) = (start.elapsed().as_secs_f64(), processor_seconds()? - worked);
        latencies.sort_by(f64::total_cmp);
        let percentile = |part: f64| latencies.get((latencies.len() as f64 * part) as usize).copied();
        Ok(json!({
            "qps": done as f64 / seconds,
            "p50": percentile(0.5),
            "p99": percentile(0.99),
            "done": done,
            "processor_seconds": worked,
        }))
    }

    fn one(
        &self,
        query: usize,
        k: usize,
        params: &SearchParams,
        stats: &mut SearchStats,
    ) -> std::result::Result<Vec<Neighbor>, String> {
        let index = self.index.as_ref().ok_or("search before build")?;
        let (query, allow) = (self.queries.row(query), self.allow.as_ref());
        let found = index.search(self.base, query, k, params, allow, stats);
        found.map_err(|error| error.to_string())
    }

    /// The first `count` queries at once, in as many parts as there are threads.
    fn batch(&self, count: usize, k: usize, params: &SearchParams) -> std::result::Result<(), String> {
        let index = self.index.as_ref().ok_or("search before build")?;
        let queries: Vec<VectorRef<'_>> = (0..count).map(|query| self.queries.row(query)).collect();
        let part = count.div_ceil(self.threads.current_num_threads());
        let run = |queries: &[VectorRef<'_>]| {
            let (allow, mut stats) = (self.allow.as_ref(), SearchStats::default());
            let found = index.search_batch(self.base, queries, k, params, allow, &mut stats);
            found.map(|found| drop(std::hint::black_box(found)))
        };
        let done = queries.par_chunks(part.max(1)).try_for_each(run);
        done.map_err(|error| error.to_string())
    }

    fn params(&self, request: &Value, k: usize) -> Result<SearchParams> {
        let index = self.index.as_ref().ok_or("search before build")?;
        Ok(SearchParams::parse(index.kind(), &pairs(&request["params"]), k)?)
    }
}

fn text<'a>(request: &'a Value, name: &str) -> Result<&'a str> {
    let value = request[name].as_str();
    value.ok_or_else(|| format!("expected a text {name}, got {request}").into())
}

fn number(request: &Value, name: &str) -> Result<usize> {
    let value = request[name].as_u64().map(usize::try_from);
    match value {
        Some(Ok(number)) => Ok(number),
        _ => Err(format!("expected a whole number {name}, got {request}").into()),
    }
}

/// Parameters as clients write them: all values are texts.
fn pairs(params: &Value) -> BTreeMap<String, String> {
    let entries = params.as_object().into_iter().flatten();
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    entries.map(|(name, value)| (name.clone(), text(value))).collect()
}

fn write(request: &Value, found: &[Vec<Neighbor>], k: usize) -> Result<()> {
    let rows = found
        .iter()
        .map(|row| row.iter().map(|neighbor| neighbor.row).collect());
    npy::write_rows(text(request, "to")?, &rows.collect::<Vec<_>>(), k)
}

/// What this process took of the processors.
pub fn processor_seconds() -> Result<f64> {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the call writes one `timespec`, and this is one.
    if unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) } != 0 {
        return Err(std::io::Error::last_os_error().into());
    }
    Ok(time.tv_sec as f64 + time.tv_nsec as f64 / 1e9)
}

/// Bytes of this process in memory, as Linux counts them.
struct Memory {
    resident: u64,
    /// Since the last reset.
    peak: u64,
}

impl Memory {
    fn reset() -> Result<Self> {
        std::fs::write("/proc/self/clear_refs", "5")?;
        Self::read()
    }

    fn read() -> Result<Self> {
        let status = std::fs::read_to_string("/proc/self/status")?;
        let bytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
            Some(kilobytes * 1024)
        };
        let (resident, peak) = (bytes("VmRSS:"), bytes("VmHWM:"));
        let (Some(resident), Some(peak)) = (resident, peak) else {
            return Err("no VmRSS and VmHWM in /proc/self/status".into());
        };
        Ok(Self { resident, peak })
    }
}

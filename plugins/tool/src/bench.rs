//! What calls of a plugin cost, on data that its own description asks for.

use std::fmt;
use std::time::{Duration, Instant};

use elanus_plugins::{
    Argument, Candidates, Column, ColumnKind, Functions, Keys, OwnedColumn, OwnedData, Plugin, PluginError,
    Request, Reranker, Value, VectorData,
};

/// What to measure, and with what.
#[derive(Debug, Clone)]
pub struct BenchOptions {
    /// Candidates of a search, or rows of a batch.
    pub candidates: usize,
    /// Dimensions of vectors, where the plugin does not say how many.
    pub dim: u32,
    /// How many candidates the caller will use; a reranker may stop there.
    pub limit: u32,
    /// Parameters of a reranker: see [`parameters`].
    pub parameters: Vec<(String, Value)>,
    /// How long to measure, for each function of a plugin with functions.
    pub time: Duration,
}

impl Default for BenchOptions {
    fn default() -> Self {
        Self {
            candidates: 100,
            dim: 768,
            limit: 10,
            parameters: Vec::new(),
            time: Duration::from_secs(1),
        }
    }
}

/// What one reranker or one function costs.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// Name and version of the plugin, with the name of the function if it is one.
    pub what: String,
    /// Candidates or rows of a call.
    pub rows: usize,
    /// Calls that were measured.
    pub calls: usize,
    /// Calls in a second of one thread.
    pub calls_per_second: f64,
    /// Half of the calls took no longer.
    pub median: Duration,
    /// 99 of 100 calls took no longer.
    pub p99: Duration,
    /// The most memory that the instance has had, in bytes.
    pub peak_memory: usize,
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            what,
            rows,
            calls,
            calls_per_second,
            median,
            p99,
            peak_memory,
        } = self;
        write!(
            f,
            "{what}, {rows} rows: {calls_per_second:.0} calls per second, median {median:.1?}, p99 {p99:.1?}, {} KiB of \
             memory ({calls} calls)",
            peak_memory.div_ceil(1024)
        )
    }
}

/// The parameters in a JSON object such as `{"column": "created_at", "half_life": 86400}`. Objects and arrays among the
/// values become texts.
///
/// # Errors
/// It is no JSON, no object, or a value is null or a number that 64 bits do not hold.
pub fn parameters(json: &str) -> Result<Vec<(String, Value)>, String> {
    let parsed: serde_json::Value =
        serde_json::from_str(json).map_err(|error| format!("the parameters are no JSON: {error}"))?;
    let serde_json::Value::Object(fields) = parsed else {
        return Err(format!(
            "the parameters are {parsed}, not a JSON object such as {{\"weight\": 0.5}}"
        ));
    };
    fields
        .iter()
        .map(|(name, json)| match Value::from_json(json) {
            Some(value) => Ok((name.clone(), value)),
            None => Err(format!("parameter '{name}' cannot be {json}")),
        })
        .collect()
}

/// Calls a plugin again and again from this thread: a reranker with drawn candidates, each function of a plugin with drawn
/// rows. The draw is the same every time.
///
/// # Errors
/// A call fails, for instance because a parameter is needed and not given.
///
/// A column of another Arrow type (`ipc`) cannot be drawn: such a reranker fails, such a function is left out.
pub fn bench(plugin: &Plugin, options: &BenchOptions) -> Result<Vec<Measured>, BenchError> {
    match plugin {
        Plugin::Reranker(reranker) => Ok(vec![bench_reranker(reranker, options)?]),
        Plugin::Functions(functions) => bench_functions(functions, options),
    }
}

/// Why there is no measurement.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum BenchError {
    /// A call failed.
    #[error(transparent)]
    Plugin(#[from] PluginError),
    /// There is no data for the plugin.
    #[error("{0}")]
    NotDrawn(String),
}

fn bench_reranker(reranker: &Reranker, options: &BenchOptions) -> Result<Measured, BenchError> {
    let descriptor = reranker.descriptor();
    let rows = match descriptor.max_candidates as usize {
        0 => options.candidates,
        most => options.candidates.min(most),
    };
    let parameters = reranker.parameters(&options.parameters)?;
    let needed = descriptor
        .columns_for(&parameters)
        .map_err(|failure| BenchError::NotDrawn(failure.to_string()))?;
    let mut draw = Draw::default();
    let mut distances = draw.floats(rows);
    distances.sort_by(f32::total_cmp);
    let keys: Vec<i64> = (0..rows as i64).collect();
    let mut drawn = Vec::with_capacity(needed.len());
    for (name, kind) in &needed {
        let column = draw.column(kind, rows, options.dim).ok_or_else(|| {
            BenchError::NotDrawn(format!("column '{name}' is {kind}, which cannot be drawn"))
        })?;
        drawn.push(column);
    }
    let columns: Vec<(&str, Column<'_>)> = needed
        .iter()
        .zip(&drawn)
        .map(|((name, _), column)| (name.as_str(), column.view()))
        .collect();
    let (vectors, query) = (
        draw.floats(if descriptor.needs_vectors {
            rows * options.dim as usize
        } else {
            0
        }),
        draw.floats(options.dim as usize),
    );
    let of_dim = |values| VectorData {
        dim: options.dim,
        values,
    };
    let request = Request {
        query_vectors: of_dim(&query),
        query_text: Some(WORDS[0]),
        limit: options.limit,
    };
    let candidates = Candidates {
        keys: Keys::Integers(&keys),
        distances: &distances,
        columns: &columns,
        vectors: descriptor.needs_vectors.then(|| of_dim(&vectors)),
    };
    let what = format!("{} {}", descriptor.name, descriptor.version);
    measured(what, rows, options.time, || {
        let (_, stats) = reranker.rerank(&parameters, &request, &candidates)?;
        Ok(stats.peak_memory)
    })
}

fn bench_functions(functions: &Functions, options: &BenchOptions) -> Result<Vec<Measured>, BenchError> {
    let descriptor = functions.descriptor();
    let rows = options.candidates;
    let mut all = Vec::with_capacity(descriptor.functions.len());
    for (place, function) in descriptor.functions.iter().enumerate() {
        let mut draw = Draw::default();
        let drawn: Option<Vec<OwnedColumn>> = function
            .parameters
            .iter()
            .map(|parameter| draw.column(&parameter.kind, rows, options.dim))
            .collect();
        let Some(drawn) = drawn else { continue };
        let arguments: Vec<Argument<'_>> = drawn
            .iter()
            .map(|column| Argument::Column(column.view()))
            .collect();
        let what = format!("{} {}: {}", descriptor.name, descriptor.version, function.name);
        all.push(measured(what, rows, options.time, || {
            let (_, stats) = functions.invoke(place, &arguments, rows)?;
            Ok(stats.peak_memory)
        })?);
    }
    if all.is_empty() {
        return Err(BenchError::NotDrawn(format!(
            "{} has no function whose arguments can be drawn",
            descriptor.name
        )));
    }
    Ok(all)
}

/// Calls that are remembered one by one; a plugin that is faster is measured for less time.
const MOST_CALLS: usize = 1_000_000;

/// Calls `work`, which returns its peak memory, for that time, after a tenth of it to warm up.
fn measured(
    what: String,
    rows: usize,
    time: Duration,
    mut work: impl FnMut() -> Result<usize, PluginError>,
) -> Result<Measured, BenchError> {
    let start = Instant::now();
    let mut peak_memory = work()?;
    while start.elapsed() < time / 10 {
        peak_memory = peak_memory.max(work()?);
    }
    let mut calls = Vec::new();
    let start = Instant::now();
    while calls.is_empty() || (start.elapsed() < time && calls.len() < MOST_CALLS) {
        let call = Instant::now();
        peak_memory = peak_memory.max(work()?);
        calls.push(call.elapsed());
    }
    let calls_per_second = calls.len() as f64 / start.elapsed().as_secs_f64();
    calls.sort_unstable();
    let quantile = |share: f64| {
        let place = ((calls.len() as f64 * share).ceil() as usize).max(1) - 1;
        calls.get(place).copied().unwrap_or_default()
    };
    Ok(Measured {
        what,
        rows,
        calls: calls.len(),
        calls_per_second,
        median: quantile(0.5),
        p99: quantile(0.99),
        peak_memory,
    })
}

/// Texts are drawn from these; the query is the first.
const WORDS: [&str; 16] = [
    "vector",
    "search",
    "the",
    "quick",
    "brown",
    "fox",
    "jumps",
    "over",
    "lazy",
    "dog",
    "gr\u{fc}n",
    "und",
    "blau",
    "index",
    "query",
    "rerank",
];

/// Words of a drawn text.
const TEXT: usize = 16;

/// Numbers from a fixed sequence (a linear congruential generator; Knuth, MMIX).
#[derive(Debug)]
struct Draw(u64);

impl Default for Draw {
    fn default() -> Self {
        Self(9)
    }
}

impl Draw {
    /// From 0 to 1.
    fn next(&mut self) -> f64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f64 / (1_u64 << 24) as f64
    }

    fn floats(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.next() as f32).collect()
    }

    /// A column of that form without nulls; nothing if this does not know how.
    fn column(&mut self, kind: &ColumnKind, rows: usize, dim: u32) -> Option<OwnedColumn> {
        let data = match kind {
            ColumnKind::F32s => OwnedData::F32s(self.floats(rows)),
            ColumnKind::F64s => OwnedData::F64s((0..rows).map(|_| self.next()).collect()),
            ColumnKind::S64s => OwnedData::S64s((0..rows).map(|_| (self.next() * 1e6) as i64).collect()),
            ColumnKind::Bools => OwnedData::Bools((0..rows).map(|_| u8::from(self.next() < 0.5)).collect()),
            ColumnKind::Text => self.texts(rows),
            ColumnKind::Vectors(declared) => {
                let dim = if *declared == 0 { dim } else { *declared };
                let values = self.floats(rows * dim as usize);
                OwnedData::Vectors { dim, values }
            }
            ColumnKind::Ipc(_) => return None,
        };
        Some(OwnedColumn { data, validity: None })
    }

    fn texts(&mut self, rows: usize) -> OwnedData {
        let mut offsets = vec![0];
        let mut bytes = Vec::new();
        for _ in 0..rows {
            for _ in 0..TEXT {
                let word = (self.next() * WORDS.len() as f64) as usize;
                bytes.extend_from_slice(WORDS.get(word).unwrap_or(&"").as_bytes());
                bytes.push(b' ');
            }
            offsets.push(bytes.len() as u32);
        }
        OwnedData::Text { offsets, bytes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_read_from_json() {
        let read = parameters(r#"{"a": 1, "b": 0.5, "c": "x", "d": true, "e": {"f": []}}"#).unwrap();
        assert_eq!(
            read,
            [
                ("a".to_owned(), Value::Integer(1)),
                ("b".to_owned(), Value::Number(0.5)),
                ("c".to_owned(), Value::Text("x".to_owned())),
                ("d".to_owned(), Value::Boolean(true)),
                ("e".to_owned(), Value::Text("{\"f\":[]}".to_owned())),
            ]
        );
        assert!(parameters("[1]").unwrap_err().contains("not a JSON object"));
        assert!(parameters("{").unwrap_err().contains("no JSON"));
        assert_eq!(
            parameters(r#"{"a": null}"#).unwrap_err(),
            "parameter 'a' cannot be null"
        );
    }
}

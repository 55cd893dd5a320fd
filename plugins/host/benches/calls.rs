//! What a call costs beside the native twin of the same work.
//!
//! `cargo bench -p elanus-plugins --bench calls`, with a word to run one part (`crossing`, `scalar`, `vectors`, `text`, `functions`,
//! `load`, `attack`). Plugin and twin are measured in turn, round after round, and the median of each is printed: another load on the
//! machine hits both.
#![expect(clippy::print_stdout, reason = "a command line tool")]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a benchmark fails by panicking"
)]

#[path = "../tests/it/guests.rs"]
#[expect(dead_code, reason = "some are for tests alone")]
mod guests;
#[path = "../tests/it/twins.rs"]
#[expect(dead_code, reason = "some are for tests alone")]
mod twins;

use std::collections::HashSet;
use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use elanus_plugins::{
    Argument, Candidates, Column, ColumnData, Functions, Host, HostConfig, Keys, Limits, LoadOptions, Plugin,
    Request, Reranker, Rights, TextData, Value, VectorData,
};

/// A part of the measurements.
type Part = fn(&Host);

const COUNTS: [usize; 4] = [10, 100, 1000, 10_000];

fn main() {
    let wanted: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with('-'))
        .collect();
    let host = Host::new(HostConfig::default()).expect("a host");
    let parts: [(&str, Part); 7] = [
        ("crossing", crossing),
        ("scalar", scalar),
        ("vectors", vectors),
        ("text", text),
        ("functions", functions),
        ("load", load_times),
        ("attack", attack),
    ];
    for (name, part) in parts {
        if wanted.is_empty() || wanted.iter().any(|word| word == name) {
            part(&host);
        }
    }
}

fn file(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/prebuilt");
    fs::read(folder.join(format!("{name}.wasm"))).expect("a prebuilt example")
}

fn options() -> LoadOptions {
    let limits = Limits {
        memory: 256 << 20,
        idle_memory: 256 << 20,
        deadline: Duration::from_secs(60),
        ..Limits::default()
    };
    LoadOptions {
        limits,
        ..LoadOptions::default()
    }
}

fn load(host: &Host, name: &str) -> Plugin {
    host.load(&file(name), &options()).expect("the example loads")
}

fn reranker(host: &Host, name: &str) -> Arc<Reranker> {
    match load(host, name) {
        Plugin::Reranker(reranker) => reranker,
        Plugin::Functions(_) => panic!("{name} is no reranker"),
    }
}

fn numbers(count: usize) -> Vec<f32> {
    let mut state = 9_u64;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 24) as f32
    };
    (0..count).map(|_| next()).collect()
}

/// Medians of both, in nanoseconds, of alternating rounds. They are short, so that most of them pass without another
/// process on this processor.
fn medians(mut one: impl FnMut(), mut other: impl FnMut()) -> (f64, f64) {
    const ROUND: f64 = 5e4;
    const ALL: f64 = 6e8;
    let once = |work: &mut dyn FnMut(), times: u32| {
        let start = Instant::now();
        for _ in 0..times {
            work();
        }
        start.elapsed().as_nanos() as f64 / f64::from(times)
    };
    let shortest = |work: &mut dyn FnMut()| (0..5).map(|_| once(work, 3)).fold(f64::MAX, f64::min);
    let (first, second) = (shortest(&mut one), shortest(&mut other));
    let slower = first.max(second).max(1.0);
    let times = (ROUND / slower).clamp(1.0, 10_000.0) as u32;
    let rounds = (ALL / (slower * f64::from(times))).clamp(15.0, 4_001.0) as usize;
    let mut rounds: Vec<(f64, f64)> = (0..rounds)
        .map(|_| (once(&mut one, times), once(&mut other, times)))
        .collect();
    rounds.sort_by(|a, b| a.0.total_cmp(&b.0));
    let median = rounds[rounds.len() / 2].0;
    rounds.sort_by(|a, b| a.1.total_cmp(&b.1));
    (median, rounds[rounds.len() / 2].1)
}

fn show(what: &str, (plugin, native): (f64, f64)) {
    println!(
        "{what:<34} plugin {:>9.2} us   native {:>9.2} us   over {:>9.2} us",
        plugin / 1e3,
        native / 1e3,
        (plugin - native) / 1e3
    );
}

/// Orders by score, as every reranker ends.
fn by_score(scores: &[f32]) -> Vec<u32> {
    let mut order: Vec<u32> = (0..scores.len() as u32).collect();
    order.sort_by(|a, b| scores[*b as usize].total_cmp(&scores[*a as usize]));
    order
}

/// One column of numbers: recency decay.
fn scalar(host: &Host) {
    let plugin = reranker(host, "recency");
    let given = [
        ("column".to_owned(), Value::Text("time".to_owned())),
        ("now".to_owned(), Value::Number(1e6)),
        ("half_life".to_owned(), Value::Number(1e5)),
    ];
    let parameters = plugin.parameters(&given).unwrap();
    for count in COUNTS {
        let distances = numbers(count);
        let times: Vec<i64> = distances.iter().map(|number| (number * 1e6) as i64).collect();
        let keys: Vec<i64> = (0..count as i64).collect();
        let columns = [(
            "time",
            Column {
                data: ColumnData::S64s(&times),
                validity: None,
            },
        )];
        let request = Request {
            query_vectors: VectorData { dim: 0, values: &[] },
            query_text: None,
            limit: count as u32,
        };
        let candidates = Candidates {
            keys: Keys::Integers(&keys),
            distances: &distances,
            columns: &columns,
            vectors: None,
        };
        let both = medians(
            || {
                black_box(
                    plugin
                        .rerank(&parameters, &request, black_box(&candidates))
                        .unwrap(),
                );
            },
            || {
                let score = |(distance, time): (&f32, &i64)| {
                    twins::recency(*distance, Some(*time), 1e6, 1e5, 1.0) as f32
                };
                let scores: Vec<f32> = black_box(&distances).iter().zip(&times).map(score).collect();
                black_box(by_score(&scores));
            },
        );
        show(&format!("recency, {count} candidates"), both);
    }
}

/// Vectors of 768 dimensions: ten by maximal marginal relevance.
fn vectors(host: &Host) {
    const DIM: usize = 768;
    let plugin = reranker(host, "mmr");
    let parameters = plugin.parameters(&[]).unwrap();
    for count in COUNTS {
        let vectors = numbers(DIM * count);
        let query = numbers(DIM);
        let distances = vec![0.0; count];
        let keys: Vec<i64> = (0..count as i64).collect();
        let request = Request {
            query_vectors: VectorData {
                dim: DIM as u32,
                values: &query,
            },
            query_text: None,
            limit: 10,
        };
        let candidates = Candidates {
            keys: Keys::Integers(&keys),
            distances: &distances,
            columns: &[],
            vectors: Some(VectorData {
                dim: DIM as u32,
                values: &vectors,
            }),
        };
        let call = || {
            black_box(
                plugin
                    .rerank(&parameters, &request, black_box(&candidates))
                    .unwrap(),
            );
        };
        show(
            &format!("mmr, {count} candidates"),
            medians(call, || {
                black_box(native_mmr(&query, black_box(&vectors), 0.5, 10));
            }),
        );
    }
}

/// Vectors of 768 dimensions to a guest that does not look at them.
fn crossing(host: &Host) {
    const DIM: usize = 768;
    let describe = r#"(func (export "elanus:plugin/reranking@1.0.0#describe") (result i32)
        (i32.store8 (i32.const 160) (i32.const 1))
        (call $good_describe))"#;
    let file = guests::guest("reranker", describe);
    let Plugin::Reranker(plugin) = host.load(&file, &options()).unwrap() else {
        panic!("no reranker")
    };
    let parameters = plugin.parameters(&[]).unwrap();
    for count in COUNTS {
        let values = numbers(DIM * count);
        let distances = vec![0.0; count];
        let keys: Vec<i64> = (0..count as i64).collect();
        let request = Request {
            query_vectors: VectorData {
                dim: DIM as u32,
                values: &values[..DIM],
            },
            query_text: None,
            limit: 1,
        };
        let vectors = Some(VectorData {
            dim: DIM as u32,
            values: &values,
        });
        let candidates = Candidates {
            keys: Keys::Integers(&keys),
            distances: &distances,
            columns: &[],
            vectors,
        };
        let both = medians(
            || {
                black_box(
                    plugin
                        .rerank(&parameters, &request, black_box(&candidates))
                        .unwrap(),
                );
            },
            || {
                black_box(black_box(&values).clone());
            },
        );
        show(&format!("{count} vectors across, beside a copy"), both);
    }
}

/// The same choice, compiled for this machine.
fn native_mmr(query: &[f32], vectors: &[f32], lambda: f32, limit: usize) -> Vec<(u32, f32)> {
    let row = |at: usize| &vectors[at * query.len()..(at + 1) * query.len()];
    let count = vectors.len() / query.len();
    let norms: Vec<f32> = (0..count).map(|at| dot(row(at), row(at)).sqrt()).collect();
    let query_norm = dot(query, query).sqrt();
    let relevance: Vec<f32> = (0..count)
        .map(|at| dot(query, row(at)) / (query_norm * norms[at]))
        .collect();
    let mut nearest = vec![0.0_f32; count];
    let mut left: Vec<usize> = (0..count).collect();
    let mut places = Vec::new();
    while !left.is_empty() && places.len() < limit {
        let score = |at: usize| lambda * relevance[at] - (1.0 - lambda) * nearest[at];
        let mut best = 0;
        for (slot, &at) in left.iter().enumerate() {
            if score(at) > score(left[best]) {
                best = slot;
            }
        }
        let chosen = left.remove(best);
        places.push((chosen as u32, score(chosen)));
        for &at in &left {
            let similarity = dot(row(chosen), row(at)) / (norms[chosen] * norms[at]);
            nearest[at] = if places.len() == 1 {
                similarity
            } else {
                nearest[at].max(similarity)
            };
        }
    }
    places
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0_f32; 8];
    for (x, y) in a.chunks_exact(8).zip(b.chunks_exact(8)) {
        for lane in 0..8 {
            lanes[lane] += x[lane] * y[lane];
        }
    }
    lanes.iter().sum()
}

/// A text of 16 words per candidate: lexical overlap.
fn text(host: &Host) {
    const WORDS: [&str; 8] = [
        "kite", "hawk", "harrier", "eagle", "falcon", "osprey", "buzzard", "vulture",
    ];
    let plugin = reranker(host, "lexical");
    let parameters = plugin.parameters(&[]).unwrap();
    for count in COUNTS {
        let picks = numbers(count * 16);
        let (mut offsets, mut bytes, mut texts) = (vec![0], Vec::new(), Vec::new());
        for picks in picks.chunks(16) {
            let words: Vec<&str> = picks.iter().map(|pick| WORDS[(pick * 7.99) as usize]).collect();
            texts.push(words.join(" "));
            bytes.extend_from_slice(words.join(" ").as_bytes());
            offsets.push(bytes.len() as u32);
        }
        let distances = numbers(count);
        let keys: Vec<i64> = (0..count as i64).collect();
        let data = ColumnData::Text(TextData {
            offsets: &offsets,
            bytes: &bytes,
        });
        let columns = [("text", Column { data, validity: None })];
        let query = "red kite over an osprey";
        let request = Request {
            query_vectors: VectorData { dim: 0, values: &[] },
            query_text: Some(query),
            limit: count as u32,
        };
        let candidates = Candidates {
            keys: Keys::Integers(&keys),
            distances: &distances,
            columns: &columns,
            vectors: None,
        };
        let both = medians(
            || {
                black_box(
                    plugin
                        .rerank(&parameters, &request, black_box(&candidates))
                        .unwrap(),
                );
            },
            || {
                let wanted: HashSet<String> = words(query).collect();
                let score = |(distance, text): (&f32, &String)| {
                    let found: HashSet<String> = words(text).filter(|word| wanted.contains(word)).collect();
                    let share = found.len() as f32 / wanted.len() as f32;
                    0.5 * twins::relevance(*distance) as f32 + 0.5 * share
                };
                let scores: Vec<f32> = black_box(&distances).iter().zip(&texts).map(score).collect();
                black_box(by_score(&scores));
            },
        );
        show(&format!("lexical, {count} candidates"), both);
    }
}

fn words(text: &str) -> impl Iterator<Item = String> {
    text.split(|character: char| !character.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
}

/// Batches of 8,192 rows.
fn functions(host: &Host) {
    const ROWS: usize = 8192;
    let Plugin::Functions(plugin) = load(host, "numbers") else {
        panic!("no functions")
    };
    let per_row = |what: &str, (plugin, native): (f64, f64)| {
        let rows = ROWS as f64;
        println!(
            "{what:<34} plugin {:>7.2} ns/row  native {:>7.2} ns/row  over {:>7.2} ns/row",
            plugin / rows,
            native / rows,
            (plugin - native) / rows
        );
    };
    let (slope, x, offset) = (numbers(ROWS), numbers(ROWS), numbers(ROWS));
    let floats = |values| {
        Argument::Column(Column {
            data: ColumnData::F32s(values),
            validity: None,
        })
    };
    let arguments = [floats(&slope), floats(&x), floats(&offset)];
    let linear = plugin.find("linear").unwrap();
    per_row(
        "linear, f32, three columns",
        medians(
            || invoke(&plugin, linear, &arguments, ROWS),
            || {
                let row = |((slope, x), offset): ((&f32, &f32), &f32)| slope * x + offset;
                let values: Vec<f32> = black_box(&slope)
                    .iter()
                    .zip(black_box(&x))
                    .zip(black_box(&offset))
                    .map(row)
                    .collect();
                black_box(values);
            },
        ),
    );
    let degrees: Vec<f64> = numbers(ROWS)
        .into_iter()
        .map(|number| f64::from(number) * 80.0)
        .collect();
    let doubles = Argument::Column(Column {
        data: ColumnData::F64s(&degrees),
        validity: None,
    });
    let place = plugin.find("haversine").unwrap();
    per_row(
        "haversine, f64, four columns",
        medians(
            || invoke(&plugin, place, &[doubles; 4], ROWS),
            || {
                let row = |own: &f64| haversine(black_box([*own; 4]));
                black_box(black_box(&degrees).iter().map(row).collect::<Vec<f64>>());
            },
        ),
    );
}

/// The plugin's own formula.
fn haversine([latitude1, longitude1, latitude2, longitude2]: [f64; 4]) -> f64 {
    let (first, second) = (latitude1.to_radians(), latitude2.to_radians());
    let half = |difference: f64| (difference / 2.0).sin().powi(2);
    let longitudes = (longitude2 - longitude1).to_radians();
    let chord = half(second - first) + first.cos() * second.cos() * half(longitudes);
    2.0 * 6371.0088 * chord.clamp(0.0, 1.0).sqrt().asin()
}

fn invoke(plugin: &Functions, function: usize, arguments: &[Argument<'_>], rows: usize) {
    black_box(plugin.invoke(function, black_box(arguments), rows).unwrap());
}

/// Loading: compiling, from the cache of machine code, and an instance for a single call.
fn load_times(host: &Host) {
    let file = file("recency");
    let directory = std::env::temp_dir().join(format!("elanus-plugins-bench-{}", std::process::id()));
    let cached = Host::new(HostConfig {
        cache: Some(directory.clone()),
        ..HostConfig::default()
    })
    .expect("a host");
    cached.load(&file, &options()).unwrap();
    let (compiled, from_cache) = medians(
        || {
            black_box(host.load(&file, &options()).unwrap());
        },
        || {
            black_box(cached.load(&file, &options()).unwrap());
        },
    );
    println!(
        "load of {} bytes: compiled {:.1} ms, from the cache {:.2} ms",
        file.len(),
        compiled / 1e6,
        from_cache / 1e6
    );
    fs::remove_dir_all(directory).expect("the directory of the cache");

    let fresh = LoadOptions {
        limits: Limits {
            reuse: false,
            ..options().limits
        },
        ..options()
    };
    let Plugin::Functions(fresh) = host.load(&self::file("numbers"), &fresh).unwrap() else {
        panic!("no functions")
    };
    let Plugin::Functions(kept) = load(host, "numbers") else {
        panic!("no functions")
    };
    let one = Argument::Column(Column {
        data: ColumnData::F32s(&[1.0]),
        validity: None,
    });
    let linear = kept.find("linear").unwrap();
    let (fresh, kept) = medians(
        || invoke(&fresh, linear, &[one; 3], 1),
        || invoke(&kept, linear, &[one; 3], 1),
    );
    println!(
        "a call of one row: {:.2} us with an instance of its own, {:.2} us with a kept one",
        fresh / 1e3,
        kept / 1e3
    );
}

/// A bystander's calls, alone and while every guest of `plugins/hostile` is called in turn by another thread.
fn attack(host: &Host) {
    let plugin = reranker(host, "recency");
    let given = [
        ("now".to_owned(), Value::Number(1e6)),
        ("half_life".to_owned(), Value::Number(1e5)),
    ];
    let parameters = plugin.parameters(&given).unwrap();
    let distances = numbers(100);
    let times: Vec<i64> = distances.iter().map(|number| (number * 1e6) as i64).collect();
    let columns = [(
        "created_at",
        Column {
            data: ColumnData::S64s(&times),
            validity: None,
        },
    )];
    let request = Request {
        query_vectors: VectorData { dim: 0, values: &[] },
        query_text: None,
        limit: 100,
    };
    let candidates = Candidates {
        keys: Keys::Integers(&times),
        distances: &distances,
        columns: &columns,
        vectors: None,
    };
    let bystander = |what: &str| {
        let once = |_| {
            let start = Instant::now();
            black_box(plugin.rerank(&parameters, &request, &candidates).unwrap());
            start.elapsed()
        };
        let start = Instant::now();
        let mut latencies = Vec::new();
        while start.elapsed() < Duration::from_secs(5) {
            latencies.extend((0..100).map(once));
        }
        latencies.sort();
        let at = |share: usize| latencies[(latencies.len() - 1) * share / 1000].as_nanos() as f64 / 1e3;
        let count = latencies.len();
        println!(
            "{what:<34} p50 {:.2} us  p99 {:.2} us  p99.9 {:.2} us  of {count} calls",
            at(500),
            at(990),
            at(999)
        );
    };
    let limits = Limits {
        deadline: Duration::from_millis(20),
        start_deadline: Duration::from_millis(20),
        ..Limits::default()
    };
    let options = LoadOptions {
        limits,
        rights: Rights::ALL,
        ..LoadOptions::default()
    };
    let hostile = guests::hostile();
    let attackers: Vec<Plugin> = hostile
        .iter()
        .filter_map(|guest| host.load(&guest.module, &options).ok())
        .collect();
    let done = AtomicBool::new(false);
    bystander("a bystander alone");
    std::thread::scope(|scope| {
        let attacks = scope.spawn(|| {
            let mut count = 0;
            while !done.load(Ordering::Relaxed) {
                for attacker in &attackers {
                    call_hostile(attacker);
                    count += 1;
                }
            }
            count
        });
        bystander("a bystander under attack");
        done.store(true, Ordering::Relaxed);
        println!(
            "{} calls of {} hostile guests meanwhile",
            attacks.join().unwrap(),
            attackers.len()
        );
    });
}

/// What comes of it does not matter.
fn call_hostile(plugin: &Plugin) {
    match plugin {
        Plugin::Reranker(plugin) => {
            let request = Request {
                query_vectors: VectorData { dim: 0, values: &[] },
                query_text: None,
                limit: 2,
            };
            let candidates = Candidates {
                keys: Keys::Integers(&[1, 2, 3]),
                distances: &[0.0; 3],
                columns: &[],
                vectors: None,
            };
            let parameters = plugin.parameters(&[]).unwrap();
            let _ = black_box(plugin.rerank(&parameters, &request, &candidates));
        }
        Plugin::Functions(plugin) => {
            let column = Argument::Column(Column {
                data: ColumnData::F32s(&[1.0; 3]),
                validity: None,
            });
            let _ = black_box(plugin.invoke(0, &[column], 3));
        }
    }
}

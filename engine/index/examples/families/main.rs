//! Recall of every index on every type of vector with every metric: among all rows, among the half of them that a filter
//! leaves, and within a range of distances. Prints the tables of `docs/recall.md`.
//!
//! ```sh
//! cargo run --release --package elanus-index --example families
//! ```
//!
//! `-- --rows 100000 --lists 50000` for other numbers of rows, `--only lists` for the tables with that in their names. With fewer than the default ones, or much higher search
//! parameters, a scan of the rows is cheaper than some of the indexes, which the tables then say.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a program for people")]

#[expect(dead_code, reason = "the tests have more of it")]
#[path = "../../tests/it/data.rs"]
mod data;
mod family;
mod measure;
mod sets;

use elanus_index::typed::ElementType;
use elanus_index::{AnyMetric, BitMetric, ElementMetric, Metric, MinHash, VectorRef, VectorsRef};

use family::Family;
use measure::Exact;
use sets::{DIM, Dense, OF_LIST, OF_SIGNATURE, Sparse};

const QUERIES: usize = 50;
const K: usize = 10;
/// Rows in the range of a range search.
const IN_RANGE: usize = 50;
const SIGNATURES: &str = "BINARY, signatures";
const SPARSE: &str = "SPARSE";
const TYPES: [(&str, ElementType); 5] = [
    ("FLOAT", ElementType::Float),
    ("FLOAT16", ElementType::Half),
    ("BFLOAT16", ElementType::BFloat16),
    ("INT8", ElementType::Int8),
    ("BINARY", ElementType::Bit),
];

fn main() {
    let (mut rows, mut lists) = (13_000, 4_400);
    let (mut only, mut args) = (String::new(), std::env::args().skip(1));
    while let Some(name) = args.next() {
        let value = args.next().unwrap_or_default();
        match name.as_str() {
            "--rows" => rows = value.parse().unwrap(),
            "--lists" => lists = value.parse().unwrap(),
            "--only" => only = value,
            _ => panic!("expected --rows N, --lists N or --only NAME, got {name}"),
        }
    }
    let wanted = |name: &str| name.contains(&only);
    println!(
        "- Rows: {rows} of {DIM} numbers or {} bits; {lists} lists of {OF_LIST} vectors.",
        4 * DIM
    );
    println!("- Signatures: {OF_SIGNATURE} elements of 32 bits.");
    println!("- Queries: {QUERIES} for each cell; `limit` {K}, in the range {IN_RANGE}.");
    for (name, kind) in TYPES.into_iter().filter(|(name, _)| wanted(name)) {
        let [base, queries] = Dense::draw(kind, rows, QUERIES);
        table(
            name,
            &metrics_of(kind),
            base.rows(),
            &each(queries.rows()),
            &families_of(kind),
        );
    }
    if wanted(SIGNATURES) {
        signatures(rows);
    }
    if wanted(SPARSE) {
        sparse(rows);
    }
    for (name, kind) in TYPES {
        let name = format!("lists of {name}");
        if !wanted(&name) {
            continue;
        }
        let [base, queries] = Dense::draw_lists(kind, lists, QUERIES);
        let ends = [lists, QUERIES].map(sets::ends_of_lists);
        let queries = sets::lists(&ends[1], &queries);
        let metrics: Vec<AnyMetric> = metrics_of(kind).into_iter().filter_map(of_lists).collect();
        let families = family::of_lists(families_of(kind));
        table(
            &name,
            &metrics,
            sets::lists(&ends[0], &base),
            &each(queries),
            &families,
        );
    }
}

fn signatures(rows: usize) {
    let [base, queries] = Dense::signatures(rows, QUERIES);
    let metric = AnyMetric::from(MinHash::similarity(32));
    let families = family::of_signatures();
    table(
        SIGNATURES,
        &[metric],
        base.rows(),
        &each(queries.rows()),
        &families,
    );
}

fn sparse(rows: usize) {
    let families = family::of_sparse();
    let (base, queries) = (Sparse::draw(rows, 1, false), Sparse::draw(QUERIES, 2, false));
    let metric = AnyMetric::from(Metric::Ip);
    table(SPARSE, &[metric], base.rows(), &each(queries.rows()), &families);
    let base = Sparse::draw(rows, 1, true);
    let queries = Sparse::draw(QUERIES, 2, true).weighed_by(&base);
    let texts = queries.texts(&base);
    table(
        "SPARSE, counts of terms",
        &[AnyMetric::Bm25],
        base.rows(),
        &texts,
        &families,
    );
}

fn metrics_of(kind: ElementType) -> Vec<AnyMetric> {
    match kind {
        ElementType::Bit => [BitMetric::Hamming, BitMetric::Jaccard]
            .map(AnyMetric::Bits)
            .to_vec(),
        ElementType::Float | ElementType::Half | ElementType::BFloat16 | ElementType::Int8 => {
            [Metric::L2, Metric::Ip, Metric::Cosine]
                .map(AnyMetric::Numbers)
                .to_vec()
        }
    }
}

/// MAX_SIM of a metric of elements.
fn of_lists(metric: AnyMetric) -> Option<AnyMetric> {
    match metric {
        AnyMetric::Numbers(metric) => Some(AnyMetric::MaxSim(ElementMetric::Numbers(metric))),
        AnyMetric::Bits(metric) => Some(AnyMetric::MaxSim(ElementMetric::Bits(metric))),
        AnyMetric::MaxSim(_) | AnyMetric::Bm25 => None,
    }
}

fn families_of(kind: ElementType) -> Vec<Family> {
    match kind {
        ElementType::Float | ElementType::Half | ElementType::BFloat16 => family::of_floats(),
        ElementType::Int8 => family::of_integers(),
        ElementType::Bit => family::of_bits(),
    }
}

fn each(rows: VectorsRef<'_>) -> Vec<VectorRef<'_>> {
    (0..rows.len()).map(|row| rows.row(row)).collect()
}

fn table(
    name: &str,
    metrics: &[AnyMetric],
    base: VectorsRef<'_>,
    queries: &[VectorRef<'_>],
    families: &[Family],
) {
    let exact: Vec<Exact<'_>> = metrics
        .iter()
        .map(|&metric| Exact::new(metric, base, queries))
        .collect();
    println!("\n**{name}**\n");
    let names: Vec<String> = metrics.iter().map(ToString::to_string).collect();
    println!("| index | built with | searched with | {} |", names.join(" | "));
    println!("|{}", "---|".repeat(3 + metrics.len()));
    for family in families {
        let cell = |exact: &Exact<'_>| exact.measure(family).map(|recall| recall.to_string()).join(" / ");
        let cells: Vec<String> = exact.iter().map(cell).collect();
        let (built, searched) = (family.built_with(), family.searched_with());
        println!(
            "| {} | {built} | {searched} | {} |",
            family.name,
            cells.join(" | ")
        );
    }
}

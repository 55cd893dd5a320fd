//! What MINHASH_LSH finds, by how alike signatures are and how many bands they are cut into.
//!
//! ```sh
//! cargo run --release --package elanus-index --example signatures
//! ```
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a program for people")]

use elanus_index::{
    AnyIndex, BuildOptions, BuildParams, MinHash, MinHashParams, Neighbor, Rows, SearchParams, SearchStats,
    VectorsRef, Window, exact_search_any,
};

/// Elements of a signature, of 32 bits each.
const ELEMENTS: usize = 128;
const ROWS: usize = 20_000;
/// Every so many rows one is drawn anew; the others keep fewer and fewer elements of it.
const FAMILY: usize = 20;
/// Ranges of similarities: above the first, up to the second.
const RANGES: [(f32, f32); 4] = [(0.9, 1.0), (0.7, 0.9), (0.5, 0.7), (0.3, 0.5)];

fn main() {
    let data = signatures();
    let vectors = VectorsRef::Bits(Rows::new(&data, ELEMENTS * 4).unwrap());
    let queries: Vec<usize> = (0..ROWS).step_by(FAMILY * 5).collect();
    let within = Window::new(None, Some(-0.3));
    let exact = |query: &usize| {
        let metric = MinHash::similarity(32).into();
        let stats = &mut SearchStats::default();
        exact_search_any(metric, vectors, vectors.row(*query), ROWS, within, None, stats).unwrap()
    };
    let all: Vec<Neighbor> = queries.iter().flat_map(exact).collect();
    println!("| bands | above 0.9 | 0.7 to 0.9 | 0.5 to 0.7 | 0.3 to 0.5 | rows scored |");
    for bands in [8, 16, 32, 64] {
        let params = MinHashParams {
            element_bits: 32,
            bands,
        };
        let (build, metric) = (BuildParams::MinHash(params), params.metric().into());
        let index = AnyIndex::build(&build, metric, vectors, None, &BuildOptions::default()).unwrap();
        let mut stats = SearchStats::default();
        let params = SearchParams {
            within,
            ..SearchParams::default()
        };
        let mut search = |query: &usize| {
            let query = vectors.row(*query);
            index
                .search(vectors, query, ROWS, &params, None, &mut stats)
                .unwrap()
        };
        let found: Vec<Neighbor> = queries.iter().flat_map(&mut search).collect();
        let parts = RANGES.map(|(from, to)| {
            let inside = |hits: &[Neighbor]| {
                let similar = hits
                    .iter()
                    .filter(|hit| -hit.distance > from && -hit.distance <= to);
                similar.count() as f64
            };
            format!("{:.3}", inside(&found) / inside(&all))
        });
        let scored = stats.distances / queries.len() as u64;
        println!("| {bands} | {} | {scored} |", parts.join(" | "));
    }
}

fn signatures() -> Vec<u8> {
    let mut state = 7u64;
    let mut draw = || {
        // SplitMix64.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) >> 32
    };
    let (mut data, mut first) = (Vec::with_capacity(ROWS * ELEMENTS * 4), Vec::new());
    for row in 0..ROWS {
        if row % FAMILY == 0 {
            first = (0..ELEMENTS).map(|_| draw() as u32).collect();
        }
        for &element in &first {
            let kept = draw() as usize % FAMILY >= row % FAMILY;
            let element = if kept { element } else { draw() as u32 };
            data.extend_from_slice(&element.to_le_bytes());
        }
    }
    data
}

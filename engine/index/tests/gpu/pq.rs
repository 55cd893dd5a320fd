//! GPU_IVF_PQ: the codes and the answers of IVF_PQ, over the twin and over the emulated kernels.

use std::sync::Arc;

use elanus_index::gpu::twin::Twin;
use elanus_index::gpu::{Backend, Device, PqParams, SearchTuning, ivf_pq_on};
use elanus_index::{
    Bitset, BuildOptions, BuildParams, IndexKind, Metric, Neighbor, SearchParams, SearchStats, Strategy,
    VectorIndex, Vectors, exact_search, open,
};

use crate::data::{METRICS, allow_percent};
use crate::device::lend;
use crate::ivf::{ALWAYS, clusters, probing, recall, twin};

fn build<B: Backend + 'static>(
    device: &Arc<Device<B>>,
    params: PqParams,
    metric: Metric,
    vectors: Vectors<'_>,
    valid: Option<&Bitset>,
) -> Arc<dyn VectorIndex> {
    let options = BuildOptions::default();
    ivf_pq_on(device, (params, metric), vectors, valid, &options, ALWAYS).unwrap()
}

fn params(nlist: u32, m: u32, nbits: u32) -> PqParams {
    PqParams { nlist, m, nbits }
}

/// The index as IVF_PQ of the same lists and codes: its blob under the other kind.
fn on_processor(index: &dyn VectorIndex, params: PqParams) -> Arc<dyn VectorIndex> {
    let mut blob = index.serialize();
    let of_processor = BuildParams::IvfCoded(params.on_processor());
    // The header says the kind and the parameters, and ends with its checksum.
    let empty = Vectors::new(&[], index.dim()).unwrap();
    let options = BuildOptions::default();
    let other = elanus_index::build(&of_processor, index.metric(), empty, None, &options).unwrap();
    let header = other.serialize();
    blob[12] = header[12];
    blob[32..48].copy_from_slice(&header[32..48]);
    let sum = crc32c::crc32c(&blob[..60]);
    blob[60..64].copy_from_slice(&sum.to_le_bytes());
    open(blob.into()).unwrap()
}

fn over<B: Backend + 'static>(device: &Arc<Device<B>>, rows: usize, of_codes: (usize, u32, u32)) {
    let (dim, m, nbits) = of_codes;
    let (base, queries) = (clusters(rows, dim, 0.0, 1), clusters(9, dim, 0.0, 2));
    let vectors = Vectors::new(&base, dim).unwrap();
    let queries = Vectors::new(&queries, dim).unwrap();
    let valid = allow_percent(rows, 97, 3);
    let allow = allow_percent(rows, 80, 4);
    for metric in METRICS {
        let index = build(device, params(24, m, nbits), metric, vectors, Some(&valid));
        assert_eq!(index.kind(), IndexKind::GpuIvfPq);
        let of_codes = on_processor(&*index, params(24, m, nbits));
        assert_eq!(of_codes.kind(), IndexKind::IvfPq);
        for allow in [None, Some(&allow)] {
            let mut possible = valid.clone();
            if let Some(allow) = allow {
                possible.and(allow);
            }
            let exact = |query: usize| {
                let (query, possible) = (queries.row(query), Some(&possible));
                exact_search(metric, vectors, query, 10, possible, &mut SearchStats::default())
            };
            let exact: Vec<Vec<Neighbor>> = (0..queries.len()).map(exact).collect();
            for nprobe in [1, 4, 12] {
                let params = probing(nprobe);
                let mut stats = SearchStats::default();
                let found = index.search_batch(vectors, queries, 10, &params, allow, &mut stats);
                assert_eq!(
                    stats.strategy,
                    [Strategy::Lists, Strategy::ListsFiltered][usize::from(allow.is_some())]
                );
                let expected =
                    of_codes.search_batch(vectors, queries, 10, &params, allow, &mut SearchStats::default());
                let same = found.iter().zip(&expected).filter(|(a, b)| a == b).count();
                // Where the last candidate is drawn, the distance of a base may be rounded another way.
                assert!(
                    same + 1 >= queries.len(),
                    "{metric} {nprobe}: {same} are the same"
                );
                let of_device = recall(&found, &exact);
                assert!(
                    nprobe == 1 || of_device >= 0.7,
                    "{metric} {nprobe}: recall {of_device}"
                );
            }
        }
    }
}

#[test]
fn the_twin_finds_what_ivf_pq_finds() {
    over(&twin(), 4_000, (24, 8, 8));
    over(&twin(), 4_000, (20, 10, 4));
    over(&twin(), 4_000, (16, 8, 6));
}

#[test]
fn the_kernels_find_what_ivf_pq_finds() {
    let Some(lent) = lend() else { return };
    lent.set_seed(3);
    over(&lent.device, 4_000, (16, 8, 5));
    lent.set_seed(4);
    over(&lent.device, 4_000, (12, 6, 4));
}

/// Codes of a device are those that a processor finds of the same residuals: all that can differ is the list of a row.
#[test]
fn a_device_and_its_twin_build_the_same_codes() {
    let Some(lent) = lend() else { return };
    let base = clusters(1_500, 12, 0.0, 7);
    let vectors = Vectors::new(&base, 12).unwrap();
    for metric in METRICS {
        let pq = params(1, 4, 8);
        let of_device = build(&lent.device, pq, metric, vectors, None);
        let of_twin = build(&twin(), pq, metric, vectors, None);
        assert_eq!(of_device.serialize(), of_twin.serialize(), "{metric}");
        let of_processor = BuildParams::IvfCoded(pq.on_processor());
        let options = BuildOptions::default();
        let of_processor = elanus_index::build(&of_processor, metric, vectors, None, &options).unwrap();
        let (ours, theirs) = (
            on_processor(&*of_device, pq).serialize(),
            of_processor.serialize(),
        );
        assert!(
            ours == theirs,
            "{metric}: one list, and the codes of the processor"
        );
    }
}

#[test]
fn a_blob_is_opened_without_the_device_that_built_it() {
    let (base, query) = (clusters(4_000, 16, 0.0, 1), clusters(1, 16, 0.0, 2));
    let vectors = Vectors::new(&base, 16).unwrap();
    let index = build(&twin(), params(24, 8, 8), Metric::L2, vectors, None);
    let opened = open(index.serialize().into()).unwrap();
    assert_eq!(opened.kind(), IndexKind::GpuIvfPq);
    assert_eq!(opened.params(), index.params());
    assert_eq!(opened.serialize(), index.serialize());
    let search = |index: &Arc<dyn VectorIndex>| {
        index.search(vectors, &query, 8, &probing(6), None, &mut SearchStats::default())
    };
    assert_eq!(search(&opened), search(&index));
}

/// More of the candidates are compared again, so no row can be lost.
#[test]
fn a_ratio_of_refining_finds_more() {
    let (base, queries) = (clusters(4_000, 16, 0.0, 1), clusters(30, 16, 0.0, 2));
    let vectors = Vectors::new(&base, 16).unwrap();
    let queries = Vectors::new(&queries, 16).unwrap();
    // Two bits for four dimensions tell little.
    let index = build(&twin(), params(8, 4, 2), Metric::L2, vectors, None);
    let exact = |query: usize| {
        let mut ignored = SearchStats::default();
        exact_search(Metric::L2, vectors, queries.row(query), 10, None, &mut ignored)
    };
    let exact: Vec<Vec<Neighbor>> = (0..queries.len()).map(exact).collect();
    let recall_of = |refine_k: Option<f32>| {
        let params = SearchParams {
            refine_k,
            ..probing(4)
        };
        let mut stats = SearchStats::default();
        let found = index.search_batch(vectors, queries, 10, &params, None, &mut stats);
        assert_eq!(stats.strategy, Strategy::Lists);
        recall(&found, &exact)
    };
    let (by_default, refined) = (recall_of(None), recall_of(Some(40.0)));
    assert!(refined > by_default + 0.1, "{by_default} {refined}");
}

#[test]
fn as_many_rows_come_back_as_there_are() {
    let (base, query) = (clusters(3_000, 8, 0.0, 1), clusters(1, 8, 0.0, 2));
    let vectors = Vectors::new(&base, 8).unwrap();
    let index = build(&twin(), params(60, 4, 8), Metric::L2, vectors, None);
    let search = |k: usize, allow: Option<&Bitset>| {
        index.search(
            vectors,
            &query,
            k,
            &probing(1),
            allow,
            &mut SearchStats::default(),
        )
    };
    for k in [0, 7, 600, 3_000] {
        assert_eq!(search(k, None).len(), k);
    }
    // Most of the query's own group may not be found.
    let far = Bitset::from_fn(3_000, |row| row % 40 != 0);
    assert_eq!(search(10, Some(&far)).len(), 10);
    assert_eq!(search(10, Some(&Bitset::new(3_000))), []);
}

#[test]
fn memory_is_accounted_for_and_too_little_is_refused_with_the_sizes() {
    let device = twin();
    let base = clusters(2_000, 16, 0.0, 1);
    let vectors = Vectors::new(&base, 16).unwrap();
    let index = build(&device, params(8, 8, 8), Metric::Cosine, vectors, None);
    assert_eq!(
        device.budget.free(),
        device.budget.limit(),
        "a build leaves nothing"
    );
    let mut stats = SearchStats::default();
    index.search(vectors, vectors.row(0), 2, &probing(2), None, &mut stats);
    let held = device.budget.limit() - device.budget.free();
    let (of_codes, of_books) = (2_000 * (8 + 4), 4 * (16 + 8) * 256);
    assert!(
        (of_codes + of_books..of_codes + of_books + 16_000).contains(&held),
        "{held} bytes"
    );
    drop(index);
    assert_eq!(device.budget.free(), device.budget.limit());

    let small = Device::new(Twin::new(), 20_000);
    let options = BuildOptions::default();
    let error = ivf_pq_on(
        &small,
        (params(8, 8, 8), Metric::L2),
        vectors,
        None,
        &options,
        ALWAYS,
    )
    .unwrap_err()
    .to_string();
    assert!(
        error.starts_with("an index GPU_IVF_PQ needs ") && error.ends_with("20000 of 20000 are free"),
        "{error}"
    );
}

#[test]
fn parameters_out_of_range_are_errors() {
    let vectors = [0.0f32; 16];
    let vectors = Vectors::new(&vectors, 8).unwrap();
    let options = BuildOptions::default();
    for (given, text) in [
        (params(0, 4, 8), "param 'nlist' (0) should be in range [1, 65536]"),
        (params(1, 0, 8), "param 'm' (0) should be in range [1, 65536]"),
        (params(1, 4, 0), "param 'nbits' (0) should be in range [1, 24]"),
    ] {
        let tuning = SearchTuning::default();
        let error = ivf_pq_on(&twin(), (given, Metric::L2), vectors, None, &options, tuning).unwrap_err();
        assert_eq!(error.to_string(), text);
    }
    let build = |given| {
        let built = ivf_pq_on(&twin(), (given, Metric::L2), vectors, None, &options, ALWAYS);
        built.unwrap_err().to_string()
    };
    assert!(
        build(params(1, 3, 8)).contains("'m'"),
        "{}",
        build(params(1, 3, 8))
    );
    assert!(build(params(1, 4, 9)).contains('8'), "{}", build(params(1, 4, 9)));
}

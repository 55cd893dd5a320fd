//! The index as its users see it, over the device of the process.

use std::collections::BTreeMap;

use elanus_index::gpu::cuda::{Options, open};
use elanus_index::gpu::{configure, device};
use elanus_index::{
    AnyIndex, Bitset, BuildOptions, BuildParams, IndexKind, Metric, Neighbor, SearchParams, SearchStats,
    VectorRef, Vectors, VectorsRef, Window, exact_search,
};

use crate::data::{METRICS, Rng, allow_percent};
use crate::device::{emulated_options, lend};

fn search(
    index: &AnyIndex,
    rows: Vectors<'_>,
    query: &[f32],
    params: &SearchParams,
    allow: Option<&Bitset>,
) -> Vec<Neighbor> {
    let mut stats = SearchStats::default();
    index
        .search(
            VectorsRef::Floats(rows),
            VectorRef::Floats(query),
            6,
            params,
            allow,
            &mut stats,
        )
        .unwrap()
}

#[test]
fn an_index_is_built_saved_opened_and_searched_on_the_device() {
    let Some(lent) = lend() else { return };
    if lent.is_emulated() {
        configure(emulated_options());
    }
    assert!(device().is_ok());
    let params = BuildParams::parse("GPU_BRUTE_FORCE", &BTreeMap::new()).unwrap();
    assert_eq!(params.kind(), IndexKind::GpuBruteForce);
    assert_eq!(params.kind().to_string(), "GPU_BRUTE_FORCE");
    let (dim, count) = (64, 20_000);
    let base = Rng(3).normals(count * dim);
    let rows = Vectors::new(&base, dim).unwrap();
    let query = Rng(4).normals(dim);
    let valid = allow_percent(count, 90, 1);
    let allow = allow_percent(count, 80, 2);
    let mut both = valid.clone();
    both.and(&allow);
    for metric in METRICS {
        let built = AnyIndex::build(
            &params,
            metric.into(),
            VectorsRef::Floats(rows),
            Some(&valid),
            &BuildOptions::default(),
        );
        let blob = built.unwrap().serialize();
        let index = AnyIndex::open(blob.clone().into()).unwrap();
        assert_eq!((index.kind(), index.rows()), (IndexKind::GpuBruteForce, count));
        assert_eq!(index.serialize(), blob);
        let exact =
            |allow: &Bitset| exact_search(metric, rows, &query, 6, Some(allow), &mut SearchStats::default());
        let started = lent.launches();
        let open_params = SearchParams::default();
        assert_eq!(
            search(&index, rows, &query, &open_params, None),
            exact(&valid),
            "{metric}"
        );
        assert_eq!(
            search(&index, rows, &query, &open_params, Some(&allow)),
            exact(&both),
            "{metric}"
        );
        assert!(
            started.is_none() || lent.launches() > started,
            "the device was asked"
        );

        // What the device is not asked for has the same answer.
        let started = lent.launches();
        let few = Bitset::from_fn(count, |row| row < 50);
        let mut few_valid = valid.clone();
        few_valid.and(&few);
        assert_eq!(
            search(&index, rows, &query, &open_params, Some(&few)),
            exact(&few_valid)
        );
        let nearest = exact(&valid);
        let within = SearchParams {
            within: Window::new(Some(nearest[2].distance), None),
            ..SearchParams::default()
        };
        assert_eq!(search(&index, rows, &query, &within, None)[..4], nearest[2..]);
        assert_eq!(lent.launches(), started);
    }
}

#[test]
fn lists_are_built_saved_opened_and_searched_on_the_device() {
    let Some(lent) = lend() else { return };
    if lent.is_emulated() {
        configure(emulated_options());
    }
    let nlist = BTreeMap::from([("nlist".to_owned(), "8".to_owned())]);
    let params = BuildParams::parse("GPU_IVF_FLAT", &nlist).unwrap();
    assert_eq!(params, BuildParams::GpuIvfFlat { nlist: 8 });
    assert_eq!(params.to_map(), nlist);
    let (dim, count) = (64, 18_000);
    let base = Rng(3).normals(count * dim);
    let rows = Vectors::new(&base, dim).unwrap();
    let query = Rng(4).normals(dim);
    let started = lent.launches();
    let built = AnyIndex::build(
        &params,
        Metric::L2.into(),
        VectorsRef::Floats(rows),
        None,
        &BuildOptions::default(),
    );
    assert!(
        started.is_none() || lent.launches() > started,
        "built on the device"
    );
    let blob = built.unwrap().serialize();
    let index = AnyIndex::open(blob.clone().into()).unwrap();
    assert_eq!((index.kind(), index.rows()), (IndexKind::GpuIvfFlat, count));
    assert_eq!(index.serialize(), blob);
    let all = BTreeMap::from([("nprobe".to_owned(), "8".to_owned())]);
    let all = SearchParams::parse(index.kind(), &all, 6).unwrap();
    let started = lent.launches();
    let exact = exact_search(Metric::L2, rows, &query, 6, None, &mut SearchStats::default());
    assert_eq!(search(&index, rows, &query, &all, None), exact);
    assert!(
        started.is_none() || lent.launches() > started,
        "searched on the device"
    );
    // A part of the lists is so little here that the processor looks through them.
    let started = lent.launches();
    let one = SearchParams {
        nprobe: Some(1),
        ..all
    };
    assert_eq!(search(&index, rows, &query, &one, None).len(), 6);
    assert_eq!(lent.launches(), started);
}

#[test]
fn codes_are_built_saved_opened_and_searched_on_the_device() {
    let Some(lent) = lend() else { return };
    if lent.is_emulated() {
        configure(emulated_options());
    }
    let pairs = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        let owned = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
        pairs.iter().map(owned).collect()
    };
    let given = pairs(&[("nlist", "4"), ("m", "16"), ("nbits", "4")]);
    let params = BuildParams::parse("GPU_IVF_PQ", &given).unwrap();
    assert_eq!(params.to_map(), given);
    let (dim, count) = (64, 18_000);
    let base = Rng(3).normals(count * dim);
    let rows = Vectors::new(&base, dim).unwrap();
    let query = Rng(4).normals(dim);
    let options = BuildOptions::default();
    let built = AnyIndex::build(
        &params,
        Metric::L2.into(),
        VectorsRef::Floats(rows),
        None,
        &options,
    );
    let blob = built.unwrap().serialize();
    let index = AnyIndex::open(blob.clone().into()).unwrap();
    assert_eq!((index.kind(), index.rows()), (IndexKind::GpuIvfPq, count));
    assert_eq!(index.serialize(), blob);
    let all = pairs(&[("nprobe", "4"), ("refine_ratio", "300")]);
    let all = SearchParams::parse(index.kind(), &all, 6).unwrap();
    assert_eq!(all.refine_k, Some(300.0));
    let started = lent.launches();
    let exact = exact_search(Metric::L2, rows, &query, 6, None, &mut SearchStats::default());
    assert_eq!(search(&index, rows, &query, &all, None), exact);
    assert!(
        started.is_none() || lent.launches() > started,
        "searched on the device"
    );
    let error = SearchParams::parse(index.kind(), &pairs(&[("refine_ratio", "0.5")]), 6).unwrap_err();
    assert!(error.to_string().contains("refine_ratio"), "{error}");
}

#[test]
fn a_device_that_is_not_there_is_an_error_that_says_how_many_there_are() {
    if lend().is_none() {
        return;
    }
    let options = Options {
        ordinal: 99,
        ..emulated_options()
    };
    let error = open(&options).unwrap_err().to_string();
    assert!(
        error.starts_with("no GPU: device 99 was asked for, there are"),
        "{error}"
    );
}

//! Bytes from anywhere never end the process: they are refused, or contained. The seeds are fixed: a run is like the one before.
//!
//! The pool of the host has fewer places than there are cases: what kept an instance would be missing at the end.

use std::fs;
use std::sync::LazyLock;

use elanus_plugins::{Failure, Host, check};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use crate::calls::{call, host, options};
use crate::guests::{guest, plugins};

static HOST: LazyLock<Host> = LazyLock::new(host);

/// What is damaged: a core module, a component of it, and small plugins as the SDK for C leaves them.
static WHOLE: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let module = guest("reranker", "");
    let component = wit_component::ComponentEncoder::default()
        .module(&module)
        .unwrap()
        .encode()
        .unwrap();
    let compiled = ["fusion-c", "levenshtein-c"]
        .map(|name| fs::read(plugins().join(format!("examples/prebuilt/{name}.wasm"))).unwrap());
    [module, component].into_iter().chain(compiled).collect()
});

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        rng_seed: RngSeed::Fixed(20_26),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// Whatever becomes of it, its memory and its place are given back.
fn load_and_call(file: &[u8]) {
    let (options, ledger) = options();
    let outcome = HOST.load(file, &options).and_then(|plugin| call(&plugin));
    if let Err(error) = outcome {
        assert!(!matches!(error.failure, Failure::Busy(_)), "{error}");
    }
    assert_eq!(ledger.taken(), 0);
}

/// Some bytes overwritten, then a piece of it put to another place, then a piece cut out.
fn damaged(
    whole: &[u8],
    changes: &[(usize, u8)],
    (from, length, to): (usize, usize, usize),
    cut: (usize, usize),
) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    for (at, byte) in changes {
        let at = at % bytes.len();
        bytes[at] = *byte;
    }
    let from = from % bytes.len();
    let piece = bytes[from..(from + length).min(bytes.len())].to_vec();
    let to = to % bytes.len();
    bytes.splice(to..to, piece);
    let start = cut.0 % bytes.len();
    let end = (start + cut.1).min(bytes.len());
    bytes.drain(start..end);
    bytes
}

proptest! {
    #![proptest_config(config(256))]

    #[test]
    fn noise_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..2000), header in 0..3) {
        let header: &[u8] = match header {
            0 => b"",
            1 => b"\0asm\x01\0\0\0",
            _ => b"\0asm\x0d\0\x01\0",
        };
        let file = [header, &bytes].concat();
        load_and_call(&file);
        let (options, _) = options();
        // An empty module is one, but no plugin.
        prop_assert!(!check(&HOST, &file, &options).is_good());
    }

    #[test]
    fn damaged_plugins_are_refused_or_contained(
        which in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<usize>(), any::<u8>()), 0..6),
        piece in (any::<usize>(), 0..40_usize, any::<usize>()),
        cut in (any::<usize>(), 0..3_usize),
        spliced in any::<bool>(),
    ) {
        let piece = if spliced { piece } else { (0, 0, 0) };
        let whole: &Vec<u8> = which.get(&WHOLE);
        load_and_call(&damaged(whole, &changes, piece, cut));
    }
}

//! Bytes from anywhere never end the process: they are refused, or contained.

use std::sync::LazyLock;

use elanus_plugins::{Host, check};
use proptest::prelude::*;

use crate::calls::{call, host, options};
use crate::guests::guest;

static HOST: LazyLock<Host> = LazyLock::new(host);
static MODULE: LazyLock<Vec<u8>> = LazyLock::new(|| guest("reranker", ""));
static COMPONENT: LazyLock<Vec<u8>> = LazyLock::new(|| {
    wit_component::ComponentEncoder::default()
        .module(&MODULE)
        .unwrap()
        .encode()
        .unwrap()
});

fn load_and_call(file: &[u8]) {
    let (options, ledger) = options();
    if let Ok(plugin) = HOST.load(file, &options) {
        let _ = call(&plugin);
    }
    assert_eq!(ledger.taken(), 0);
}

/// Some bytes overwritten, then a piece cut out.
fn damaged(whole: &[u8], changes: &[(usize, u8)], cut: (usize, usize)) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    for (at, byte) in changes {
        let at = at % bytes.len();
        bytes[at] = *byte;
    }
    let start = cut.0 % bytes.len();
    let end = (start + cut.1).min(bytes.len());
    bytes.drain(start..end);
    bytes
}

proptest! {
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
        wrapped in any::<bool>(),
        changes in prop::collection::vec((any::<usize>(), any::<u8>()), 0..6),
        cut in (any::<usize>(), 0..3_usize),
    ) {
        load_and_call(&damaged(if wrapped { &COMPONENT } else { &MODULE }, &changes, cut));
    }
}

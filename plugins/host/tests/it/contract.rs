//! Published versions of the contract never change.

use elanus_plugins::{Digest, WIT_V1};

/// SHA-256 of the files of every published version. A change of the contract is a new folder with a new version and
/// new lines here; these stay as they are (see `plugins/README.md`).
const PUBLISHED: [(&str, &str); 5] = [
    (
        "types.wit",
        "adc0ca8809e9c86c5d8336a68c2e7d0952e06ac9e364049f9fe99b70d7855b23",
    ),
    (
        "parameters.wit",
        "861ba6562377c7f4504d1c44b841b51a053f939fe0e49db700257cbcd6d405af",
    ),
    (
        "rights.wit",
        "dad00079ef2011485bab70adbbc7859a69ce43b1defa2e49ba2b63a95143c335",
    ),
    (
        "reranker.wit",
        "faf993304a72b3e7f820cc357cbbb696b2a9ca4a74629408e6b324d66bb5f4a1",
    ),
    (
        "udf.wit",
        "ac2f8f2aa93c8e2ea0399d0083c9103429acdf1f7f5cce8d1568b2f74ebc9a77",
    ),
];

#[test]
fn a_published_contract_stays_as_it_is() {
    let files: Vec<(&str, String)> = WIT_V1
        .iter()
        .map(|(name, text)| (*name, Digest::of(text.as_bytes()).to_string()))
        .collect();
    let published: Vec<(&str, String)> = PUBLISHED
        .iter()
        .map(|(name, digest)| (*name, (*digest).to_owned()))
        .collect();
    assert_eq!(
        files, published,
        "plugins/wit/v1 was changed: publish a new version instead"
    );
    let folder = crate::guests::plugins().join("wit/v1");
    assert_eq!(
        std::fs::read_dir(folder).unwrap().count(),
        PUBLISHED.len(),
        "a file was added to plugins/wit/v1"
    );
}

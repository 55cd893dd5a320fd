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
        "f57d233c5ab3a5c06a473ea9b5f00ad38422cf39d69b2fcd6a1c6d3f5e89a54b",
    ),
    (
        "udf.wit",
        "c80122282b26468c1866311316bc7965ff4c813dba2ccef23d0f181c5fb0fc87",
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

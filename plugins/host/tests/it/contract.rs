//! Published versions of the contract never change.

use std::fs;

use elanus_plugins::{
    Argument, Column, ColumnData, ColumnKind, Digest, LoadOptions, OwnedData, Plugin, WIT_V1,
};

use crate::calls::{host, limits};
use crate::guests::{guest, plugins};

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
    let folder = plugins().join("wit/v1");
    assert_eq!(
        fs::read_dir(folder).unwrap().count(),
        PUBLISHED.len(),
        "a file was added to plugins/wit/v1"
    );
}

/// The host does not look into streams of Arrow: they arrive as they were sent, and so does what comes back.
#[test]
fn other_arrow_types_cross_as_streams() {
    let folder = plugins().join("host/tests/guests");
    let modules = [("ipc-copy", "udf"), ("ipc-column", "reranker")].map(|(name, world)| {
        let text = fs::read_to_string(folder.join(name).with_extension("wat")).unwrap();
        let (module, file) = (guest(world, &text), folder.join(name).with_extension("wasm"));
        if std::env::var_os("ELANUS_WRITE_HOSTILE").is_some() {
            fs::write(&file, &module).unwrap();
        }
        let written = fs::read(&file).unwrap_or_default();
        assert!(
            written == module,
            "{name}: ELANUS_WRITE_HOSTILE=1 cargo test writes it anew"
        );
        module
    });
    let [module, _] = &modules;

    let options = LoadOptions {
        limits: limits(),
        ..LoadOptions::default()
    };
    let Plugin::Functions(functions) = host().load(module, &options).unwrap() else {
        panic!("not functions");
    };
    let decimal = ColumnKind::Ipc("Decimal128(10, 2)".to_owned());
    let signature = &functions.descriptor().functions[0];
    assert_eq!(
        (&signature.parameters[0].kind, &signature.returns),
        (&decimal, &decimal)
    );
    let column = Column {
        data: ColumnData::Ipc(b"a stream"),
        validity: Some(&[1, 0]),
    };
    let (answer, _) = functions.invoke(0, &[Argument::Column(column)], 2).unwrap();
    assert_eq!(
        (answer.data, answer.validity),
        (OwnedData::Ipc(b"a stream".to_vec()), Some(vec![1, 0]))
    );
    let floats = Column {
        data: ColumnData::F32s(&[1.0]),
        validity: None,
    };
    let error = functions.invoke(0, &[Argument::Column(floats)], 1).unwrap_err();
    assert!(
        error.to_string().contains("is f32s, not ipc(Decimal128(10, 2))"),
        "{error}"
    );
}

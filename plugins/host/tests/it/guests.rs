//! Guests made of WebAssembly text: a core module with the type of its world embedded, as toolchains leave it.

use std::fs;
use std::path::{Path, PathBuf};

use wit_component::StringEncoding;
use wit_parser::Resolve;

/// The folder of all plugins of the repository.
pub fn plugins() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The WIT of version 1 as one file.
pub fn wit() -> String {
    let header = "package elanus:plugin@1.0.0;\n";
    let bodies: String = elanus_plugins::WIT_V1
        .iter()
        .map(|(_, text)| text.strip_prefix(header).unwrap())
        .collect();
    format!("{header}{bodies}")
}

/// A core module of the text `fields`, with the type of a world of `wit`.
pub fn module(wit: &str, world: &str, fields: &str) -> Vec<u8> {
    let mut resolve = Resolve::default();
    let package = resolve.push_source("plugin.wit", wit).unwrap();
    let world = resolve.select_world(&[package], Some(world)).unwrap();
    let mut module = wat::parse_str(format!("(module\n{fields})")).unwrap_or_else(|error| panic!("{error}"));
    wit_component::embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    module
}

/// A guest of the shared prelude and what it does otherwise.
pub fn guest(world: &str, own: &str) -> Vec<u8> {
    let prelude = fs::read_to_string(plugins().join("hostile/prelude.wat")).unwrap();
    // Imports come first in a module.
    let (imports, own): (Vec<&str>, Vec<&str>) = own.lines().partition(|line| line.starts_with("(import "));
    let own = own.join("\n");
    let mut fields = imports.join("\n");
    if !own.contains("(memory ") {
        fields.push_str("(memory $memory (export \"memory\") 2)\n");
    }
    let realloc = "(export \"cabi_realloc\" (func $realloc))";
    let prelude = if own.contains("\"cabi_realloc\"") {
        prelude.replace(realloc, "")
    } else {
        prelude
    };
    fields.push_str(&prelude);
    for (name, function) in exports(world) {
        if !own.contains(&format!("\"{name}\"")) {
            fields.push_str(&format!("(export \"{name}\" (func {function}))\n"));
        }
    }
    fields.push_str(&own);
    module(&wit(), &format!("{world}-with-rights"), &fields)
}

/// The exports of a world, and what the prelude has for each.
fn exports(world: &str) -> &'static [(&'static str, &'static str)] {
    match world {
        "reranker" => &[
            ("elanus:plugin/reranking@1.0.0#describe", "$good_describe"),
            ("elanus:plugin/reranking@1.0.0#configure", "$good_configure"),
            ("elanus:plugin/reranking@1.0.0#rerank", "$good_rerank"),
        ],
        "udf" => &[
            ("elanus:plugin/scalar-functions@1.0.0#describe", "$good_functions"),
            ("elanus:plugin/scalar-functions@1.0.0#invoke", "$good_invoke"),
        ],
        other => panic!("there is no world {other}"),
    }
}

/// A guest of `plugins/hostile` and what its first lines say about it.
pub struct Hostile {
    pub name: String,
    pub rights: String,
    /// When it fails and with which words; nothing when it is contained without failing.
    pub fails: Option<(String, String)>,
    pub module: Vec<u8>,
}

/// All guests of `plugins/hostile`, by name.
pub fn hostile() -> Vec<Hostile> {
    let mut paths: Vec<PathBuf> = fs::read_dir(plugins().join("hostile"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.retain(|path| {
        path.extension().is_some_and(|extension| extension == "wat") && !path.ends_with("prelude.wat")
    });
    paths.sort();
    paths.iter().map(|path| read(path)).collect()
}

fn read(path: &Path) -> Hostile {
    let text = fs::read_to_string(path).unwrap();
    let header = |key: &str| {
        let prefix = format!(";; {key}: ");
        text.lines()
            .find_map(|line| line.strip_prefix(&prefix))
            .map(str::to_owned)
    };
    let world = header("world").unwrap_or_else(|| "reranker".to_owned());
    let fails = header("fails").map(|stage| (stage, header("says").expect("says: what the error says")));
    assert_eq!(
        fails.is_none(),
        text.contains("\n;; passes\n"),
        "{}: fails or passes",
        path.display()
    );
    Hostile {
        name: path.file_stem().unwrap().to_string_lossy().into_owned(),
        module: guest(&world, &text),
        rights: header("rights").unwrap_or_default(),
        fails,
    }
}

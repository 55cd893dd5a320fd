//! Folders that are no projects, or broken ones: what the author is told.

use std::fs;
use std::path::Path;

use elanus_plugin_tool::{BuildError, BuildOptions, build};

/// What a folder with this file is told; nothing where the compiler is not installed.
fn told(name: &str, text: &str) -> Option<String> {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(name), text).unwrap();
    match build(folder.path(), &BuildOptions::default()) {
        Ok(paths) => panic!("{name} was built: {paths:?}"),
        Err(error @ BuildError::Missing { .. }) => {
            eprintln!("skipped: {error}");
            None
        }
        Err(error) => Some(error.to_string()),
    }
}

#[test]
fn a_folder_without_a_project_is_told_so() {
    let error = told("README.md", "").unwrap();
    assert!(
        error.contains("is no project of a plugin: it has none of Cargo.toml, reranker.py"),
        "{error}"
    );
    let error = build(Path::new("/nowhere"), &BuildOptions::default()).unwrap_err();
    assert!(matches!(error, BuildError::File { .. }), "{error}");
}

#[test]
fn packages_are_for_workspaces_of_rust() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("reranker.c"), "").unwrap();
    let options = BuildOptions {
        packages: vec!["a".to_owned()],
        ..BuildOptions::default()
    };
    let error = build(folder.path(), &options).unwrap_err().to_string();
    assert!(error.contains("is a project in C"), "{error}");
}

#[test]
fn errors_of_the_compilers_reach_the_author() {
    if let Some(error) = told("reranker.c", "#include <elanus_plugin.h>\nint x = ;\n") {
        assert!(
            error.contains("clang failed") && error.contains("expected expression"),
            "{error}"
        );
    }
    // What a world wants of a plugin is not there.
    if let Some(error) = told("functions.c", "#include <elanus_plugin.h>\n") {
        assert!(error.contains("undefined symbol: elanus_invoke"), "{error}");
    }
    if let Some(error) = told("reranker.js", "import { nothing } from \"elanus-plugin\";\n") {
        assert!(
            error.contains("componentize-qjs failed") && error.contains("nothing"),
            "{error}"
        );
    }
}

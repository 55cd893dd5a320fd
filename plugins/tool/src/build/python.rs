//! Plugins in Python: `componentize-py`, which puts an interpreter around them.

use std::fs;

use elanus_plugins::World;

use super::tools::Tool;
use super::{BuildError, BuildOptions, Language, Project, workshop};

const COMPONENTIZE: Tool = Tool {
    name: "componentize-py",
    variable: "COMPONENTIZE_PY",
    language: Language::Python,
    advice: "pip install componentize-py",
};

/// The SDK.
const FILES: [(&str, &str); 4] = [
    (
        "sdk/elanus_plugin/__init__.py",
        include_str!("../../../sdk/python/elanus_plugin/__init__.py"),
    ),
    (
        "sdk/elanus_columns.py",
        include_str!("../../../sdk/python/elanus_columns.py"),
    ),
    (
        "sdk/elanus_reranking.py",
        include_str!("../../../sdk/python/elanus_reranking.py"),
    ),
    (
        "sdk/elanus_functions.py",
        include_str!("../../../sdk/python/elanus_functions.py"),
    ),
];

/// Builds the module that the project's main file is.
pub(super) fn build(project: &Project, options: &BuildOptions) -> Result<Vec<u8>, BuildError> {
    let workshop = workshop(&FILES)?;
    let output = workshop.path().join("plugin.wasm");
    // The modules that bind the author's to the exports of its world.
    let binding = match project.world {
        World::Reranker => "elanus_reranking",
        World::Udf => "elanus_functions",
    };
    let mut command = COMPONENTIZE.command(&[], workshop.path())?;
    command
        .args(["--wit-path", "wit", "--world", &project.world_name(options)])
        .args([
            "componentize",
            "--stub-wasi",
            "--python-path",
            "sdk",
            "--python-path",
        ])
        .arg(&project.folder)
        .arg("--output")
        .arg(&output)
        .arg(binding);
    COMPONENTIZE.run(&mut command)?;
    fs::read(&output).map_err(BuildError::file(&output))
}

//! Plugins in C: `clang` for bare WebAssembly, then the type of the world is written into the module.

use std::fs;
use std::path::{Path, PathBuf};

use elanus_plugins::World;
use wit_component::{ComponentEncoder, StringEncoding};
use wit_parser::Resolve;

use super::tools::{Tool, has_extension};
use super::{BuildError, BuildOptions, Language, Project, workshop};

const CLANG: Tool = Tool {
    name: "clang",
    variable: "CLANG",
    language: Language::C,
    advice: "apt-get install clang lld",
};

/// Clang runs it.
const LINKER: Tool = Tool {
    name: "wasm-ld",
    variable: "WASM_LD",
    language: Language::C,
    advice: "apt-get install lld",
};

/// The SDK.
const FILES: [(&str, &str); 5] = [
    (
        "sdk/elanus_plugin.h",
        include_str!("../../../sdk/c/elanus_plugin.h"),
    ),
    (
        "sdk/elanus_memory.h",
        include_str!("../../../sdk/c/elanus_memory.h"),
    ),
    (
        "sdk/elanus_memory.c",
        include_str!("../../../sdk/c/elanus_memory.c"),
    ),
    (
        "sdk/elanus_reranker.c",
        include_str!("../../../sdk/c/elanus_reranker.c"),
    ),
    (
        "sdk/elanus_functions.c",
        include_str!("../../../sdk/c/elanus_functions.c"),
    ),
];

/// A module without a C library. Loops are vectorised for WebAssembly's 128 bits.
const FLAGS: [&str; 13] = [
    "--target=wasm32",
    "-std=c11",
    "-O3",
    "-Wall",
    "-nostdlib",
    "-ffreestanding",
    "-mbulk-memory",
    "-msimd128",
    "-Isdk",
    "-Wl,--no-entry",
    "-Wl,--strip-all",
    // Otherwise the stack grows down into the data when it overflows.
    "-Wl,--stack-first",
    "-Wl,-z,stack-size=65536",
];

/// Compiles all C files of the folder.
pub(super) fn build(project: &Project, _options: &BuildOptions) -> Result<Vec<u8>, BuildError> {
    let workshop = workshop(&FILES)?;
    let output = workshop.path().join("plugin.wasm");
    let linker = LINKER.find(&[])?;
    let mut command = CLANG.command(&[], workshop.path())?;
    command
        .args(FLAGS)
        .arg(format!("-fuse-ld={}", linker.display()))
        .arg("sdk/elanus_memory.c")
        .arg(match project.world {
            World::Reranker => "sdk/elanus_reranker.c",
            World::Udf => "sdk/elanus_functions.c",
        })
        .args(sources(project)?)
        .arg("-o")
        .arg(&output);
    CLANG.run(&mut command)?;
    let module = fs::read(&output).map_err(BuildError::file(&output))?;
    wrapped(module, &workshop.path().join("wit"), project.world).map_err(|error| BuildError::Failed {
        tool: "the making of a component".to_owned(),
        output: error,
    })
}

fn sources(project: &Project) -> Result<Vec<PathBuf>, BuildError> {
    let folder = &project.folder;
    let mut sources = Vec::new();
    for entry in fs::read_dir(folder).map_err(BuildError::file(folder))? {
        let path = entry.map_err(BuildError::file(folder))?.path();
        if has_extension(&path, "c") {
            sources.push(path);
        }
    }
    sources.sort();
    Ok(sources)
}

/// Makes a component of a module. Its world is the one with rights: only what the module imports becomes an import.
fn wrapped(mut module: Vec<u8>, wit: &Path, world: World) -> Result<Vec<u8>, String> {
    let mut resolve = Resolve::default();
    let (package, _) = resolve
        .push_dir(wit)
        .map_err(|error| format!("the contract: {error:#}"))?;
    let world = resolve
        .select_world(&[package], Some(&format!("{}-with-rights", world.name())))
        .map_err(|error| format!("the contract: {error:#}"))?;
    wit_component::embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)
        .and_then(|()| ComponentEncoder::default().module(&module)?.encode())
        .map_err(|error| format!("{error:#}"))
}

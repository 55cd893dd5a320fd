//! Plugins in Rust: `cargo build` for `wasm32-unknown-unknown`.
//!
//! Where rustup has no such target, the standard library is built from source with Debian's compiler
//! (`apt-get install rustc-web rust-web-src libllvm22`).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::tools::{Tool, has_extension, lines};
use super::{BuildError, BuildOptions, Language};

const TARGET: &str = "wasm32-unknown-unknown";

const CARGO: Tool = Tool {
    name: "cargo",
    variable: "CARGO",
    language: Language::Rust,
    advice: "https://rustup.rs",
};

/// What a caller that is itself a build by cargo (a test, say) has set for another compiler.
const OF_OTHER_BUILDS: [&str; 4] = [
    "RUSTC_WRAPPER",
    "RUSTC_WORKSPACE_WRAPPER",
    "CARGO_ENCODED_RUSTFLAGS",
    "RUSTUP_TOOLCHAIN",
];

/// Builds a crate or the packages of a workspace.
pub(super) fn build(folder: &Path, options: &BuildOptions) -> Result<Vec<PathBuf>, BuildError> {
    let mut cargo = CARGO.command(&[], folder)?;
    cargo
        .args(["build", "--release", "--target", TARGET])
        .args(["--message-format", "json-render-diagnostics"])
        .env("RUSTFLAGS", "-C target-feature=+simd128");
    for variable in OF_OTHER_BUILDS {
        cargo.env_remove(variable);
    }
    if let Some(target_dir) = &options.target_dir {
        let absolute = std::path::absolute(target_dir).map_err(BuildError::file(target_dir))?;
        cargo.env("CARGO_TARGET_DIR", absolute);
    }
    for package in &options.packages {
        cargo.args(["--package", package]);
    }
    if !has_target() {
        build_library_too(&mut cargo)?;
    }
    let output = CARGO.run_shown(&mut cargo)?;
    let plugins: Vec<PathBuf> = lines(&output.stdout)
        .iter()
        .flat_map(|line| artifacts(line))
        .collect();
    if plugins.is_empty() {
        return Err(BuildError::Project(format!(
            "{} has no plugin: Cargo.toml needs crate-type = [\"cdylib\"] under [lib]",
            folder.display()
        )));
    }
    match &options.output {
        None => Ok(plugins),
        Some(output) => copied(&plugins, output),
    }
}

/// The plugins of one line of cargo's messages.
fn artifacts(line: &str) -> Vec<PathBuf> {
    let Ok(message) = serde_json::from_str::<serde_json::Value>(line) else {
        return Vec::new();
    };
    let files = message.get("filenames").and_then(serde_json::Value::as_array);
    files
        .into_iter()
        .flatten()
        .filter_map(serde_json::Value::as_str)
        .map(PathBuf::from)
        .filter(|path| has_extension(path, "wasm"))
        .collect()
}

/// One plugin goes to the file, several go into the folder.
fn copied(plugins: &[PathBuf], output: &Path) -> Result<Vec<PathBuf>, BuildError> {
    let copy = |from: &Path, to: PathBuf| {
        fs::copy(from, &to).map_err(BuildError::file(&to))?;
        Ok(to)
    };
    if output.is_dir() {
        let named = plugins
            .iter()
            .filter_map(|plugin| Some((plugin, output.join(plugin.file_name()?))));
        return named.map(|(plugin, to)| copy(plugin, to)).collect();
    }
    match plugins {
        [plugin] => Ok(vec![copy(plugin, output.to_owned())?]),
        several => Err(BuildError::Project(format!(
            "{} plugins were built, so the output has to be a folder: {} is none",
            several.len(),
            output.display()
        ))),
    }
}

/// Whether the compiler on the path has a standard library for WebAssembly.
fn has_target() -> bool {
    let directory = rustc(&["--print", "target-libdir", "--target", TARGET]);
    let entries = directory.and_then(|directory| fs::read_dir(directory.trim()).ok());
    entries.into_iter().flatten().flatten().any(|entry| {
        entry.file_name().to_string_lossy().starts_with("libcore-") && has_extension(&entry.path(), "rlib")
    })
}

fn rustc(arguments: &[&str]) -> Option<String> {
    said(Command::new("rustc").args(arguments))
}

fn said(command: &mut Command) -> Option<String> {
    let output = command
        .env_remove("RUSTUP_TOOLCHAIN")
        .stderr(Stdio::null())
        .output()
        .ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Has cargo build the standard library with Debian's compiler, which comes with its source.
fn build_library_too(cargo: &mut Command) -> Result<(), BuildError> {
    let missing = || BuildError::Missing {
        tool: format!("a standard library for {TARGET}"),
        language: Language::Rust,
        advice: format!("rustup target add {TARGET}"),
    };
    let packaged = said(Command::new("dpkg").args(["-L", "rustc-web"])).ok_or_else(missing)?;
    let compiler = packaged
        .lines()
        .find(|path| path.ends_with("bin/rustc"))
        .ok_or_else(missing)?;
    let sysroot = rustc(&["--print", "sysroot"]).ok_or_else(missing)?;
    let version = rustc(&["-vV"]).ok_or_else(missing)?;
    let host = version
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .ok_or_else(missing)?;
    let linker = Path::new(sysroot.trim())
        .join("lib/rustlib")
        .join(host)
        .join("bin/rust-lld");
    cargo
        .env("RUSTC", compiler)
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker)
        .args(["-Zbuild-std=std,panic_abort", "-Zbuild-std-features="]);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plugins_are_found_in_the_messages_of_cargo() {
        let line = r#"{"reason":"compiler-artifact","filenames":["/t/release/a.wasm","/t/release/a.d"]}"#;
        assert_eq!(artifacts(line), [PathBuf::from("/t/release/a.wasm")]);
        assert!(artifacts("not json").is_empty());
    }

    #[test]
    fn several_plugins_do_not_fit_into_one_file() {
        let folder = tempfile::tempdir().unwrap();
        let plugins: Vec<PathBuf> = ["a.wasm", "b.wasm"].map(|name| folder.path().join(name)).into();
        plugins.iter().for_each(|plugin| fs::write(plugin, "x").unwrap());
        let one = copied(&plugins[..1], &folder.path().join("c.wasm")).unwrap();
        assert_eq!(fs::read(&one[0]).unwrap(), b"x");
        let error = copied(&plugins, &folder.path().join("d.wasm")).unwrap_err();
        assert!(error.to_string().contains("has to be a folder"), "{error}");
        let other = tempfile::tempdir().unwrap();
        assert_eq!(copied(&plugins, other.path()).unwrap().len(), 2);
    }
}

//! Plugins in JavaScript: `componentize-qjs`, which puts QuickJS around them.

use std::fs;
use std::path::Path;

use super::tools::{Tool, has_extension};
use super::{BuildError, BuildOptions, Language, Project, workshop};

const COMPONENTIZE: Tool = Tool {
    name: "componentize-qjs",
    variable: "COMPONENTIZE_QJS",
    language: Language::JavaScript,
    advice: "npm install componentize-qjs",
};

/// The SDK, where modules look for a package.
const FILES: [(&str, &str); 2] = [
    (
        "project/node_modules/elanus-plugin/package.json",
        include_str!("../../../sdk/js/package.json"),
    ),
    (
        "project/node_modules/elanus-plugin/elanus-plugin.js",
        include_str!("../../../sdk/js/elanus-plugin.js"),
    ),
];

/// Builds the module that the project's main file is, with what it imports.
pub(super) fn build(project: &Project, options: &BuildOptions) -> Result<Vec<u8>, BuildError> {
    let workshop = workshop(&FILES)?;
    let output = workshop.path().join("plugin.wasm");
    let copy = workshop.path().join("project");
    copy_modules(&project.folder, &copy)?;
    // Where npm installs programs: in the folder of the project, or above it.
    let folders: Vec<_> = project
        .folder
        .ancestors()
        .map(|folder| folder.join("node_modules/.bin"))
        .collect();
    let mut command = COMPONENTIZE.command(&folders, workshop.path())?;
    command
        .args(["--wit", "wit", "--world", &project.world_name(options)])
        .args(["--stub-wasi", "--sync", "--module-root", "project", "--js"])
        .arg(Path::new("project").join(project.main.file_name().unwrap_or_default()))
        .arg("--output")
        .arg(&output);
    COMPONENTIZE.run(&mut command)?;
    fs::read(&output).map_err(BuildError::file(&output))
}

/// Copies the modules of a folder and of those in it; programs and hidden folders stay. What is there already stays as it is.
fn copy_modules(from: &Path, to: &Path) -> Result<(), BuildError> {
    fs::create_dir_all(to).map_err(BuildError::file(to))?;
    for entry in fs::read_dir(from).map_err(BuildError::file(from))? {
        let path = entry.map_err(BuildError::file(from))?.path();
        let Some(name) = path.file_name() else { continue };
        let target = to.join(name);
        if path.is_dir() {
            if !name.to_string_lossy().starts_with('.') {
                copy_modules(&path, &target)?;
            }
        } else if ["js", "mjs", "json"]
            .iter()
            .any(|kind| has_extension(&path, kind))
            && !target.exists()
        {
            fs::copy(&path, &target).map_err(BuildError::file(&path))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_copied_and_the_sdk_stays() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let write = |folder: &Path, name: &str, text: &str| {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write(from.path(), "reranker.js", "own");
        write(from.path(), "lib/a.mjs", "own");
        write(from.path(), "notes.txt", "own");
        write(from.path(), ".git/b.js", "own");
        write(from.path(), "node_modules/elanus-plugin/elanus-plugin.js", "own");
        write(to.path(), "node_modules/elanus-plugin/elanus-plugin.js", "sdk");
        copy_modules(from.path(), to.path()).unwrap();
        let read = |name: &str| fs::read_to_string(to.path().join(name)).ok();
        assert_eq!(read("reranker.js").as_deref(), Some("own"));
        assert_eq!(read("lib/a.mjs").as_deref(), Some("own"));
        assert_eq!((read("notes.txt"), read(".git/b.js")), (None, None));
        let sdk = read("node_modules/elanus-plugin/elanus-plugin.js");
        assert_eq!(sdk.as_deref(), Some("sdk"));
    }
}

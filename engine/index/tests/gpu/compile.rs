//! What NVRTC makes of the kernels. It needs no device: `pip install nvidia-cuda-nvrtc-cu12` brings it.

use std::path::{Path, PathBuf};

use elanus_index::gpu::backend::ElementType;
use elanus_index::gpu::cuda::{Compiler, kernel_names, source};
use rayon::prelude::*;

/// The architectures that must work: A100, RTX 30, RTX 40 and L4, H100 and H200.
const ARCHITECTURES: [i32; 4] = [80, 86, 89, 90];

/// NVRTC, from `ELANUS_NVRTC`, the system, or a Python environment of the end-to-end tests.
fn compiler() -> Option<Compiler> {
    if let Some(path) = std::env::var_os("ELANUS_NVRTC") {
        return Some(Compiler::open(Some(Path::new(&path))).unwrap());
    }
    let found = Compiler::open(None).ok();
    let found = found.or_else(|| Compiler::open(Some(&in_environments()?)).ok());
    if found.is_none() {
        eprintln!(
            "skipped: no NVRTC; pip install nvidia-cuda-nvrtc-cu12 and set ELANUS_NVRTC to its libnvrtc.so.12"
        );
    }
    found
}

/// The library in an environment that `server/tests-e2e/run` made.
fn in_environments() -> Option<PathBuf> {
    let cache = std::env::var_os("ELANUS_E2E_CACHE")
        .map(PathBuf::from)
        .or_else(|| {
            let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
            let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
            Some(cache?.join("elanus-e2e"))
        })?;
    let environments = std::fs::read_dir(cache).ok()?.flatten();
    environments
        .flat_map(|environment| {
            std::fs::read_dir(environment.path().join("lib"))
                .into_iter()
                .flatten()
                .flatten()
        })
        .map(|python| {
            python
                .path()
                .join("site-packages/nvidia/cuda_nvrtc/lib/libnvrtc.so.12")
        })
        .find(|path| path.exists())
}

#[test]
fn every_kernel_compiles_for_every_architecture_without_a_warning_or_a_spill() {
    let Some(compiler) = compiler() else { return };
    let units = ARCHITECTURES.into_iter().flat_map(|architecture| {
        let of_type = move |element| (architecture, [element]);
        ElementType::ALL.into_iter().map(of_type)
    });
    let units: Vec<_> = units.collect();
    units.into_par_iter().for_each(|(architecture, elements)| {
        let kernels = kernel_names(&elements);
        let compiled = compiler
            .compile(&source(&elements), architecture, &["--ptxas-options=-v"])
            .unwrap();
        assert!(compiled.image.starts_with(b"\x7fELF"), "machine code");
        for kernel in &kernels {
            let name = kernel.as_bytes();
            let entry = compiled.image.windows(name.len()).any(|bytes| bytes == name);
            assert!(entry, "{kernel} is missing for {architecture}");
        }
        assert!(!compiled.log.contains("warning"), "{}", compiled.log);
        let properties = compiled
            .log
            .lines()
            .filter(|line| line.contains("bytes stack frame"));
        let spilling: Vec<&str> = properties
            .clone()
            .filter(|line| !line.contains(" 0 bytes stack frame"))
            .collect();
        assert_eq!(properties.count(), kernels.len(), "{}", compiled.log);
        assert!(
            spilling.is_empty(),
            "sm_{architecture} {elements:?}: {}",
            compiled.log
        );
    });
}

#[test]
fn a_device_newer_than_the_compiler_gets_ptx_and_an_ancient_one_an_error() {
    let Some(compiler) = compiler() else { return };
    let kernel = "extern \"C\" __global__ void nothing() {}";
    let newer = compiler.compile(kernel, 999, &[]).unwrap();
    assert!(String::from_utf8_lossy(&newer.image).contains(".entry nothing"));
    let error = compiler.compile(kernel, 20, &[]).unwrap_err().to_string();
    assert!(
        error.contains("does not compile for compute capability 20"),
        "{error}"
    );
}

#[test]
fn an_error_in_a_kernel_is_told_with_its_line() {
    let Some(compiler) = compiler() else { return };
    let error = compiler
        .compile("extern \"C\" __global__ void f() {\n  nonsense; }", 80, &[])
        .unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("elanus.cu(2)") && text.contains("nonsense"),
        "{text}"
    );
}

#[test]
fn the_cache_is_used_and_what_is_damaged_in_it_is_not() {
    let Some(compiler) = compiler() else { return };
    let folder = tempfile::tempdir().unwrap();
    let kernel = "extern \"C\" __global__ void nothing() {}";
    let cached = || {
        let compiled = compiler.compile_cached(kernel, 80, &[], Some(folder.path()));
        compiled.unwrap().image
    };
    let first = cached();
    let files: Vec<PathBuf> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert_eq!(files.len(), 1, "{files:?}");
    assert_eq!(cached(), first);
    // A file with another image and the right checksum is used, one that was damaged is not.
    let mut other = b"another image".to_vec();
    other.extend_from_slice(&crc32c::crc32c(&other).to_le_bytes());
    std::fs::write(&files[0], &other).unwrap();
    assert_eq!(cached(), b"another image");
    other[0] ^= 1;
    std::fs::write(&files[0], &other).unwrap();
    assert_eq!(cached(), first);
    compiler
        .compile_cached(kernel, 86, &[], Some(folder.path()))
        .unwrap();
    assert_eq!(
        std::fs::read_dir(folder.path()).unwrap().count(),
        2,
        "one file for each architecture"
    );
}

#[test]
fn a_missing_library_is_an_error_that_names_it() {
    let error = Compiler::open(Some(Path::new("/nowhere/libnvrtc.so")))
        .unwrap_err()
        .to_string();
    assert!(error.contains("/nowhere/libnvrtc.so"), "{error}");
}

//! A plugin's file before it runs: is it a component, what does it export, what does it import?

use std::panic::{AssertUnwindSafe, catch_unwind};

use wasmtime::Engine;
use wasmtime::component::Component;

use crate::error::Failure;
use crate::rights::Rights;

/// The package of the contract.
pub(crate) const PACKAGE: &str = "elanus:plugin";

/// The newest version of the contract that this host has.
pub const VERSION: &str = "1.0.0";

/// What a plugin is, by what it exports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum World {
    /// It exports `reranking`.
    Reranker,
    /// It exports `scalar-functions`.
    Udf,
}

impl World {
    /// The name in the contract.
    pub fn name(self) -> &'static str {
        match self {
            Self::Reranker => "reranker",
            Self::Udf => "udf",
        }
    }
}

const INTERFACES: [(&str, World); 2] = [("reranking", World::Reranker), ("scalar-functions", World::Udf)];

/// Interfaces of types alone, which need nothing from the host.
const TYPES: [&str; 2] = ["types", "parameters"];

const MAGIC: &[u8] = b"\0asm";
const CORE: &[u8] = &[1, 0, 0, 0];
const COMPONENT: &[u8] = &[0x0d, 0, 1, 0];

/// Whether these bytes begin as those of a core module.
pub(crate) fn is_core_module(bytes: &[u8]) -> bool {
    bytes
        .strip_prefix(MAGIC)
        .is_some_and(|rest| rest.starts_with(CORE))
}

/// The component in these bytes. A core module that embeds its component type, which is what `wit-bindgen` leaves for
/// `wasm32-unknown-unknown`, is wrapped.
pub(crate) fn component(bytes: &[u8]) -> Result<std::borrow::Cow<'_, [u8]>, Failure> {
    let Some(rest) = bytes.strip_prefix(MAGIC) else {
        return Err(Failure::NotAPlugin(not_wasm(bytes)));
    };
    if rest.starts_with(COMPONENT) {
        return Ok(bytes.into());
    }
    if !rest.starts_with(CORE) {
        return Err(Failure::NotAPlugin(
            "it is WebAssembly of a version that this host does not know".into(),
        ));
    }
    // The wrapping code is written for compilers' output, and this comes from anywhere: should it ever panic,
    // that is the file's fault.
    match catch_unwind(AssertUnwindSafe(|| wrap(bytes))) {
        Ok(wrapped) => wrapped.map(Into::into),
        Err(_) => Err(Failure::NotAPlugin(
            "its module cannot be wrapped into a component".to_owned(),
        )),
    }
}

fn not_wasm(bytes: &[u8]) -> String {
    let is_text = bytes
        .iter()
        .find(|byte| !byte.is_ascii_whitespace())
        .is_some_and(|byte| *byte == b'(');
    if is_text {
        "it is WebAssembly text; assemble it first, for instance with `wasm-tools parse`".to_owned()
    } else {
        "it is no WebAssembly file".to_owned()
    }
}

fn wrap(module: &[u8]) -> Result<Vec<u8>, Failure> {
    let fail = |text: String| Failure::NotAPlugin(text);
    let (stripped, _) = wit_component::metadata::decode(module)
        .map_err(|error| fail(format!("it is no valid module: {error:#}")))?;
    if stripped.is_none() {
        return Err(fail(
            "it is a core module without a component type: build it with the SDK or with wit-bindgen, or make \
             a component of it with `wasm-tools component new`"
                .to_owned(),
        ));
    }
    wit_component::ComponentEncoder::default()
        .module(module)
        .and_then(|mut encoder| encoder.encode())
        .map_err(|error| fail(wrapping_error(&format!("{error:#}"))))
}

fn wrapping_error(text: &str) -> String {
    let shown = crate::error::Refusal::presentable(text);
    if text.contains("wasi_snapshot_preview1") {
        format!(
            "it uses WASI, which plugins do not have: build it for wasm32-unknown-unknown, or in C with -nostdlib ({shown})"
        )
    } else if text.contains("`env`") || text.contains("env::") {
        format!("it calls a function that is declared and not there: define it, or do not call it ({shown})")
    } else if text.contains("failed to find export") {
        format!("it lacks a function of its world: build it with the SDK, or define it ({shown})")
    } else {
        format!("its module is no component: {shown}")
    }
}

/// Which world a compiled component belongs to.
pub(crate) fn world(engine: &Engine, component: &Component) -> Result<World, Failure> {
    let component_type = component.component_type();
    let exports: Vec<&str> = component_type.exports(engine).map(|(name, _)| name).collect();
    let mut found = Vec::new();
    for export in &exports {
        let Some(Name { interface, version }) = Name::parse(export) else {
            continue;
        };
        let Some((_, world)) = INTERFACES.iter().find(|(name, _)| *name == interface) else {
            continue;
        };
        if !understands(version) {
            return Err(Failure::NotAPlugin(format!(
                "it was built for version {version} of the contract, this host has {VERSION}: build it with that one, or \
                 take a newer server"
            )));
        }
        found.push(*world);
    }
    match found.as_slice() {
        [world] => Ok(*world),
        [] => Err(Failure::NotAPlugin(exports_nothing(&exports))),
        _ => Err(Failure::NotAPlugin(
            "it exports both reranking and scalar-functions: a plugin is one of them".to_owned(),
        )),
    }
}

fn exports_nothing(exports: &[&str]) -> String {
    let wanted = format!("{PACKAGE}/reranking@{VERSION} or {PACKAGE}/scalar-functions@{VERSION}");
    match exports {
        [] => {
            format!("it exports nothing; a plugin exports {wanted}: build it for the world reranker or udf")
        }
        names => {
            let shown: Vec<&str> = names.iter().take(5).copied().collect();
            let shown = crate::error::Refusal::presentable(&shown.join(", "));
            format!("it exports {shown}; a plugin exports {wanted}: build it for the world reranker or udf")
        }
    }
}

/// Why the imports of a component cannot be met, one line for each.
pub(crate) fn denied_imports(engine: &Engine, component: &Component, rights: Rights) -> Vec<String> {
    let component_type = component.component_type();
    component_type
        .imports(engine)
        .filter_map(|(import, _)| denied(import, rights))
        .collect()
}

/// The rights whose interfaces a component imports.
pub(crate) fn needed_rights(engine: &Engine, component: &Component) -> Rights {
    let component_type = component.component_type();
    let names: Vec<&str> = component_type
        .imports(engine)
        .filter_map(|(import, _)| Name::parse(import))
        .map(|name| name.interface)
        .collect();
    Rights {
        clock: names.contains(&"clock"),
        random: names.contains(&"random"),
        log: names.contains(&"log"),
    }
}

fn denied(import: &str, rights: Rights) -> Option<String> {
    let shown = crate::error::Refusal::presentable(import);
    let Some(Name { interface, version }) = Name::parse(import) else {
        return Some(if import.starts_with("wasi:") {
            format!("it imports {shown}, and plugins have no WASI: build it without, or stub it out")
        } else {
            format!("it imports {shown}, which this host does not have")
        });
    };
    if TYPES.contains(&interface) {
        return None;
    }
    match rights.granted(interface) {
        Some(_) if !understands(version) => {
            Some(format!("it imports {shown}, this host has version {VERSION}"))
        }
        Some(true) => None,
        Some(false) => Some(format!(
            "it imports {shown}, and the right '{interface}' is not granted to it"
        )),
        None => Some(format!("it imports {shown}, which is not in the contract")),
    }
}

/// `elanus:plugin/<interface>@<version>`.
struct Name<'a> {
    interface: &'a str,
    version: &'a str,
}

impl<'a> Name<'a> {
    fn parse(name: &'a str) -> Option<Self> {
        let (interface, version) = name.strip_prefix(PACKAGE)?.strip_prefix('/')?.split_once('@')?;
        Some(Self { interface, version })
    }
}

/// Whether this host can serve a guest of that version: the same major version, and no newer minor one.
fn understands(version: &str) -> bool {
    fn parts(version: &str) -> Option<(u64, u64)> {
        let mut numbers = version.split('.').map(|number| number.parse::<u64>().ok());
        match (numbers.next(), numbers.next(), numbers.next(), numbers.next()) {
            (Some(Some(major)), Some(Some(minor)), Some(Some(_)), None) => Some((major, minor)),
            _ => None,
        }
    }
    match (parts(version), parts(VERSION)) {
        (Some((major, minor)), Some((own_major, own_minor))) => major == own_major && minor <= own_minor,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn older_minor_versions_are_understood_and_newer_ones_are_not() {
        for (version, expected) in [
            ("1.0.0", true),
            ("1.0.7", true),
            ("1.1.0", false),
            ("2.0.0", false),
            ("0.9.0", false),
            ("1", false),
        ] {
            assert_eq!(understands(version), expected, "{version}");
        }
    }

    #[test]
    fn what_is_no_component_is_told_apart() {
        let message = |bytes: &[u8]| component(bytes).unwrap_err().to_string();
        assert!(message(b"").contains("no WebAssembly file"));
        assert!(message(b"\x7fELF").contains("no WebAssembly file"));
        assert!(message(b"  (component)").contains("assemble it first"));
        assert!(message(b"\0asm\x02\0\0\0").contains("version"));
        assert!(message(&wat::parse_str("(module)").unwrap()).contains("without a component type"));
    }
}

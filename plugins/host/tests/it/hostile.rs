//! Guests that mean harm: each ends its own call with its reason, and nothing else.

use elanus_plugins::{Failure, Host, LoadOptions, Plugin, PluginError, Stage};

use crate::calls::{call, host, options, rerank, reranker};
use crate::guests::{Hostile, guest, hostile, module, plugins, wit};

/// Rounds of every hostile guest: few, or as many as the environment asks for.
fn rounds() -> usize {
    match std::env::var("ELANUS_HOSTILE_ROUNDS") {
        Ok(text) => text.parse().expect("ELANUS_HOSTILE_ROUNDS is a number"),
        Err(_) => 200,
    }
}

fn stage_name(stage: &Stage) -> &'static str {
    match stage {
        Stage::Load => "load",
        Stage::Start => "start",
        Stage::Describe => "describe",
        Stage::Configure => "configure",
        Stage::Rerank => "rerank",
        Stage::Invoke(_) => "invoke",
    }
}

fn load_and_call(host: &Host, guest: &Hostile, options: &LoadOptions) -> Result<Plugin, PluginError> {
    let options = LoadOptions {
        rights: guest.rights.parse().unwrap(),
        ..options.clone()
    };
    let plugin = host.load(&guest.module, &options)?;
    call(&plugin).map(|()| plugin)
}

/// Every guest is there as a file too, for whoever attacks a running server: `hostile/prebuilt`.
#[test]
fn files_of_guests_are_what_their_texts_make() {
    let folder = plugins().join("hostile/prebuilt");
    let anew = "ELANUS_WRITE_HOSTILE=1 cargo test writes it anew";
    let guests = hostile();
    if std::env::var_os("ELANUS_WRITE_HOSTILE").is_some() {
        std::fs::create_dir_all(&folder).unwrap();
        for guest in &guests {
            std::fs::write(folder.join(&guest.name).with_extension("wasm"), &guest.module).unwrap();
        }
    }
    for guest in &guests {
        let file = std::fs::read(folder.join(&guest.name).with_extension("wasm")).unwrap_or_default();
        assert!(file == guest.module, "{}: {anew}", guest.name);
    }
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let is_known = guests
            .iter()
            .any(|guest| path.file_stem().is_some_and(|name| *name == *guest.name));
        assert!(is_known, "{}: of no guest", path.display());
    }
}

#[test]
fn each_is_contained_and_a_bystander_goes_on() {
    let guests = hostile();
    assert!(guests.len() >= 25, "{} guests", guests.len());
    let host = host();
    let bystander = reranker(&host, &guest("reranker", ""));
    let mut surprises = Vec::new();
    for guest in &guests {
        let (options, ledger) = options();
        let outcome = load_and_call(&host, guest, &options).map(drop);
        let name = &guest.name;
        let as_expected = match (&guest.fails, &outcome) {
            (Some((stage, words)), Err(error)) => {
                let text = error.to_string();
                let presentable = text.len() < 3000 && !text.contains('\u{1b}');
                stage_name(&error.stage) == stage && text.contains(words) && presentable
            }
            (None, Ok(_)) => true,
            (Some(_), Ok(_)) | (None, Err(_)) => false,
        };
        if !as_expected {
            surprises.push(format!("{name}: {:?}, not {:?}", outcome, guest.fails));
        }
        assert_eq!(ledger.taken(), 0, "{name} keeps memory");
        assert_eq!(rerank(&bystander).unwrap().order, [0, 1, 2], "after {name}");
    }
    assert!(surprises.is_empty(), "{}", surprises.join("\n"));
}

/// The tenfold of what the pool of instances holds passes through it; what were not given back would be missing.
#[test]
fn nothing_is_leaked_over_many_rounds() {
    let host = host();
    let bystander = reranker(&host, &guest("reranker", ""));
    let rounds = rounds();
    for guest in hostile() {
        let (options, ledger) = options();
        let options = LoadOptions {
            rights: guest.rights.parse().unwrap(),
            ..options
        };
        let Ok(plugin) = host.load(&guest.module, &options) else {
            continue;
        };
        let slow = matches!(
            call(&plugin),
            Err(PluginError {
                failure: Failure::Deadline(_),
                ..
            })
        );
        // A guest that takes all of its time gets fewer rounds, or nobody would wait for the end.
        for _ in 0..if slow { rounds.div_ceil(100) } else { rounds } {
            let outcome = call(&plugin);
            assert_eq!(
                outcome.is_err(),
                guest.fails.is_some(),
                "{}: {outcome:?}",
                guest.name
            );
        }
        let stats = plugin.stats();
        let kept = outcome_keeps(&guest);
        assert_eq!(stats.traps > 0, !kept, "{}: {stats:?}", guest.name);
        drop(plugin);
        assert_eq!(ledger.taken(), 0, "{} keeps memory", guest.name);
    }
    assert_eq!(rerank(&bystander).unwrap().order, [0, 1, 2]);
    assert_eq!(bystander.stats().traps, 0);
}

/// Whether a guest's outcome leaves its instance in use: it passes, or refuses in its own words.
fn outcome_keeps(guest: &Hostile) -> bool {
    guest.fails.is_none() || guest.name == "refusal-of-noise"
}

fn load_error(file: &[u8]) -> String {
    let (options, ledger) = options();
    let error = host().load(file, &options).unwrap_err();
    assert_eq!(ledger.taken(), 0);
    error.to_string()
}

#[test]
fn another_version_of_the_contract_is_named() {
    let future = wit().replace("@1.0.0", "@1.9.0");
    let fields = r#"(memory (export "memory") 1)
        (func (export "elanus:plugin/reranking@1.9.0#describe") (result i32) unreachable)
        (func (export "elanus:plugin/reranking@1.9.0#configure") (param i32 i32) (result i32) unreachable)
        (func (export "elanus:plugin/reranking@1.9.0#rerank") (param i32) (result i32) unreachable)
        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) unreachable)"#;
    let error = load_error(&module(&future, "reranker", fields));
    assert!(
        error.contains("built for version 1.9.0 of the contract, this host has 1.0.0"),
        "{error}"
    );
}

#[test]
fn another_world_is_named() {
    let other = "package other:thing@1.0.0; world w { export run: func() -> u32; }";
    let error = load_error(&module(
        other,
        "w",
        r#"(func (export "run") (result i32) (i32.const 1))"#,
    ));
    assert!(
        error.contains("it exports run; a plugin exports elanus:plugin/reranking"),
        "{error}"
    );
    let error = load_error(&wat::parse_str("(component)").unwrap());
    assert!(error.contains("it exports nothing"), "{error}");
}

#[test]
fn an_interface_of_the_right_name_with_other_functions_is_no_plugin() {
    let forged = "package elanus:plugin@1.0.0; interface reranking { describe: func() -> u32; }
        world w { export reranking; }";
    let fields = r#"(func (export "elanus:plugin/reranking@1.0.0#describe") (result i32) (i32.const 1))"#;
    let error = load_error(&module(forged, "w", fields));
    assert!(error.contains("does not fit the contract"), "{error}");
}

#[test]
fn wasi_is_not_there_for_components_either() {
    let error = load_error(
        &wat::parse_str(
            r#"(component
                (import "wasi:cli/environment@0.2.0" (instance (export "get" (func))))
                (instance $i)
                (export "elanus:plugin/reranking@1.0.0" (instance $i)))"#,
        )
        .unwrap(),
    );
    assert!(error.contains("plugins have no WASI"), "{error}");
}

#[test]
fn a_component_of_very_many_instances_does_not_start() {
    let mut component = wit_component::ComponentEncoder::default()
        .module(&guest("reranker", ""))
        .unwrap()
        .encode()
        .unwrap();
    // A second core module, empty, and 600 instances of it: sections 1 and 2 of a component.
    component.extend([1, 8, 0, b'a', b's', b'm', 1, 0, 0, 0]);
    let instances: Vec<u8> = [0, 1, 0].repeat(600);
    component.extend([2, 0x8a, 0x0e, 0xd8, 0x04]);
    component.extend(instances);
    let error = load_error(&component);
    assert!(
        error.contains("to start") && error.contains("instance"),
        "{error}"
    );
}

#[test]
fn a_file_that_is_cut_off_or_changed_is_refused_or_contained() {
    let host = host();
    let good = guest("reranker", "");
    let wrapped = wit_component::ComponentEncoder::default()
        .module(&good)
        .unwrap()
        .encode()
        .unwrap();
    for file in [&good, &wrapped] {
        for length in (0..file.len()).step_by(file.len() / 60) {
            let (options, ledger) = options();
            assert!(
                host.load(&file[..length], &options).is_err(),
                "cut off after {length}"
            );
            assert_eq!(ledger.taken(), 0);
        }
        for at in (8..file.len()).step_by(file.len() / 60) {
            let mut changed = file.clone();
            changed[at] ^= 0xff;
            let (options, ledger) = options();
            // Some changes do no harm, in a name for instance; then the plugin may be called.
            if let Ok(plugin) = host.load(&changed, &options) {
                let _ = call(&plugin);
            }
            assert_eq!(ledger.taken(), 0, "byte {at}");
        }
    }
}

#[test]
fn what_is_too_large_is_not_even_looked_at() {
    let config = elanus_plugins::HostConfig {
        largest_file: 1000,
        ..Default::default()
    };
    let host = Host::new(config).unwrap();
    let error = host.load(&vec![0; 1001], &LoadOptions::default()).unwrap_err();
    assert!(error.to_string().contains("at most 1000 are allowed"), "{error}");
}

//! What is wrong with a plugin's file, for the person who wrote it.
//!
//! A check goes as far as loading does, with every right granted, and then tries the plugin on a few made-up candidates
//! or rows, with made-up values for parameters that must be given and are not. It says what the plugin is, what it will be
//! given and needs, and what will fail.

use std::fmt;

use crate::component::{World, is_core_module};
use crate::descriptor::{ColumnSource, FunctionsDescriptor, NeededColumn, RerankerDescriptor, Signature};
use crate::digest::Digest;
use crate::error::{Failure, PluginError, Stage};
use crate::host::{Host, LoadOptions, Plugin};
use crate::params::{Parameter, Value, ValueKind};
use crate::reranker::{Candidates, Keys, Request, Reranker};
use crate::rights::Rights;
use crate::udf::{Argument, Functions};
use crate::values::{Column, ColumnData, ColumnKind, OwnedColumn, OwnedData, VectorData};

/// One thing that the check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// The plugin cannot be loaded, or its calls will fail.
    Problem(String),
    /// What is good to know.
    Note(String),
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Problem(text) => write!(f, "problem: {text}"),
            Self::Note(text) => write!(f, "note: {text}"),
        }
    }
}

/// What a check found.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// The digest of the file.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: usize,
    /// What it is, by what it exports.
    pub world: Option<World>,
    /// Name and version, if it could be loaded.
    pub name: Option<String>,
    /// The rights that it will need.
    pub rights: Rights,
    /// What was found, in the order of the steps.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Whether the plugin can be used.
    pub fn is_good(&self) -> bool {
        !self
            .findings
            .iter()
            .any(|finding| matches!(finding, Finding::Problem(_)))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            digest,
            size,
            world,
            name,
            rights,
            findings,
        } = self;
        match (world, name) {
            (Some(world), Some(name)) => writeln!(f, "{name}: a plugin of world {}", world.name())?,
            (Some(world), None) => writeln!(f, "a plugin of world {} that cannot be loaded", world.name())?,
            (None, _) => writeln!(f, "not a plugin that can be loaded")?,
        }
        writeln!(f, "{size} bytes, sha256 {digest}")?;
        if *rights != Rights::default() {
            writeln!(
                f,
                "needs the rights: {rights} (granted WITH (rights = '{rights}'), and to this check)"
            )?;
        }
        findings.iter().try_for_each(|finding| writeln!(f, "{finding}"))
    }
}

const WRAPPED: &str = "it is a core module with a component type, as cargo leaves it: there is nothing to do, a server makes a \
                       component of it";

const WITHOUT_WASI: &str = "plugins have no WASI. `elanus plugin build` builds without; by hand: in Rust the target \
                            wasm32-unknown-unknown, in Python `componentize-py .. componentize --stub-wasi`, in JavaScript \
                            `jco componentize --backend quickjs --backend-qjs-stub-wasi`, in C `clang --target=wasm32 -nostdlib`";

/// Rows of the trial.
const TRIAL: usize = 3;

/// Looks at a file as [`Host::load`] would with these limits, and says what it found.
pub fn check(host: &Host, file: &[u8], options: &LoadOptions) -> Report {
    check_with(host, file, options, &[])
}

/// The same; a reranker is tried with the parameters in `given`.
pub fn check_with(host: &Host, file: &[u8], options: &LoadOptions, given: &[(String, Value)]) -> Report {
    let mut report = Report {
        digest: Digest::of(file),
        size: file.len(),
        world: None,
        name: None,
        rights: Rights::default(),
        findings: Vec::new(),
    };
    let opened = match host.open(file) {
        Ok(opened) => opened,
        Err(error) => {
            report.findings.push(Finding::Problem(explained(&error)));
            return report;
        }
    };
    report.world = Some(opened.world);
    report.rights = opened.needs;
    if is_core_module(file) {
        report.findings.push(Finding::Note(WRAPPED.to_owned()));
    }
    let denied = host.denied(&opened, Rights::ALL);
    if !denied.is_empty() {
        if denied.iter().any(|line| line.contains("wasi:")) {
            report.findings.push(Finding::Note(WITHOUT_WASI.to_owned()));
        }
        report.findings.extend(denied.into_iter().map(Finding::Problem));
        return report;
    }
    let generous = LoadOptions {
        rights: Rights::ALL,
        ..options.clone()
    };
    let plugin = match host.start(&opened, &generous) {
        Ok(plugin) => plugin,
        Err(error) => {
            report.findings.push(Finding::Problem(explained(&error)));
            return report;
        }
    };
    report.name = Some(format!("{} {}", plugin.name(), plugin.version()));
    match &plugin {
        Plugin::Reranker(reranker) => try_reranker(reranker, given, &mut report.findings),
        Plugin::Functions(functions) => {
            if !given.is_empty() {
                let problem = "parameters are given, and functions have none: they are for rerankers";
                report.findings.push(Finding::Problem(problem.to_owned()));
            }
            try_functions(functions, &mut report.findings);
        }
    }
    report
}

/// A failure with what can be done about it.
fn explained(error: &PluginError) -> String {
    let advice = match &error.failure {
        Failure::Deadline(_) => "; do less, or register it WITH (deadline = '500ms')",
        Failure::Memory(_) => "; use less, or give it a larger limit",
        Failure::NotAPlugin(text) if text.contains("does not fit the contract") => {
            "; a function of its interface is missing or has another type: build it with the SDK, or with bindings made \
             from the contract of this version"
        }
        Failure::NotAPlugin(_)
        | Failure::Denied(_)
        | Failure::Description(_)
        | Failure::Trap(_)
        | Failure::Answer(_)
        | Failure::Refused(_)
        | Failure::Parameter(_)
        | Failure::Request(_)
        | Failure::Busy(_)
        | Failure::Host(_) => "",
    };
    format!("it fails {}: {}{advice}", error.stage, error.failure)
}

/// The given parameters, and values for those that must be given and are not: what to try with, and what to say of it.
fn trial_parameters(
    descriptor: &RerankerDescriptor,
    given: &[(String, Value)],
) -> (Vec<(String, Value)>, String) {
    let is_given = |parameter: &&Parameter| given.iter().any(|(name, _)| *name == parameter.name);
    let needed = descriptor
        .parameters
        .iter()
        .filter(|parameter| parameter.default.is_none() && !is_given(parameter));
    let made_up: Vec<(String, Value)> = needed
        .map(|Parameter { name, kind, .. }| {
            let value = match kind {
                ValueKind::Boolean => Value::Boolean(true),
                ValueKind::Integer => Value::Integer(1),
                ValueKind::Number => Value::Number(1.0),
                // Often the name of a column, which is made up too.
                ValueKind::Text => Value::Text(name.clone()),
            };
            (name.clone(), value)
        })
        .collect();
    let mut with = if given.is_empty() {
        "the defaults"
    } else {
        "the parameters"
    }
    .to_owned();
    if !made_up.is_empty() {
        let shown: Vec<String> = made_up
            .iter()
            .map(|(name, value)| format!("{name} = {value}"))
            .collect();
        with.push_str(&format!(
            " and, made up since they must be given, {} (--params gives others)",
            shown.join(", ")
        ));
    }
    (given.iter().cloned().chain(made_up).collect(), with)
}

fn try_reranker(reranker: &Reranker, given: &[(String, Value)], findings: &mut Vec<Finding>) {
    findings.extend(
        described_reranker(reranker.descriptor())
            .into_iter()
            .map(Finding::Note),
    );
    let (values, with) = trial_parameters(reranker.descriptor(), given);
    let tried = reranker.parameters(&values).and_then(|parameters| {
        let needed = reranker.descriptor().columns_for(&parameters);
        let needed = needed.map_err(|failure| PluginError {
            plugin: reranker.descriptor().name.clone(),
            stage: Stage::Configure,
            failure,
        })?;
        Ok((parameters, needed))
    });
    let (parameters, needed) = match tried {
        Ok(tried) => tried,
        Err(error) => {
            findings.push(Finding::Problem(explained(&error)));
            return;
        }
    };
    if let Some((name, kind)) = needed.iter().find(|(_, kind)| matches!(kind, ColumnKind::Ipc(_))) {
        findings.push(Finding::Note(format!(
            "not tried, because column '{name}' is {kind}"
        )));
        return;
    }
    let samples: Vec<OwnedColumn> = needed.iter().map(|(_, kind)| sample(kind, TRIAL)).collect();
    let columns: Vec<(&str, Column<'_>)> = needed
        .iter()
        .zip(&samples)
        .map(|((name, _), column)| (name.as_str(), column.view()))
        .collect();
    let vectors = VectorData {
        dim: 2,
        values: &[1.0, 0.0, 0.6, 0.8, 0.0, 1.0],
    };
    let request = Request {
        query_vectors: VectorData {
            dim: 2,
            values: &[1.0, 0.0],
        },
        query_text: Some("a trial"),
        limit: TRIAL as u32,
    };
    let candidates = Candidates {
        keys: Keys::Integers(&[1, 2, 3]),
        distances: &[0.0, 0.4, 1.0],
        columns: &columns,
        vectors: Some(vectors),
    };
    findings.push(match reranker.rerank(&parameters, &request, &candidates) {
        Ok((_, stats)) => Finding::Note(format!(
            "tried with {TRIAL} candidates, {with}: {} KiB of memory",
            stats.peak_memory.div_ceil(1024)
        )),
        Err(error) => trial_failure(&error, &with),
    });
}

fn try_functions(functions: &Functions, findings: &mut Vec<Finding>) {
    findings.extend(
        described_functions(functions.descriptor())
            .into_iter()
            .map(Finding::Note),
    );
    for (place, function) in functions.descriptor().functions.iter().enumerate() {
        let Signature {
            name,
            parameters,
            returns,
            ..
        } = function;
        if *returns == ColumnKind::Vectors(0) {
            findings.push(Finding::Problem(format!(
                "function {name} returns vectors without a declared dimension, which SQL does not take"
            )));
        }
        if parameters
            .iter()
            .any(|parameter| matches!(parameter.kind, ColumnKind::Ipc(_)))
        {
            findings.push(Finding::Note(format!(
                "{name}: not tried, because an argument is Arrow IPC"
            )));
            continue;
        }
        // Of no rows and of one function too much is asked as often as of three.
        for rows in [TRIAL, 0] {
            let samples: Vec<OwnedColumn> = parameters
                .iter()
                .map(|parameter| sample(&parameter.kind, rows))
                .collect();
            let arguments: Vec<Argument<'_>> = samples
                .iter()
                .map(|column| Argument::Column(column.view()))
                .collect();
            if let Err(error) = functions.invoke(place, &arguments, rows) {
                findings.push(trial_failure(&error, &format!("made-up rows of function {name}")));
                break;
            }
        }
    }
}

/// What a plugin refuses by itself may be the fault of the made-up data.
fn trial_failure(error: &PluginError, with: &str) -> Finding {
    match &error.failure {
        Failure::Refused(refusal) => {
            Finding::Note(format!("tried with {with}: it refused them with '{refusal}'"))
        }
        Failure::NotAPlugin(_)
        | Failure::Denied(_)
        | Failure::Description(_)
        | Failure::Trap(_)
        | Failure::Deadline(_)
        | Failure::Memory(_)
        | Failure::Answer(_)
        | Failure::Parameter(_)
        | Failure::Request(_)
        | Failure::Busy(_)
        | Failure::Host(_) => Finding::Problem(explained(error)),
    }
}

fn described_reranker(descriptor: &RerankerDescriptor) -> Vec<String> {
    let mut lines = Vec::new();
    for parameter in &descriptor.parameters {
        let ending = match &parameter.default {
            Some(default) => format!("default {default}"),
            None => "must be given".to_owned(),
        };
        lines.push(format!(
            "parameter {} ({}), {ending}",
            parameter.name, parameter.kind
        ));
        if parameter.kind == ValueKind::Text && parameter.description.is_empty() {
            lines.push(format!("parameter {} has no description", parameter.name));
        }
    }
    lines.extend(descriptor.columns.iter().map(described_column));
    if descriptor.needs_vectors {
        lines.push("it needs the vectors of all candidates, which costs copying them".to_owned());
    }
    if descriptor.needs_query_text {
        lines.push("it needs the text of the query: a search without one is refused".to_owned());
    }
    if descriptor.max_candidates > 0 {
        lines.push(format!(
            "it takes at most {} candidates",
            descriptor.max_candidates
        ));
    }
    lines
}

fn described_column(NeededColumn { source, kind }: &NeededColumn) -> String {
    let which = match source {
        ColumnSource::Named(name) => format!("column '{name}'"),
        ColumnSource::Parameter(parameter) => format!("the column that parameter {parameter} names"),
        ColumnSource::ParameterList(parameter) => format!("the columns that parameter {parameter} lists"),
    };
    let of = match kind {
        ColumnKind::F32s | ColumnKind::F64s => "numbers, or instants as microseconds since 1970",
        ColumnKind::S64s => "integers, or instants as microseconds since 1970",
        ColumnKind::Bools => "booleans",
        ColumnKind::Text => "texts or JSON",
        ColumnKind::Vectors(_) => "vectors of numbers",
        ColumnKind::Ipc(_) => "this Arrow type, as a stream",
    };
    format!("{which}, as {kind} (of {of})")
}

fn described_functions(descriptor: &FunctionsDescriptor) -> Vec<String> {
    let line = |function: &Signature| {
        let kinds: Vec<String> = function
            .parameters
            .iter()
            .map(|parameter| parameter.kind.to_string())
            .collect();
        format!(
            "function {}({}) returns {}",
            function.name,
            kinds.join(", "),
            function.returns
        )
    };
    descriptor.functions.iter().map(line).collect()
}

/// A column of made-up values.
fn sample(kind: &ColumnKind, rows: usize) -> OwnedColumn {
    let data = match kind {
        ColumnKind::F32s => OwnedData::F32s((0..rows).map(|row| row as f32).collect()),
        ColumnKind::F64s => OwnedData::F64s((0..rows).map(|row| row as f64).collect()),
        ColumnKind::S64s => OwnedData::S64s((0..rows).map(|row| row as i64).collect()),
        ColumnKind::Bools => OwnedData::Bools((0..rows).map(|row| (row % 2) as u8).collect()),
        ColumnKind::Text => OwnedData::Text {
            offsets: (0..=rows).map(|row| row as u32 * 2).collect(),
            bytes: "a ".repeat(rows).into_bytes(),
        },
        ColumnKind::Vectors(dim) => {
            let dim = if *dim == 0 { 2 } else { *dim };
            OwnedData::Vectors {
                dim,
                values: (0..rows * dim as usize).map(|at| at as f32).collect(),
            }
        }
        ColumnKind::Ipc(_) => OwnedData::Ipc(Vec::new()),
    };
    debug_assert!(matches!(data.view(), ColumnData::Ipc(_)) || data.view().check(rows).is_ok());
    OwnedColumn { data, validity: None }
}

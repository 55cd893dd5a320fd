//! What plugins say about themselves, and what of it is accepted.
//!
//! A description comes from outside like every answer of a guest: names, counts and defaults are checked before anything
//! else sees them.

use std::collections::HashSet;

use crate::error::Failure;
use crate::params::{Parameter, Parameters, Value, ValueKind};
use crate::values::ColumnKind;

const NAME: usize = 64;
const VERSION: usize = 32;
const SENTENCE: usize = 1000;
const COLUMNS: usize = 64;
const PARAMETERS: usize = 64;
const FUNCTIONS: usize = 256;
/// Columns that the value of one parameter may name.
const LISTED_COLUMNS: usize = 256;

/// Where the name of a needed column comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ColumnSource {
    /// Always the column of this name.
    Named(String),
    /// The column whose name is the value of this text parameter; an empty value: no column.
    Parameter(String),
    /// The columns whose names are the value of this text parameter, separated by commas.
    ParameterList(String),
}

/// A column that a reranker needs, in the form that it reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NeededColumn {
    /// Which column.
    pub source: ColumnSource,
    /// In which form.
    pub kind: ColumnKind,
}

/// What a reranker says about itself.
#[derive(Debug, Clone, PartialEq)]
pub struct RerankerDescriptor {
    /// Lower-case letters, digits, `-` and `_`.
    pub name: String,
    /// Three numbers with dots.
    pub version: String,
    /// One sentence for users.
    pub description: String,
    /// The columns that it needs; see [`RerankerDescriptor::columns_for`].
    pub columns: Vec<NeededColumn>,
    /// Whether it needs the searched vector of every candidate.
    pub needs_vectors: bool,
    /// Whether it needs the text of the query.
    pub needs_query_text: bool,
    /// The most candidates of one call; 0: as many as the host allows.
    pub max_candidates: u32,
    /// What callers can set.
    pub parameters: Vec<Parameter>,
}

impl RerankerDescriptor {
    /// The columns that a call with these parameters gets, in this order: name and form.
    ///
    /// # Errors
    /// A parameter names too many columns, or one twice.
    pub fn columns_for(&self, parameters: &Parameters) -> Result<Vec<(String, ColumnKind)>, Failure> {
        let text = |name: &str| match parameters.get(name) {
            Some(Value::Text(text)) => text.as_str(),
            Some(Value::Boolean(_) | Value::Integer(_) | Value::Number(_)) | None => "",
        };
        let mut columns = Vec::with_capacity(self.columns.len());
        for NeededColumn { source, kind } in &self.columns {
            match source {
                ColumnSource::Named(name) => columns.push((name.clone(), kind.clone())),
                ColumnSource::Parameter(parameter) => {
                    let name = text(parameter).trim();
                    if !name.is_empty() {
                        columns.push((name.to_owned(), kind.clone()));
                    }
                }
                ColumnSource::ParameterList(parameter) => {
                    let mut seen = HashSet::new();
                    let names = text(parameter)
                        .split(',')
                        .map(str::trim)
                        .filter(|name| !name.is_empty());
                    for name in names {
                        if !seen.insert(name) {
                            return Err(Failure::Parameter(format!(
                                "parameter '{parameter}' names the column '{name}' twice"
                            )));
                        }
                        if seen.len() > LISTED_COLUMNS {
                            return Err(Failure::Parameter(format!(
                                "parameter '{parameter}' names more than {LISTED_COLUMNS} columns"
                            )));
                        }
                        columns.push((name.to_owned(), kind.clone()));
                    }
                }
            }
        }
        Ok(columns)
    }

    pub(crate) fn check(&self) -> Result<(), String> {
        check_name("its name", &self.name, true)?;
        check_version(&self.version)?;
        check_sentence("its description", &self.description)?;
        check_count("columns", self.columns.len(), COLUMNS)?;
        check_count("parameters", self.parameters.len(), PARAMETERS)?;
        check_parameters(&self.parameters)?;
        self.columns
            .iter()
            .try_for_each(|column| self.check_column(column))
    }

    fn check_column(&self, column: &NeededColumn) -> Result<(), String> {
        let parameter = match &column.source {
            ColumnSource::Named(name) => return check_column_name(name),
            ColumnSource::Parameter(parameter) | ColumnSource::ParameterList(parameter) => parameter,
        };
        match self.parameters.iter().find(|own| own.name == *parameter) {
            Some(own) if own.kind == ValueKind::Text => check_kind(&column.kind),
            Some(own) => Err(format!(
                "a column is named by parameter '{parameter}', which is of type {}, not text",
                own.kind
            )),
            None => Err(format!(
                "a column is named by parameter '{}', which there is not",
                shown(parameter)
            )),
        }
    }
}

fn check_parameters(parameters: &[Parameter]) -> Result<(), String> {
    let mut names = HashSet::new();
    for Parameter {
        name,
        description,
        kind,
        default,
    } in parameters
    {
        check_name("the name of a parameter", name, false)?;
        check_sentence("the description of a parameter", description)?;
        if !names.insert(name) {
            return Err(format!("there are two parameters '{name}'"));
        }
        match default {
            Some(value) if value.kind() != *kind => {
                return Err(format!(
                    "parameter '{name}' is of type {kind}, and its default is not"
                ));
            }
            Some(Value::Number(number)) if !number.is_finite() => {
                return Err(format!("the default of parameter '{name}' is {number}"));
            }
            Some(Value::Text(text)) if text.len() > SENTENCE => {
                return Err(format!(
                    "the default of parameter '{name}' has more than {SENTENCE} bytes"
                ));
            }
            Some(_) | None => {}
        }
    }
    Ok(())
}

/// When a function may answer differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Volatility {
    /// Never for the same arguments.
    Immutable,
    /// Not within one statement.
    Stable,
    /// At any time.
    Volatile,
}

/// What becomes of nulls among the arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NullHandling {
    /// A row with one is null, and the function's value for it is not looked at.
    NullIfAnyNull,
    /// The function gets them and answers with its own.
    CalledWithNulls,
}

/// A parameter of a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParameterType {
    /// For messages.
    pub name: String,
    /// Its form.
    pub kind: ColumnKind,
}

/// A scalar function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// Lower-case letters, digits and `_`.
    pub name: String,
    /// One sentence for users.
    pub description: String,
    /// What it takes.
    pub parameters: Vec<ParameterType>,
    /// What it returns.
    pub returns: ColumnKind,
    /// When it may answer differently.
    pub volatility: Volatility,
    /// What becomes of nulls.
    pub nulls: NullHandling,
}

/// What a plugin with functions says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionsDescriptor {
    /// Lower-case letters, digits, `-` and `_`.
    pub name: String,
    /// Three numbers with dots.
    pub version: String,
    /// At least one; the names differ.
    pub functions: Vec<Signature>,
}

impl FunctionsDescriptor {
    pub(crate) fn check(&self) -> Result<(), String> {
        check_name("its name", &self.name, true)?;
        check_version(&self.version)?;
        check_count("functions", self.functions.len(), FUNCTIONS)?;
        if self.functions.is_empty() {
            return Err("it has no function".to_owned());
        }
        let mut names = HashSet::new();
        for function in &self.functions {
            check_name("the name of a function", &function.name, false)?;
            if !names.insert(&function.name) {
                return Err(format!("there are two functions '{}'", function.name));
            }
            check_sentence("the description of a function", &function.description)?;
            check_count("parameters of a function", function.parameters.len(), PARAMETERS)?;
            for parameter in &function.parameters {
                check_name("the name of a parameter", &parameter.name, false)?;
                check_kind(&parameter.kind)?;
            }
            check_kind(&function.returns)?;
        }
        Ok(())
    }
}

fn check_count(what: &str, count: usize, most: usize) -> Result<(), String> {
    if count > most {
        Err(format!("it has {count} {what}, at most {most} are allowed"))
    } else {
        Ok(())
    }
}

fn check_name(what: &str, name: &str, with_dash: bool) -> Result<(), String> {
    if name.is_empty() || name.len() > NAME {
        return Err(format!(
            "{what} has {} bytes, 1 to {NAME} are allowed",
            name.len()
        ));
    }
    let allowed = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_' || (with_dash && byte == b'-')
    };
    let starts_well = name.as_bytes().first().is_some_and(u8::is_ascii_lowercase);
    if starts_well && name.bytes().all(allowed) {
        return Ok(());
    }
    let dash = if with_dash { ", '-'" } else { "" };
    Err(format!(
        "{what} is '{}'; a lower-case letter and then lower-case letters, digits{dash} and '_' are allowed",
        shown(name)
    ))
}

/// A column of a collection may have any name that a user can read.
fn check_column_name(name: &str) -> Result<(), String> {
    if name.is_empty() || name.len() > 256 || name.chars().any(char::is_control) {
        return Err(format!("'{}' is no name of a column", shown(name)));
    }
    Ok(())
}

fn check_version(version: &str) -> Result<(), String> {
    let numbers = version
        .split('.')
        .filter(|part| part.parse::<u32>().is_ok())
        .count();
    if version.len() <= VERSION && numbers == 3 && version.split('.').count() == 3 {
        return Ok(());
    }
    Err(format!(
        "its version is '{}', not three numbers with dots",
        shown(version)
    ))
}

fn check_sentence(what: &str, text: &str) -> Result<(), String> {
    if text.len() > SENTENCE {
        return Err(format!("{what} has {} bytes, {SENTENCE} are allowed", text.len()));
    }
    if text.chars().any(char::is_control) {
        return Err(format!("{what} has control characters"));
    }
    Ok(())
}

fn check_kind(kind: &ColumnKind) -> Result<(), String> {
    match kind {
        ColumnKind::Ipc(name)
            if name.is_empty() || name.len() > 256 || name.chars().any(char::is_control) =>
        {
            Err(format!("'{}' is no name of an Arrow type", shown(name)))
        }
        ColumnKind::Vectors(dim) if *dim > 1 << 16 => {
            Err(format!("vectors of {dim} dimensions; {} are allowed", 1 << 16))
        }
        ColumnKind::F32s
        | ColumnKind::F64s
        | ColumnKind::S64s
        | ColumnKind::Bools
        | ColumnKind::Text
        | ColumnKind::Vectors(_)
        | ColumnKind::Ipc(_) => Ok(()),
    }
}

/// The start of a name that is not accepted.
fn shown(name: &str) -> String {
    name.chars()
        .take(40)
        .map(|character| if character.is_control() { ' ' } else { character })
        .collect()
}

//! Parameters of rerankers: what a plugin declares, what a caller gives, and what crosses.

use std::fmt;
use std::sync::Arc;

use crate::digest::Digest;
use crate::error::Failure;

/// The type of a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueKind {
    /// True or false.
    Boolean,
    /// A 64-bit integer.
    Integer,
    /// A finite 64-bit float; an integer is taken too.
    Number,
    /// A text.
    Text,
}

impl fmt::Display for ValueKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Boolean => "boolean",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Text => "text",
        })
    }
}

/// The value of a parameter.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// True or false.
    Boolean(bool),
    /// An integer.
    Integer(i64),
    /// A finite number.
    Number(f64),
    /// A text.
    Text(String),
}

impl Value {
    /// The type of this value.
    pub fn kind(&self) -> ValueKind {
        match self {
            Self::Boolean(_) => ValueKind::Boolean,
            Self::Integer(_) => ValueKind::Integer,
            Self::Number(_) => ValueKind::Number,
            Self::Text(_) => ValueKind::Text,
        }
    }

    /// The value of a JSON scalar; an object or an array is taken as its text, so that a model can be written
    /// as JSON inside of JSON. Nothing for null and for numbers that neither 64-bit type holds.
    pub fn from_json(json: &serde_json::Value) -> Option<Self> {
        match json {
            serde_json::Value::Null => None,
            serde_json::Value::Bool(value) => Some(Self::Boolean(*value)),
            serde_json::Value::Number(number) => match number.as_i64() {
                Some(integer) => Some(Self::Integer(integer)),
                None => number.as_f64().map(Self::Number),
            },
            serde_json::Value::String(text) => Some(Self::Text(text.clone())),
            serde_json::Value::Array(_) | serde_json::Value::Object(_) => Some(Self::Text(json.to_string())),
        }
    }

    /// This value as one of that type, if it is one.
    fn fit(&self, kind: ValueKind) -> Option<Self> {
        match (kind, self) {
            // Up to 2^53 an integer is the same number as a float.
            (ValueKind::Number, Self::Integer(integer)) if integer.unsigned_abs() <= 1 << 53 => {
                Some(Self::Number(*integer as f64))
            }
            (ValueKind::Number, Self::Number(number)) if !number.is_finite() => None,
            (wanted, value) => (value.kind() == wanted).then(|| value.clone()),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean(value) => write!(f, "{value}"),
            Self::Integer(value) => write!(f, "{value}"),
            Self::Number(value) => write!(f, "{value}"),
            Self::Text(value) => write!(f, "'{value}'"),
        }
    }
}

/// A parameter that a plugin takes.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameter {
    /// What callers write.
    pub name: String,
    /// One sentence for users.
    pub description: String,
    /// The type of its values.
    pub kind: ValueKind,
    /// The value when none is given; without one it must be given.
    pub default: Option<Value>,
}

/// Values for every parameter of one plugin, in its order. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Parameters {
    values: Arc<Vec<(String, Value)>>,
    /// The plugin that they were made for.
    plugin: Digest,
}

impl PartialEq for Parameters {
    fn eq(&self, other: &Self) -> bool {
        // Calls of one query share the values, and a model among them may be large.
        self.plugin == other.plugin
            && (Arc::ptr_eq(&self.values, &other.values) || self.values == other.values)
    }
}

impl Parameters {
    /// Fills in what `given` leaves open.
    pub(crate) fn resolve(
        declared: &[Parameter],
        plugin: Digest,
        given: &[(String, Value)],
    ) -> Result<Self, Failure> {
        for (at, (name, _)) in given.iter().enumerate() {
            if !declared.iter().any(|parameter| parameter.name == *name) {
                return Err(Failure::Parameter(unknown(declared, name)));
            }
            if given.iter().take(at).any(|(earlier, _)| earlier == name) {
                return Err(Failure::Parameter(format!("parameter '{name}' is given twice")));
            }
        }
        let mut values = Vec::with_capacity(declared.len());
        for parameter in declared {
            let value = match given.iter().find(|(name, _)| *name == parameter.name) {
                Some((_, value)) => value
                    .fit(parameter.kind)
                    .ok_or_else(|| wrong_kind(parameter, value))?,
                None => parameter.default.clone().ok_or_else(|| missing(parameter))?,
            };
            values.push((parameter.name.clone(), value));
        }
        Ok(Self {
            values: Arc::new(values),
            plugin,
        })
    }

    /// The value of the parameter of that name.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.values
            .iter()
            .find(|(own, _)| own == name)
            .map(|(_, value)| value)
    }

    /// All of them, in the order of the declaration.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.values.iter().map(|(name, value)| (name.as_str(), value))
    }

    pub(crate) fn plugin(&self) -> Digest {
        self.plugin
    }
}

fn unknown(declared: &[Parameter], name: &str) -> String {
    if declared.is_empty() {
        return format!("there is no parameter '{name}': it takes none");
    }
    let names: Vec<&str> = declared.iter().map(|parameter| parameter.name.as_str()).collect();
    format!("there is no parameter '{name}', only {}", names.join(", "))
}

fn wrong_kind(parameter: &Parameter, value: &Value) -> Failure {
    let Parameter { name, kind, .. } = parameter;
    let given = match value {
        Value::Text(_) => "a text".to_owned(),
        Value::Boolean(_) | Value::Integer(_) | Value::Number(_) => value.to_string(),
    };
    Failure::Parameter(format!(
        "parameter '{name}' takes a value of type {kind}, not {given}"
    ))
}

fn missing(parameter: &Parameter) -> Failure {
    let Parameter { name, kind, .. } = parameter;
    Failure::Parameter(format!("parameter '{name}' ({kind}) is needed and not given"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declared() -> Vec<Parameter> {
        let parameter = |name: &str, kind, default| Parameter {
            name: name.to_owned(),
            description: String::new(),
            kind,
            default,
        };
        vec![
            parameter("lambda", ValueKind::Number, Some(Value::Number(0.5))),
            parameter("column", ValueKind::Text, None),
        ]
    }

    fn resolve(given: &[(&str, Value)]) -> Result<Parameters, String> {
        let given: Vec<_> = given
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()))
            .collect();
        Parameters::resolve(&declared(), Digest::of(b"x"), &given).map_err(|failure| failure.to_string())
    }

    #[test]
    fn defaults_fill_in_and_integers_are_numbers() {
        let text = Value::Text("t".to_owned());
        let parameters = resolve(&[("column", text.clone()), ("lambda", Value::Integer(2))]).unwrap();
        assert_eq!(parameters.get("lambda"), Some(&Value::Number(2.0)));
        let parameters = resolve(&[("column", text)]).unwrap();
        assert_eq!(parameters.get("lambda"), Some(&Value::Number(0.5)));
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let text = || Value::Text("t".to_owned());
        let error = |given: &[(&str, Value)]| resolve(given).unwrap_err();
        assert_eq!(error(&[]), "parameter 'column' (text) is needed and not given");
        assert_eq!(
            error(&[("lamda", Value::Integer(1))]),
            "there is no parameter 'lamda', only lambda, column"
        );
        assert_eq!(
            error(&[("column", Value::Integer(1))]),
            "parameter 'column' takes a value of type text, not 1"
        );
        assert_eq!(
            error(&[("column", text()), ("column", text())]),
            "parameter 'column' is given twice"
        );
        assert!(
            error(&[("column", text()), ("lambda", Value::Number(f64::NAN))]).contains("number, not NaN")
        );
    }
}

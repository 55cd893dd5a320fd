//! A model's file as a tree of values, whichever of the two formats it has.

use serde_json::Value as Json;

use crate::forest::ModelError;
use crate::ubjson;

/// Something in a document.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    /// Neither number nor text nor anything in which there is more.
    Other,
    Int(i64),
    Float(f64),
    Text(String),
    List(Vec<Value>),
    /// A list whose elements are all of one type, as numbers.
    Numbers(Vec<f64>),
    Map(Vec<(String, Value)>),
}

/// The document in `bytes`: UBJSON or JSON, which begin alike and go on differently.
pub(crate) fn read(bytes: &[u8]) -> Result<Value, ModelError> {
    let mut rest = bytes.iter().filter(|byte| !byte.is_ascii_whitespace());
    match (rest.next(), rest.next()) {
        (Some(b'{'), Some(b'"' | b'}')) => match serde_json::from_slice(bytes) {
            Ok(json) => Ok(from_json(json)),
            Err(error) => Err(ModelError::Invalid(format!("it is no JSON: {error}"))),
        },
        (Some(b'{'), Some(_)) => ubjson::read(bytes),
        _ => Err(ModelError::Invalid(
            "it is no model that XGBoost has saved: allowed are .ubj and .json files of Booster.save_model"
                .into(),
        )),
    }
}

fn from_json(json: Json) -> Value {
    match json {
        Json::Null => Value::Other,
        Json::Bool(flag) => Value::Int(flag.into()),
        Json::Number(number) => match number.as_i64() {
            Some(whole) => Value::Int(whole),
            None => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => Value::Text(text),
        Json::Array(items) => Value::List(items.into_iter().map(from_json).collect()),
        Json::Object(members) => Value::Map(
            members
                .into_iter()
                .map(|(name, value)| (name, from_json(value)))
                .collect(),
        ),
    }
}

impl Value {
    /// What lies at the end of a path of names.
    pub(crate) fn at(&self, path: &[&str]) -> Option<&Self> {
        path.iter().try_fold(self, |value, name| match value {
            Self::Map(members) => members
                .iter()
                .find_map(|(member, value)| (member == name).then_some(value)),
            Self::Other
            | Self::Int(_)
            | Self::Float(_)
            | Self::Text(_)
            | Self::List(_)
            | Self::Numbers(_) => None,
        })
    }

    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Other | Self::Int(_) | Self::Float(_) | Self::List(_) | Self::Numbers(_) | Self::Map(_) => {
                None
            }
        }
    }

    pub(crate) fn list(&self) -> Option<&[Self]> {
        match self {
            Self::List(items) => Some(items),
            Self::Other | Self::Int(_) | Self::Float(_) | Self::Text(_) | Self::Numbers(_) | Self::Map(_) => {
                None
            }
        }
    }

    /// The numbers of a list that has nothing else.
    #[expect(
        clippy::cast_precision_loss,
        reason = "indexes of nodes and features are small"
    )]
    pub(crate) fn numbers(&self) -> Option<Vec<f64>> {
        match self {
            Self::Numbers(numbers) => Some(numbers.clone()),
            Self::List(items) => {
                let number = |item: &Self| match item {
                    Self::Int(whole) => Some(*whole as f64),
                    Self::Float(number) => Some(*number),
                    Self::Other | Self::Text(_) | Self::List(_) | Self::Numbers(_) | Self::Map(_) => None,
                };
                items.iter().map(number).collect()
            }
            Self::Other | Self::Int(_) | Self::Float(_) | Self::Text(_) | Self::Map(_) => None,
        }
    }
}

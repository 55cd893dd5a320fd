//! Values for the `{name}` placeholders of an expression.

use std::collections::BTreeMap;
use std::sync::Arc;

/// A value that a client sends beside the expression.
#[derive(Debug, Clone, PartialEq)]
pub enum TemplateValue {
    /// A boolean.
    Bool(bool),
    /// Any integer.
    Int(i64),
    /// Any finite floating-point number.
    Float(f64),
    /// A string; taken as it is, without escapes.
    String(String),
    /// Bytes of a set, for `membership_match`.
    Bytes(Arc<[u8]>),
    /// A list, for `in` and the containment functions; may be mixed and nested where JSON is compared.
    Array(Vec<TemplateValue>),
}

/// Placeholder names and their values.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Templates(pub BTreeMap<String, TemplateValue>);

impl Templates {
    /// Without any value.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether any value is bytes.
    pub fn have_bytes(&self) -> bool {
        self.0
            .values()
            .any(|value| matches!(value, TemplateValue::Bytes(_)))
    }

    /// The value of `name`.
    pub fn get(&self, name: &str) -> Option<&TemplateValue> {
        self.0.get(name)
    }
}

impl<K: Into<String>> FromIterator<(K, TemplateValue)> for Templates {
    fn from_iter<I: IntoIterator<Item = (K, TemplateValue)>>(values: I) -> Self {
        Self(
            values
                .into_iter()
                .map(|(name, value)| (name.into(), value))
                .collect(),
        )
    }
}

//! Values at a place in JSON text, for indexes.
//!
//! What a value is follows the rules of filters on JSON (`udfs/src/json`): the first of two equal keys counts, a number
//! without fraction and exponent that fits 64 bits is an integer, a value of another type than the index's is no value.

use std::fmt;

use arrow::array::{Array, StringArray};
use elanus_index::Bitset;
use elanus_index::scalar::{ScalarColumn, ValueKind, Values};
use elanus_text::leading_number;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// Integers up to this are floats without rounding.
const EXACT: u64 = 1 << 53;

/// The values at a place in JSON that are of a type.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct JsonCast {
    /// JSON pointer; empty is the whole value.
    pub pointer: String,
    /// Type as Milvus calls it.
    pub cast: String,
    /// What makes values of another type one of this, as Milvus calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub function: Option<String>,
}

/// The function that takes text for the number it begins with. It is the only one.
pub(crate) const STRING_TO_DOUBLE: &str = "STRING_TO_DOUBLE";

/// Types that values can be indexed as: Milvus' name, what the values are, and whether they are elements of arrays.
const CASTS: [(&str, ValueKind, bool); 6] = [
    ("BOOL", ValueKind::Int, false),
    ("DOUBLE", ValueKind::Float, false),
    ("VARCHAR", ValueKind::Text, false),
    ("ARRAY_BOOL", ValueKind::Int, true),
    ("ARRAY_DOUBLE", ValueKind::Float, true),
    ("ARRAY_VARCHAR", ValueKind::Text, true),
];

impl JsonCast {
    /// The names of all types.
    pub fn names() -> impl Iterator<Item = &'static str> {
        CASTS.iter().map(|(name, ..)| *name)
    }

    /// What the values are, and whether they are elements of arrays.
    fn values(&self) -> (ValueKind, bool) {
        let known = CASTS.iter().find(|(name, ..)| *name == self.cast);
        known.map_or((ValueKind::Text, false), |(_, kind, elements)| (*kind, *elements))
    }

    /// Whether text counts as the number that it begins with.
    pub fn numbers_in_texts(&self) -> bool {
        self.function.is_some()
    }

    /// Whether elements of arrays are indexed.
    pub fn elements(&self) -> bool {
        self.values().1
    }
}

/// What was found in a column.
pub(crate) struct Found {
    kind: ValueKind,
    numbers_in_texts: bool,
    ints: Vec<(i64, u32)>,
    floats: Vec<(f64, u32)>,
    texts: Vec<(String, u32)>,
    nulls: Bitset,
    others: Bitset,
}

impl Found {
    /// The values of a JSON column.
    pub fn of(column: &StringArray, cast: &JsonCast) -> Self {
        let (kind, elements) = cast.values();
        let path: Vec<String> = steps(&cast.pointer);
        let mut found = Self {
            kind,
            numbers_in_texts: cast.numbers_in_texts(),
            ints: Vec::new(),
            floats: Vec::new(),
            texts: Vec::new(),
            nulls: Bitset::new(column.len()),
            others: Bitset::new(column.len()),
        };
        for place in 0..column.len() {
            let text = column.is_valid(place).then(|| column.value(place));
            let value = text.and_then(|text| {
                let mut json = serde_json::Deserializer::from_str(text);
                At(&path).deserialize(&mut json).ok().flatten()
            });
            let row = place as u32;
            let has_value = match value {
                None => false,
                Some(value) if !elements => found.push(value.get(), row),
                Some(value) => match serde_json::from_str::<Vec<&RawValue>>(value.get()) {
                    Ok(elements) => {
                        for element in elements {
                            found.push(element.get(), row);
                        }
                        true
                    }
                    Err(_) => false,
                },
            };
            if !has_value {
                found.nulls.set(place);
            }
        }
        found
    }

    /// Takes a value of a row if it is of the wanted type.
    fn push(&mut self, text: &str, row: u32) -> bool {
        let Some(first) = text.as_bytes().first() else {
            return false;
        };
        match (self.kind, first) {
            (ValueKind::Int, b't' | b'f') => self.ints.push((i64::from(*first == b't'), row)),
            (ValueKind::Text, b'"') => match serde_json::from_str(text) {
                Ok(text) => self.texts.push((text, row)),
                Err(_) => return false,
            },
            (ValueKind::Float, b'"') if self.numbers_in_texts => {
                let text: Option<String> = serde_json::from_str(text).ok();
                let Some(number) = text.and_then(|text| leading_number(&text)) else {
                    return false;
                };
                self.floats.push((number, row));
            }
            (ValueKind::Float, b'-' | b'0'..=b'9') => {
                let whole = !text.bytes().any(|byte| matches!(byte, b'.' | b'e' | b'E'));
                match (text.parse::<i64>(), text.parse::<f64>()) {
                    // As a float it would be another number.
                    (Ok(integer), _) if whole && integer.unsigned_abs() > EXACT => {
                        self.others.set(row as usize);
                    }
                    (_, Ok(float)) if float.is_finite() => self.floats.push((float, row)),
                    _ => return false,
                }
            }
            (ValueKind::Int | ValueKind::Text | ValueKind::Float, _) => return false,
        }
        true
    }

    /// As a column to be indexed.
    pub fn column(&self) -> ScalarColumn<'_> {
        let values = match self.kind {
            ValueKind::Int => Values::Ints(self.ints.clone()),
            ValueKind::Float => Values::Floats(self.floats.clone()),
            ValueKind::Text => {
                let texts = self.texts.iter().map(|(text, row)| (text.as_str(), *row));
                Values::Texts(texts.collect())
            }
        };
        ScalarColumn {
            rows: self.nulls.len(),
            values,
            nulls: self.nulls.clone(),
            others: self.others.clone(),
        }
    }
}

/// The steps of a JSON pointer.
pub(crate) fn steps(pointer: &str) -> Vec<String> {
    let steps = pointer.split('/').skip(1);
    steps
        .map(|step| step.replace("~1", "/").replace("~0", "~"))
        .collect()
}

/// A step as JSON pointers write it.
pub(crate) fn escaped(step: &str) -> String {
    step.replace('~', "~0").replace('/', "~1")
}

/// Reads the text of the value at the end of a path; the rest of the JSON is skipped.
struct At<'p>(&'p [String]);

impl<'de> DeserializeSeed<'de> for At<'_> {
    type Value = Option<&'de RawValue>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        match self.0.split_first() {
            None => <&RawValue>::deserialize(json).map(Some),
            Some((step, rest)) => json.deserialize_any(Step { step, rest }),
        }
    }
}

struct Step<'p> {
    step: &'p str,
    rest: &'p [String],
}

impl<'de> Visitor<'de> for Step<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(key) = map.next_key::<String>()? {
            if found.is_none() && key == self.step {
                found = Some(map.next_value_seed(At(self.rest))?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found.flatten())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let leading_zero = self.step.len() > 1 && self.step.starts_with('0');
        let is_index = !leading_zero && self.step.bytes().all(|byte| byte.is_ascii_digit());
        let wanted: Option<usize> = self.step.parse().ok().filter(|_| is_index);
        let (mut found, mut place) = (None, 0);
        loop {
            if wanted == Some(place) {
                match seq.next_element_seed(At(self.rest))? {
                    Some(value) => found = value,
                    None => return Ok(None),
                }
            } else if seq.next_element::<IgnoredAny>()?.is_none() {
                return Ok(found);
            }
            place += 1;
        }
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(cast: &str, pointer: &str, texts: &[Option<&str>]) -> Found {
        let cast = JsonCast {
            pointer: pointer.into(),
            cast: cast.into(),
            function: None,
        };
        Found::of(&StringArray::from(texts.to_vec()), &cast)
    }

    #[test]
    fn values_of_the_wanted_type_are_found_and_others_are_none() {
        let numbers = found(
            "DOUBLE",
            "/a/1",
            &[
                Some(r#"{"b": 1, "a": [0, 2.5]}"#),
                Some(r#"{"a": [0, "2.5"]}"#),
                Some(r#"{"a": [0, 9007199254740993]}"#),
                Some(r#"{"a": {"1": 7}, "a": [1, 8]}"#),
                Some(r#"{"a": 3}"#),
                None,
            ],
        );
        assert_eq!(numbers.floats, [(2.5, 0), (7.0, 3)]);
        assert_eq!(numbers.nulls.iter().collect::<Vec<_>>(), [1, 4, 5]);
        assert_eq!(numbers.others.iter().collect::<Vec<_>>(), [2]);
        let texts = found(
            "ARRAY_VARCHAR",
            "",
            &[
                Some(r#"["x", 1, "\u0079"]"#),
                Some("[]"),
                Some("\"x\""),
                Some("{}"),
            ],
        );
        assert_eq!(texts.texts, [("x".to_string(), 0), ("y".to_string(), 0)]);
        assert_eq!(texts.nulls.iter().collect::<Vec<_>>(), [2, 3]);
        let cast = JsonCast {
            pointer: String::new(),
            cast: "DOUBLE".into(),
            function: Some(STRING_TO_DOUBLE.into()),
        };
        let values = vec![Some("\"7 kg\""), Some("\"kg\""), Some("3"), Some("true")];
        let cast = Found::of(&StringArray::from(values), &cast);
        assert_eq!(cast.floats, [(7.0, 0), (3.0, 2)]);
        assert_eq!(cast.nulls.iter().collect::<Vec<_>>(), [1, 3]);
        let flags = found(
            "BOOL",
            "/x~1y",
            &[Some(r#"{"x/y": true}"#), Some(r#"{"x/y": 1}"#)],
        );
        assert_eq!((flags.ints, flags.nulls.count()), (vec![(1, 0)], 1));
    }
}

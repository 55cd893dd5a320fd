//! JSON columns, the dynamic field among them.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray};
use elanus_collection::{CollectionSchema, DYNAMIC_FIELD, Field};
use serde::de::{Deserializer as _, IgnoredAny, MapAccess, Visitor};

use super::nulls::Nulls;
use crate::status::{Error, Result};

pub(super) fn from_wire(
    schema: &CollectionSchema,
    field: &Field,
    values: &[Vec<u8>],
    nulls: &Nulls,
) -> Result<ArrayRef> {
    let texts = values
        .iter()
        .enumerate()
        .map(|(at, bytes)| {
            let text = std::str::from_utf8(bytes).map_err(|_| {
                Error::invalid(format!(
                    "JSON value {at} of field {} is not UTF-8 text",
                    field.name
                ))
            })?;
            match (field.dynamic, text) {
                (true, "" | "{}") => Ok("{}"),
                (true, text) => check_dynamic_keys(schema, text).map(|()| text),
                (false, text) => Ok(text),
            }
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(nulls.options(texts).collect::<StringArray>()))
}

/// The keys of a dynamic object must not hide a field of the schema.
fn check_dynamic_keys(schema: &CollectionSchema, text: &str) -> Result<()> {
    struct Keys<'a>(&'a CollectionSchema);

    impl<'de> Visitor<'de> for Keys<'_> {
        type Value = Option<String>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a JSON object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut clash = None;
            while let Some((key, IgnoredAny)) = map.next_entry::<Cow<'_, str>, IgnoredAny>()? {
                if clash.is_none() && self.0.field(&key).is_some() {
                    clash = Some(key.into_owned());
                }
            }
            Ok(clash)
        }
    }

    let mut reader = serde_json::Deserializer::from_str(text);
    match reader.deserialize_map(Keys(schema)) {
        Ok(None) => Ok(()),
        Ok(Some(key)) if key == DYNAMIC_FIELD => Err(Error::invalid(
            "cannot set key to $meta, it is the dynamic field itself",
        )),
        Ok(Some(key)) => Err(Error::invalid(format!(
            "dynamic field name cannot include the static field name: {key}"
        ))),
        Err(error) => Err(Error::invalid(format!(
            "the dynamic field must be a JSON object: {error}"
        ))),
    }
}

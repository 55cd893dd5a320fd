//! Values of `{name}` placeholders in filter expressions.

use std::collections::{BTreeMap, HashMap};

use elanus_filter::{TemplateValue, Templates};
use milvus::proto::schema::{
    TemplateArrayValue, TemplateValue as WireValue, template_array_value::Data, template_value::Val,
};

use crate::status::{Error, Result};

/// Deepest nesting of template arrays.
const MAX_DEPTH: usize = 8;

/// The template values of a request.
pub(crate) fn from_wire(values: HashMap<String, WireValue>) -> Result<Templates> {
    if values.is_empty() {
        return Ok(Templates::default());
    }
    let mut templates = BTreeMap::new();
    for (name, value) in values {
        let value = match value.val {
            Some(Val::BoolVal(value)) => TemplateValue::Bool(value),
            Some(Val::Int64Val(value)) => TemplateValue::Int(value),
            Some(Val::FloatVal(value)) => TemplateValue::Float(value),
            Some(Val::StringVal(value)) => TemplateValue::String(value),
            Some(Val::ArrayVal(array)) => TemplateValue::Array(array_values(&name, array, 0)?),
            Some(Val::BytesVal(bytes)) => TemplateValue::Bytes(bytes.into()),
            None => {
                return Err(Error::invalid(format!(
                    "the value of expression template '{name}' is empty; allowed are bool, int64, float, string, bytes and arrays"
                )));
            }
        };
        templates.insert(name, value);
    }
    Ok(Templates(templates))
}

fn array_values(name: &str, array: TemplateArrayValue, depth: usize) -> Result<Vec<TemplateValue>> {
    if depth >= MAX_DEPTH {
        return Err(Error::invalid(format!(
            "the arrays of expression template '{name}' are nested deeper than {MAX_DEPTH} levels"
        )));
    }
    Ok(match array.data {
        None => Vec::new(),
        Some(Data::BoolData(values)) => values.data.into_iter().map(TemplateValue::Bool).collect(),
        Some(Data::LongData(values)) => values.data.into_iter().map(TemplateValue::Int).collect(),
        Some(Data::DoubleData(values)) => values.data.into_iter().map(TemplateValue::Float).collect(),
        Some(Data::StringData(values)) => values.data.into_iter().map(TemplateValue::String).collect(),
        Some(Data::ArrayData(values)) => values
            .data
            .into_iter()
            .map(|inner| array_values(name, inner, depth + 1).map(TemplateValue::Array))
            .collect::<Result<_>>()?,
        Some(Data::JsonData(values)) => values
            .data
            .iter()
            .map(|bytes| {
                let value = serde_json::from_slice(bytes).map_err(|e| {
                    Error::invalid(format!(
                        "a value of expression template '{name}' is not JSON: {e}"
                    ))
                })?;
                json_value(name, value, depth + 1)
            })
            .collect::<Result<_>>()?,
    })
}

fn json_value(name: &str, value: serde_json::Value, depth: usize) -> Result<TemplateValue> {
    use serde_json::Value;
    if depth >= MAX_DEPTH {
        return Err(Error::invalid(format!(
            "the arrays of expression template '{name}' are nested deeper than {MAX_DEPTH} levels"
        )));
    }
    Ok(match value {
        Value::Bool(value) => TemplateValue::Bool(value),
        Value::String(value) => TemplateValue::String(value),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(value), _) => TemplateValue::Int(value),
            (None, Some(value)) => TemplateValue::Float(value),
            (None, None) => {
                return Err(Error::invalid(format!(
                    "the number {number} of expression template '{name}' is too large"
                )));
            }
        },
        Value::Array(values) => TemplateValue::Array(
            values
                .into_iter()
                .map(|value| json_value(name, value, depth + 1))
                .collect::<Result<_>>()?,
        ),
        Value::Null | Value::Object(_) => {
            return Err(Error::invalid(format!(
                "the value {value} of expression template '{name}' cannot be used; allowed are bool, numbers, strings and arrays"
            )));
        }
    })
}

#[cfg(test)]
mod tests {
    use milvus::proto::schema::{BoolArray, JsonArray, LongArray};

    use super::*;

    fn one(val: Val) -> Result<Templates> {
        from_wire(HashMap::from([("x".to_string(), WireValue { val: Some(val) })]))
    }

    fn array(data: Data) -> Val {
        Val::ArrayVal(TemplateArrayValue { data: Some(data) })
    }

    #[test]
    fn every_kind_of_value_arrives() {
        let Templates(map) = one(array(Data::LongData(LongArray { data: vec![1, 2] }))).unwrap();
        assert!(matches!(&map["x"], TemplateValue::Array(values) if values.len() == 2));
        let Templates(map) = one(array(Data::BoolData(BoolArray { data: vec![true] }))).unwrap();
        assert!(
            matches!(&map["x"], TemplateValue::Array(values) if matches!(values[0], TemplateValue::Bool(true)))
        );
        let Templates(map) = one(Val::BytesVal(vec![1, 255])).unwrap();
        assert!(matches!(&map["x"], TemplateValue::Bytes(bytes) if **bytes == [1, 255]));
        let json = JsonArray {
            data: vec![
                b"1".to_vec(),
                b"\"a\"".to_vec(),
                b"2.5".to_vec(),
                b"[true]".to_vec(),
            ],
        };
        let Templates(map) = one(array(Data::JsonData(json))).unwrap();
        let TemplateValue::Array(values) = &map["x"] else {
            panic!("not an array")
        };
        assert!(matches!(
            values.as_slice(),
            [
                TemplateValue::Int(1),
                TemplateValue::String(_),
                TemplateValue::Float(_),
                TemplateValue::Array(_)
            ]
        ));
    }

    #[test]
    fn what_cannot_be_a_value_is_named() {
        let null = JsonArray {
            data: vec![b"null".to_vec()],
        };
        assert!(
            one(array(Data::JsonData(null)))
                .unwrap_err()
                .to_string()
                .contains("'x'")
        );
    }
}

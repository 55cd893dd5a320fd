//! Between wire messages and the engine's values; no handler logic, no I/O.

pub(crate) mod aggregates;
pub(crate) mod chains;
pub(crate) mod element_scope;
pub(crate) mod facets;
pub(crate) mod field_data;
pub(crate) mod highlight;
pub(crate) mod keys;
pub(crate) mod models;
pub(crate) mod output;
pub(crate) mod params;
pub(crate) mod placeholder;
pub(crate) mod plugin_rankers;
pub(crate) mod properties;
pub(crate) mod rankers;
pub(crate) mod results;
pub(crate) mod schema;
pub(crate) mod templates;
pub(crate) mod time;
pub(crate) mod typed_vectors;

use std::collections::BTreeMap;

use milvus::proto::common::KeyValuePair;

/// Key-value pairs as a map; a later pair replaces an earlier one of the same key.
pub(crate) fn to_map(pairs: Vec<KeyValuePair>) -> BTreeMap<String, String> {
    pairs.into_iter().map(|pair| (pair.key, pair.value)).collect()
}

/// A map as key-value pairs, in key order.
pub(crate) fn to_pairs(map: &BTreeMap<String, String>) -> Vec<KeyValuePair> {
    map.iter().map(|(key, value)| pair(key, value)).collect()
}

/// One key-value pair.
pub(crate) fn pair(key: &str, value: impl Into<String>) -> KeyValuePair {
    KeyValuePair {
        key: key.to_string(),
        value: value.into(),
    }
}

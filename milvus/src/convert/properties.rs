//! Collection and database properties: which are kept, and which would promise what is not there.
//!
//! A property that only tunes Milvus' own machinery (replicas, memory mapping, rates of a cluster)
//! is recorded and described back. One that changes what a user sees (rows that expire, writes that
//! are denied) must not be accepted in silence.

use std::collections::BTreeMap;

use crate::convert::time;
use crate::status::{Error, Result};

/// Switches the dynamic field of a collection; there is no switching after it is made.
pub(crate) const DYNAMIC_FIELD_ENABLED: &str = "dynamicfield.enabled";

/// Properties of a collection that are refused unless the value switches them off.
const COLLECTION_UNSUPPORTED: [&str; 9] = [
    "collection.ttl.seconds",
    "ttl_field",
    "partitionkey.isolation",
    DYNAMIC_FIELD_ENABLED,
    "query_mode",
    "namespace.mode",
    "namespace.enabled",
    "cipher.enabled",
    "cipher.key",
];

/// Prefixes and names of database properties that are refused unless the value switches them off.
const DATABASE_UNSUPPORTED: [&str; 5] = [
    "database.force.deny.",
    "database.diskQuota.mb",
    "database.max.collections",
    "cipher.enabled",
    "cipher.key",
];

fn switched_off(value: &str) -> bool {
    matches!(value, "" | "0" | "-1") || value.eq_ignore_ascii_case("false")
}

/// Checks the properties of a collection that is created or altered.
pub(crate) fn check_collection(properties: &BTreeMap<String, String>) -> Result<()> {
    for (key, value) in properties {
        if COLLECTION_UNSUPPORTED.contains(&key.as_str()) && !switched_off(value) {
            return Err(Error::unsupported(format!("collection property {key}={value}")));
        }
    }
    check_zone(properties)
}

/// Checks the properties of a database that is created or altered.
pub(crate) fn check_database(properties: &BTreeMap<String, String>) -> Result<()> {
    for (key, value) in properties {
        let refused = DATABASE_UNSUPPORTED
            .iter()
            .any(|known| key == known || (known.ends_with('.') && key.starts_with(known)));
        if refused && !switched_off(value) {
            return Err(Error::unsupported(format!("database property {key}={value}")));
        }
    }
    check_zone(properties)
}

fn check_zone(properties: &BTreeMap<String, String>) -> Result<()> {
    match properties.get(time::TIMEZONE) {
        Some(name) => time::zone(name).map(|_| ()),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(key: &str, value: &str) -> BTreeMap<String, String> {
        BTreeMap::from([(key.to_string(), value.to_string())])
    }

    #[test]
    fn properties_that_would_be_a_lie_are_refused() {
        let error = check_collection(&one("collection.ttl.seconds", "60")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "not supported: collection property collection.ttl.seconds=60"
        );
        check_collection(&one("collection.ttl.seconds", "0")).unwrap();
        check_collection(&one("mmap.enabled", "true")).unwrap();
        check_collection(&one("partitionkey.isolation", "False")).unwrap();
        check_database(&one("database.replica.number", "2")).unwrap();
        check_database(&one("database.force.deny.writing", "true")).unwrap_err();
    }

    #[test]
    fn zones_must_exist() {
        check_collection(&one("timezone", "Europe/Berlin")).unwrap();
        check_database(&one("timezone", "Nowhere")).unwrap_err();
    }
}

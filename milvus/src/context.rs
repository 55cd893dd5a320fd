//! What a call carries beside its message: gRPC metadata.
//!
//! `authorization`, `identifier` and `client-request-id` are accepted and not needed here.

use tonic::metadata::MetadataMap;

/// The database that every installation has.
const DEFAULT_DATABASE: &str = "default";

/// Metadata of one call.
#[derive(Debug, Default)]
pub(crate) struct Context {
    database: Option<String>,
}

impl Context {
    /// Reads what matters from the metadata of a call.
    pub fn of(metadata: &MetadataMap) -> Self {
        let database = metadata
            .get("dbname")
            .and_then(|value| value.to_str().ok())
            .filter(|name| !name.is_empty());
        Self {
            database: database.map(str::to_string),
        }
    }

    /// The database a request is about: its own field, else the metadata, else `default`.
    pub fn database<'a>(&'a self, requested: &'a str) -> &'a str {
        if requested.is_empty() {
            self.database.as_deref().unwrap_or(DEFAULT_DATABASE)
        } else {
            requested
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_beats_the_metadata_and_the_metadata_beats_the_default() {
        let mut metadata = MetadataMap::new();
        assert_eq!(Context::of(&metadata).database(""), "default");
        metadata.insert("dbname", "books".parse().unwrap());
        let context = Context::of(&metadata);
        assert_eq!(context.database(""), "books");
        assert_eq!(context.database("films"), "films");
        metadata.insert("dbname", "".parse().unwrap());
        assert_eq!(Context::of(&metadata).database(""), "default");
    }
}

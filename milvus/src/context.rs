//! What a call carries beside its message: gRPC metadata.
//!
//! `identifier` and `client-request-id` are accepted and not needed here; of `authorization`, the user is left.

use std::sync::Arc;

use tonic::Request;
use tonic::metadata::MetadataMap;

use crate::access::Caller;

/// The database that every installation has.
const DEFAULT_DATABASE: &str = "default";

/// Metadata of one call.
#[derive(Debug, Default)]
pub(crate) struct Context {
    database: Option<String>,
    user: Option<Arc<str>>,
}

impl Context {
    /// Reads what matters of a call.
    pub fn of<T>(request: &Request<T>) -> Self {
        let user = request.extensions().get::<Caller>();
        Self {
            user: user.map(|Caller(user)| Arc::clone(user)),
            ..Self::of_metadata(request.metadata())
        }
    }

    /// The user of the call; `None` where users are not asked for.
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    fn of_metadata(metadata: &MetadataMap) -> Self {
        // A name that is not text names no database; falling back to the default one would be worse.
        let database = metadata
            .get("dbname")
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
            .filter(|name| !name.is_empty());
        Self { database, user: None }
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
    use tonic::metadata::MetadataValue;

    use super::*;

    #[test]
    fn the_request_beats_the_metadata_and_the_metadata_beats_the_default() {
        let mut metadata = MetadataMap::new();
        assert_eq!(Context::of_metadata(&metadata).database(""), "default");
        metadata.insert("dbname", "books".parse().unwrap());
        let context = Context::of_metadata(&metadata);
        assert_eq!(context.database(""), "books");
        assert_eq!(context.database("films"), "films");
        metadata.insert("dbname", "".parse().unwrap());
        assert_eq!(Context::of_metadata(&metadata).database(""), "default");
        let not_text = MetadataValue::try_from(&b"b\xffoks"[..]).unwrap();
        metadata.insert("dbname", not_text);
        assert_eq!(Context::of_metadata(&metadata).database(""), "b\u{fffd}oks");
    }
}

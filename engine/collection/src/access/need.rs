//! What a request needs.

use super::privilege::Privilege;

/// What a need is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Scope {
    /// One collection, by its own name and not by an alias.
    Collection {
        /// Its database.
        database: String,
        /// Its name.
        collection: String,
    },
    /// A database.
    Database(String),
    /// The whole server.
    Cluster,
}

/// What a user needs for a request.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Need {
    /// Nothing but to be a user.
    Nothing,
    /// A privilege on something.
    Privilege(Privilege, Scope),
    /// To be a member of `admin`; with what for.
    Admin(&'static str),
}

impl Need {
    /// A privilege on a collection.
    pub fn collection(
        privilege: Privilege,
        database: impl Into<String>,
        collection: impl Into<String>,
    ) -> Self {
        let (database, collection) = (database.into(), collection.into());
        Self::Privilege(privilege, Scope::Collection { database, collection })
    }

    /// A privilege on a database.
    pub fn database(privilege: Privilege, database: impl Into<String>) -> Self {
        Self::Privilege(privilege, Scope::Database(database.into()))
    }

    /// A privilege on the whole server.
    #[must_use]
    pub fn cluster(privilege: Privilege) -> Self {
        Self::Privilege(privilege, Scope::Cluster)
    }
}

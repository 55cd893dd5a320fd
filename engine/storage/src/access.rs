//! Users, roles and what roles may do, as the catalog keeps them. What the names mean is for others to know.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// Everything about who may do what.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessEntries {
    /// Users by name.
    #[serde(default)]
    pub users: BTreeMap<String, UserEntry>,
    /// Roles by name.
    #[serde(default)]
    pub roles: BTreeMap<String, RoleEntry>,
    /// Names of privileges by the name of their group.
    #[serde(default)]
    pub privilege_groups: BTreeMap<String, BTreeSet<String>>,
}

impl AccessEntries {
    /// Whether there is nobody and nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.users.is_empty() && self.roles.is_empty() && self.privilege_groups.is_empty()
    }
}

/// One user.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserEntry {
    /// The salted hash of the password with its parameters; never the password.
    pub password: String,
    /// The roles that the user is a member of.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub roles: BTreeSet<String>,
    /// What people say of the user.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Creation time, `(unix milliseconds << 18) | counter`.
    pub created_ts: u64,
}

impl std::fmt::Debug for UserEntry {
    /// Without the hash: nothing that is shown needs it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UserEntry")
            .field("roles", &self.roles)
            .field("description", &self.description)
            .field("created_ts", &self.created_ts)
            .finish_non_exhaustive()
    }
}

/// One role.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoleEntry {
    /// What people say of the role.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// What its members may do.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub grants: BTreeSet<GrantEntry>,
}

/// A privilege on something.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrantEntry {
    /// Name of a database, or `*`.
    pub database: String,
    /// Name of a collection, or `*`.
    pub collection: String,
    /// Name of a privilege or of a group of them.
    pub privilege: String,
    /// Who granted it.
    pub grantor: String,
}

//! What users have: their roles' grants, as sets of bits under the names of what they are on.
//!
//! Made anew when users, roles or groups have changed, and only then. A check of one privilege on one collection is
//! three lookups at most: the collection, its database, everything.

use std::collections::HashMap;
use std::sync::Arc;

use elanus_storage::AccessEntries;

use super::need::{Need, Scope};
use super::privilege::{self, Level, Privilege};
use super::{ADMIN, ANY, PUBLIC, ROOT};

/// A set of privileges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PrivilegeSet(u128);

impl PrivilegeSet {
    /// Whether it has this one.
    #[must_use]
    pub fn contains(self, privilege: Privilege) -> bool {
        self.0 & (1 << (privilege as u8)) != 0
    }

    /// These as well.
    fn add(&mut self, more: Self) {
        self.0 |= more.0;
    }
}

impl FromIterator<Privilege> for PrivilegeSet {
    fn from_iter<I: IntoIterator<Item = Privilege>>(privileges: I) -> Self {
        let bits = privileges
            .into_iter()
            .map(|privilege| 1_u128 << (privilege as u8));
        Self(bits.fold(0, |all, bit| all | bit))
    }
}

/// What a name in a grant stands for and the level that it is granted on: a privilege, a group that is always there, a
/// group of users, or `*` for all of them.
pub(crate) fn named(entries: &AccessEntries, name: &str) -> Option<(Level, PrivilegeSet)> {
    if let Some(privilege) = Privilege::named(name) {
        return Some((privilege.level(), [privilege].into_iter().collect()));
    }
    if let (Some(level), Some(members)) = (privilege::group_level(name), privilege::group(name)) {
        return Some((level, members.iter().copied().collect()));
    }
    let members = entries.privilege_groups.get(name)?;
    let members: Vec<Privilege> = members.iter().filter_map(|name| Privilege::named(name)).collect();
    let level = members.iter().map(|privilege| privilege.level()).max();
    Some((level.unwrap_or(Level::Collection), members.into_iter().collect()))
}

/// The rights of one user.
#[derive(Debug, Default)]
struct Rights {
    admin: bool,
    /// By database, then by collection.
    granted: HashMap<String, HashMap<String, PrivilegeSet>>,
}

impl Rights {
    fn has(&self, database: &str, collection: &str, privilege: Privilege) -> bool {
        let set = self.granted.get(database).and_then(|of| of.get(collection));
        set.is_some_and(|set| set.contains(privilege))
    }

    fn meets(&self, need: &Need) -> bool {
        if self.admin {
            return true;
        }
        match need {
            Need::Nothing => true,
            Need::Admin(_) => false,
            Need::Privilege(privilege, Scope::Collection { database, collection }) => {
                self.has(ANY, ANY, *privilege)
                    || self.has(database, ANY, *privilege)
                    || self.has(database, collection, *privilege)
            }
            Need::Privilege(privilege, Scope::Database(database)) => {
                self.has(ANY, ANY, *privilege) || self.has(database, ANY, *privilege)
            }
            Need::Privilege(privilege, Scope::Cluster) => self.has(ANY, ANY, *privilege),
        }
    }
}

/// The rights of all users.
#[derive(Debug, Default)]
pub(crate) struct Compiled {
    source: Arc<AccessEntries>,
    users: HashMap<String, Rights>,
}

impl Compiled {
    /// The rights that these entries give.
    pub fn of(source: &Arc<AccessEntries>) -> Self {
        let users = source.users.iter().map(|(name, user)| {
            let mut rights = Rights {
                admin: name == ROOT || user.roles.contains(ADMIN),
                ..Rights::default()
            };
            rights.add(ANY, ANY, public());
            let roles = user.roles.iter().map(String::as_str).chain([PUBLIC]);
            for role in roles.filter_map(|role| source.roles.get(role)) {
                for grant in &role.grants {
                    if let Some((_, set)) = named(source, &grant.privilege) {
                        rights.add(&grant.database, &grant.collection, set);
                    }
                }
            }
            (name.clone(), rights)
        });
        Self {
            users: users.collect(),
            source: Arc::clone(source),
        }
    }

    /// Whether it was made of these.
    pub fn is_of(&self, source: &Arc<AccessEntries>) -> bool {
        Arc::ptr_eq(&self.source, source)
    }

    /// Whether a user has what is needed; one that there is not has nothing.
    pub fn meets(&self, user: &str, need: &Need) -> bool {
        self.users.get(user).is_some_and(|rights| rights.meets(need))
    }
}

impl Rights {
    fn add(&mut self, database: &str, collection: &str, set: PrivilegeSet) {
        let of_database = self.granted.entry(database.to_owned()).or_default();
        of_database.entry(collection.to_owned()).or_default().add(set);
    }
}

/// What every user may do, as in Milvus: learn the names and types of what there is, which clients ask for first.
fn public() -> PrivilegeSet {
    [
        Privilege::DescribeCollection,
        Privilege::ListAliases,
        Privilege::IndexDetail,
    ]
    .into_iter()
    .collect()
}

#[cfg(test)]
mod tests {
    use elanus_storage::{GrantEntry, RoleEntry, UserEntry};

    use super::*;

    fn entries(user_roles: &[&str], grants: &[(&str, &str, &str)]) -> Arc<AccessEntries> {
        let mut entries = AccessEntries::default();
        let user = UserEntry {
            password: String::new(),
            roles: user_roles.iter().map(ToString::to_string).collect(),
            description: String::new(),
            created_ts: 1,
        };
        entries.users.insert("ann".to_owned(), user.clone());
        entries.users.insert(
            ROOT.to_owned(),
            UserEntry {
                roles: [].into(),
                ..user
            },
        );
        let grants = grants.iter().map(|(database, collection, privilege)| GrantEntry {
            database: (*database).to_owned(),
            collection: (*collection).to_owned(),
            privilege: (*privilege).to_owned(),
            grantor: ROOT.to_owned(),
        });
        let role = RoleEntry {
            grants: grants.collect(),
            ..RoleEntry::default()
        };
        entries.roles.insert("r".to_owned(), role);
        let group = ["Query".to_owned(), "Load".to_owned()];
        entries.privilege_groups.insert("ours".to_owned(), group.into());
        Arc::new(entries)
    }

    fn may(user_roles: &[&str], grants: &[(&str, &str, &str)], need: &Need) -> bool {
        Compiled::of(&entries(user_roles, grants)).meets("ann", need)
    }

    #[test]
    fn a_grant_reaches_what_it_names_and_nothing_else() {
        let query =
            |database: &str, collection: &str| Need::collection(Privilege::Query, database, collection);
        let on_one = [("d", "a", "Query")];
        assert!(may(&["r"], &on_one, &query("d", "a")));
        assert!(!may(&["r"], &on_one, &query("d", "b")));
        assert!(!may(&["r"], &on_one, &query("e", "a")));
        assert!(!may(
            &["r"],
            &on_one,
            &Need::collection(Privilege::Insert, "d", "a")
        ));
        assert!(!may(&[], &on_one, &query("d", "a")), "no member of the role");
        let on_database = [("d", "*", "CollectionReadOnly"), ("d", "*", "DatabaseAdmin")];
        assert!(may(&["r"], &on_database, &query("d", "b")));
        assert!(!may(&["r"], &on_database, &query("e", "b")));
        assert!(may(
            &["r"],
            &on_database,
            &Need::database(Privilege::CreateCollection, "d")
        ));
        assert!(!may(
            &["r"],
            &on_database,
            &Need::database(Privilege::CreateCollection, "e")
        ));
        let on_all = [("*", "*", "ours")];
        assert!(may(&["r"], &on_all, &query("e", "b")));
        assert!(may(&["r"], &on_all, &Need::collection(Privilege::Load, "e", "b")));
        assert!(!may(&["r"], &on_all, &Need::cluster(Privilege::RegisterPlugin)));
        assert!(may(
            &["r"],
            &[("*", "*", "RegisterPlugin")],
            &Need::cluster(Privilege::RegisterPlugin)
        ));
    }

    #[test]
    fn admins_may_do_everything_and_strangers_nothing() {
        let compiled = Compiled::of(&entries(&["admin"], &[]));
        for user in ["ann", ROOT] {
            assert!(compiled.meets(user, &Need::Admin("x")));
            assert!(compiled.meets(user, &Need::cluster(Privilege::RegisterPlugin)));
        }
        assert!(!compiled.meets("bob", &Need::Nothing));
        assert!(!may(&["r"], &[("*", "*", "ClusterAdmin")], &Need::Admin("x")));
    }

    #[test]
    fn everybody_is_public() {
        assert!(may(&[], &[], &Need::Nothing));
        assert!(may(
            &[],
            &[],
            &Need::collection(Privilege::DescribeCollection, "d", "a")
        ));
        assert!(!may(&[], &[], &Need::collection(Privilege::Query, "d", "a")));
    }
}

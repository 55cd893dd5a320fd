//! Users, roles, privileges: the rules of Milvus, and what changes them.

use std::collections::BTreeSet;
use std::sync::Arc;

use elanus_storage::{AccessEntries, GrantEntry, RoleEntry, UserEntry};

use super::Collections;
use crate::access::{
    self, ADMIN, ANY, Compiled, Level, Need, PUBLIC, PasswordHash, Privilege, ROOT, Scope, check_length,
    named,
};
use crate::error::{Error, Result};

/// Longest name of a user in bytes, as in Milvus.
const MAX_USER_BYTES: usize = 32;
/// Longest name of a role or a group in bytes, as in Milvus.
const MAX_ROLE_BYTES: usize = 255;
/// Most users, and most roles and groups each: all of them are in one file.
const MAX_USERS: usize = 10_000;
const MAX_ROLES: usize = 1_000;
/// Most grants of one role.
const MAX_GRANTS: usize = 10_000;

/// A user as others may see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The name.
    pub name: String,
    /// What people say of the user.
    pub description: String,
    /// The roles that the user is a member of, without `public`, which everybody is.
    pub roles: Vec<String>,
}

/// A role as others may see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    /// The name.
    pub name: String,
    /// What people say of the role.
    pub description: String,
    /// Its members; those of `public`, which everybody is, are left out.
    pub users: Vec<String>,
}

/// What a role may do on something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The role.
    pub role: String,
    /// A database, or `*`.
    pub database: String,
    /// A collection, or `*`.
    pub collection: String,
    /// A privilege or a group of them.
    pub privilege: String,
    /// Who granted it.
    pub grantor: String,
}

impl Grant {
    fn entry(&self) -> GrantEntry {
        GrantEntry {
            database: self.database.clone(),
            collection: self.collection.clone(),
            privilege: self.privilege.clone(),
            grantor: self.grantor.clone(),
        }
    }
}

impl Collections {
    // ---- questions ----

    /// Checks a password, and gives the user's name: quickly when it was right before and has not changed.
    ///
    /// # Errors
    /// [`Error::NotAuthenticated`] for a wrong name as well as for a wrong password, after the same time.
    pub async fn authenticate(&self, user: &str, password: &str) -> Result<()> {
        let access = Arc::clone(&self.catalog.current().access);
        let slow = access.users.get(user).map(|user| user.password.as_str());
        // No password is longer, and hashing a long text takes longer.
        let is_right = check_length(password).is_ok() && self.door.is_right(user, slow, password).await?;
        if is_right {
            Ok(())
        } else {
            Err(Error::NotAuthenticated)
        }
    }

    /// A text that is another one whenever the user has another password, or is another user of the same name. It is not
    /// to be shown.
    pub fn password_stamp(&self, user: &str) -> Option<String> {
        let access = Arc::clone(&self.catalog.current().access);
        access
            .users
            .get(user)
            .map(|user| format!("{}:{}", user.created_ts, user.password))
    }

    /// Checks that a user has what is needed.
    ///
    /// # Errors
    /// [`Error::NotPermitted`].
    pub fn authorize(&self, user: &str, need: &Need) -> Result<()> {
        let catalog = self.catalog.current();
        let mut rights = self.door.rights.load_full();
        if !rights.is_of(&catalog.access) {
            rights = Arc::new(Compiled::of(&catalog.access));
            self.door.rights.store(Arc::clone(&rights));
        }
        if rights.meets(user, need) {
            return Ok(());
        }
        Err(Error::NotPermitted {
            user: user.to_owned(),
            need: need.clone(),
        })
    }

    /// All users, by name.
    pub fn users(&self) -> Vec<User> {
        let access = Arc::clone(&self.catalog.current().access);
        let users = access.users.iter();
        users.map(|(name, entry)| shown(name, entry)).collect()
    }

    /// One user.
    pub fn user(&self, name: &str) -> Option<User> {
        let access = Arc::clone(&self.catalog.current().access);
        access.users.get(name).map(|entry| shown(name, entry))
    }

    /// All roles, by name; `admin` and `public` are always there.
    pub fn roles(&self) -> Vec<Role> {
        let access = Arc::clone(&self.catalog.current().access);
        let names: BTreeSet<&str> = access
            .roles
            .keys()
            .map(String::as_str)
            .chain([ADMIN, PUBLIC])
            .collect();
        let members = |role: &str| {
            let members = access.users.iter().filter(|(_, user)| user.roles.contains(role));
            members.map(|(name, _)| name.clone()).collect()
        };
        let role = |name: &str| Role {
            name: name.to_owned(),
            description: access
                .roles
                .get(name)
                .map_or_else(String::new, |role| role.description.clone()),
            users: members(name),
        };
        names.into_iter().map(role).collect()
    }

    /// Whether there is a role of this name.
    pub fn has_role(&self, name: &str) -> bool {
        has_role(&self.catalog.current().access, name)
    }

    /// What roles were granted, of one role or of all.
    ///
    /// # Errors
    /// There is no such role.
    pub fn grants(&self, role: Option<&str>) -> Result<Vec<Grant>> {
        let access = Arc::clone(&self.catalog.current().access);
        if let Some(role) = role {
            refuse_unknown_role(&access, role)?;
        }
        let roles = access
            .roles
            .iter()
            .filter(|(name, _)| role.is_none_or(|role| role == *name));
        let grants = roles.flat_map(|(role, entry)| {
            entry.grants.iter().map(|grant| Grant {
                role: role.clone(),
                database: grant.database.clone(),
                collection: grant.collection.clone(),
                privilege: grant.privilege.clone(),
                grantor: grant.grantor.clone(),
            })
        });
        Ok(grants.collect())
    }

    /// The groups of privileges that users have made, by name.
    pub fn privilege_groups(&self) -> Vec<(String, Vec<String>)> {
        let access = Arc::clone(&self.catalog.current().access);
        let groups = access.privilege_groups.iter();
        groups
            .map(|(name, members)| (name.clone(), members.iter().cloned().collect()))
            .collect()
    }

    // ---- users ----

    /// Makes a user.
    ///
    /// # Errors
    /// A bad name, a name in use, a password that is too short or too long, or a storage error.
    pub async fn create_user(&self, name: &str, password: &str, description: &str) -> Result<()> {
        check_user_name(name)?;
        let password = self.hash(password).await?;
        let created_ts = self.context.oracle.next();
        self.change(|access| {
            if access.users.contains_key(name) {
                return Err(Error::InvalidParameter(format!("user already exists: {name}")));
            }
            refuse_more("users", access.users.len(), MAX_USERS)?;
            let entry = UserEntry {
                password: password.clone(),
                roles: BTreeSet::new(),
                description: description.to_owned(),
                created_ts,
            };
            access.users.insert(name.to_owned(), entry);
            Ok(())
        })
        .await
    }

    /// Gives a user another password.
    ///
    /// # Errors
    /// There is no such user, a password that is too short or too long, or a storage error.
    pub async fn change_password(&self, name: &str, password: &str) -> Result<()> {
        if self.user(name).is_none() {
            return Err(unknown_user(name));
        }
        let password = self.hash(password).await?;
        self.change(|access| {
            let user = access.users.get_mut(name).ok_or_else(|| unknown_user(name))?;
            user.password.clone_from(&password);
            Ok(())
        })
        .await?;
        self.door.forget(name);
        Ok(())
    }

    /// Says something else of a user.
    ///
    /// # Errors
    /// There is no such user, or a storage error.
    pub async fn describe_user(&self, name: &str, description: &str) -> Result<()> {
        self.change(|access| {
            let user = access.users.get_mut(name).ok_or_else(|| unknown_user(name))?;
            description.clone_into(&mut user.description);
            Ok(())
        })
        .await
    }

    /// Removes a user; whether there was one.
    ///
    /// # Errors
    /// It is `root`, or a storage error.
    pub async fn drop_user(&self, name: &str) -> Result<bool> {
        if name == ROOT {
            return Err(Error::InvalidParameter(format!("user {ROOT} cannot be deleted")));
        }
        let was = self
            .change(|access| Ok(access.users.remove(name).is_some()))
            .await?;
        self.door.forget(name);
        Ok(was)
    }

    // ---- roles ----

    /// Makes a role.
    ///
    /// # Errors
    /// A bad name, a name in use, or a storage error.
    pub async fn create_role(&self, name: &str, description: &str) -> Result<()> {
        check_role_name("role", name)?;
        self.change(|access| {
            if has_role(access, name) {
                return Err(Error::InvalidParameter(format!(
                    "role [name:\"{name}\"] already exists"
                )));
            }
            refuse_more("roles", access.roles.len(), MAX_ROLES)?;
            let entry = RoleEntry {
                description: description.to_owned(),
                grants: BTreeSet::new(),
            };
            access.roles.insert(name.to_owned(), entry);
            Ok(())
        })
        .await
    }

    /// Says something else of a role.
    ///
    /// # Errors
    /// There is no such role, or a storage error.
    pub async fn describe_role(&self, name: &str, description: &str) -> Result<()> {
        self.change(|access| {
            refuse_unknown_role(access, name)?;
            let role = access.roles.entry(name.to_owned()).or_default();
            description.clone_into(&mut role.description);
            Ok(())
        })
        .await
    }

    /// Removes a role from its members and from the list; whether there was one. One that has been granted something is
    /// kept, unless it is to go by `force`.
    ///
    /// # Errors
    /// A role that is always there, one with grants, or a storage error.
    pub async fn drop_role(&self, name: &str, force: bool) -> Result<bool> {
        if [ADMIN, PUBLIC].contains(&name) {
            return Err(Error::InvalidParameter(format!(
                "the role[{name}] is a default role, which can't be dropped"
            )));
        }
        self.change(|access| {
            let Some(role) = access.roles.get(name) else {
                return Ok(false);
            };
            if !force && !role.grants.is_empty() {
                return Err(Error::InvalidParameter(format!(
                    "fail to drop the role that it has privileges: revoke the {} grants of '{name}' first, or drop it by force",
                    role.grants.len()
                )));
            }
            access.roles.remove(name);
            for user in access.users.values_mut() {
                user.roles.remove(name);
            }
            Ok(true)
        })
        .await
    }

    /// Makes a user a member of a role, or ends that.
    ///
    /// # Errors
    /// There is no such user or role, or a storage error.
    pub async fn change_membership(&self, user: &str, role: &str, member: bool) -> Result<()> {
        self.change(|access| {
            refuse_unknown_role(access, role)?;
            let entry = access.users.get_mut(user).ok_or_else(|| unknown_user(user))?;
            match (member, role) {
                // Everybody is one.
                (true, PUBLIC) => {}
                (false, PUBLIC) => {
                    return Err(Error::InvalidParameter(
                        "every user is a member of the role public".to_owned(),
                    ));
                }
                (true, _) => {
                    entry.roles.insert(role.to_owned());
                }
                (false, _) => {
                    entry.roles.remove(role);
                }
            }
            Ok(())
        })
        .await
    }

    // ---- privileges ----

    /// Grants a privilege to a role. A grant on an alias is one on its collection.
    ///
    /// # Errors
    /// There is no such role, privilege or database, the privilege is not of what it is granted on, or a storage error.
    pub async fn grant(&self, grant: Grant) -> Result<()> {
        let grant = self.checked(grant)?;
        self.change(|access| {
            refuse_unknown_role(access, &grant.role)?;
            let role = access.roles.entry(grant.role.clone()).or_default();
            // Who granted it first stays.
            if role.grants.iter().any(|known| is_same(known, &grant)) {
                return Ok(());
            }
            refuse_more("grants of one role", role.grants.len(), MAX_GRANTS)?;
            role.grants.insert(grant.entry());
            Ok(())
        })
        .await
    }

    /// Takes a privilege from a role; whether it had it.
    ///
    /// # Errors
    /// As [`Collections::grant`].
    pub async fn revoke(&self, grant: Grant) -> Result<bool> {
        let grant = self.checked(grant)?;
        self.change(|access| {
            refuse_unknown_role(access, &grant.role)?;
            let role = access.roles.entry(grant.role.clone()).or_default();
            let before = role.grants.len();
            role.grants.retain(|known| !is_same(known, &grant));
            Ok(role.grants.len() < before)
        })
        .await
    }

    /// A grant under the names that it is kept by.
    fn checked(&self, mut grant: Grant) -> Result<Grant> {
        if grant.role == ADMIN {
            return Err(Error::InvalidParameter(format!(
                "the role {ADMIN} has every privilege, which can be neither granted nor revoked"
            )));
        }
        let access = Arc::clone(&self.catalog.current().access);
        let Some((level, _)) = named(&access, &grant.privilege) else {
            return Err(unknown_privilege(&grant.privilege));
        };
        if let Some(privilege) = Privilege::named(&grant.privilege) {
            privilege.name().clone_into(&mut grant.privilege);
        }
        let wrong = |what: &str| {
            Err(Error::InvalidParameter(format!(
                "the privilege {} is one on a {}: {what}[database={}][collection={}]",
                grant.privilege,
                level.name(),
                grant.database,
                grant.collection
            )))
        };
        let (any_database, any_collection) = (grant.database == ANY, grant.collection == ANY);
        if level == Level::Cluster && !(any_database && any_collection) {
            return wrong("database and collection must be *");
        }
        if level == Level::Database && !any_collection {
            return wrong("the collection must be *");
        }
        if any_database && !any_collection {
            return wrong("one collection is of one database");
        }
        if grant.database != ANY {
            self.database(&grant.database)?;
            // Names of what is not there yet may be granted; grants are by name, as in Milvus.
            if let Ok(collection) = self.collection(&grant.database, &grant.collection) {
                grant.collection = collection.name();
            }
        }
        Ok(grant)
    }

    /// Makes a group of privileges.
    ///
    /// # Errors
    /// A bad name, a name in use, or a storage error.
    pub async fn create_privilege_group(&self, name: &str) -> Result<()> {
        check_role_name("privilege group", name)?;
        self.change(|access| {
            if named(access, name).is_some() {
                return Err(Error::InvalidParameter(format!(
                    "privilege group already exists: {name}"
                )));
            }
            refuse_more("privilege groups", access.privilege_groups.len(), MAX_ROLES)?;
            access.privilege_groups.insert(name.to_owned(), BTreeSet::new());
            Ok(())
        })
        .await
    }

    /// Removes a group of privileges that no role has; whether there was one.
    ///
    /// # Errors
    /// A group that is always there, one that roles have, or a storage error.
    pub async fn drop_privilege_group(&self, name: &str) -> Result<bool> {
        refuse_built_in_group(name)?;
        self.change(|access| {
            let mut roles = access.roles.iter();
            if let Some((role, _)) =
                roles.find(|(_, role)| role.grants.iter().any(|grant| grant.privilege == name))
            {
                return Err(Error::InvalidParameter(format!(
                    "privilege group [{name}] is used by role [{role}], revoke it first"
                )));
            }
            Ok(access.privilege_groups.remove(name).is_some())
        })
        .await
    }

    /// Puts privileges into a group, or takes them out. Those of a group that is named are put in one by one.
    ///
    /// # Errors
    /// There is no such group or privilege, privileges of another level than the group's, or a storage error.
    pub async fn change_privilege_group(&self, name: &str, privileges: &[String], add: bool) -> Result<()> {
        refuse_built_in_group(name)?;
        self.change(|access| {
            let mut members = BTreeSet::new();
            for privilege in privileges {
                let (_, set) = named(access, privilege).ok_or_else(|| unknown_privilege(privilege))?;
                members.extend(Privilege::ALL.iter().copied().filter(|one| set.contains(*one)));
            }
            let Some(group) = access.privilege_groups.get_mut(name) else {
                return Err(Error::InvalidParameter(format!(
                    "there is no privilege group name [{name}]"
                )));
            };
            for privilege in &members {
                if add {
                    group.insert(privilege.name().to_owned());
                } else {
                    group.remove(privilege.name());
                }
            }
            let levels: BTreeSet<Level> = group
                .iter()
                .filter_map(|name| Privilege::named(name))
                .map(Privilege::level)
                .collect();
            if levels.len() > 1 {
                return Err(Error::InvalidParameter(format!(
                    "the privileges of one group are all of one level, those of {name} would be of {}",
                    levels
                        .iter()
                        .map(|level| level.name())
                        .collect::<Vec<_>>()
                        .join(", ")
                )));
            }
            let level = levels.first().copied();
            let in_use = access.roles.values().flat_map(|role| &role.grants);
            let mut in_use = in_use.filter(|grant| grant.privilege == name);
            let fits = |grant: &GrantEntry| match level {
                Some(Level::Cluster) => grant.database == ANY && grant.collection == ANY,
                Some(Level::Database) => grant.collection == ANY,
                Some(Level::Collection) | None => true,
            };
            if let Some(grant) = in_use.find(|grant| !fits(grant)) {
                return Err(Error::InvalidParameter(format!(
                    "group {name} is granted on {}.{}, which privileges of this level cannot be",
                    grant.database, grant.collection
                )));
            }
            Ok(())
        })
        .await
    }

    // ---- parts ----

    async fn hash(&self, password: &str) -> Result<String> {
        check_length(password)?;
        let password = password.to_owned();
        let hash = self.door.slowly(move || PasswordHash::new(&password)).await??;
        Ok(hash.to_text())
    }

    async fn change<R>(&self, mut edit: impl FnMut(&mut AccessEntries) -> Result<R>) -> Result<R> {
        let edit = |catalog: &mut elanus_storage::Catalog| edit(Arc::make_mut(&mut catalog.access));
        self.catalog.update(edit).await
    }
}

fn shown(name: &str, entry: &UserEntry) -> User {
    let mut roles: Vec<String> = entry.roles.iter().cloned().collect();
    if name == ROOT && !entry.roles.contains(ADMIN) {
        roles.insert(0, ADMIN.to_owned());
    }
    User {
        name: name.to_owned(),
        description: entry.description.clone(),
        roles,
    }
}

fn is_same(known: &GrantEntry, grant: &Grant) -> bool {
    known.database == grant.database
        && known.collection == grant.collection
        && known.privilege == grant.privilege
}

fn has_role(access: &AccessEntries, name: &str) -> bool {
    [ADMIN, PUBLIC].contains(&name) || access.roles.contains_key(name)
}

fn refuse_unknown_role(access: &AccessEntries, name: &str) -> Result<()> {
    if has_role(access, name) {
        return Ok(());
    }
    Err(Error::InvalidParameter(format!("there is no role '{name}'")))
}

fn unknown_user(name: &str) -> Error {
    Error::InvalidParameter(format!("there is no user '{name}'"))
}

fn unknown_privilege(name: &str) -> Error {
    let known: Vec<&str> = Privilege::ALL
        .iter()
        .map(|privilege| privilege.name())
        .chain(access::group_names())
        .collect();
    let near = known
        .iter()
        .map(|known| {
            (
                strsim::jaro_winkler(&known.to_lowercase(), &name.to_lowercase()),
                known,
            )
        })
        .filter(|(similarity, _)| *similarity > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    let hint = match near {
        Some((_, near)) => format!("did you mean {near}?"),
        None => format!("the privileges and groups are {}", known.join(", ")),
    };
    Error::InvalidParameter(format!("not found the privilege name [{name}]: {hint}"))
}

fn refuse_built_in_group(name: &str) -> Result<()> {
    if access::group(name).is_some() {
        return Err(Error::InvalidParameter(format!(
            "privilege group [{name}] is always there and cannot be changed"
        )));
    }
    Ok(())
}

fn refuse_more(what: &str, there: usize, most: usize) -> Result<()> {
    if there < most {
        return Ok(());
    }
    Err(Error::LimitExceeded(format!(
        "there are {there} {what}: at most {most}"
    )))
}

fn check_user_name(name: &str) -> Result<()> {
    let wrong = |why: &str| {
        Err(Error::InvalidParameter(format!(
            "invalid username '{name}': {why}"
        )))
    };
    if name.is_empty() || name.len() > MAX_USER_BYTES {
        return wrong("the length of username must be 1 to 32 bytes");
    }
    if !name.starts_with(|first: char| first.is_ascii_alphabetic()) {
        return wrong("the first character must be a letter");
    }
    if !name
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c))
    {
        return wrong("allowed are letters, digits, _, - and .");
    }
    Ok(())
}

fn check_role_name(what: &str, name: &str) -> Result<()> {
    let wrong = |why: &str| {
        Err(Error::InvalidParameter(format!(
            "invalid {what} name '{name}': {why}"
        )))
    };
    if name.is_empty() || name.len() > MAX_ROLE_BYTES {
        return wrong("the length must be 1 to 255 bytes");
    }
    if !name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_') {
        return wrong("the first character must be an underscore or letter");
    }
    if !name
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "_$".contains(c))
    {
        return wrong("allowed are letters, digits, _ and $");
    }
    Ok(())
}

/// The words of [`Error::NotPermitted`], those of Milvus.
pub(crate) fn not_permitted(user: &str, need: &Need) -> String {
    match need {
        Need::Privilege(privilege, scope) => {
            let place = match scope {
                Scope::Collection { database, collection } => {
                    format!("in the `{database}` database[collection={collection}]")
                }
                Scope::Database(database) => format!("in the `{database}` database"),
                Scope::Cluster => "on the server".to_owned(),
            };
            format!("Privilege{}: permission deny to {user} {place}", privilege.name())
        }
        Need::Admin(what) => format!("permission deny to {user}: {what} is for members of the role {ADMIN}"),
        Need::Nothing => format!("permission deny to {user}, who is no user any more"),
    }
}

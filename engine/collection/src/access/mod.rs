//! Who may do what: users with passwords, roles, and privileges that are granted to roles.
//!
//! | file | what |
//! |---|---|
//! | `privilege` | the privileges and the groups of them that are always there, as Milvus names them |
//! | `need` | what a request needs, and on what |
//! | `rights` | what a user has, out of the roles, compiled so that a check is two or three hash lookups |
//! | `credentials` | names and passwords as clients send them |
//! | `password` | the slow hash of a password |
//! | `door` | the question whether a password is right, answered quickly for those that were right before |
//!
//! The rules of names and what changes users, roles and grants are in `manager/access.rs`. Nothing here knows whether
//! requests are checked at all: that is for the doors.

mod credentials;
mod door;
mod need;
mod password;
mod privilege;
mod rights;

pub use credentials::{Credentials, NoCredentials, from_base64};
pub(crate) use door::Door;
pub use need::{Need, Scope};
pub(crate) use password::{PasswordHash, check_length};
pub use privilege::{Level, Privilege, group, group_level, group_names};
pub use rights::PrivilegeSet;
pub(crate) use rights::{Compiled, named};

/// The user that is always there, and may do everything.
pub const ROOT: &str = "root";
/// The role that may do everything.
pub const ADMIN: &str = "admin";
/// The role that every user is a member of.
pub const PUBLIC: &str = "public";
/// Every database, or every collection.
pub const ANY: &str = "*";

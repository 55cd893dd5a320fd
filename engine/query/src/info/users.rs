//! `elanus_catalog.users`, `roles` and `grants`: who may do what, for those who may know.

use arrow::array::RecordBatch;
use datafusion::error::Result;
use elanus_collection::{Collections, Grant, Role, User};

use super::{table, text};
use crate::error::external;

/// A row is a user.
pub(super) fn users(collections: &Collections) -> Result<RecordBatch> {
    let all = collections.users();
    let texts = |of: fn(&User) -> String| all.iter().map(of).map(given).collect::<Vec<_>>().into_iter();
    table(vec![
        text("user", texts(|user| user.name.clone())),
        text("roles", texts(|user| user.roles.join(", "))),
        text("description", texts(|user| user.description.clone())),
    ])
}

/// A row is a role.
pub(super) fn roles(collections: &Collections) -> Result<RecordBatch> {
    let all = collections.roles();
    let texts = |of: fn(&Role) -> String| all.iter().map(of).map(given).collect::<Vec<_>>().into_iter();
    table(vec![
        text("role", texts(|role| role.name.clone())),
        text("users", texts(|role| role.users.join(", "))),
        text("description", texts(|role| role.description.clone())),
    ])
}

/// A row is a privilege of a role on something.
pub(super) fn grants(collections: &Collections) -> Result<RecordBatch> {
    let all = collections.grants(None).map_err(external)?;
    let texts = |of: fn(&Grant) -> String| all.iter().map(of).map(given).collect::<Vec<_>>().into_iter();
    table(vec![
        text("role", texts(|grant| grant.role.clone())),
        text("privilege", texts(|grant| grant.privilege.clone())),
        text("database", texts(|grant| grant.database.clone())),
        text("collection", texts(|grant| grant.collection.clone())),
        text("grantor", texts(|grant| grant.grantor.clone())),
    ])
}

/// A text; NULL when there is none.
fn given(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

//! The user that a server begins with.

use anyhow::Context;
use elanus_collection::Collections;
use elanus_collection::access::ROOT;

use crate::settings::{Password, ROOT_PASSWORD};

/// Sees to it that there is a `root`. Once there is, its password is the one in the catalog.
///
/// # Errors
/// There is none yet and no password for it, or one that is too short or too long.
pub async fn ensure_root(collections: &Collections, password: Option<&Password>) -> anyhow::Result<()> {
    if collections.user(ROOT).is_some() {
        return Ok(());
    }
    let password = password.with_context(|| {
        format!(
            "--auth asks for users and there is no {ROOT} yet: give its first password in the variable {ROOT_PASSWORD} or in \
             the file that --root-password-file names (6 to 72 bytes)"
        )
    })?;
    collections
        .create_user(ROOT, password.text(), "")
        .await
        .with_context(|| format!("cannot make the user {ROOT}"))?;
    tracing::info!("the user {ROOT} was made with the password that was given");
    Ok(())
}

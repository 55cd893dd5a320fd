//! Users of an engine.

use datafusion::prelude::SessionContext;
use elanus_collection::Error;
use elanus_collection::access::Need;

use super::{Engine, IngestMode};
use crate::access::{self, SessionUser};
use crate::error::Result;
use crate::session;

impl Engine {
    /// Whether requests need a user.
    pub fn authentication(&self) -> bool {
        self.inner.resources.authentication
    }

    /// A session of a user who has been authenticated, in which unqualified table names are those of `database`; `None` is
    /// nobody, as in [`Engine::session`].
    ///
    /// # Errors
    /// `DatabaseNotFound`.
    pub fn session_of(&self, database: &str, user: Option<&str>) -> Result<SessionContext> {
        self.inner.collections.database(database)?;
        Ok(session::session(
            &self.inner.base,
            database,
            user.map(SessionUser::new),
        ))
    }

    /// Checks that a user has what a request needs; `None` is nobody. Nothing is needed where there is no authentication.
    ///
    /// # Errors
    /// `NotAuthenticated` and `NotPermitted`.
    pub fn authorize(&self, user: Option<&str>, need: &Need) -> Result<()> {
        if !self.authentication() {
            return Ok(());
        }
        let user = user.ok_or(Error::NotAuthenticated)?;
        Ok(self.inner.collections.authorize(user, need)?)
    }

    /// Checks that the user of a session may ingest.
    ///
    /// # Errors
    /// As [`Engine::authorize`].
    pub fn permit_ingest(
        &self,
        session: &SessionContext,
        database: &str,
        table: &str,
        mode: IngestMode,
    ) -> Result<()> {
        let needs = access::ingest_needs(&self.inner.collections, database, table, mode);
        self.permit(session, &needs)
    }

    /// Checks that the user of a session has what is needed.
    pub(super) fn permit(&self, session: &SessionContext, needs: &[Need]) -> Result<()> {
        access::check(&self.inner.collections, &self.inner.resources, session, needs)
    }
}

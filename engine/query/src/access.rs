//! Who may run a statement: what it needs, found while it is planned, and the user of its session.
//!
//! ```text
//!   planning:  every collection that a name or a search leads to is noted    (recording, reached)
//!              + what the plan writes                                          -> needs, kept with the plan
//!   a command: what its syntax tree says                                       -> needs (`sql/rights.rs`)
//!   each run:  needs against the rights of now                                 (check)
//! ```
//!
//! The notes are taken where names become tables, not in the plan: so views, subqueries, joins and earlier states count
//! without a list of the shapes that a plan may have. Where the server does not authenticate, nothing is looked at.

use std::sync::Arc;

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::DefaultTableSource;
use datafusion::logical_expr::dml::MergeIntoAction;
use datafusion::logical_expr::{DmlStatement, LogicalPlan, WriteOp};
use datafusion::prelude::SessionContext;
use elanus_collection::access::{Need, Privilege};
use elanus_collection::{Collection, Collections, Error};
use parking_lot::Mutex;
use std::collections::HashMap;

use crate::engine::IngestMode;
use crate::error::Result;
use crate::resources::Resources;
use crate::table::CollectionTable;

tokio::task_local! {
    static REACHED: Mutex<Vec<Reached>>;
}

/// What planning came by.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Reached {
    need: Need,
    /// The collection that a name in the statement stands for; it may be the one that is only written.
    named: Option<i64>,
}

/// Does `work` and gives the notes that were taken meanwhile.
pub(crate) async fn recording<T>(work: impl Future<Output = T>) -> (T, Notes) {
    let recorded = async {
        let done = work.await;
        let notes = REACHED.with(|notes| std::mem::take(&mut *notes.lock()));
        (done, Notes(notes))
    };
    REACHED.scope(Mutex::default(), recorded).await
}

/// What was noted.
#[derive(Debug, Default)]
pub(crate) struct Notes(Vec<Reached>);

/// Notes that a name stands for a collection, whose rows may be read.
pub(crate) fn named(collection: &Collection) {
    note(of(Privilege::Query, collection), Some(collection.id()));
}

/// Notes that a collection is searched, or read in another state.
pub(crate) fn reached(privilege: Privilege, collection: &Collection) {
    note(of(privilege, collection), None);
}

/// Notes what else is needed.
pub(crate) fn needed(need: Need) {
    note(need, None);
}

fn note(need: Need, named: Option<i64>) {
    // Nobody records when tables are listed, or a plan is made of a plan.
    let _unrecorded = REACHED.try_with(|notes| notes.lock().push(Reached { need, named }));
}

/// A privilege on a collection.
pub(crate) fn of(privilege: Privilege, collection: &Collection) -> Need {
    Need::collection(privilege, collection.database(), collection.name())
}

impl Notes {
    /// What running the plan needs.
    ///
    /// # Errors
    /// The plan cannot be walked through.
    pub fn needs(self, plan: &LogicalPlan) -> Result<Vec<Need>> {
        let mut needs = Vec::new();
        let mut written_only = Vec::new();
        plan.apply_with_subqueries(|node| {
            match node {
                LogicalPlan::Dml(dml) => writes(dml, &mut needs, &mut written_only)?,
                LogicalPlan::Ddl(_) | LogicalPlan::Copy(_) => needs.push(Need::Admin("this statement")),
                _ => {}
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        for note in self.0 {
            let is_written_only = note.named.is_some_and(|id| written_only.contains(&id));
            if !is_written_only && !needs.contains(&note.need) {
                needs.push(note.need);
            }
        }
        Ok(needs)
    }
}

/// What a node that writes needs, and its collection if it is written alone.
fn writes(
    dml: &DmlStatement,
    needs: &mut Vec<Need>,
    written_only: &mut Vec<i64>,
) -> datafusion::error::Result<()> {
    let source = dml.target.downcast_ref::<DefaultTableSource>();
    let table = source.and_then(|source| source.table_provider.downcast_ref::<CollectionTable>());
    let Some(table) = table else {
        needs.push(Need::Admin("writing to what is no collection"));
        return Ok(());
    };
    let collection = table.collection();
    let privileges = match &dml.op {
        WriteOp::Insert(_) => {
            if !is_read(&dml.input, collection.id())? {
                written_only.push(collection.id());
            }
            vec![Privilege::Insert]
        }
        WriteOp::Update => vec![Privilege::Upsert],
        WriteOp::Delete => vec![Privilege::Delete],
        WriteOp::MergeInto(merge) => {
            let of = |action: &MergeIntoAction| match action {
                MergeIntoAction::Insert { .. } => Privilege::Insert,
                MergeIntoAction::Update(_) => Privilege::Upsert,
                MergeIntoAction::Delete => Privilege::Delete,
            };
            merge.clauses.iter().map(|clause| of(&clause.action)).collect()
        }
        // CREATE TABLE AS, TRUNCATE and what is not there yet.
        _ => {
            needs.push(Need::Admin("this statement"));
            Vec::new()
        }
    };
    needs.extend(privileges.into_iter().map(|privilege| of(privilege, collection)));
    Ok(())
}

/// Whether a plan reads a collection; also when that cannot be told.
fn is_read(plan: &LogicalPlan, id: i64) -> datafusion::error::Result<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        found |= match node {
            LogicalPlan::TableScan(scan) => {
                let source = scan.source.downcast_ref::<DefaultTableSource>();
                let table = source.and_then(|source| source.table_provider.downcast_ref::<CollectionTable>());
                table.is_none_or(|table| table.collection().id() == id)
            }
            LogicalPlan::Extension(_) => true,
            _ => false,
        };
        Ok(if found {
            TreeNodeRecursion::Stop
        } else {
            TreeNodeRecursion::Continue
        })
    })?;
    Ok(found)
}

/// The user of a session, and what the statements need that were prepared in it by name.
#[derive(Debug)]
pub(crate) struct SessionUser {
    /// The name.
    pub name: Arc<str>,
    prepared: Mutex<HashMap<String, Arc<[Need]>>>,
}

impl SessionUser {
    /// A user who has prepared nothing.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            prepared: Mutex::default(),
        }
    }

    /// The user of a session; `None` where the server does not authenticate.
    pub fn of(session: &SessionContext) -> Option<Arc<Self>> {
        session.state_ref().read().config().get_extension::<Self>()
    }

    /// Keeps what a statement needs that is prepared under a name.
    pub fn keep(&self, statement: &str, needs: &[Need]) {
        self.prepared.lock().insert(statement.to_owned(), needs.into());
    }

    /// What the statement needs that was prepared under a name; of one that is not known, what only admins have.
    pub fn needs_of(&self, statement: &str) -> Arc<[Need]> {
        let known = self.prepared.lock().get(statement).cloned();
        known.unwrap_or_else(|| [Need::Admin("a statement of an unknown name")].into())
    }
}

/// Checks that the user of a session has what is needed.
///
/// # Errors
/// [`Error::NotPermitted`]; [`Error::NotAuthenticated`] for a session of nobody.
pub(crate) fn check(
    collections: &Collections,
    resources: &Resources,
    session: &SessionContext,
    needs: &[Need],
) -> Result<()> {
    if !resources.authentication {
        return Ok(());
    }
    let user = SessionUser::of(session).ok_or(Error::NotAuthenticated)?;
    collections.authorize(&user.name, &Need::Nothing)?;
    for need in needs {
        collections.authorize(&user.name, need)?;
    }
    Ok(())
}

/// What an ingest needs.
pub(crate) fn ingest_needs(
    collections: &Collections,
    database: &str,
    table: &str,
    mode: IngestMode,
) -> Vec<Need> {
    let there = collections.collection(database, table).ok();
    let creates = Need::database(Privilege::CreateCollection, database);
    let insert = match &there {
        Some(collection) => of(Privilege::Insert, collection),
        None => Need::collection(Privilege::Insert, database, table),
    };
    match (mode, there.is_some()) {
        (IngestMode::Append, _) | (IngestMode::CreateAppend, true) => vec![insert],
        (IngestMode::Create, _) | (IngestMode::CreateAppend, false) => vec![insert, creates],
        (IngestMode::Replace, _) => {
            vec![
                insert,
                creates,
                Need::database(Privilege::DropCollection, database),
            ]
        }
    }
}

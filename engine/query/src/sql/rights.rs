//! What statements need that have no plan. One that is not here needs an admin: whoever adds a statement says what it
//! needs, or it is for admins alone.

use elanus_collection::Collection;
use elanus_collection::access::{Need, Privilege};
use sqlparser::ast::{
    AlterTable, AlterTableOperation, CopySource, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArguments, ObjectName, ObjectType, Statement as SqlStatement,
};

use super::{Router, create_index, plugins, snapshots, users};
use crate::access::of;
use crate::error::Result;

impl Router<'_> {
    /// What running a command needs.
    ///
    /// # Errors
    /// A name that is none.
    pub(super) fn needs_of(&self, statement: &SqlStatement) -> Result<Vec<Need>> {
        Ok(match statement {
            // About the session alone; what is prepared is looked at when it is planned.
            SqlStatement::Use(_)
            | SqlStatement::Set(_)
            | SqlStatement::Prepare { .. }
            | SqlStatement::Deallocate { .. } => Vec::new(),
            SqlStatement::CreateTable(create) => {
                vec![self.on_database(Privilege::CreateCollection, &create.name)?]
            }
            // What its query reads is looked at when that is planned.
            SqlStatement::CreateView(view) => {
                let mut needs = vec![self.on_database(Privilege::CreateCollection, &view.name)?];
                if view.or_replace {
                    needs.push(self.on_database(Privilege::DropCollection, &view.name)?);
                }
                needs
            }
            SqlStatement::AlterTable(alter) => self.alter_needs(alter)?,
            SqlStatement::CreateIndex(create) => {
                vec![self.on_table(Privilege::CreateIndex, &create.table_name)?]
            }
            SqlStatement::CreateSchema { .. } | SqlStatement::CreateDatabase { .. } => {
                vec![Need::cluster(Privilege::CreateDatabase)]
            }
            SqlStatement::Drop {
                object_type,
                names,
                table,
                ..
            } => self.drop_needs(*object_type, names, table.as_ref())?,
            SqlStatement::Copy { source, to, .. } => {
                let mut needs = vec![Need::cluster(Privilege::UseFiles)];
                if let (CopySource::Table { table_name, .. }, false) = (source, to) {
                    needs.push(self.on_table(Privilege::Insert, table_name)?);
                }
                needs
            }
            SqlStatement::Vacuum(vacuum) => {
                let tables = self.one_or_all(vacuum.table_name.as_ref())?;
                tables
                    .iter()
                    .map(|table| of(Privilege::Compaction, table))
                    .collect()
            }
            SqlStatement::Analyze(analyze) => {
                let tables = self.one_or_all(analyze.table_name.as_ref())?;
                tables.iter().map(|table| of(Privilege::Query, table)).collect()
            }
            SqlStatement::Call(call) if plugins::is_ours(call) => {
                vec![Need::cluster(Privilege::RegisterPlugin)]
            }
            SqlStatement::Call(call) if users::is_ours(call) => users::needs_of(call, self.session),
            SqlStatement::Call(call) => match (snapshots::privilege_of(call), table_of(call)) {
                (Some(privilege), Some(table)) => vec![self.on_table(privilege, &table)?],
                _ => vec![Need::Admin("this statement")],
            },
            _ => vec![Need::Admin("this statement")],
        })
    }

    /// What `CREATE EXTERNAL TABLE` needs.
    pub(super) fn external_table_needs(&self, name: &ObjectName, replaces: bool) -> Result<Vec<Need>> {
        let mut needs = vec![
            Need::cluster(Privilege::UseFiles),
            self.on_database(Privilege::CreateCollection, name)?,
        ];
        if replaces {
            needs.push(self.on_database(Privilege::DropCollection, name)?);
        }
        Ok(needs)
    }

    fn alter_needs(&self, alter: &AlterTable) -> Result<Vec<Need>> {
        let mut needs = Vec::new();
        for operation in &alter.operations {
            needs.push(match operation {
                AlterTableOperation::RenameTable { .. } => {
                    self.on_database(Privilege::RenameCollection, &alter.name)?
                }
                AlterTableOperation::AddColumn { .. } => {
                    self.on_table(Privilege::AddCollectionField, &alter.name)?
                }
                _ => self.on_table(Privilege::AlterCollectionSchema, &alter.name)?,
            });
        }
        Ok(needs)
    }

    fn drop_needs(
        &self,
        kind: ObjectType,
        names: &[ObjectName],
        table: Option<&ObjectName>,
    ) -> Result<Vec<Need>> {
        let mut needs = Vec::new();
        for name in names {
            match (kind, table) {
                (ObjectType::Table | ObjectType::View, _) => {
                    needs.push(self.on_database(Privilege::DropCollection, name)?);
                }
                (ObjectType::Schema | ObjectType::Database, _) => {
                    needs.push(Need::cluster(Privilege::DropDatabase));
                }
                (ObjectType::Index, Some(table)) => needs.push(self.on_table(Privilege::DropIndex, table)?),
                (ObjectType::Index, None) => {
                    let index = create_index::plain_name(name)?;
                    let all = self.collections.list(&self.database())?;
                    let has = |table: &&std::sync::Arc<Collection>| {
                        table.indexes().iter().any(|known| known.name == index)
                    };
                    needs.extend(
                        all.iter()
                            .filter(has)
                            .map(|table| of(Privilege::DropIndex, table)),
                    );
                }
                _ => needs.push(Need::Admin("this statement")),
            }
        }
        Ok(needs)
    }

    fn on_database(&self, privilege: Privilege, table: &ObjectName) -> Result<Need> {
        let (database, _) = self.table_name(table)?;
        Ok(Need::database(privilege, database))
    }

    /// A privilege on a table, by its own name if it is there.
    fn on_table(&self, privilege: Privilege, table: &ObjectName) -> Result<Need> {
        let (database, name) = self.table_name(table)?;
        Ok(match self.collections.collection(&database, &name) {
            Ok(collection) => of(privilege, &collection),
            Err(_) => Need::collection(privilege, database, name),
        })
    }
}

/// The table that a call is about, its first argument.
fn table_of(call: &Function) -> Option<ObjectName> {
    let FunctionArguments::List(list) = &call.args else {
        return None;
    };
    let FunctionArg::Unnamed(FunctionArgExpr::Expr(table)) = list.args.first()? else {
        return None;
    };
    match table {
        Expr::Identifier(name) => Some(ObjectName::from(vec![name.clone()])),
        Expr::CompoundIdentifier(parts) => Some(ObjectName::from(parts.clone())),
        _ => None,
    }
}

/// The name of the prepared statement that a statement runs.
pub(super) fn executed(statement: &SqlStatement) -> Option<String> {
    match statement {
        SqlStatement::Execute { name, .. } => name.as_ref().map(ToString::to_string),
        SqlStatement::Explain { statement, .. } => executed(statement),
        _ => None,
    }
}

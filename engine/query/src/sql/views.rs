//! `CREATE VIEW`, `CREATE EXTERNAL TABLE`: definitions under a name in the catalog.
//!
//! A definition is tried before it is kept: what cannot be planned, or files that cannot be read, are refused at once. A
//! view keeps the text of its query and the database of its session, so that it means the same in every session.

use std::collections::HashSet;
use std::fmt::Write;

use datafusion::sql::parser::{CreateExternalTable, Statement};
use elanus_collection::{Relation, RelationKind, RelationSpec};
use sqlparser::ast::{CreateTableOptions, CreateView, Ident};

use super::{Router, clauses, parse_one};
use crate::catalog::CATALOG;
use crate::error::{QueryError, Result};
use crate::relation::{planning, state_in, table};

impl Router<'_> {
    /// `CREATE [OR REPLACE] VIEW`.
    pub(super) async fn create_view(&self, view: &CreateView) -> Result<()> {
        refuse_clauses(view)?;
        let (database, name) = self.new_name(&view.name)?;
        if view.if_not_exists && self.collections.relation(&database, &name).is_some() {
            return Ok(());
        }
        let definition = definition(view)?;
        let statement = parse_one(&definition)?;
        clauses::refuse(&statement)?;
        let plan = self.plan_as_is(statement).await?;
        if !plan.get_parameter_names().map_err(QueryError::from)?.is_empty() {
            return Err(QueryError::Unsupported("parameters in a view".into()));
        }
        let mut names = HashSet::new();
        if let Some(twice) = plan
            .schema()
            .fields()
            .iter()
            .find(|field| !names.insert(field.name()))
        {
            return Err(QueryError::Plan(format!(
                "the view would have two columns '{}': give them names with AS",
                twice.name()
            )));
        }
        if !view.columns.is_empty() && view.columns.len() != names.len() {
            return Err(QueryError::Plan(format!(
                "the view names {} columns, its query has {}",
                view.columns.len(),
                names.len()
            )));
        }
        let target = (database.clone(), name.clone());
        self.refuse_cycle(&target, &definition, &self.database(), &mut HashSet::new())?;
        let spec = RelationSpec {
            kind: RelationKind::View,
            definition,
            search_database: self.database(),
        };
        self.collections
            .create_relation(&database, &name, spec, view.or_replace)
            .await?;
        Ok(())
    }

    /// Refuses a definition that reads what it defines.
    fn refuse_cycle(
        &self,
        target: &(String, String),
        definition: &str,
        database: &str,
        seen: &mut HashSet<(String, String)>,
    ) -> Result<()> {
        let state = state_in(&self.session.state(), database);
        for reference in state.resolve_table_references(&parse_one(definition)?)? {
            let resolved = reference.resolve(CATALOG, database);
            let read = (resolved.schema.to_string(), resolved.table.to_string());
            if &read == target {
                return Err(QueryError::Plan(format!("view '{}' would read itself", target.1)));
            }
            if !seen.insert(read.clone()) {
                continue;
            }
            if let Some(view) = self.collections.relation(&read.0, &read.1)
                && view.kind == RelationKind::View
            {
                self.refuse_cycle(target, &view.definition, &view.search_database, seen)?;
            }
        }
        Ok(())
    }

    /// `CREATE EXTERNAL TABLE`.
    pub(super) async fn create_external_table(&self, create: &CreateExternalTable) -> Result<()> {
        let refused = [
            (!create.table_partition_cols.is_empty(), "PARTITIONED BY"),
            (!create.order_exprs.is_empty(), "WITH ORDER"),
            (create.temporary, "TEMPORARY"),
            (create.unbounded, "UNBOUNDED"),
            (!create.constraints.is_empty(), "constraints"),
        ];
        if let Some((_, clause)) = refused.iter().find(|(given, _)| *given) {
            return Err(QueryError::Unsupported(format!(
                "CREATE EXTERNAL TABLE with {clause}"
            )));
        }
        let (database, name) = self.new_name(&create.name)?;
        if create.if_not_exists && self.collections.relation(&database, &name).is_some() {
            return Ok(());
        }
        let relation = Relation {
            definition: external_text(create, &name)?,
            search_database: database.clone(),
            kind: RelationKind::External,
            database,
            name,
        };
        planning(table(self.collections, self.resources, &relation)).await?;
        let spec = RelationSpec {
            kind: relation.kind,
            definition: relation.definition,
            search_database: relation.search_database,
        };
        self.collections
            .create_relation(&relation.database, &relation.name, spec, create.or_replace)
            .await?;
        Ok(())
    }
}

fn refuse_clauses(view: &CreateView) -> Result<()> {
    let refused = [
        (view.materialized, "MATERIALIZED"),
        (view.temporary, "TEMPORARY"),
        (view.or_alter, "OR ALTER"),
        (view.secure, "SECURE"),
        (view.options != CreateTableOptions::None, "options"),
        (!view.cluster_by.is_empty(), "CLUSTER BY"),
        (view.comment.is_some(), "COMMENT"),
        (view.with_no_schema_binding, "WITH NO SCHEMA BINDING"),
        (view.copy_grants, "COPY GRANTS"),
        (view.to.is_some(), "TO"),
        (view.params.is_some(), "an ALGORITHM, DEFINER or SQL SECURITY"),
        (
            view.columns
                .iter()
                .any(|column| column.options.is_some() || column.data_type.is_some()),
            "types or options of its columns",
        ),
    ];
    match refused.iter().find(|(given, _)| *given) {
        Some((_, clause)) => Err(QueryError::Unsupported(format!("CREATE VIEW with {clause}"))),
        None => Ok(()),
    }
}

/// The query of a view; names of columns after the view's own go into it.
fn definition(view: &CreateView) -> Result<String> {
    if view.columns.is_empty() {
        return Ok(view.query.to_string());
    }
    let columns: Vec<String> = view
        .columns
        .iter()
        .map(|column| column.name.to_string())
        .collect();
    let name = view.name.0.last().and_then(|part| part.as_ident());
    let name = name.ok_or_else(|| QueryError::Plan(format!("'{}' is not the name of a view", view.name)))?;
    Ok(format!(
        "SELECT * FROM ({}) AS {name} ({})",
        view.query,
        columns.join(", ")
    ))
}

/// The statement that makes an external table, in one form. Relative locations are those of this process now.
fn external_text(create: &CreateExternalTable, name: &str) -> Result<String> {
    let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
    let mut text = format!("CREATE EXTERNAL TABLE {}", Ident::with_quote('"', name));
    // Writing to a string does not fail.
    if !create.columns.is_empty() {
        let columns: Vec<String> = create.columns.iter().map(ToString::to_string).collect();
        let _written = write!(text, " ({})", columns.join(", "));
    }
    let [location] = create.locations.as_slice() else {
        return Err(QueryError::Unsupported(
            "several locations of an external table; a folder and a pattern with * are".into(),
        ));
    };
    let location = if location.contains("://") {
        location.clone()
    } else {
        let path = std::path::absolute(location)
            .map_err(|error| QueryError::Execution(format!("'{location}': {error}")))?;
        path.display().to_string()
    };
    let _written = write!(
        text,
        " STORED AS {} LOCATION {}",
        create.file_type.to_uppercase(),
        quoted(&location)
    );
    if !create.options.is_empty() {
        let options: Vec<String> = create
            .options
            .iter()
            .map(|(key, value)| format!("{} {value}", quoted(key)))
            .collect();
        let _written = write!(text, " OPTIONS ({})", options.join(", "));
    }
    match parse_one(&text)? {
        Statement::CreateExternalTable(_) => Ok(text),
        _ => Err(QueryError::Internal(format!("'{text}' is another statement"))),
    }
}

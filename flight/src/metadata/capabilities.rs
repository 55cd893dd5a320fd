//! `SqlInfo`: what the server can do, in the words of Flight SQL and JDBC.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use arrow_flight::sql::metadata::{SqlInfoData, SqlInfoDataBuilder};
use arrow_flight::sql::{
    SqlInfo, SqlNullOrdering, SqlOuterJoinsSupportLevel, SqlSupportedCaseSensitivity, SqlSupportedGroupBy,
    SqlSupportedSubqueries, SqlSupportedTransaction, SqlSupportedUnions, SqlTransactionIsolationLevel,
    SupportedSqlGrammar,
};
use datafusion::logical_expr::ScalarUDF;
use datafusion::prelude::SessionContext;
use flight_tonic::Status;

/// Words of our SQL that are not in SQL:2003.
const KEYWORDS: [&str; 9] = [
    "ANALYZE", "EXPLAIN", "ILIKE", "INDEX", "LIMIT", "OFFSET", "QUALIFY", "SHOW", "VECTOR",
];
/// Longest name, in bytes.
const MAX_NAME: i64 = 255;
/// Most fields of a table.
const MAX_COLUMNS: i64 = 64;
/// Longest statement, in bytes.
const MAX_STATEMENT: i64 = 64 << 20;

/// The capabilities; the same for the life of the process.
pub(crate) fn sql_info() -> Result<&'static SqlInfoData, Status> {
    static DATA: OnceLock<SqlInfoData> = OnceLock::new();
    if let Some(data) = DATA.get() {
        return Ok(data);
    }
    let data = build().map_err(Status::from)?;
    Ok(DATA.get_or_init(|| data))
}

fn bits(values: &[i32]) -> i32 {
    values.iter().fold(0, |all, bit| all | (1 << bit))
}

fn build() -> arrow_flight::error::Result<SqlInfoData> {
    let mut info = SqlInfoDataBuilder::new();
    info.append(SqlInfo::FlightSqlServerName, "Elanus");
    info.append(SqlInfo::FlightSqlServerVersion, env!("CARGO_PKG_VERSION"));
    info.append(SqlInfo::FlightSqlServerArrowVersion, arrow::ARROW_VERSION);
    info.append(SqlInfo::SqlIdentifierQuoteChar, "\"");
    info.append(SqlInfo::SqlSearchStringEscape, "\\");
    info.append(SqlInfo::SqlExtraNameCharacters, "$");
    info.append(SqlInfo::SqlSchemaTerm, "database");
    info.append(SqlInfo::SqlProcedureTerm, "procedure");
    info.append(SqlInfo::SqlCatalogTerm, "catalog");
    for (name, yes) in FLAGS {
        info.append(name, yes);
    }
    for (name, number) in LIMITS {
        info.append(name, number);
    }
    // A transaction is one statement.
    info.append(
        SqlInfo::FlightSqlServerTransaction,
        SqlSupportedTransaction::None as i32,
    );
    info.append(SqlInfo::FlightSqlServerStatementTimeout, 0);
    info.append(SqlInfo::FlightSqlServerTransactionTimeout, 0);
    info.append(
        SqlInfo::SqlIdentifierCase,
        i64::from(SqlSupportedCaseSensitivity::SqlCaseSensitivityLowercase as i32),
    );
    info.append(
        SqlInfo::SqlQuotedIdentifierCase,
        i64::from(SqlSupportedCaseSensitivity::SqlCaseSensitivityUnknown as i32),
    );
    info.append(
        SqlInfo::SqlNullOrdering,
        i64::from(SqlNullOrdering::SqlNullsSortedHigh as i32),
    );
    info.append(
        SqlInfo::SqlDefaultTransactionIsolation,
        i64::from(SqlTransactionIsolationLevel::SqlTransactionNone as i32),
    );
    let masks: [(SqlInfo, &[i32]); 9] = [
        (
            SqlInfo::SqlSupportedGroupBy,
            &[
                SqlSupportedGroupBy::SqlGroupByUnrelated as i32,
                SqlSupportedGroupBy::SqlGroupByBeyondSelect as i32,
            ],
        ),
        (
            SqlInfo::SqlSupportedGrammar,
            &[
                SupportedSqlGrammar::SqlMinimumGrammar as i32,
                SupportedSqlGrammar::SqlCoreGrammar as i32,
            ],
        ),
        (
            SqlInfo::SqlAnsi92SupportedLevel,
            // Entry level.
            &[0],
        ),
        (
            SqlInfo::SqlOuterJoinsSupportLevel,
            &[SqlOuterJoinsSupportLevel::SqlFullOuterJoins as i32],
        ),
        (
            SqlInfo::SqlSupportedSubqueries,
            &[
                SqlSupportedSubqueries::SqlSubqueriesInComparisons as i32,
                SqlSupportedSubqueries::SqlSubqueriesInExists as i32,
                SqlSupportedSubqueries::SqlSubqueriesInIns as i32,
            ],
        ),
        (
            SqlInfo::SqlSupportedUnions,
            &[
                SqlSupportedUnions::SqlUnion as i32,
                SqlSupportedUnions::SqlUnionAll as i32,
            ],
        ),
        (
            SqlInfo::SqlSupportedTransactionsIsolationLevels,
            &[SqlTransactionIsolationLevel::SqlTransactionNone as i32],
        ),
        // A result is read forward, once.
        (SqlInfo::SqlSupportedResultSetTypes, &[1]),
        (SqlInfo::SqlSupportedPositionedCommands, &[]),
    ];
    for (name, values) in masks {
        info.append(name, bits(values));
    }
    info.append(SqlInfo::SqlSchemasSupportedActions, bits(&[0, 1, 2]));
    info.append(SqlInfo::SqlCatalogsSupportedActions, bits(&[0, 1, 2]));
    info.append(SqlInfo::SqlSupportsConvert, BTreeMap::<i32, Vec<i32>>::new());
    info.append(SqlInfo::SqlKeywords, &KEYWORDS[..]);
    for (name, section) in [
        (SqlInfo::SqlNumericFunctions, "Math Functions"),
        (SqlInfo::SqlStringFunctions, "String Functions"),
        (SqlInfo::SqlDatetimeFunctions, "Time and Date Functions"),
        (SqlInfo::SqlSystemFunctions, "Conditional Functions"),
    ] {
        info.append(name, functions(section));
    }
    info.build()
}

const FLAGS: [(SqlInfo, bool); 31] = [
    (SqlInfo::FlightSqlServerReadOnly, false),
    (SqlInfo::FlightSqlServerSql, true),
    (SqlInfo::FlightSqlServerSubstrait, false),
    (SqlInfo::FlightSqlServerCancel, true),
    (SqlInfo::FlightSqlServerBulkIngestion, true),
    (SqlInfo::FlightSqlServerIngestTransactionsSupported, false),
    (SqlInfo::SqlDdlCatalog, false),
    (SqlInfo::SqlDdlSchema, true),
    (SqlInfo::SqlDdlTable, true),
    (SqlInfo::SqlAllTablesAreSelectable, true),
    (SqlInfo::SqlSupportsColumnAliasing, true),
    (SqlInfo::SqlNullPlusNullIsNull, true),
    (SqlInfo::SqlSupportsTableCorrelationNames, true),
    (SqlInfo::SqlSupportsDifferentTableCorrelationNames, false),
    (SqlInfo::SqlSupportsExpressionsInOrderBy, true),
    (SqlInfo::SqlSupportsOrderByUnrelated, true),
    (SqlInfo::SqlSupportsLikeEscapeClause, true),
    (SqlInfo::SqlSupportsNonNullableColumns, true),
    (SqlInfo::SqlSupportsIntegrityEnhancementFacility, false),
    (SqlInfo::SqlCatalogAtStart, true),
    (SqlInfo::SqlSelectForUpdateSupported, false),
    (SqlInfo::SqlStoredProceduresSupported, false),
    (SqlInfo::SqlCorrelatedSubqueriesSupported, true),
    (SqlInfo::SqlMaxRowSizeIncludesBlobs, true),
    (SqlInfo::SqlTransactionsSupported, false),
    (SqlInfo::SqlDataDefinitionCausesTransactionCommit, true),
    (SqlInfo::SqlDataDefinitionsInTransactionsIgnored, false),
    (SqlInfo::SqlBatchUpdatesSupported, true),
    (SqlInfo::SqlSavepointsSupported, false),
    (SqlInfo::SqlNamedParametersSupported, false),
    (SqlInfo::SqlStoredFunctionsUsingCallSyntaxSupported, false),
];

/// Limits; 0 means that there is none.
const LIMITS: [(SqlInfo, i64); 21] = [
    (SqlInfo::SqlMaxBinaryLiteralLength, 0),
    (SqlInfo::SqlMaxCharLiteralLength, 0),
    (SqlInfo::SqlMaxColumnNameLength, MAX_NAME),
    (SqlInfo::SqlMaxColumnsInGroupBy, 0),
    (SqlInfo::SqlMaxColumnsInIndex, 1),
    (SqlInfo::SqlMaxColumnsInOrderBy, 0),
    (SqlInfo::SqlMaxColumnsInSelect, 0),
    (SqlInfo::SqlMaxColumnsInTable, MAX_COLUMNS),
    (SqlInfo::SqlMaxConnections, 0),
    (SqlInfo::SqlMaxCursorNameLength, 0),
    (SqlInfo::SqlMaxIndexLength, 0),
    (SqlInfo::SqlDbSchemaNameLength, MAX_NAME),
    (SqlInfo::SqlMaxProcedureNameLength, 0),
    (SqlInfo::SqlMaxCatalogNameLength, MAX_NAME),
    (SqlInfo::SqlMaxRowSize, 0),
    (SqlInfo::SqlMaxStatementLength, MAX_STATEMENT),
    (SqlInfo::SqlMaxStatements, 0),
    (SqlInfo::SqlMaxTableNameLength, MAX_NAME),
    (SqlInfo::SqlMaxTablesInSelect, 0),
    (SqlInfo::SqlMaxUsernameLength, 0),
    (SqlInfo::SqlLocatorsUpdateCopy, 0),
];

/// Names of the functions that are documented under a heading.
fn functions(section: &str) -> Vec<String> {
    let state = SessionContext::new().state();
    let documented = |function: &&std::sync::Arc<ScalarUDF>| {
        function
            .documentation()
            .is_some_and(|text| text.doc_section.label == section)
    };
    let names: BTreeSet<String> = state
        .scalar_functions()
        .values()
        .filter(documented)
        .map(|function| function.name().to_string())
        .collect();
    names.into_iter().collect()
}

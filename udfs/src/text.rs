//! Tests of text by its terms, as an analyzer makes them.
//!
//! | function | true when |
//! |---|---|
//! | `text_match(text, query [, minimum_should_match [, analyzer]])` | the text has so many terms of the query (1) |
//! | `text_match_fuzzy(text, query, max_edit_distance [, analyzer])` | a term of the text is so close to one of the query |
//! | `phrase_match(text, query [, slop [, analyzer]])` | the text has the terms of the query behind one another, `slop` (0) places off |
//!
//! `analyzer` is JSON text, as in the `analyzer_params` of a field. Without it a column has the one it was made with, any other
//! text has `standard`. All arguments but the first are literals; they become one [`TextMatcher`] per batch. A NULL text
//! gives NULL.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, BooleanArray};
use arrow::datatypes::{DataType, Field};
use datafusion::common::{ScalarValue, exec_err, plan_err};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
    lit,
};
use elanus_text::{Analyzer, TextMatcher, TextTest};

use crate::arguments::{TextArgument, finish, is_text, text_literal};

/// Largest `minimum_should_match`.
const MOST_TERMS: i64 = 1_000;
/// Largest `max_edit_distance`.
const MOST_EDITS: i64 = 2;

/// Key of the field metadata with the field's parameters, a JSON object of texts.
const PARAMS: &str = "elanus.params";

/// What the metadata of a field says of its text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldText {
    /// The analyzer's parameters as JSON text; none when the text is not analyzed.
    pub analyzer: Option<String>,
    /// Whether Milvus' filters may match it.
    pub enable_match: bool,
}

impl FieldText {
    /// Reads the metadata.
    pub fn of(field: &Field) -> Self {
        let params = field.metadata().get(PARAMS);
        let params: BTreeMap<String, String> = params
            .and_then(|text| serde_json::from_str(text).ok())
            .unwrap_or_default();
        let says = |key: &str| {
            params
                .get(key)
                .is_some_and(|value| value.eq_ignore_ascii_case("true"))
        };
        Self {
            analyzer: says("enable_analyzer")
                .then(|| params.get("analyzer_params").cloned().unwrap_or_default()),
            enable_match: says("enable_match"),
        }
    }
}

/// Which test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MatchKind {
    /// `text_match`
    Terms,
    /// `text_match_fuzzy`
    Fuzzy,
    /// `phrase_match`
    Phrase,
}

impl MatchKind {
    /// All tests.
    pub const ALL: [Self; 3] = [Self::Terms, Self::Fuzzy, Self::Phrase];

    /// The test with its number, which is checked.
    ///
    /// # Errors
    /// What the number must be, when it is not.
    pub fn test(self, number: i64) -> std::result::Result<TextTest, String> {
        let (name, least, most) = match self {
            Self::Terms => ("minimum_should_match", 1, MOST_TERMS),
            Self::Fuzzy => ("max_edit_distance", 0, MOST_EDITS),
            Self::Phrase => ("slop", 0, i64::from(u32::MAX)),
        };
        let out_of_range = || format!("{name} must be {least} to {most}, got {number}");
        if !(least..=most).contains(&number) {
            return Err(out_of_range());
        }
        let size = usize::try_from(number).map_err(|_| out_of_range())?;
        Ok(match self {
            Self::Terms => TextTest::Terms { minimum: size },
            Self::Fuzzy => TextTest::Fuzzy { distance: size },
            Self::Phrase => TextTest::Phrase {
                slop: u32::try_from(number).map_err(|_| out_of_range())?,
            },
        })
    }

    /// The number when none is given.
    pub fn default_number(self) -> Option<i64> {
        match self {
            Self::Terms => Some(1),
            Self::Fuzzy => None,
            Self::Phrase => Some(0),
        }
    }
}

static FUNCTIONS: LazyLock<Vec<(MatchKind, Arc<ScalarUDF>)>> = LazyLock::new(|| {
    MatchKind::ALL
        .iter()
        .map(|kind| (*kind, MatchFunction::udf(*kind)))
        .collect()
});

/// The function of a test; its four arguments are text, query, number and analyzer.
pub fn function(kind: MatchKind) -> Arc<ScalarUDF> {
    match FUNCTIONS.iter().find(|(found, _)| *found == kind) {
        Some((_, function)) => Arc::clone(function),
        None => MatchFunction::udf(kind),
    }
}

/// The text functions.
pub fn all() -> Vec<Arc<ScalarUDF>> {
    FUNCTIONS
        .iter()
        .map(|(_, function)| Arc::clone(function))
        .collect()
}

/// The scalar function of a [`MatchKind`].
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct MatchFunction {
    kind: MatchKind,
    signature: Signature,
}

impl MatchFunction {
    fn udf(kind: MatchKind) -> Arc<ScalarUDF> {
        let number = match kind {
            MatchKind::Terms => "minimum_should_match",
            MatchKind::Fuzzy => "max_edit_distance",
            MatchKind::Phrase => "slop",
        };
        let signature = Signature::user_defined(Volatility::Immutable);
        let names = vec!["text", "query", number, "analyzer"];
        // Fails for names that are there twice only.
        let named = signature.clone().with_parameter_names(names);
        Arc::new(ScalarUDF::from(Self {
            kind,
            signature: named.unwrap_or(signature),
        }))
    }

    fn number(&self, args: &[ColumnarValue]) -> Result<i64> {
        let given = match args.get(2) {
            None => self.kind.default_number(),
            Some(ColumnarValue::Scalar(ScalarValue::Int64(number))) => *number,
            Some(ColumnarValue::Scalar(_) | ColumnarValue::Array(_)) => None,
        };
        match given {
            Some(number) => Ok(number),
            None => exec_err!("{}: argument 3 must be a whole number", self.name()),
        }
    }

    fn matcher(&self, args: &ScalarFunctionArgs) -> Result<TextMatcher> {
        let test = self.kind.test(self.number(&args.args)?);
        let test = test.map_err(|error| DataFusionError::Execution(format!("{}: {error}", self.name())))?;
        let params = match args.args.get(3) {
            Some(_) => text_literal(self.name(), &args.args, 3)?.to_owned(),
            None => args
                .arg_fields
                .first()
                .and_then(|field| FieldText::of(field).analyzer)
                .unwrap_or_default(),
        };
        let analyzer = Analyzer::parse(&params)
            .map_err(|error| DataFusionError::Execution(format!("{}: {error}", self.name())))?;
        let query = text_literal(self.name(), &args.args, 1)?;
        Ok(TextMatcher::new(analyzer, query, test))
    }
}

impl ScalarUDFImpl for MatchFunction {
    fn name(&self) -> &str {
        match self.kind {
            MatchKind::Terms => "text_match",
            MatchKind::Fuzzy => "text_match_fuzzy",
            MatchKind::Phrase => "phrase_match",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        let least = if self.kind == MatchKind::Fuzzy { 3 } else { 2 };
        if !(least..=4).contains(&arg_types.len()) {
            return plan_err!(
                "{} takes {least} to 4 arguments (text, query, number, analyzer), got {}",
                self.name(),
                arg_types.len()
            );
        }
        for (at, given) in arg_types.iter().enumerate() {
            let fits = match at {
                2 => given.is_integer(),
                _ => is_text(given),
            };
            if !fits && *given != DataType::Null {
                return plan_err!(
                    "{}: argument {} must be {}, got {given}",
                    self.name(),
                    at + 1,
                    if at == 2 { "a whole number" } else { "text" }
                );
            }
        }
        let wanted = [DataType::Utf8, DataType::Utf8, DataType::Int64, DataType::Utf8];
        Ok(wanted.into_iter().take(arg_types.len()).collect())
    }

    /// Fills in the number and the analyzer, while it is known which column the text is.
    fn simplify(&self, mut args: Vec<Expr>, info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        let (Some(text), true) = (args.first(), args.len() < 4) else {
            return Ok(ExprSimplifyResult::Original(args));
        };
        let (_, field) = text.to_field(info.schema())?;
        let analyzer = FieldText::of(&field).analyzer.unwrap_or_default();
        if let (2, Some(number)) = (args.len(), self.kind.default_number()) {
            args.push(lit(number));
        }
        args.push(lit(analyzer));
        Ok(ExprSimplifyResult::Simplified(function(self.kind).call(args)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let Some(text) = args.args.first() else {
            return exec_err!("{} takes a text", self.name());
        };
        let text = TextArgument::new(self.name(), text)?;
        let rows = if text.is_single() { 1 } else { args.number_rows };
        // A NULL among the literals makes the answer unknown.
        let null = |arg: &ColumnarValue| matches!(arg, ColumnarValue::Scalar(scalar) if scalar.is_null());
        if args.args.iter().skip(1).any(null) {
            return Ok(ColumnarValue::Scalar(ScalarValue::Boolean(None)));
        }
        let matcher = self.matcher(&args)?;
        let result: BooleanArray = (0..rows)
            .map(|row| text.get(row).map(|text| matcher.matches(text)))
            .collect();
        finish(Arc::new(result) as ArrayRef, text.is_single())
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{AsArray, RecordBatch, StringArray};
    use arrow::datatypes::Schema;
    use datafusion::prelude::SessionContext;

    use super::*;

    /// A context with the table `t(plain, body)`, whose `body` has the analyzer `english`.
    fn context() -> SessionContext {
        let params = r#"{"enable_analyzer": "true", "analyzer_params": "{\"type\": \"english\"}"}"#;
        let body = Field::new("body", DataType::Utf8, true)
            .with_metadata([(PARAMS.to_string(), params.to_string())].into());
        let plain = Field::new("plain", DataType::Utf8, true);
        let texts: ArrayRef = Arc::new(StringArray::from(vec![
            Some("Running databases"),
            Some("a run"),
            None,
        ]));
        let schema = Arc::new(Schema::new(vec![plain, body]));
        let batch = RecordBatch::try_new(schema, vec![Arc::clone(&texts), texts]).unwrap();
        let mut context = SessionContext::new();
        context.register_batch("t", batch).unwrap();
        crate::register(&mut context).unwrap();
        context
    }

    async fn answers(condition: &str) -> std::result::Result<Vec<Option<bool>>, String> {
        let context = context();
        let sql = format!("SELECT {condition} AS x FROM t");
        let frame = context.sql(&sql).await.map_err(|error| error.to_string())?;
        let batches = frame.collect().await.map_err(|error| error.to_string())?;
        Ok(batches
            .iter()
            .flat_map(|batch| batch.column(0).as_boolean().iter().collect::<Vec<_>>())
            .collect())
    }

    #[tokio::test]
    async fn a_column_has_its_own_analyzer() {
        let both = Ok(vec![Some(true), Some(true), None]);
        let second = Ok(vec![Some(false), Some(true), None]);
        let first = Ok(vec![Some(true), Some(false), None]);
        assert_eq!(answers("text_match(body, 'run')").await, both);
        assert_eq!(answers("text_match(plain, 'run')").await, second);
        assert_eq!(answers("text_match(lower(body), 'run')").await, second);
        let english = r#"text_match(plain, 'runs', 1, '{"type": "english"}')"#;
        assert_eq!(answers(english).await, both);
        assert_eq!(answers("text_match(body, 'run database', 2)").await, first);
        let named = "text_match(body, 'run database', minimum_should_match => 2)";
        assert_eq!(answers(named).await, first);
        assert_eq!(answers("phrase_match(body, 'runs DATABASE')").await, first);
        assert_eq!(answers("phrase_match(body, 'database running', 2)").await, first);
        assert_eq!(answers("text_match_fuzzy(plain, 'rum', 1)").await, second);
        assert_eq!(answers("text_match(body, NULL)").await, Ok(vec![None; 3]));
    }

    #[tokio::test]
    async fn wrong_arguments_are_named() {
        for (condition, error) in [
            ("text_match(body)", "takes 2 to 4 arguments"),
            ("text_match_fuzzy(body, 'x')", "takes 3 to 4 arguments"),
            ("text_match(1, 'x')", "argument 1 must be text, got Int64"),
            ("text_match(body, plain)", "argument 2 must be a text literal"),
            (
                "text_match(body, 'x', 0)",
                "minimum_should_match must be 1 to 1000, got 0",
            ),
            (
                "text_match_fuzzy(body, 'x', 3)",
                "max_edit_distance must be 0 to 2, got 3",
            ),
            (
                "phrase_match(body, 'x', -1)",
                "slop must be 0 to 4294967295, got -1",
            ),
            ("text_match(body, 'x', 1.5)", "argument 3 must be a whole number"),
            (
                r#"text_match(body, 'x', 1, '{"type": "klingon"}')"#,
                "unknown analyzer type 'klingon'",
            ),
        ] {
            let answer = answers(condition).await.unwrap_err();
            assert!(answer.contains(error), "{condition}: {answer}");
        }
    }
}

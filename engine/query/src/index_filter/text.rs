//! `text_match`, `text_match_fuzzy` and `phrase_match`, asked of an index of terms.

use std::collections::BTreeMap;

use datafusion::common::ScalarValue;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::expr::ScalarFunction;
use elanus_collection::IndexTarget;
use elanus_index::scalar::{Key, ScalarTest};
use elanus_text::{Analyzer, TextTest};
use elanus_udfs::text::{MatchKind, function};

use super::{IndexFilter, Question};

/// What an index of terms answers of a call over a column and literals. A phrase is sure to be absent where one of its terms
/// is; where all are there, the text decides.
pub(super) fn text_test(call: &ScalarFunction, shown: &str) -> Option<IndexFilter> {
    let kind = MatchKind::ALL
        .into_iter()
        .find(|kind| call.func == function(*kind))?;
    let [
        Expr::Column(column),
        Expr::Literal(query, _),
        Expr::Literal(ScalarValue::Int64(Some(number)), _),
        Expr::Literal(analyzer, _),
    ] = call.args.as_slice()
    else {
        return None;
    };
    let (query, params) = (query.try_as_str()??, analyzer.try_as_str()??);
    let analyzer = Analyzer::parse(params).ok()?;
    let test = |question| IndexFilter::Test {
        target: IndexTarget {
            field: column.name.clone(),
            analyzer: Some(params.to_owned()),
            json: None,
        },
        question,
        text: shown.to_owned(),
    };
    let mut weights: BTreeMap<String, u32> = BTreeMap::new();
    for token in analyzer.tokens(query) {
        *weights.entry(token.text).or_default() += 1;
    }
    let key = |term: &String| Key::Text(term.clone());
    let any = || test(Question::Test(ScalarTest::In(weights.keys().map(key).collect())));
    Some(match kind.test(*number).ok()? {
        TextTest::Terms { minimum: 1 } => any(),
        TextTest::Terms { minimum } => test(Question::Test(ScalarTest::AtLeast {
            weights: weights
                .iter()
                .map(|(term, weight)| (key(term), *weight))
                .collect(),
            least: u32::try_from(minimum).ok()?,
        })),
        TextTest::Fuzzy { distance } => test(Question::Close {
            wanted: weights.into_keys().collect(),
            distance,
        }),
        TextTest::Phrase { .. } if weights.values().sum::<u32>() <= 1 => any(),
        TextTest::Phrase { .. } => {
            let each = weights.keys().map(|term| {
                let has = ScalarTest::In(vec![key(term)]);
                test(Question::Test(has))
            });
            IndexFilter::And(each.chain([IndexFilter::Open]).collect())
        }
    })
}

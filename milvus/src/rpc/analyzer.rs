//! RunAnalyzer: the tokens that an analyzer makes of texts.

use elanus_collection::Analyzers;
use elanus_text::{Analyzer, AnalyzerError, Token, term_number};
use milvus::proto::milvus as wire;

use crate::context::Context;
use crate::door::Door;
use crate::status::{Error, Result};

/// Most bytes of all texts of a request.
const MAX_BYTES: usize = 16 << 20;

pub(crate) async fn run(
    door: &Door,
    context: &Context,
    request: wire::RunAnalyzerRequest,
) -> Result<wire::RunAnalyzerResponse> {
    let bytes: usize = request.placeholder.iter().map(Vec::len).sum();
    if bytes > MAX_BYTES {
        return Err(Error::invalid(format!(
            "texts of {bytes} bytes, at most {MAX_BYTES} are analyzed at a time"
        )));
    }
    let analyzers = analyzers(door, context, &request).await?;
    let names = &request.analyzer_names;
    if analyzers.by_field().is_none() && !names.is_empty() {
        return Err(Error::invalid(
            "analyzer_names are for a field of a collection that has several analyzers",
        ));
    }
    if names.len() > 1 && names.len() != request.placeholder.len() {
        return Err(Error::invalid(format!(
            "there are {} analyzer_names for {} texts: allowed are one for all, or one for each",
            names.len(),
            request.placeholder.len()
        )));
    }
    let result = |(row, text): (usize, &Vec<u8>)| {
        let text = std::str::from_utf8(text)
            .map_err(|error| Error::invalid(format!("a text to analyze is not UTF-8: {error}")))?;
        let name = names.get(if names.len() == 1 { 0 } else { row });
        let tokens = analyzers.named(name.map(String::as_str)).tokens(text);
        let tokens = tokens
            .into_iter()
            .map(|token| to_wire(token, request.with_detail, request.with_hash));
        Ok(wire::AnalyzerResult {
            tokens: tokens.collect(),
        })
    };
    Ok(wire::RunAnalyzerResponse {
        results: request
            .placeholder
            .iter()
            .enumerate()
            .map(result)
            .collect::<Result<_>>()?,
        ..Default::default()
    })
}

/// The analyzers of a field when one is named, otherwise the one described.
async fn analyzers(door: &Door, context: &Context, request: &wire::RunAnalyzerRequest) -> Result<Analyzers> {
    if request.collection_name.is_empty() {
        let params = door.collections().with_words(&request.analyzer_params).await?;
        let analyzer = Analyzer::parse(&params);
        return analyzer.map(Analyzers::from).map_err(|error| match error {
            AnalyzerError::Unsupported(what) => Error::unsupported(what),
            AnalyzerError::Invalid(_) => Error::invalid(error.to_string()),
        });
    }
    let collection = door.collection(context, &request.db_name, &request.collection_name)?;
    let name = &request.field_name;
    let Some(field) = collection.schema().field(name) else {
        return Err(Error::invalid(format!(
            "field {name} not found in collection {}",
            request.collection_name
        )));
    };
    if !elanus_collection::is_analyzed(field) {
        return Err(Error::invalid(format!(
            "field {name} has no analyzer: it was made without enable_analyzer"
        )));
    }
    Ok(Analyzers::of(field)?)
}

fn to_wire(token: Token, with_detail: bool, with_hash: bool) -> wire::AnalyzerToken {
    let signed = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
    let hash = if with_hash { term_number(&token.text) } else { 0 };
    if !with_detail {
        return wire::AnalyzerToken {
            token: token.text,
            hash,
            ..Default::default()
        };
    }
    wire::AnalyzerToken {
        token: token.text,
        start_offset: signed(token.start),
        end_offset: signed(token.end),
        position: signed(token.position),
        position_length: signed(token.position_length),
        hash,
    }
}

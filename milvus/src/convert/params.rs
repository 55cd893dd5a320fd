//! Parameters of Search and Query: key-value pairs, flat or nested as JSON under `params`.
//!
//! Clients send both forms, often the same key in both; the flat one wins. Keys that nobody knows are
//! ignored, as in Milvus; keys of features that are not there are refused, never ignored.

use std::collections::BTreeMap;
use std::str::FromStr;

use chrono_tz::Tz;
use elanus_collection::DataType;
use elanus_index::AnyMetric;
use elanus_query::{Collapse, Grouping, JsonCast, OrderBy, ScoreRange};
use milvus::proto::common::KeyValuePair;
use serde_json::Value;

use crate::convert::{element_scope, time, to_map};
use crate::status::{Error, Result};

/// Largest `topk`, and largest `offset + topk`.
const MAX_WINDOW: i64 = 16_384;

/// Most rows of a group.
const MAX_GROUP_SIZE: i64 = 10;

const PARAMS: &str = "params";

/// Query features that are not there.
const QUERY_UNSUPPORTED: [&str; 3] = [
    "query_iter_last_pk",
    "query_iter_last_element_offset",
    "group_by_field",
];

/// Keys that are not parameters of an index.
const NOT_FOR_THE_INDEX: [&str; 25] = [
    "json_path",
    "json_type",
    "strict_cast",
    "group_by_field",
    "group_by_fields",
    "group_size",
    "strict_group_size",
    "order_by_fields",
    "iterator",
    "search_iter_v2",
    "search_iter_batch_size",
    "search_iter_last_bound",
    "search_iter_id",
    "radius",
    "range_filter",
    "anns_field",
    "topk",
    "limit",
    "offset",
    "metric_type",
    "round_decimal",
    "ignore_growing",
    "timezone",
    "time_fields",
    "hints",
];

/// What a search asks for beside vectors, filter and output.
#[derive(Debug, PartialEq)]
pub(crate) struct SearchParams {
    /// Vector field; `None` when there is only one.
    pub field: Option<String>,
    /// Neighbours wanted, without the skipped ones.
    pub topk: usize,
    /// Neighbours skipped.
    pub offset: usize,
    /// Metric, if given.
    pub metric: Option<AnyMetric>,
    /// Decimals that scores are rounded to.
    pub round_decimal: Option<i32>,
    /// Scores that may be found.
    pub range: ScoreRange,
    /// Groups instead of rows.
    pub group: Option<Grouping>,
    /// How elements become rows in a hybrid search, when the request says so.
    pub collapse: Option<Collapse>,
    /// Order of the rows returned.
    pub order: Vec<OrderBy>,
    /// Whether rows are to be the same in later requests.
    pub iterator: bool,
    /// The page of a search iterator of the second version.
    pub page: Option<IteratorPage>,
    /// Whether rows outside sealed segments are left out.
    pub ignore_growing: bool,
    /// Zone that instants are written in.
    pub zone: Option<Tz>,
    /// What is shown of instants, when not all.
    pub time_parts: Vec<time::Part>,
    /// Name of the analyzer of query texts.
    pub analyzer: Option<String>,
    /// Everything else, for the index.
    pub index: BTreeMap<String, String>,
}

/// What a page of a search iterator says of itself.
#[derive(Debug, PartialEq)]
pub(crate) struct IteratorPage {
    /// Rows of the page.
    pub size: usize,
    /// Names the iterator, once it has a name.
    pub token: Option<String>,
    /// Score of the last row of the page before.
    pub last_bound: Option<f32>,
}

/// What a query asks for beside filter and output.
#[derive(Debug, PartialEq)]
pub(crate) struct QueryParams {
    /// Most rows returned.
    pub limit: Option<usize>,
    /// Rows skipped.
    pub offset: usize,
    /// Whether rows outside sealed segments are left out.
    pub ignore_growing: bool,
    /// Zone that instants are written in.
    pub zone: Option<Tz>,
    /// What is shown of instants, when not all.
    pub time_parts: Vec<time::Part>,
    /// Order of the rows, instead of that of their keys.
    pub order: Vec<OrderBy>,
    /// Fields whose values make groups.
    pub group_by: Vec<String>,
    /// Whether rows are to be the same in later requests.
    pub iterator: bool,
}

/// Reads the parameters of a search.
pub(crate) fn search(pairs: Vec<KeyValuePair>) -> Result<SearchParams> {
    let mut map = flatten(pairs)?;
    let (topk, offset) = window(&map, if map.contains_key("topk") { "topk" } else { "limit" })?;
    let metric = match map.get("metric_type").map(String::as_str) {
        None | Some("") => None,
        Some(name) => Some(AnyMetric::from_str(name).map_err(|_| {
            Error::invalid(format!(
                "metric type {name} not found, allowed are L2, IP, COSINE, HAMMING, JACCARD, MHJACCARD, BM25"
            ))
        })?),
    };
    let round_decimal = decimals(&map)?;
    let range = score_range(&map)?;
    let group = grouping(&map)?;
    let collapse = element_scope::collapse(map.remove("element_scope").as_deref())?;
    let order = order(&map)?;
    let iterator = flag(&map, "iterator")?;
    let page = iterator_page(&map)?;
    if iterator || page.is_some() {
        for (asked, what) in [
            (group.is_some(), "groupBy"),
            (!order.is_empty(), "order_by"),
            (offset > 0, "offset"),
        ] {
            if asked {
                return Err(Error::invalid(format!(
                    "Not allowed to do {what} when doing iteration"
                )));
            }
        }
    }
    if group.is_some() && range != ScoreRange::default() {
        return Err(Error::invalid(
            "Not allowed to do range-search when doing search-group-by",
        ));
    }
    let field = map.remove("anns_field").filter(|name| !name.is_empty());
    let analyzer = map.remove("analyzer_name").filter(|name| !name.is_empty());
    let ignore_growing = flag(&map, "ignore_growing")?;
    let (zone, time_parts) = (zone(&map)?, time_parts(&map)?);
    map.retain(|key, _| !NOT_FOR_THE_INDEX.contains(&key.as_str()));
    Ok(SearchParams {
        field,
        topk,
        offset,
        metric,
        round_decimal,
        range,
        group,
        collapse,
        order,
        iterator,
        page,
        ignore_growing,
        zone,
        time_parts,
        analyzer,
        index: map,
    })
}

/// How many rows are wanted, by the key that says so, and how many are skipped before.
pub(crate) fn window(map: &BTreeMap<String, String>, key: &str) -> Result<(usize, usize)> {
    let topk = match map.get(key) {
        Some(text) => integer("topk", text)?,
        None => return Err(Error::invalid("topk is required")),
    };
    let range = |what: &str, value: i64| {
        Error::invalid(format!(
            "{what} [{value}] is invalid, it should be in range [1, {MAX_WINDOW}], but got {value}"
        ))
    };
    if !(1..=MAX_WINDOW).contains(&topk) {
        return Err(range("topk", topk));
    }
    let offset = map.get("offset").map_or(Ok(0), |text| integer("offset", text))?;
    if !(0..=MAX_WINDOW).contains(&offset) {
        return Err(range("offset", offset));
    }
    if topk + offset > MAX_WINDOW {
        return Err(range("offset+topk", topk + offset));
    }
    Ok((
        usize::try_from(topk).unwrap_or(1),
        usize::try_from(offset).unwrap_or(0),
    ))
}

/// Decimals that scores are rounded to.
pub(crate) fn decimals(map: &BTreeMap<String, String>) -> Result<Option<i32>> {
    let text = map.get("round_decimal");
    Ok(text.map(|text| round_decimal(text)).transpose()?.flatten())
}

/// Reads the parameters of a query.
pub(crate) fn query(pairs: Vec<KeyValuePair>) -> Result<QueryParams> {
    let map = flatten(pairs)?;
    refuse(&map, &QUERY_UNSUPPORTED)?;
    let limit = map.get("limit").map(|text| integer("limit", text)).transpose()?;
    let offset = match (limit, map.get("offset")) {
        // As in Milvus, an offset counts only beside a limit.
        (Some(_), Some(text)) => integer("offset", text)?,
        (None, _) | (_, None) => 0,
    };
    if let Some(limit) = limit {
        let window = |what: String| Error::invalid(format!("invalid max query result window, {what}"));
        if offset < 0 {
            return Err(window(format!(
                "offset [{offset}] is invalid, should be gte than 0"
            )));
        }
        if limit <= 0 {
            return Err(window(format!(
                "limit [{limit}] is invalid, should be greater than 0"
            )));
        }
        let depth = offset.saturating_add(limit);
        if depth > MAX_WINDOW {
            return Err(window(format!(
                "(offset+limit) should be in range [1, {MAX_WINDOW}], but got {depth}"
            )));
        }
    }
    let (order, iterator) = (order(&map)?, flag(&map, "iterator")?);
    if iterator && !order.is_empty() {
        return Err(Error::invalid("Not allowed to do order_by when doing iteration"));
    }
    if !order.is_empty() && limit.is_none() {
        return Err(Error::invalid("order_by_fields should be used with limit"));
    }
    let group_by = map.get("group_by_fields").map_or("", |text| unquoted(text));
    let group_by = group_by.split(',').map(str::trim).filter(|name| !name.is_empty());
    let group_by: Vec<String> = group_by.map(str::to_string).collect();
    Ok(QueryParams {
        limit: limit.map(|limit| usize::try_from(limit).unwrap_or(0)),
        offset: usize::try_from(offset).unwrap_or(0),
        ignore_growing: flag(&map, "ignore_growing")?,
        zone: zone(&map)?,
        time_parts: time_parts(&map)?,
        order,
        group_by,
        iterator,
    })
}

/// One map of all parameters, nested ones included.
pub(crate) fn flatten(pairs: Vec<KeyValuePair>) -> Result<BTreeMap<String, String>> {
    let mut map = to_map(pairs);
    if let Some(text) = map.remove(PARAMS) {
        for (key, value) in nested(&text)? {
            map.entry(key).or_insert(value);
        }
    }
    Ok(map)
}

/// The entries of a JSON object as text: strings as they are, everything else as JSON.
pub(crate) fn nested(text: &str) -> Result<BTreeMap<String, String>> {
    if text.trim().is_empty() {
        return Ok(BTreeMap::new());
    }
    let object: serde_json::Map<String, Value> = serde_json::from_str(text)
        .map_err(|e| Error::invalid(format!("params must be a JSON object, got '{text}' ({e})")))?;
    Ok(object
        .into_iter()
        .map(|(key, value)| match value {
            Value::String(text) => (key, text),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
                (key, value.to_string())
            }
        })
        .collect())
}

fn refuse(map: &BTreeMap<String, String>, unsupported: &[&str]) -> Result<()> {
    for key in unsupported {
        match map.get(*key).map(String::as_str) {
            None | Some("" | "false" | "False" | "null" | "None" | "[]") => {}
            Some(value) => return Err(Error::unsupported(format!("parameter {key}={value}"))),
        }
    }
    Ok(())
}

pub(crate) fn integer(key: &str, text: &str) -> Result<i64> {
    text.trim()
        .parse()
        .map_err(|_| Error::invalid(format!("{key} [{text}] is invalid, should be an integer")))
}

pub(crate) fn flag(map: &BTreeMap<String, String>, key: &str) -> Result<bool> {
    match map.get(key).map(String::as_str) {
        None | Some("" | "false" | "False" | "FALSE" | "f" | "F" | "0") => Ok(false),
        Some("true" | "True" | "TRUE" | "t" | "T" | "1") => Ok(true),
        Some(other) => Err(Error::expected(
            format!("value for {key} is invalid"),
            "true or false",
            other,
        )),
    }
}

/// The range of scores; its ends are looked at once the metric is known.
fn score_range(map: &BTreeMap<String, String>) -> Result<ScoreRange> {
    let number = |key: &str| {
        let text = map.get(key).map(|text| text.trim());
        text.filter(|text| !matches!(*text, "" | "null" | "None"))
            .map(|text| {
                text.parse::<f32>()
                    .ok()
                    .filter(|number| !number.is_nan())
                    .ok_or_else(|| Error::invalid(format!("{key} [{text}] is invalid, should be a number")))
            })
            .transpose()
    };
    let (radius, range_filter) = (number("radius")?, number("range_filter")?);
    if radius.is_none() && range_filter.is_some() {
        return Err(Error::invalid(
            "range_filter is given without radius; a range search needs radius, range_filter may be left out",
        ));
    }
    Ok(ScoreRange { radius, range_filter })
}

/// Groups, by one field or several.
pub(crate) fn grouping(map: &BTreeMap<String, String>) -> Result<Option<Grouping>> {
    let given = |key: &str| {
        map.get(key)
            .map(|text| unquoted(text))
            .filter(|text| !text.is_empty())
    };
    let by: Vec<String> = match (given("group_by_field"), given("group_by_fields")) {
        (Some(_), Some(_)) => {
            return Err(Error::invalid(
                "group_by_field and group_by_fields are given together; group_by_fields alone names them all",
            ));
        }
        (Some(field), None) => vec![with_json_path(field, given("json_path"))],
        (None, Some(fields)) => outside_brackets(fields, ',')
            .map(|name| name.trim().to_string())
            .collect(),
        (None, None) => {
            return match ["json_path", "json_type", "strict_cast"]
                .iter()
                .find(|key| given(key).is_some())
            {
                Some(key) => Err(Error::invalid(format!("{key} is given without group_by_field"))),
                None => Ok(None),
            };
        }
    };
    let size = map
        .get("group_size")
        .map_or(Ok(1), |text| integer("group_size", text))?;
    if !(1..=MAX_GROUP_SIZE).contains(&size) {
        return Err(Error::invalid(format!(
            "input group size:{size} is out of range, should be in range [1, {MAX_GROUP_SIZE}]"
        )));
    }
    Ok(Some(Grouping {
        by,
        json: json_cast(map)?,
        size: usize::try_from(size).unwrap_or(1),
        fill: flag(map, "strict_group_size")?,
    }))
}

/// The field, or the place in it that `json_path` names: a JSON pointer, or the whole path in brackets.
fn with_json_path(field: &str, json_path: Option<&str>) -> String {
    let Some(path) = json_path else {
        return field.to_string();
    };
    match path.strip_prefix('/') {
        Some(steps) => steps.split('/').fold(field.to_string(), |path, step| {
            let step = step.replace("~1", "/").replace("~0", "~");
            format!("{path}[{}]", Value::from(step))
        }),
        None if path.starts_with('[') => format!("{field}{path}"),
        None => path.to_string(),
    }
}

/// What the values at paths into JSON are read as when rows are grouped by them.
fn json_cast(map: &BTreeMap<String, String>) -> Result<JsonCast> {
    let default = JsonCast::default();
    let name = map.get("json_type").map_or("", |text| unquoted(text));
    let to = match name.to_lowercase().as_str() {
        "" | "varchar" | "string" => default.to,
        "bool" => DataType::Bool,
        "int8" => DataType::Int8,
        "int16" => DataType::Int16,
        "int32" => DataType::Int32,
        "int64" => DataType::Int64,
        _ => {
            return Err(Error::invalid(format!(
                "unsupported json_type {name}, allowed are BOOL, INT8, INT16, INT32, INT64, VARCHAR"
            )));
        }
    };
    Ok(JsonCast {
        to,
        strict: flag(map, "strict_cast")?,
    })
}

/// The parts of a text between separators that are not in brackets.
fn outside_brackets(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut depth, mut quote) = (0_u32, None);
    text.split(move |character| {
        match (quote, character) {
            (Some(open), _) if open == character => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') if depth > 0 => quote = Some(character),
            (None, '[') => depth += 1,
            (None, ']') => depth = depth.saturating_sub(1),
            (None, _) => return character == separator && depth == 0,
        }
        false
    })
}

/// A text without the quotation marks that clients put around texts which they write as JSON.
fn unquoted(text: &str) -> &str {
    let text = text.trim();
    text.strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'))
        .unwrap_or(text)
}

/// The order of rows: `field`, `field:desc`, `field:asc:nulls_first`, several with commas.
fn order(map: &BTreeMap<String, String>) -> Result<Vec<OrderBy>> {
    let text = map.get("order_by_fields").map_or("", |text| unquoted(text));
    if text.is_empty() || text == "[]" {
        return Ok(Vec::new());
    }
    let one = |item: &str| {
        let wrong = |part: &str| {
            Error::invalid(format!(
                "order_by_fields [{item}] is invalid at '{part}', should be field[:asc|desc[:nulls_first|nulls_last]]"
            ))
        };
        let mut parts = outside_brackets(item, ':').map(str::trim);
        let column = parts.next().unwrap_or_default();
        if column.is_empty() {
            return Err(wrong(column));
        }
        let descending = match parts.next().map(str::to_lowercase).as_deref() {
            None | Some("" | "asc") => false,
            Some("desc") => true,
            Some(other) => return Err(wrong(other)),
        };
        let nulls_first = match parts.next().map(str::to_lowercase).as_deref() {
            None => descending,
            Some("nulls_first") => true,
            Some("nulls_last") => false,
            Some(other) => return Err(wrong(other)),
        };
        match parts.next() {
            Some(more) => Err(wrong(more)),
            None => Ok(OrderBy {
                column: column.to_string(),
                descending,
                nulls_first,
            }),
        }
    };
    outside_brackets(text, ',').map(one).collect()
}

fn iterator_page(map: &BTreeMap<String, String>) -> Result<Option<IteratorPage>> {
    if !flag(map, "search_iter_v2")? {
        return Ok(None);
    }
    let size = map
        .get("search_iter_batch_size")
        .ok_or_else(|| Error::invalid("batch size is required for search iterator"))?;
    let size = integer("search_iter_batch_size", size)?;
    if !(1..=MAX_WINDOW).contains(&size) {
        return Err(Error::invalid(format!(
            "batch size is invalid, it should be in range [1, {MAX_WINDOW}], but got {size}"
        )));
    }
    let last_bound = map
        .get("search_iter_last_bound")
        .map(|text| {
            let bound = text.trim().parse::<f32>().ok().filter(|bound| !bound.is_nan());
            bound.ok_or_else(|| {
                Error::invalid(format!(
                    "search_iter_last_bound [{text}] is invalid, should be a number"
                ))
            })
        })
        .transpose()?;
    let token = map.get("search_iter_id").map(|text| unquoted(text).to_string());
    Ok(Some(IteratorPage {
        size: usize::try_from(size).unwrap_or(1),
        token: token.filter(|token| !token.is_empty()),
        last_bound,
    }))
}

fn round_decimal(text: &str) -> Result<Option<i32>> {
    match text.trim().parse::<i32>() {
        Ok(-1) => Ok(None),
        Ok(decimals @ 0..=6) => Ok(Some(decimals)),
        Ok(_) | Err(_) => Err(Error::invalid(format!(
            "round_decimal [{text}] is invalid, should be -1 or an integer in range [0, 6]"
        ))),
    }
}

/// The parts of instants that are to be shown.
pub(crate) fn time_parts(map: &BTreeMap<String, String>) -> Result<Vec<time::Part>> {
    time::parts(map.get("time_fields").map_or("", |text| unquoted(text)))
}

/// The zone that a request names.
pub(crate) fn zone(map: &BTreeMap<String, String>) -> Result<Option<Tz>> {
    map.get(time::TIMEZONE)
        .filter(|name| !name.is_empty())
        .map(|name| time::zone(name))
        .transpose()
}

#[cfg(test)]
mod tests {
    use elanus_index::Metric;

    use super::*;
    use crate::convert::pair;

    fn pairs(pairs: &[(&str, &str)]) -> Vec<KeyValuePair> {
        pairs.iter().map(|(key, value)| pair(key, *value)).collect()
    }

    fn search_error(list: &[(&str, &str)]) -> String {
        search(pairs(list)).unwrap_err().to_string()
    }

    #[test]
    fn flat_and_nested_parameters_are_one() {
        let sent = [
            ("topk", "10"),
            ("anns_field", "v"),
            ("metric_type", "L2"),
            ("round_decimal", "-1"),
            ("ignore_growing", "False"),
            (
                "params",
                r#"{"ef": 64, "metric_type": "L2", "nprobe": "16", "level": 2}"#,
            ),
        ];
        let params = search(pairs(&sent)).unwrap();
        assert_eq!(
            (params.topk, params.offset, params.metric),
            (10, 0, Some(Metric::L2.into()))
        );
        assert_eq!(params.field.as_deref(), Some("v"));
        let index: Vec<_> = params
            .index
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
            .collect();
        assert_eq!(index, [("ef", "64"), ("level", "2"), ("nprobe", "16")]);
        let flat = search(pairs(&[("topk", "1"), ("ef", "32"), ("params", r#"{"ef": 64}"#)])).unwrap();
        assert_eq!(flat.index["ef"], "32");
    }

    #[test]
    fn windows_read_as_in_milvus() {
        assert!(search_error(&[]).contains("topk is required"));
        assert!(
            search_error(&[("topk", "0")])
                .contains("topk [0] is invalid, it should be in range [1, 16384], but got 0")
        );
        assert!(search_error(&[("topk", "16385")]).contains("topk [16385] is invalid"));
        assert!(search_error(&[("topk", "x")]).contains("topk [x] is invalid"));
        assert!(search_error(&[("topk", "1"), ("offset", "-1")]).contains("offset [-1] is invalid"));
        assert!(
            search_error(&[("topk", "16384"), ("offset", "1")]).contains("offset+topk [16385] is invalid")
        );
        let query_error = |list: &[(&str, &str)]| query(pairs(list)).unwrap_err().to_string();
        assert!(query_error(&[("limit", "0")]).contains("limit [0] is invalid, should be greater than 0"));
        assert!(query_error(&[("limit", "1"), ("offset", "-1")]).contains("offset [-1] is invalid"));
        assert!(
            query_error(&[("limit", "16384"), ("offset", "1")])
                .contains("(offset+limit) should be in range [1, 16384], but got 16385")
        );
        assert_eq!(query(pairs(&[("offset", "5")])).unwrap().offset, 0);
    }

    #[test]
    fn features_that_are_not_there_are_refused_wherever_they_hide() {
        assert_eq!(
            search_error(&[("topk", "1"), ("params", r#"{"element_scope": {"a": 1}}"#)]),
            "element_scope has an unknown key 'a', allowed are collapse: invalid parameter"
        );
        assert!(
            search_error(&[("topk", "1"), ("time_fields", "year, era")])
                .starts_with("unsupported field for extraction: era; time_fields has year, month, day")
        );
        search(pairs(&[
            ("topk", "1"),
            ("iterator", "False"),
            ("group_by_field", ""),
        ]))
        .unwrap();
        assert!(query(pairs(&[("iterator", "True")])).unwrap().iterator);
        assert!(query(pairs(&[("query_iter_last_pk", "5")])).is_err());
        assert!(query(pairs(&[("order_by_fields", "a:desc")])).is_err());
        query(pairs(&[("iterator", "False"), ("reduce_stop_for_best", "False")])).unwrap();
    }

    #[test]
    fn a_range_is_read_and_its_ends_are_numbers() {
        let range = |text: &str| search(pairs(&[("topk", "1"), ("params", text)]));
        let found = range(r#"{"radius": 0.5, "range_filter": "0.25", "nprobe": 4}"#).unwrap();
        let expected = ScoreRange {
            radius: Some(0.5),
            range_filter: Some(0.25),
        };
        assert_eq!(found.range, expected);
        assert!(!found.index.contains_key("radius") && found.index.contains_key("nprobe"));
        let reason = |text: &str| range(text).unwrap_err().to_string();
        assert!(reason(r#"{"range_filter": 1}"#).contains("range_filter is given without radius"));
        assert!(reason(r#"{"radius": "far"}"#).contains("radius [far] is invalid, should be a number"));
    }

    #[test]
    fn groups_orders_and_pages_are_read() {
        let list = [
            ("topk", "3"),
            ("group_by_field", "city"),
            ("group_size", "2"),
            ("strict_group_size", "True"),
        ];
        let expected = Grouping {
            by: vec!["city".into()],
            json: JsonCast::default(),
            size: 2,
            fill: true,
        };
        assert_eq!(search(pairs(&list)).unwrap().group, Some(expected));
        let several = search(pairs(&[("topk", "3"), ("group_by_fields", "a, b")]))
            .unwrap()
            .group
            .unwrap();
        assert_eq!(
            (several.by, several.size),
            (vec!["a".to_string(), "b".to_string()], 1)
        );
        let by = |list: &[(&str, &str)]| {
            let list = [&[("topk", "3")][..], list].concat();
            let group = search(pairs(&list)).unwrap().group.unwrap();
            (group.by, group.json)
        };
        let text = |name: &str| name.to_string();
        assert_eq!(
            by(&[("group_by_fields", r#"meta["a,b"], c"#)]).0,
            [text(r#"meta["a,b"]"#), text("c")]
        );
        let place = [("group_by_field", "meta"), ("json_path", "/a/b")];
        assert_eq!(by(&place).0, [text(r#"meta["a"]["b"]"#)]);
        let place = [("group_by_field", "meta"), ("json_path", r#"meta["a"]"#)];
        assert_eq!(by(&place).0, [text(r#"meta["a"]"#)]);
        let cast = [
            ("group_by_field", "a"),
            ("json_type", "Int32"),
            ("strict_cast", "True"),
        ];
        let expected = JsonCast {
            to: DataType::Int32,
            strict: true,
        };
        assert_eq!(by(&cast).1, expected);
        let reason = |list: &[(&str, &str)]| {
            search_error(&[&[("topk", "3"), ("group_by_field", "city")][..], list].concat())
        };
        let alone = search_error(&[("topk", "1"), ("json_path", "/a")]);
        assert!(
            alone.contains("json_path is given without group_by_field"),
            "{alone}"
        );
        assert!(reason(&[("json_type", "Float")]).contains("unsupported json_type Float"));
        assert!(reason(&[("group_size", "11")]).contains("should be in range [1, 10]"));
        assert!(
            reason(&[("radius", "1")]).contains("Not allowed to do range-search when doing search-group-by")
        );
        assert!(reason(&[("iterator", "True")]).contains("Not allowed to do groupBy when doing iteration"));
        assert!(reason(&[("group_by_fields", "a")]).contains("given together"));

        let sorted = |text: &str| search(pairs(&[("topk", "3"), ("order_by_fields", text)]));
        let by = |column: &str, descending, nulls_first| OrderBy {
            column: column.into(),
            descending,
            nulls_first,
        };
        let expected = [by("a", false, false), by("b", true, true), by("c", false, true)];
        assert_eq!(sorted("a,b:desc,c:asc:nulls_first").unwrap().order, expected);
        assert!(
            sorted("a:up")
                .unwrap_err()
                .to_string()
                .contains("is invalid at 'up'")
        );

        let list = [
            ("topk", "5"),
            ("iterator", "true"),
            ("search_iter_v2", "true"),
            ("search_iter_batch_size", "5"),
            ("search_iter_last_bound", "0.25"),
            ("search_iter_id", "7"),
        ];
        let expected = IteratorPage {
            size: 5,
            token: Some("7".into()),
            last_bound: Some(0.25),
        };
        assert_eq!(search(pairs(&list)).unwrap().page, Some(expected));
    }

    #[test]
    fn other_values_are_checked() {
        assert!(search_error(&[("topk", "1"), ("metric_type", "EUCLID")]).contains("EUCLID"));
        assert!(
            search_error(&[("topk", "1"), ("round_decimal", "7")])
                .contains("-1 or an integer in range [0, 6]")
        );
        assert!(search_error(&[("topk", "1"), ("params", "[1]")]).contains("params must be a JSON object"));
        assert!(search_error(&[("topk", "1"), ("timezone", "x")]).contains("IANA"));
        assert_eq!(
            search(pairs(&[("topk", "1"), ("round_decimal", "3")]))
                .unwrap()
                .round_decimal,
            Some(3)
        );
    }
}

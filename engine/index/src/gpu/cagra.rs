//! Parameters of GPU_CAGRA, for building and for searching.

use std::collections::BTreeMap;

use crate::error::ParamError;
use crate::params::Integer;

/// `graph_degree`: links of a node of the graph that is searched.
const GRAPH_DEGREE: Integer = Integer {
    name: "graph_degree",
    range: 1..=2048,
};
/// `intermediate_graph_degree`: links of a node before those that lead nowhere new are taken away.
const INTERMEDIATE_GRAPH_DEGREE: Integer = Integer {
    name: "intermediate_graph_degree",
    range: 1..=2048,
};
/// `search_width`: nodes whose links are followed at a time.
const SEARCH_WIDTH: Integer = Integer {
    name: "search_width",
    range: 1..=i32::MAX as u32,
};
/// `min_iterations`, `max_iterations`: rounds; 0 means that the search decides.
const MIN_ITERATIONS: Integer = Integer {
    name: "min_iterations",
    range: 0..=i32::MAX as u32,
};
const MAX_ITERATIONS: Integer = Integer {
    name: "max_iterations",
    range: 0..=i32::MAX as u32,
};
const DEFAULT_GRAPH_DEGREE: u32 = 64;
const DEFAULT_INTERMEDIATE_GRAPH_DEGREE: u32 = 128;
const ADAPT_FOR_CPU: &str = "adapt_for_cpu";
const TEAM_SIZE: &str = "team_size";
const TEAM_SIZES: [u32; 6] = [0, 2, 4, 8, 16, 32];

/// A parameter that is one of some words; what is not given passes.
pub(super) fn check_word(
    params: &BTreeMap<String, String>,
    name: &'static str,
    words: &[&str],
    allowed: &'static str,
) -> Result<(), ParamError> {
    match params.get(name) {
        Some(given) if !words.iter().any(|word| word.eq_ignore_ascii_case(given.trim())) => {
            Err(ParamError::NotOneOf {
                name,
                given: given.clone(),
                allowed,
            })
        }
        _ => Ok(()),
    }
}

/// What is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CagraParams {
    /// `graph_degree`: links of a node, 1 to 2048.
    pub degree: u32,
    /// `intermediate_graph_degree`: links of a node before they are thinned out, at least as many, at most 2048.
    pub intermediate_degree: u32,
    /// `adapt_for_cpu`: the graph is made on a device and searched on processors.
    pub adapt_for_cpu: bool,
}

impl CagraParams {
    /// Reads the parameters. An `intermediate_graph_degree` below `graph_degree` is raised to it.
    ///
    /// # Errors
    /// A value that is no integer, out of range, or none of the words that there are.
    pub(super) fn parse(params: &BTreeMap<String, String>) -> Result<Self, ParamError> {
        check_word(params, ADAPT_FOR_CPU, &["true", "false"], "true, false")?;
        check_word(
            params,
            "build_algo",
            &["IVF_PQ", "NN_DESCENT"],
            "IVF_PQ, NN_DESCENT",
        )?;
        let degree = GRAPH_DEGREE.parse(params)?.unwrap_or(DEFAULT_GRAPH_DEGREE);
        let intermediate = INTERMEDIATE_GRAPH_DEGREE.parse(params)?;
        let adapt = params.get(ADAPT_FOR_CPU).map(|given| given.trim());
        Ok(Self {
            degree,
            intermediate_degree: intermediate
                .unwrap_or(DEFAULT_INTERMEDIATE_GRAPH_DEGREE)
                .max(degree),
            adapt_for_cpu: adapt.is_some_and(|given| given.eq_ignore_ascii_case("true")),
        })
    }

    /// Checks parameters that were not read by [`CagraParams::parse`].
    ///
    /// # Errors
    /// A value out of range.
    pub(crate) fn check(&self) -> Result<(), ParamError> {
        GRAPH_DEGREE.check(self.degree)?;
        INTERMEDIATE_GRAPH_DEGREE.check(self.intermediate_degree)
    }

    /// The parameters under their client names.
    pub(crate) fn to_pairs(self) -> Vec<(&'static str, String)> {
        vec![
            (GRAPH_DEGREE.name, self.degree.to_string()),
            (
                INTERMEDIATE_GRAPH_DEGREE.name,
                self.intermediate_degree.to_string(),
            ),
            (ADAPT_FOR_CPU, self.adapt_for_cpu.to_string()),
        ]
    }
}

/// How a graph is walked on a device; `None` and 0 leave it to the search.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CagraSearch {
    /// `search_width`: nodes whose links are followed at a time, by default 1.
    pub search_width: Option<u32>,
    /// `min_iterations`: rounds that are not cut short.
    pub min_iterations: Option<u32>,
    /// `max_iterations`: most rounds.
    pub max_iterations: Option<u32>,
    /// `team_size`: lanes that compare a row, 0, 2, 4, 8, 16 or 32.
    pub team_size: Option<u32>,
}

impl CagraSearch {
    /// Reads the parameters.
    ///
    /// # Errors
    /// A value that is no integer, or out of range.
    pub(crate) fn parse(params: &BTreeMap<String, String>) -> Result<Self, ParamError> {
        let allowed = "0, 2, 4, 8, 16, 32";
        check_word(params, TEAM_SIZE, &["0", "2", "4", "8", "16", "32"], allowed)?;
        let team = params.get(TEAM_SIZE).and_then(|given| given.trim().parse().ok());
        Ok(Self {
            search_width: SEARCH_WIDTH.parse(params)?,
            min_iterations: MIN_ITERATIONS.parse(params)?,
            max_iterations: MAX_ITERATIONS.parse(params)?,
            team_size: team.filter(|team| TEAM_SIZES.contains(team)),
        })
    }
}

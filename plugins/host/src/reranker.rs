//! Rerankers: candidates and a query in, an order with scores out, both checked.

use wasmtime::Store;
use wasmtime::component::InstancePre;

use crate::contract::reranker as contract;
use crate::descriptor::RerankerDescriptor;
use crate::digest::Digest;
use crate::error::{Failure, PluginError, Stage};
use crate::params::{Parameters, Value};
use crate::sandbox::{Exports, Instance, Sandbox, State};
use crate::stats::{CallStats, PluginStats};
use crate::values::{Column, ColumnData, TextData, VectorData};

/// The keys of candidates, as their collection declares them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Keys<'a> {
    /// Integers.
    Integers(&'a [i64]),
    /// Texts.
    Texts(TextData<'a>),
}

/// What a search found, best first; everything has one entry per candidate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidates<'a> {
    /// Their keys.
    pub keys: Keys<'a>,
    /// Smaller is better, whatever the metric.
    pub distances: &'a [f32],
    /// Name and values of the columns of [`RerankerDescriptor::columns_for`], in that order.
    pub columns: &'a [(&'a str, Column<'a>)],
    /// The searched vectors, if the reranker needs them; the plugin does not see them otherwise.
    pub vectors: Option<VectorData<'a>>,
}

/// What is searched.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Request<'a> {
    /// One row per query vector; none when the search had none.
    pub query_vectors: VectorData<'a>,
    /// The text of the query.
    pub query_text: Option<&'a str>,
    /// How many candidates the caller will use.
    pub limit: u32,
}

/// A new order of candidates.
#[derive(Debug, Clone, PartialEq)]
pub struct Ranking {
    /// `order[i]` is the index of the candidate at place `i`. Each at most once; at least as many as were asked for, if
    /// there are that many candidates.
    pub order: Vec<u32>,
    /// `scores[i]` is the score of the candidate at place `i`: finite, larger is better.
    pub scores: Vec<f32>,
}

impl Ranking {
    fn check(&self, candidates: usize, limit: usize) -> Result<(), String> {
        let Self { order, scores } = self;
        if order.len() != scores.len() {
            return Err(format!("{} places and {} scores", order.len(), scores.len()));
        }
        if order.len() > candidates {
            return Err(format!("{} places for {candidates} candidates", order.len()));
        }
        let wanted = limit.min(candidates);
        if order.len() < wanted {
            return Err(format!("{} places, {wanted} were asked for", order.len()));
        }
        let mut seen = vec![false; candidates];
        for &index in order {
            match seen.get_mut(index as usize) {
                None => return Err(format!("candidate {index} of {candidates}, counted from 0")),
                Some(true) => return Err(format!("candidate {index} twice")),
                Some(seen) => *seen = true,
            }
        }
        match scores.iter().find(|score| !score.is_finite()) {
            Some(score) => Err(format!("a score is {score}")),
            None => Ok(()),
        }
    }
}

impl Exports for contract::Reranker {
    type Ready = contract::RerankerPre<State>;

    fn ready(pre: InstancePre<State>) -> wasmtime::Result<Self::Ready> {
        contract::RerankerPre::new(pre)
    }

    fn instantiate(ready: &Self::Ready, store: &mut Store<State>) -> wasmtime::Result<Self> {
        ready.instantiate(store)
    }
}

/// A reranker, ready to be called from any thread.
#[derive(Debug)]
pub struct Reranker {
    sandbox: Sandbox<contract::Reranker>,
    descriptor: RerankerDescriptor,
    digest: Digest,
}

impl Reranker {
    /// Asks the plugin what it is.
    pub(crate) fn describe(
        mut sandbox: Sandbox<contract::Reranker>,
        digest: Digest,
    ) -> Result<Self, PluginError> {
        let deadline = sandbox.limits.start_deadline;
        let (descriptor, _) = sandbox.call(0, None, |instance| {
            instance.arm(Stage::Describe, deadline);
            let Instance { store, exports, .. } = instance;
            let descriptor: RerankerDescriptor =
                exports.elanus_plugin_reranking().call_describe(store)?.into();
            Ok(descriptor
                .check()
                .map(|()| descriptor)
                .map_err(Failure::Description))
        })?;
        sandbox.rename(format!("{} {}", descriptor.name, descriptor.version));
        Ok(Self {
            sandbox,
            descriptor,
            digest,
        })
    }

    /// What it says about itself.
    pub fn descriptor(&self) -> &RerankerDescriptor {
        &self.descriptor
    }

    /// The digest of its file.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// What it has done so far.
    pub fn stats(&self) -> PluginStats {
        self.sandbox.counters.read()
    }

    /// Gives back the memory of instances that wait for a call.
    pub fn release_idle(&self) {
        self.sandbox.release_idle();
    }

    /// Compares parameters with the declared ones and fills in defaults, without a look at what the plugin thinks
    /// of the values.
    ///
    /// # Errors
    /// A parameter that there is not, a value of another type, one that is missing.
    pub fn parameters(&self, given: &[(String, Value)]) -> Result<Parameters, PluginError> {
        Parameters::resolve(&self.descriptor.parameters, self.digest, given)
            .and_then(|parameters| self.descriptor.columns_for(&parameters).map(|_| parameters))
            .map_err(|failure| self.sandbox.error(Stage::Configure, failure))
    }

    /// Lets the plugin itself look at parameters: what it refuses here would end the search later.
    ///
    /// # Errors
    /// What it refuses, and whatever a call can fail with.
    pub fn configure(&self, parameters: &Parameters) -> Result<CallStats, PluginError> {
        self.check_parameters(parameters)?;
        let (_, stats) = self
            .sandbox
            .call(0, Some(parameters), |instance| self.prepare(instance, parameters))?;
        Ok(stats)
    }

    /// Whether an instance that waits for a call has taken these parameters already: [`Self::configure`] would say nothing new.
    pub fn is_configured(&self, parameters: &Parameters) -> bool {
        self.sandbox.has_idle(parameters)
    }

    /// Puts candidates into another order.
    ///
    /// # Errors
    /// The call does not fit the description ([`Failure::Request`]), or the plugin fails: see [`Failure`].
    pub fn rerank(
        &self,
        parameters: &Parameters,
        request: &Request<'_>,
        candidates: &Candidates<'_>,
    ) -> Result<(Ranking, CallStats), PluginError> {
        self.check_parameters(parameters)?;
        self.check_request(parameters, request, candidates)
            .map_err(|reason| self.sandbox.error(Stage::Rerank, Failure::Request(reason)))?;
        let rows = candidates.distances.len();
        let shown = Candidates {
            vectors: candidates.vectors.filter(|_| self.descriptor.needs_vectors),
            ..*candidates
        };
        let columns = contract::columns(&shown);
        let deadline = self.sandbox.limits.deadline;
        self.sandbox.call(rows, Some(parameters), |instance| {
            if let Err(failure) = self.prepare(instance, parameters)? {
                return Ok(Err(failure));
            }
            instance.arm(Stage::Rerank, deadline);
            let Instance { store, exports, .. } = instance;
            let answer = exports.elanus_plugin_reranking().call_rerank(
                store,
                contract::request(request),
                contract::candidates(&shown, &columns),
            )?;
            Ok(match answer {
                Ok(ranking) => {
                    let ranking = Ranking::from(ranking);
                    let checked = ranking.check(rows, request.limit as usize);
                    checked.map(|()| ranking).map_err(Failure::Answer)
                }
                Err(error) => Err(Failure::Refused(error.into())),
            })
        })
    }

    /// Configures an instance, unless it has these parameters already.
    fn prepare(
        &self,
        instance: &mut Instance<contract::Reranker>,
        parameters: &Parameters,
    ) -> wasmtime::Result<Result<(), Failure>> {
        if instance.parameters.as_ref() == Some(parameters) {
            return Ok(Ok(()));
        }
        instance.parameters = None;
        instance.arm(Stage::Configure, self.sandbox.limits.start_deadline);
        let arguments = contract::arguments(parameters);
        let Instance { store, exports, .. } = instance;
        let answer = exports
            .elanus_plugin_reranking()
            .call_configure(store, &arguments)?;
        Ok(match answer {
            Ok(()) => {
                instance.parameters = Some(parameters.clone());
                Ok(())
            }
            Err(error) => Err(Failure::Refused(error.into())),
        })
    }

    fn check_parameters(&self, parameters: &Parameters) -> Result<(), PluginError> {
        if parameters.plugin() == self.digest {
            return Ok(());
        }
        let failure = Failure::Parameter("the parameters were made for another plugin".to_owned());
        Err(self.sandbox.error(Stage::Configure, failure))
    }

    fn check_request(
        &self,
        parameters: &Parameters,
        request: &Request<'_>,
        candidates: &Candidates<'_>,
    ) -> Result<(), String> {
        let rows = candidates.distances.len();
        let most = match self.descriptor.max_candidates as usize {
            0 => self.sandbox.limits.rows,
            declared => declared.min(self.sandbox.limits.rows),
        };
        if rows > most {
            return Err(format!("{rows} candidates, it takes at most {most}"));
        }
        let keys = match candidates.keys {
            Keys::Integers(keys) => ColumnData::S64s(keys),
            Keys::Texts(keys) => ColumnData::Text(keys),
        };
        keys.check(rows).map_err(|reason| format!("keys: {reason}"))?;
        if request.query_vectors.rows().is_none() {
            return Err("the query vectors are cut off".to_owned());
        }
        if self.descriptor.needs_query_text && request.query_text.is_none() {
            return Err("it needs the text of the query, and there is none".to_owned());
        }
        match candidates.vectors {
            Some(vectors) => {
                ColumnData::Vectors(vectors)
                    .check(rows)
                    .map_err(|reason| format!("vectors: {reason}"))?;
            }
            None if self.descriptor.needs_vectors => {
                return Err("it needs the vectors of the candidates, and they are not there".to_owned());
            }
            None => {}
        }
        self.check_columns(parameters, candidates, rows)
    }

    fn check_columns(
        &self,
        parameters: &Parameters,
        candidates: &Candidates<'_>,
        rows: usize,
    ) -> Result<(), String> {
        let needed = self
            .descriptor
            .columns_for(parameters)
            .map_err(|failure| failure.to_string())?;
        if needed.len() != candidates.columns.len() {
            return Err(format!(
                "it needs {} columns, not {}",
                needed.len(),
                candidates.columns.len()
            ));
        }
        for ((name, kind), (given, column)) in needed.iter().zip(candidates.columns) {
            if name != given {
                return Err(format!("it needs the column '{name}', not '{given}'"));
            }
            let has = column.data.kind();
            if !kind.accepts(&has) {
                return Err(format!("it needs the column '{name}' as {kind}, not as {has}"));
            }
            column
                .check(rows)
                .map_err(|reason| format!("column '{name}': {reason}"))?;
        }
        Ok(())
    }
}

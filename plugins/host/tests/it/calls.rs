//! Calls that every test makes: a few candidates, a few rows.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use elanus_plugins::{
    Argument, Candidates, Column, ColumnData, Functions, Host, HostConfig, Keys, Limits, LoadOptions,
    MemoryAccount, OwnedColumn, Plugin, PluginError, Ranking, Request, Reranker, VectorData,
};

/// A host with room for what tests do at once.
pub fn host() -> Host {
    Host::new(HostConfig {
        instances: 16,
        ..HostConfig::default()
    })
    .unwrap()
}

/// Small limits, so that what runs into them does so soon.
pub fn limits() -> Limits {
    Limits {
        memory: 32 << 20,
        deadline: Duration::from_millis(20),
        start_deadline: Duration::from_millis(200),
        ..Limits::default()
    }
}

/// An account that knows what was taken and not given back.
#[derive(Debug, Default)]
pub struct Ledger {
    taken: AtomicUsize,
}

impl Ledger {
    pub fn taken(&self) -> usize {
        self.taken.load(Ordering::SeqCst)
    }
}

impl MemoryAccount for Ledger {
    fn try_grow(&self, bytes: usize) -> Result<(), String> {
        self.taken.fetch_add(bytes, Ordering::SeqCst);
        Ok(())
    }

    fn shrink(&self, bytes: usize) {
        let before = self.taken.fetch_sub(bytes, Ordering::SeqCst);
        assert!(before >= bytes, "more was given back than taken");
    }
}

/// Small limits and a ledger.
pub fn options() -> (LoadOptions, Arc<Ledger>) {
    let ledger = Arc::new(Ledger::default());
    let account = Arc::<Ledger>::clone(&ledger);
    (
        LoadOptions {
            limits: limits(),
            account,
            ..LoadOptions::default()
        },
        ledger,
    )
}

pub fn reranker(host: &Host, file: &[u8]) -> Arc<Reranker> {
    match host
        .load(
            file,
            &LoadOptions {
                limits: limits(),
                ..LoadOptions::default()
            },
        )
        .unwrap()
    {
        Plugin::Reranker(reranker) => reranker,
        Plugin::Functions(_) => panic!("not a reranker"),
    }
}

/// Reranks three candidates without parameters.
pub fn rerank(reranker: &Reranker) -> Result<Ranking, PluginError> {
    let parameters = reranker.parameters(&[])?;
    let request = Request {
        query_vectors: VectorData {
            dim: 2,
            values: &[1.0, 0.0],
        },
        query_text: Some("query"),
        limit: 2,
    };
    let candidates = Candidates {
        keys: Keys::Integers(&[7, 8, 9]),
        distances: &[0.5, 1.5, 2.5],
        columns: &[],
        vectors: None,
    };
    reranker
        .rerank(&parameters, &request, &candidates)
        .map(|(ranking, _)| ranking)
}

/// Calls the first function with three floats.
pub fn invoke(functions: &Functions) -> Result<OwnedColumn, PluginError> {
    let column = Column {
        data: ColumnData::F32s(&[1.0, 2.0, 3.0]),
        validity: Some(&[1, 0, 1]),
    };
    functions
        .invoke(0, &[Argument::Column(column)], 3)
        .map(|(column, _)| column)
}

/// Calls whatever the plugin is, once.
pub fn call(plugin: &Plugin) -> Result<(), PluginError> {
    match plugin {
        Plugin::Reranker(plugin) => rerank(plugin).map(|_| ()),
        Plugin::Functions(plugin) => invoke(plugin).map(|_| ()),
    }
}

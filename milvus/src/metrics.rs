//! Prometheus metrics under the names that Milvus dashboards ask for.
//!
//! `node_id` is always `1`. Labels name a collection only where those of Milvus do, and only of calls
//! that went well, so that names which do not exist leave no trace.

use std::time::Duration;

use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry};

const NODE_ID: &str = "1";

/// Latency buckets in milliseconds, from a hot single search to a slow load.
const BUCKETS_MS: &[f64] = &[
    0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 4096.0, 16_384.0,
    65_536.0,
];

/// Counters and latencies of the door.
#[derive(Debug)]
pub struct DoorMetrics {
    calls: IntCounterVec,
    call_latency: HistogramVec,
    read_latency: HistogramVec,
    collection_read_latency: HistogramVec,
    write_latency: HistogramVec,
    searched_vectors: IntCounterVec,
    inserted_vectors: IntCounterVec,
    upserted_vectors: IntCounterVec,
    deleted_vectors: IntCounterVec,
    received_bytes: IntCounterVec,
    sent_bytes: IntCounterVec,
}

impl DoorMetrics {
    /// Registers every metric.
    ///
    /// # Errors
    /// When the registry already has one of the names.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |name: &str, help: &str, labels: &[&str]| {
            let metric = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(metric.clone()))?;
            Ok::<_, prometheus::Error>(metric)
        };
        let latency = |name: &str, help: &str, labels: &[&str]| {
            let metric = HistogramVec::new(
                HistogramOpts::new(name, help).buckets(BUCKETS_MS.to_vec()),
                labels,
            )?;
            registry.register(Box::new(metric.clone()))?;
            Ok::<_, prometheus::Error>(metric)
        };
        Ok(Self {
            calls: counter(
                "milvus_proxy_req_count",
                "calls by name and outcome (total, success, fail)",
                &["node_id", "function_name", "status"],
            )?,
            call_latency: latency(
                "milvus_proxy_req_latency",
                "latency of calls in ms",
                &["node_id", "function_name"],
            )?,
            read_latency: latency(
                "milvus_proxy_sq_latency",
                "latency of search and query in ms",
                &["node_id", "query_type"],
            )?,
            collection_read_latency: latency(
                "milvus_proxy_collection_sq_latency",
                "latency of search and query by collection in ms",
                &["node_id", "query_type", "collection_name"],
            )?,
            write_latency: latency(
                "milvus_proxy_mutation_latency",
                "latency of insert, upsert and delete in ms",
                &["node_id", "msg_type"],
            )?,
            searched_vectors: counter(
                "milvus_proxy_search_vectors_count",
                "query vectors searched for",
                &["node_id", "query_type", "db_name", "collection_name"],
            )?,
            inserted_vectors: counter(
                "milvus_proxy_insert_vectors_count",
                "rows inserted",
                &["node_id", "db_name", "collection_name"],
            )?,
            upserted_vectors: counter(
                "milvus_proxy_upsert_vectors_count",
                "rows upserted",
                &["node_id", "db_name", "collection_name"],
            )?,
            deleted_vectors: counter(
                "milvus_proxy_delete_vectors_count",
                "rows deleted",
                &["node_id", "db_name", "collection_name"],
            )?,
            received_bytes: counter(
                "milvus_proxy_receive_bytes_count",
                "bytes of requests that carry rows or vectors",
                &["node_id", "msg_type"],
            )?,
            sent_bytes: counter(
                "milvus_proxy_send_bytes_count",
                "bytes of replies that carry rows",
                &["node_id", "msg_type"],
            )?,
        })
    }

    pub(crate) fn call_started(&self, rpc: &str) {
        self.calls.with_label_values(&[NODE_ID, rpc, "total"]).inc();
    }

    pub(crate) fn call_finished(&self, rpc: &str, ok: bool, took: Duration) {
        self.calls
            .with_label_values(&[NODE_ID, rpc, if ok { "success" } else { "fail" }])
            .inc();
        self.call_latency
            .with_label_values(&[NODE_ID, rpc])
            .observe(millis(took));
    }

    /// A search or query that went well.
    pub(crate) fn read(&self, query_type: &str, collection: &str, took: Duration, sent: usize) {
        self.read_latency
            .with_label_values(&[NODE_ID, query_type])
            .observe(millis(took));
        self.collection_read_latency
            .with_label_values(&[NODE_ID, query_type, collection])
            .observe(millis(took));
        self.sent_bytes
            .with_label_values(&[NODE_ID, query_type])
            .inc_by(sent as u64);
    }

    pub(crate) fn searched(&self, database: &str, collection: &str, queries: usize) {
        self.searched_vectors
            .with_label_values(&[NODE_ID, "search", database, collection])
            .inc_by(queries as u64);
    }

    pub(crate) fn received(&self, msg_type: &str, bytes: usize) {
        self.received_bytes
            .with_label_values(&[NODE_ID, msg_type])
            .inc_by(bytes as u64);
    }

    /// A write that went well.
    pub(crate) fn wrote(&self, kind: Write, database: &str, collection: &str, rows: u64, took: Duration) {
        let (msg_type, counter) = match kind {
            Write::Insert => ("insert", &self.inserted_vectors),
            Write::Upsert => ("upsert", &self.upserted_vectors),
            Write::Delete => ("delete", &self.deleted_vectors),
        };
        self.write_latency
            .with_label_values(&[NODE_ID, msg_type])
            .observe(millis(took));
        counter
            .with_label_values(&[NODE_ID, database, collection])
            .inc_by(rows);
    }
}

/// The kinds of writes that are counted apart.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Write {
    Insert,
    Upsert,
    Delete,
}

fn millis(took: Duration) -> f64 {
    took.as_secs_f64() * 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_those_of_milvus_dashboards() {
        let registry = Registry::new();
        let metrics = DoorMetrics::new(&registry).unwrap();
        metrics.call_started("Search");
        metrics.call_finished("Search", true, Duration::from_micros(300));
        metrics.read("search", "c", Duration::from_micros(300), 10);
        metrics.searched("default", "c", 3);
        metrics.wrote(Write::Insert, "default", "c", 5, Duration::from_millis(1));
        let names: Vec<_> = registry
            .gather()
            .iter()
            .map(|family| family.name().to_string())
            .collect();
        for name in [
            "milvus_proxy_req_count",
            "milvus_proxy_sq_latency",
            "milvus_proxy_mutation_latency",
            "milvus_proxy_insert_vectors_count",
            "milvus_proxy_search_vectors_count",
        ] {
            assert!(names.iter().any(|n| n == name), "{name} in {names:?}");
        }
        assert!(DoorMetrics::new(&registry).is_err(), "names are registered once");
    }
}

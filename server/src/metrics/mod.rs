//! What `/metrics` shows besides the counters of the doors: the process itself and the collections, both measured
//! when Prometheus asks, so that nothing runs in between.

mod collections;
mod process;

use std::sync::Arc;

use elanus_collection::Collections;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Gauge, GaugeVec, IntGaugeVec, Opts, Registry};

/// Registers the figures of the process; the doors register their own into the same registry.
///
/// # Errors
/// A name is already taken in the registry.
pub fn register_process(registry: &Registry) -> prometheus::Result<()> {
    registry.register(Box::new(process::ProcessMetrics::new()?))?;
    let build = GaugeVec::new(
        Opts::new("elanus_build_info", "The running version; always 1."),
        &["version"],
    )?;
    build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1.0);
    registry.register(Box::new(build))
}

/// Registers the figures of databases, collections, partitions and segments.
///
/// # Errors
/// A name is already taken in the registry.
pub fn register_collections(registry: &Registry, collections: Arc<Collections>) -> prometheus::Result<()> {
    registry.register(Box::new(collections::CollectionMetrics::new(collections)?))
}

fn gauge(name: &str, help: &str) -> prometheus::Result<Gauge> {
    Gauge::new(name, help)
}

fn int_gauges(name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntGaugeVec> {
    IntGaugeVec::new(Opts::new(name, help), labels)
}

/// Descriptions of several collectors, in order.
fn descriptions<'a>(collectors: &[&'a dyn Collector]) -> Vec<&'a Desc> {
    collectors.iter().flat_map(|collector| collector.desc()).collect()
}

/// Values of several collectors, in order.
fn values(collectors: &[&dyn Collector]) -> Vec<MetricFamily> {
    collectors
        .iter()
        .flat_map(|collector| collector.collect())
        .collect()
}

//! The wasmtime engine: what a guest may contain, and where its memory comes from.

use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

/// The stack of a guest. Threads that call plugins need this much and some more.
const STACK: usize = 512 << 10;

/// Bytes of a freed memory that stay resident for the next instance: a small guest then starts without a page fault.
const RESIDENT: usize = 256 << 10;

/// Instances come from a pool of reserved address space, or, where the system does not give that much
/// (a container with a limit on virtual memory), from the system one by one.
pub(crate) fn engine(instances: u32, largest_memory: usize) -> wasmtime::Result<Engine> {
    let mut config = base();
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(
        instances,
        largest_memory,
    )));
    match Engine::new(&config) {
        Ok(engine) => Ok(engine),
        Err(error) => {
            tracing::warn!(%error, "no pool of WebAssembly instances, they are made one by one");
            Engine::new(&base())
        }
    }
}

fn base() -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .max_wasm_stack(STACK)
        // What a plugin answers must not depend on the machine.
        .relaxed_simd_deterministic(true)
        .wasm_memory64(false)
        // Shared memory would grow past the limiter.
        .wasm_threads(false)
        .wasm_component_model(true)
        // A plugin is called with one batch and answers: no futures, no streams.
        .concurrency_support(false);
    config
}

fn pool(instances: u32, largest_memory: usize) -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    // A component has some core instances without a memory beside the one with the code.
    pool.total_component_instances(instances)
        .total_core_instances(instances.saturating_mul(4).saturating_add(128))
        .total_memories(instances)
        .total_tables(instances.saturating_mul(4).saturating_add(64))
        .table_elements(1 << 16)
        .max_memory_size(largest_memory)
        .linear_memory_keep_resident(RESIDENT)
        .table_keep_resident(64 << 10);
    pool
}

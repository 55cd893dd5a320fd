//! `elanus serve`: opens the data directory, opens the doors, waits for a signal, drains.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Args;
use clap::builder::BoolishValueParser;
use elanus_index::gpu::DeviceList;

use crate::server::Server;
use crate::settings::{Address, ByteSize, Settings, variables};
use crate::shutdown::Signals;
use crate::{console, logging};

/// Options of `elanus serve`; what is absent may be in the file, see [`Settings`].
#[derive(Debug, Default, Args)]
pub struct ServeArgs {
    /// Data directory; created when it does not exist
    #[arg(long, env = "ELANUS_DATA", value_name = "DIR")]
    pub data: Option<String>,
    /// Address of the Milvus gRPC door [default: 127.0.0.1:19530]
    #[arg(long, env = "ELANUS_MILVUS_ADDR", value_name = "HOST:PORT")]
    pub milvus_addr: Option<Address>,
    /// Address of the Arrow Flight SQL door [default: 127.0.0.1:31337]
    #[arg(long, env = "ELANUS_FLIGHT_ADDR", value_name = "HOST:PORT")]
    pub flight_addr: Option<Address>,
    /// Address of the HTTP door with /healthz and /metrics [default: 127.0.0.1:9091]
    #[arg(long, env = "ELANUS_HTTP_ADDR", value_name = "HOST:PORT")]
    pub http_addr: Option<Address>,
    /// TOML file with any of these options
    #[arg(long, env = "ELANUS_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Allow addresses that other machines can reach, although clients are not authenticated
    #[arg(long, env = "ELANUS_INSECURE", value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub insecure: Option<bool>,
    /// Ask clients for a user and a password, and check what the user may do. The first password of root is in the variable
    /// ELANUS_ROOT_PASSWORD or in a file
    #[arg(long, env = "ELANUS_AUTH", value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub auth: Option<bool>,
    /// File whose first line is the first password of root; not read when there is a root already
    #[arg(long, env = "ELANUS_ROOT_PASSWORD_FILE", value_name = "FILE")]
    pub root_password_file: Option<PathBuf>,
    /// Memory that loaded collections may take, such as 8GiB; a load beyond it is refused [default: no limit]
    #[arg(long, env = "ELANUS_MEMORY_LIMIT", value_name = "SIZE")]
    pub memory_limit: Option<ByteSize>,
    /// Memory that an index build may take besides the vectors, such as 2GiB; one that may need more is refused [default: no
    /// limit]
    #[arg(long, env = "ELANUS_BUILD_MEMORY_LIMIT", value_name = "SIZE")]
    pub build_memory_limit: Option<ByteSize>,
    /// Memory that sorts, joins and aggregates of SQL may take before they spill to disk [default: no limit]
    #[arg(long, env = "ELANUS_SQL_MEMORY_LIMIT", value_name = "SIZE")]
    pub sql_memory_limit: Option<ByteSize>,
    /// Folder whose files COPY and external tables may read and write, with the folders in it; may be given several times,
    /// in the variable with commas between [default: none, such statements are refused]
    #[arg(long, env = "ELANUS_ALLOW_FILES", value_name = "DIR", value_delimiter = ',')]
    pub allow_files: Vec<PathBuf>,
    /// Service with a rerank model that searches may ask, such as http://127.0.0.1:8080; may be given several times, in the
    /// variable with commas between [default: none, such rerankers are refused]
    #[arg(
        long,
        env = "ELANUS_ALLOW_SERVICES",
        value_name = "URL",
        value_delimiter = ','
    )]
    pub allow_services: Vec<String>,
    /// Let clients register plugins: WebAssembly that runs in a sandbox, and takes time and memory all the same. With --auth it
    /// is the privilege RegisterPlugin that lets a user do so, and this changes nothing
    #[arg(long, env = "ELANUS_ALLOW_PLUGINS", value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub allow_plugins: Option<bool>,
    /// File with public keys of Ed25519: only plugins that one of them has signed can be registered [default: none, any can]
    #[arg(long, env = "ELANUS_PLUGIN_KEYS", value_name = "FILE")]
    pub plugin_keys: Option<PathBuf>,
    /// Folder of dictionaries for the tokenizer lindera, such as DIR/ipadic [default: none, the tokenizer is refused]
    #[arg(long, env = "ELANUS_ANALYZER_DICTIONARIES", value_name = "DIR")]
    pub analyzer_dictionaries: Option<PathBuf>,
    /// Where an index type of GPUs cannot be had, build its equivalent on the CPU, with a warning, instead of refusing it
    #[arg(long, env = "ELANUS_GPU_FALLBACK", value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub gpu_fallback: Option<bool>,
    /// Microseconds that a search on a GPU stays for others to be done with, where others have lately come [default: 100]
    #[arg(long, env = "ELANUS_GPU_BATCH_WAIT", value_name = "MICROSECONDS")]
    pub gpu_batch_wait: Option<u32>,
    /// Numbers of the GPUs that share searches, with commas between, such as 0,1; the first of them builds indexes [default: 0]
    #[arg(long, env = "ELANUS_GPU_DEVICES", value_name = "NUMBERS")]
    pub gpu_devices: Option<DeviceList>,
    /// Memory of each GPU that may be used, such as 40GiB [default: four fifths of what is free]
    #[arg(long, env = "ELANUS_GPU_MEMORY_LIMIT", value_name = "SIZE")]
    pub gpu_memory_limit: Option<ByteSize>,
    /// Threads for searches, for SQL and for index builds each [default: one per core]
    #[arg(long, env = "ELANUS_THREADS", value_name = "NUMBER")]
    pub threads: Option<NonZeroUsize>,
    /// What to log to standard error: a level, or target=level pairs [default: warn,elanus=info]
    #[arg(long, env = "ELANUS_LOG", value_name = "FILTER")]
    pub log: Option<String>,
}

/// Serves until SIGTERM or Ctrl-C. A second signal while draining ends the process at once.
///
/// # Errors
/// Wrong settings, a locked or damaged data directory, a door that cannot be opened.
pub async fn run(arguments: ServeArgs) -> anyhow::Result<()> {
    let settings = Settings::resolve(arguments)?;
    logging::start(&settings.log)?;
    variables::warn_about_misspelt();
    let mut signals = Signals::catch()?;

    let server = tokio::select! {
        started = Box::pin(Server::start(&settings)) => started?,
        signal = signals.next() => {
            tracing::info!(signal, "stopped before the server was ready");
            return Ok(());
        }
    };
    console::line(format_args!(
        "elanus: milvus door ready on {}",
        server.milvus_addr()
    ));
    console::line(format_args!(
        "elanus: flight door ready on {}",
        server.flight_addr()
    ));
    console::line(format_args!("elanus: http door ready on {}", server.http_addr()));

    let reason = tokio::select! {
        signal = signals.next() => signal,
        () = server.door_failed() => "a door failed",
    };
    tracing::info!(reason, "draining: running requests finish, new ones are refused");
    tokio::select! {
        stopped = Box::pin(server.stop()) => stopped?,
        signal = signals.next() => anyhow::bail!("stopped by a second {signal} before everything had finished"),
    }
    tracing::info!("stopped");
    Ok(())
}

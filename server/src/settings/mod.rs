//! The settings of `elanus serve`: one value each, from the command line, the environment, the TOML file or the
//! default, in this order. clap merges the first two; [`Settings::resolve`] adds the file and the defaults.

mod address;
mod file;
mod password;
mod services;
mod size;
pub mod variables;

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use elanus_index::gpu::DeviceList;

pub use self::address::Address;
pub use self::password::{PASSWORD, Password, ROOT_PASSWORD};
pub use self::services::Services;
pub use self::size::ByteSize;
use crate::cmd::serve::ServeArgs;

/// Where Milvus clients expect a server.
pub const DEFAULT_MILVUS_ADDR: &str = "127.0.0.1:19530";
/// Where Flight SQL clients expect a server.
pub const DEFAULT_FLIGHT_ADDR: &str = "127.0.0.1:31337";
/// Where Milvus has health and metrics.
pub const DEFAULT_HTTP_ADDR: &str = "127.0.0.1:9091";
/// What is logged unless asked otherwise: events of our own crates, warnings of everything else.
pub const DEFAULT_LOG: &str = "warn,elanus=info";

/// Everything that `elanus serve` can be told, resolved.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Data directory.
    pub data: String,
    /// Address of the Milvus gRPC door.
    pub milvus_addr: Address,
    /// Address of the Flight SQL door.
    pub flight_addr: Address,
    /// Address of the HTTP door.
    pub http_addr: Address,
    /// Listen on addresses that other machines reach although no authentication is configured.
    pub insecure: bool,
    /// Clients are users, whose rights are checked.
    pub auth: bool,
    /// The first password of `root`.
    pub root_password: Option<Password>,
    /// Bytes that loaded collections may take; none: no limit.
    pub memory_limit: Option<ByteSize>,
    /// Bytes that an index build may take; none: no limit.
    pub build_memory_limit: Option<ByteSize>,
    /// Bytes that SQL may take before it spills; none: no limit.
    pub sql_memory_limit: Option<ByteSize>,
    /// Folders whose files statements may read and write; none: no files.
    pub allow_files: Vec<PathBuf>,
    /// Services that rerankers may ask, and how.
    pub services: Services,
    /// Clients may register plugins.
    pub allow_plugins: bool,
    /// File with the keys whose signature a plugin needs; none: it needs none.
    pub plugin_keys: Option<PathBuf>,
    /// Folder of the dictionaries of tokenizers.
    pub analyzer_dictionaries: Option<PathBuf>,
    /// Build on the CPU what was asked for on a GPU and cannot be had there.
    pub gpu_fallback: bool,
    /// How long a search on a GPU stays for others; none: as long as is usual.
    pub gpu_batch_wait: Option<Duration>,
    /// The GPUs that share searches; none: the first.
    pub gpu_devices: DeviceList,
    /// Bytes of each GPU's memory that may be used; none: four fifths of what is free.
    pub gpu_memory_limit: Option<ByteSize>,
    /// Threads of searches, SQL and index builds each; none: one per core.
    pub threads: Option<NonZeroUsize>,
    /// Filter of the log, in the syntax of `RUST_LOG`.
    pub log: String,
}

impl Settings {
    /// Merges command line and environment (already in `arguments`) with the file that they name and the defaults.
    ///
    /// # Errors
    /// The file cannot be read, is not TOML, has an unknown key or a value of the wrong type, or no data directory was given.
    pub fn resolve(arguments: ServeArgs) -> anyhow::Result<Self> {
        let mut file = match &arguments.config {
            Some(path) => read(path)?,
            None => file::Reader::empty(),
        };
        let data = file.text("data")?;
        let milvus_addr = file.parsed::<Address>("milvus_addr")?;
        let flight_addr = file.parsed::<Address>("flight_addr")?;
        let http_addr = file.parsed::<Address>("http_addr")?;
        let insecure = file.boolean("insecure")?;
        let auth = file.boolean("auth")?;
        let root_password_file = file.text("root_password_file")?;
        let memory_limit = file.parsed::<ByteSize>("memory_limit")?;
        let build_memory_limit = file.parsed::<ByteSize>("build_memory_limit")?;
        let sql_memory_limit = file.parsed::<ByteSize>("sql_memory_limit")?;
        let allow_files = file.texts("allow_files")?;
        let mut services = Services::read(&mut file)?;
        let allow_plugins = file.boolean("allow_plugins")?;
        let plugin_keys = file.text("plugin_keys")?;
        let analyzer_dictionaries = file.text("analyzer_dictionaries")?;
        let gpu_fallback = file.boolean("gpu_fallback")?;
        let gpu_batch_wait = file.parsed::<u32>("gpu_batch_wait")?;
        let gpu_devices = file.parsed::<DeviceList>("gpu_devices")?;
        let gpu_memory_limit = file.parsed::<ByteSize>("gpu_memory_limit")?;
        let threads = file.parsed::<NonZeroUsize>("threads")?;
        let log = file.text("log")?;
        file.finish()?;
        if !arguments.allow_services.is_empty() {
            services.allowed = arguments.allow_services;
        }

        let auth = arguments.auth.or(auth).unwrap_or(false);
        let root_password_file = arguments
            .root_password_file
            .or_else(|| root_password_file.map(PathBuf::from));
        let root_password = if auth {
            Password::read(root_password_file.as_deref(), ROOT_PASSWORD)?
        } else {
            None
        };
        let default = |text: &str| text.parse::<Address>().map_err(anyhow::Error::msg);
        Ok(Self {
            data: arguments.data.or(data).context(
                "no data directory: give --data DIR, set ELANUS_DATA, or write the key `data` in the file of --config",
            )?,
            milvus_addr: match arguments.milvus_addr.or(milvus_addr) {
                Some(address) => address,
                None => default(DEFAULT_MILVUS_ADDR)?,
            },
            flight_addr: match arguments.flight_addr.or(flight_addr) {
                Some(address) => address,
                None => default(DEFAULT_FLIGHT_ADDR)?,
            },
            http_addr: match arguments.http_addr.or(http_addr) {
                Some(address) => address,
                None => default(DEFAULT_HTTP_ADDR)?,
            },
            insecure: arguments.insecure.or(insecure).unwrap_or(false),
            auth,
            root_password,
            memory_limit: arguments.memory_limit.or(memory_limit),
            build_memory_limit: arguments.build_memory_limit.or(build_memory_limit),
            sql_memory_limit: arguments.sql_memory_limit.or(sql_memory_limit),
            allow_files: if arguments.allow_files.is_empty() {
                allow_files.into_iter().map(PathBuf::from).collect()
            } else {
                arguments.allow_files
            },
            services,
            allow_plugins: arguments.allow_plugins.or(allow_plugins).unwrap_or(false),
            plugin_keys: arguments.plugin_keys.or_else(|| plugin_keys.map(PathBuf::from)),
            analyzer_dictionaries: arguments
                .analyzer_dictionaries
                .or_else(|| analyzer_dictionaries.map(PathBuf::from)),
            gpu_fallback: arguments.gpu_fallback.or(gpu_fallback).unwrap_or(false),
            gpu_batch_wait: arguments
                .gpu_batch_wait
                .or(gpu_batch_wait)
                .map(|micros| Duration::from_micros(micros.into())),
            gpu_devices: arguments.gpu_devices.or(gpu_devices).unwrap_or_default(),
            gpu_memory_limit: arguments.gpu_memory_limit.or(gpu_memory_limit),
            threads: arguments.threads.or(threads),
            log: arguments.log.or(log).unwrap_or_else(|| DEFAULT_LOG.to_owned()),
        })
    }
}

fn read(path: &PathBuf) -> anyhow::Result<file::Reader> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the configuration file {}", path.display()))?;
    file::Reader::parse(&path.display().to_string(), &text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments() -> ServeArgs {
        ServeArgs::default()
    }

    fn with_file(text: &str) -> (tempfile::NamedTempFile, ServeArgs) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let arguments = ServeArgs {
            config: Some(file.path().to_owned()),
            ..arguments()
        };
        (file, arguments)
    }

    #[test]
    fn defaults_need_only_a_data_directory() {
        let settings = Settings::resolve(ServeArgs {
            data: Some("d".into()),
            ..arguments()
        })
        .unwrap();
        assert_eq!(settings.milvus_addr.to_string(), DEFAULT_MILVUS_ADDR);
        assert_eq!(settings.http_addr.to_string(), DEFAULT_HTTP_ADDR);
        assert!(!settings.insecure && !settings.auth && !settings.allow_plugins);
        assert_eq!(settings.log, DEFAULT_LOG);
        let error = Settings::resolve(arguments()).unwrap_err().to_string();
        assert!(error.contains("--data DIR"), "{error}");
    }

    #[test]
    fn the_command_line_wins_over_the_file() {
        let (_file, mut arguments) = with_file(
            "data = 'from-file'\nmilvus_addr = '127.0.0.1:1'\ninsecure = true\nmemory_limit = '2GiB'\nlog = 'debug'\n",
        );
        arguments.data = Some("from-flag".into());
        arguments.insecure = Some(false);
        let settings = Settings::resolve(arguments).unwrap();
        assert_eq!(settings.data, "from-flag");
        assert!(!settings.insecure);
        assert_eq!(settings.milvus_addr.to_string(), "127.0.0.1:1");
        assert_eq!(settings.memory_limit.map(ByteSize::bytes), Some(2 << 30));
        assert_eq!(settings.log, "debug");
    }

    #[test]
    fn folders_are_a_list_in_the_file() {
        let (_file, mut arguments) = with_file("data = 'd'\nallow_files = ['/in', '/out']\n");
        let settings = Settings::resolve(ServeArgs {
            config: arguments.config.clone(),
            ..ServeArgs::default()
        });
        assert_eq!(
            settings.unwrap().allow_files,
            [PathBuf::from("/in"), PathBuf::from("/out")]
        );
        arguments.allow_files = vec!["/flag".into()];
        assert_eq!(
            Settings::resolve(arguments).unwrap().allow_files,
            [PathBuf::from("/flag")]
        );
        let (_file, arguments) = with_file("data = 'd'\nallow_files = '/in'\n");
        let error = Settings::resolve(arguments).unwrap_err().to_string();
        assert!(
            error.contains("`allow_files` must be a list of strings"),
            "{error}"
        );
    }

    #[test]
    fn an_unknown_key_names_the_nearest_right_one() {
        let (_file, arguments) = with_file("data = 'd'\nmilvus_adr = '127.0.0.1:1'\n");
        let error = Settings::resolve(arguments).unwrap_err().to_string();
        assert!(
            error.contains("unknown key `milvus_adr`: did you mean `milvus_addr`?"),
            "{error}"
        );
    }

    #[test]
    fn a_missing_file_is_named() {
        let arguments = ServeArgs {
            config: Some("/nonexistent/elanus.toml".into()),
            ..arguments()
        };
        let error = format!("{:#}", Settings::resolve(arguments).unwrap_err());
        assert!(error.contains("/nonexistent/elanus.toml"), "{error}");
    }
}

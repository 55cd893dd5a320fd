//! `elanus plugin`: what authors do with a plugin (build, check, bench), and what it is on a server (add, list, remove).
//!
//! The first three run in this process and need no server. The others are statements on a data directory or a server, as
//! those of `elanus sql`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::{Args, Subcommand};
use elanus_plugin_tool::{BenchOptions, BuildOptions, bench, build, parameters};
use elanus_plugins::{Host, HostConfig, Limits, LoadOptions, Rights, SigningKey, World, check, check_with};
use elanus_query::DEFAULT_DATABASE;

use super::sql::{Backend, UserArgs, render};
use crate::{console, logging};

/// What to do with plugins.
#[derive(Debug, Subcommand)]
pub enum PluginCommand {
    /// Build the project in a folder with the compiler of its language
    Build(BuildArgs),
    /// Say what is wrong with a file, by loading it and trying it on a few rows
    Check(CheckArgs),
    /// Measure what calls cost, on drawn candidates or rows
    Bench(BenchArgs),
    /// Register a file: a reranker under a name, or the functions of a file
    Add(AddArgs),
    /// List what is registered and what it has done
    List(PlaceArgs),
    /// Forget a name
    Remove(RemoveArgs),
}

/// Options of `elanus plugin build`.
#[derive(Debug, Args)]
pub struct BuildArgs {
    /// Folder of the project
    #[arg(default_value = ".")]
    folder: PathBuf,
    /// File to write [default: beside the project, or where cargo writes it]
    #[arg(short = 'o', long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Let the plugin ask for the clock, for random numbers and for the log
    #[arg(long)]
    with_rights: bool,
    /// Package of a workspace in Rust; may be given several times [default: all]
    #[arg(short = 'p', long = "package", value_name = "NAME")]
    packages: Vec<String>,
}

/// Options of `elanus plugin check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Files of plugins
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Parameters to try rerankers with, a JSON object
    #[arg(long, value_name = "JSON", default_value = "{}")]
    params: String,
}

/// Options of `elanus plugin bench`.
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// File of a plugin
    file: PathBuf,
    /// Candidates of a search, or rows of a batch
    #[arg(long, value_name = "NUMBER", default_value_t = 100)]
    candidates: usize,
    /// Dimensions of vectors
    #[arg(long, value_name = "NUMBER", default_value_t = 768)]
    dim: u32,
    /// Parameters of a reranker, a JSON object
    #[arg(long, value_name = "JSON", default_value = "{}")]
    params: String,
    /// Seconds to measure
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seconds: u64,
}

/// Where statements run.
#[derive(Debug, Args)]
pub struct PlaceArgs {
    /// Data directory that no server has open
    #[arg(
        long,
        env = "ELANUS_DATA",
        value_name = "DIR",
        required_unless_present = "connect"
    )]
    data: Option<String>,
    /// Server to connect to, such as grpc://127.0.0.1:31337; wins over a data directory
    #[arg(long, env = "ELANUS_CONNECT", value_name = "URI")]
    connect: Option<String>,
    #[command(flatten)]
    user: UserArgs,
}

/// Options of `elanus plugin add`.
#[derive(Debug, Args)]
pub struct AddArgs {
    /// File of a plugin
    file: PathBuf,
    /// Name of a reranker [default: the one that it gives itself]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Take the place of what has the name
    #[arg(long)]
    replace: bool,
    /// A limit or a right, such as memory=32MB; may be given several times
    #[arg(long = "with", value_name = "NAME=VALUE")]
    settings: Vec<String>,
    /// PEM file with a private key of Ed25519 to sign the file with
    #[arg(long, value_name = "FILE")]
    sign: Option<PathBuf>,
    #[command(flatten)]
    place: PlaceArgs,
}

/// Options of `elanus plugin remove`.
#[derive(Debug, Args)]
pub struct RemoveArgs {
    /// Name
    name: String,
    /// It is the name of a function, not of a reranker
    #[arg(long)]
    function: bool,
    #[command(flatten)]
    place: PlaceArgs,
}

/// Runs one of them.
///
/// # Errors
/// Files that cannot be read, plugins that are none, and what the data directory or the server refuses.
pub async fn run(command: PluginCommand) -> anyhow::Result<()> {
    logging::start("warn")?;
    match command {
        PluginCommand::Build(arguments) => in_background(move || built(&arguments)).await,
        PluginCommand::Check(arguments) => in_background(move || checked(&arguments)).await,
        PluginCommand::Bench(arguments) => in_background(move || measured(&arguments)).await,
        PluginCommand::Add(arguments) => add(arguments).await,
        PluginCommand::List(place) => {
            let columns = "name, kind, plugin, version, calls, rows, time_ms, peak_memory, traps, last_error";
            let query = format!("SELECT {columns} FROM elanus.plugins ORDER BY kind, name");
            statement(&place, &query, true).await
        }
        PluginCommand::Remove(arguments) => {
            let kind = if arguments.function {
                "FUNCTION"
            } else {
                "RERANKER"
            };
            statement(
                &arguments.place,
                &format!("DROP {kind} {}", quoted(&arguments.name)),
                false,
            )
            .await
        }
    }
}

/// Runs what takes the thread for a while.
async fn in_background(work: impl FnOnce() -> anyhow::Result<()> + Send + 'static) -> anyhow::Result<()> {
    tokio::task::spawn_blocking(work).await?
}

fn built(arguments: &BuildArgs) -> anyhow::Result<()> {
    let options = BuildOptions {
        output: arguments.output.clone(),
        with_rights: arguments.with_rights,
        packages: arguments.packages.clone(),
        target_dir: None,
    };
    let plugins = build(&arguments.folder, &options)?;
    plugins
        .iter()
        .try_for_each(|plugin| console::result(plugin.display()))
}

fn checked(arguments: &CheckArgs) -> anyhow::Result<()> {
    let host = Host::new(HostConfig::default())?;
    let given = parameters(&arguments.params).map_err(anyhow::Error::msg)?;
    let mut bad = 0;
    for file in &arguments.files {
        let report = check_with(&host, &read(file)?, &LoadOptions::default(), &given);
        console::result(format_args!("{}: {report}", file.display()))?;
        bad += usize::from(!report.is_good());
    }
    ensure!(
        bad == 0,
        "{bad} of {} files cannot be used",
        arguments.files.len()
    );
    Ok(())
}

fn measured(arguments: &BenchArgs) -> anyhow::Result<()> {
    let host = Host::new(HostConfig::default())?;
    // What is slow is measured too, so that its author knows which deadline to ask for.
    let patient = Limits {
        deadline: Duration::from_secs(60),
        start_deadline: Duration::from_secs(60),
        ..Limits::default()
    };
    let options = LoadOptions {
        rights: Rights::ALL,
        limits: patient,
        ..LoadOptions::default()
    };
    let plugin = host.load(&read(&arguments.file)?, &options)?;
    let options = BenchOptions {
        candidates: arguments.candidates,
        dim: arguments.dim,
        parameters: parameters(&arguments.params).map_err(anyhow::Error::msg)?,
        time: Duration::from_secs(arguments.seconds.max(1)),
        ..BenchOptions::default()
    };
    let figures = bench(&plugin, &options)?;
    figures.iter().try_for_each(console::result)
}

async fn add(arguments: AddArgs) -> anyhow::Result<()> {
    let AddArgs {
        file,
        name,
        replace,
        settings,
        sign,
        place,
    } = arguments;
    let bytes = read(&file)?;
    let mut with = Vec::new();
    for setting in &settings {
        let (name, value) = setting
            .split_once('=')
            .with_context(|| format!("--with {setting} is not name=value"))?;
        with.push(format!(
            "{} = '{}'",
            quoted(name.trim()),
            value.trim().replace('\'', "''")
        ));
    }
    if let Some(path) = sign {
        let pem =
            std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        with.push(format!(
            "signature = '{}'",
            SigningKey::from_pem(&pem)?.sign(&bytes)
        ));
    }
    let looked_at = bytes.clone();
    let host = tokio::task::spawn_blocking(move || {
        let host = Host::new(HostConfig::default())?;
        anyhow::Ok(check(&host, &looked_at, &LoadOptions::default()))
    });
    let report = host.await??;
    let (Some(world), Some(own)) = (report.world, &report.name) else {
        anyhow::bail!("{}: {report}", file.display());
    };
    let or_replace = if replace { " OR REPLACE" } else { "" };
    let mut backend = place.open().await?;
    let added = async {
        let path = backend.upload_plugin(bytes).await?;
        let object = match world {
            World::Reranker => {
                // Behind the name is the version.
                let own = own.split(' ').next().unwrap_or_default();
                format!("RERANKER {} FROM", quoted(name.as_deref().unwrap_or(own)))
            }
            World::Udf if name.is_some() => {
                anyhow::bail!("--name is for rerankers: the functions of a file have names of their own")
            }
            World::Udf => "FUNCTIONS FROM".to_owned(),
        };
        let with = if with.is_empty() {
            String::new()
        } else {
            format!(" WITH ({})", with.join(", "))
        };
        backend
            .run(&format!("CREATE{or_replace} {object} '{path}'{with}"))
            .await?;
        Ok(())
    };
    let added = Box::pin(added).await;
    backend.close().await;
    added
}

/// Runs one statement, and shows its rows.
async fn statement(place: &PlaceArgs, text: &str, shows: bool) -> anyhow::Result<()> {
    let mut backend = place.open().await?;
    let ran = backend.run(text).await;
    backend.close().await;
    let output = ran?;
    if shows {
        console::result(render(&output)?.trim_end())?;
    }
    Ok(())
}

impl PlaceArgs {
    async fn open(&self) -> anyhow::Result<Backend> {
        match (&self.connect, &self.data) {
            (Some(uri), _) => {
                let user = self.user.credentials()?;
                Backend::connect(uri, DEFAULT_DATABASE, user.as_ref()).await
            }
            (None, Some(data)) => Backend::open(data, DEFAULT_DATABASE).await,
            (None, None) => anyhow::bail!("give a data directory with --data or a server with --connect"),
        }
    }
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// A name as SQL takes any.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

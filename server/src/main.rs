//! The `elanus` binary: reads the command line, starts the runtime, runs one subcommand, turns its result into an
//! exit code. Everything a user may type is declared in [`cli`]; each subcommand is one file of [`cmd`].

mod cli;
mod cmd;
mod console;
mod http;
mod logging;
mod metrics;
mod plugin_keys;
mod server;
mod settings;
mod shutdown;
mod users;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};

fn main() -> ExitCode {
    let cli = Cli::parse();
    // Doors and storage live on this runtime. Searches and scans leave it for the compute pool of the query crate.
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("elanus-io")
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return console::fail(&anyhow::anyhow!("cannot start the I/O runtime: {error}")),
    };
    let outcome = runtime.block_on(async {
        match cli.command {
            Command::Serve(arguments) => Box::pin(cmd::serve::run(arguments)).await,
            Command::Sql(arguments) => Box::pin(cmd::sql::run(arguments)).await,
            Command::Plugin(command) => Box::pin(cmd::plugin::run(command)).await,
            Command::Demo => Box::pin(cmd::demo::run()).await,
        }
    });
    // A task that still blocks (a client that never reads, say) must not keep the process alive.
    runtime.shutdown_background();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => console::fail(&error),
    }
}

//! The command line. The doc comments here are the text of `--help`.

use clap::{Parser, Subcommand};

use crate::cmd::{plugin::PluginCommand, serve::ServeArgs, sql::SqlArgs};

/// Elanus, a vector database that is a query engine first: Milvus clients and SQL over the same collections.
#[derive(Debug, Parser)]
#[command(
    name = "elanus",
    version,
    propagate_version = true,
    arg_required_else_help = true,
    max_term_width = 100
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve a data directory to clients until stopped
    ///
    /// Prints one line per door when it is ready. SIGTERM or Ctrl-C stops taking requests, finishes those that run and
    /// exits with 0. Every option can also be given as an environment variable or in the TOML file that --config names,
    /// there without the dashes: --milvus-addr is the key `milvus_addr`. An option on the command line wins over the
    /// variable, the variable over the file.
    Serve(ServeArgs),
    /// Run SQL on a data directory that no server has open
    ///
    /// Each result is printed as a table. Errors go to standard error and the exit code is 1; statements before the one
    /// that failed have taken effect.
    Sql(SqlArgs),
    /// Build, check and measure plugins; register, list and remove them
    ///
    /// A plugin is a WebAssembly component that reranks search results or adds functions to SQL.
    #[command(subcommand)]
    Plugin(PluginCommand),
    /// See it work: real data, an index, SQL and a Milvus client, in a temporary directory
    Demo,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}

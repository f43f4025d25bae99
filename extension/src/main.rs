//! `extension`: builds what is shipped.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use extension::{Cache, Recipe};

/// Builds what Basalt ships.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Builds the root tree, if it is not there yet, and prints its path.
    Tree {
        /// The tree that guests under test boot, instead of the one that ships.
        #[arg(long, conflicts_with = "kernel")]
        guest: bool,
        /// The kernel for virtual machines.
        #[arg(long)]
        kernel: bool,
        /// Where built trees are kept.
        #[arg(long, env = "BASALT_TREE_CACHE", default_value = ".cache/tree")]
        cache: PathBuf,
    },
}

fn main() -> anyhow::Result<()> {
    let Args { action } = Args::parse();
    match action {
        Action::Tree {
            guest,
            kernel,
            cache,
        } => {
            let recipe = match (guest, kernel) {
                (true, _) => Recipe::guest(),
                (_, true) => Recipe::kernel(),
                _ => Recipe::node(),
            };
            let cache = std::path::absolute(cache)?;
            println!("{}", Cache::new(cache).tree(&recipe)?.display());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_arguments_are_consistent() {
        Args::command().debug_assert();
    }
}

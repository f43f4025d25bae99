//! `extension`: builds what is shipped.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use extension::progress::Step;
use extension::{Cache, Recipe, image};

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
    /// Builds the node image: an OCI layout in a folder, and the same as an archive.
    Image {
        /// The folder with our own binaries.
        #[arg(long, default_value = "target/release")]
        programs: PathBuf,
        /// The folder to write to.
        #[arg(long, default_value = "target/image")]
        out: PathBuf,
        /// The name to import it under, with a tag.
        #[arg(long, default_value = concat!("basalt:", env!("CARGO_PKG_VERSION")))]
        reference: String,
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
        Action::Image {
            programs,
            out,
            reference,
            cache,
        } => {
            let tree = Cache::new(std::path::absolute(cache)?).tree(&Recipe::node())?;
            let step = Step::start("packing the node image");
            let root = image::rootfs(&tree, &programs)?;
            let layout = image::layout(&root, &reference, env!("CARGO_PKG_VERSION"))?;
            let archive = out.join("basalt-amd64.tar");
            layout.write_dir(&out.join("basalt-amd64"))?;
            layout.write_archive(&archive, image::EPOCH)?;
            step.done();
            println!("{reference}  {}", layout.digest);
            println!("{}  {:.1} MB", archive.display(), megabytes(layout.size()));
        }
    }
    Ok(())
}

/// For people: 10^6 bytes.
#[expect(
    clippy::cast_precision_loss,
    reason = "one digit after the point is shown"
)]
fn megabytes(bytes: usize) -> f64 {
    bytes as f64 / 1e6
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

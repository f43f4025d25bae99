//! `extension`: builds what is shipped.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use clap::{Parser, Subcommand};
use extension::progress::Step;
use extension::talos::patches::{self, Dialect, Topic, Values};
use extension::talos::validate::Target;
use extension::talos::{build, range, validate};
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
    /// Builds the system extension for Talos: a flat tar, an OCI layout in a folder, and the same as an archive.
    Build {
        /// The folder with our own binaries.
        #[arg(long, default_value = "target/release")]
        programs: PathBuf,
        /// The folder to write to.
        #[arg(long, default_value = "target/extension")]
        out: PathBuf,
        /// The image's name, with a tag.
        #[arg(long, default_value = concat!("lvm-disk-watcher:", env!("CARGO_PKG_VERSION")))]
        reference: String,
        /// Where built trees are kept.
        #[arg(long, env = "BASALT_TREE_CACHE", default_value = ".cache/tree")]
        cache: PathBuf,
    },
    /// Checks system extensions: folders, flat tars, OCI layouts and archives. Stricter than Talos.
    Validate {
        /// The extensions.
        #[arg(required = true)]
        paths: Vec<PathBuf>,
        /// amd64 or arm64.
        #[arg(long, default_value = "amd64", value_parser = ["amd64", "arm64"])]
        arch: String,
        /// The version of Talos.
        #[arg(long, default_value = "1.13.9", value_parser = talos_version)]
        talos: range::Version,
    },
    /// Prints the patches of Talos' machine configuration, or writes them to files.
    Render {
        /// 1.13 for Talos up to 1.13 and clusters upgraded from there; 1.14 for clusters that 1.14 made.
        #[arg(long, default_value = "1.13", value_parser = ["1.13", "1.14"])]
        talos: String,
        /// A topic: the name of its file without .yaml. All of them unless given.
        topic: Option<String>,
        /// Writes a file for each into this folder instead.
        #[arg(long)]
        out: Option<PathBuf>,
    },
}

fn talos_version(text: &str) -> Result<range::Version, &'static str> {
    range::version(text).ok_or("three numbers, as 1.13.9")
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
        Action::Build {
            programs,
            out,
            reference,
            cache,
        } => {
            let tree = Cache::new(std::path::absolute(cache)?).tree(&Recipe::node())?;
            extension_for_talos(&tree, &programs, &out, &reference)?;
        }
        Action::Render { talos, topic, out } => {
            render(&talos, topic.as_deref(), out.as_deref())?;
        }
        Action::Validate { paths, arch, talos } => {
            let architecture = arch;
            let target = Target {
                architecture,
                talos,
            };
            let mut wrong = 0;
            for path in paths {
                let findings = validate::path(&path, &target)
                    .with_context(|| format!("could not read {}", path.display()))?;
                for finding in &findings {
                    println!("{}: {finding}", path.display());
                }
                wrong += findings.len();
            }
            ensure!(wrong == 0, "{wrong} findings");
        }
    }
    Ok(())
}

fn render(talos: &str, topic: Option<&str>, out: Option<&Path>) -> anyhow::Result<()> {
    let mut done = 0;
    for dialect in Dialect::ALL.into_iter().filter(|d| d.talos() == talos) {
        let wanted =
            |t: &Topic| topic.is_none_or(|name| t.file().trim_end_matches(".yaml") == name);
        for topic in Topic::ALL.into_iter().filter(wanted) {
            let Some(text) = patches::render(&Values::default(), topic, dialect) else {
                continue;
            };
            done += 1;
            match out {
                Some(dir) => std::fs::write(dir.join(topic.file()), text)
                    .with_context(|| format!("could not write to {}", dir.display()))?,
                None if done == 1 => print!("{text}"),
                None => print!("---\n{text}"),
            }
        }
    }
    ensure!(done > 0, "there is no such patch for Talos {talos}");
    Ok(())
}

fn extension_for_talos(
    tree: &Path,
    programs: &Path,
    out: &Path,
    reference: &str,
) -> anyhow::Result<()> {
    let name = build::LVM_DISK_WATCHER;
    let step = Step::start(format!("packing the extension {name}"));
    let root = build::lvm_disk_watcher(tree, programs)?;
    let packed = build::pack(&root, name, reference)?;
    let stem = format!("{name}-amd64");
    let (tar, archive) = (
        out.join(format!("{stem}.tar")),
        out.join(format!("{stem}.oci.tar")),
    );
    packed.layout.write_dir(&out.join(&stem))?;
    packed.layout.write_archive(&archive, image::EPOCH)?;
    std::fs::write(&tar, &packed.tar)
        .with_context(|| format!("could not write {}", tar.display()))?;
    step.done();
    println!("{reference}  {}", packed.layout.digest);
    for (path, bytes) in [(archive, packed.layout.size()), (tar, packed.tar.len())] {
        println!("{}  {:.1} MB", path.display(), megabytes(bytes));
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

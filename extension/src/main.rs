//! `extension`: builds what is shipped.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use clap::{Parser, Subcommand, ValueEnum};
use extension::progress::Step;
use extension::rootfs::Rootfs;
use extension::talos::patches::{self, Dialect, Topic};
use extension::talos::validate::Target;
use extension::talos::values::Values;
use extension::talos::{build, container, range, talconfig, validate};
use extension::thin_tools::ThinTools;
use extension::{Arch, Cache, Recipe, cross, image, krew, release, squashfs, sysext};

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
    /// Builds the system extensions for Talos: for each a flat tar, an OCI layout in a folder, and the same as an archive.
    Build {
        /// The folder with our own binaries.
        #[arg(long, default_value = "target/release")]
        programs: PathBuf,
        /// The folder to write to.
        #[arg(long, default_value = "target/extension")]
        out: PathBuf,
        /// Where built trees are kept.
        #[arg(long, env = "BASALT_TREE_CACHE", default_value = ".cache/tree")]
        cache: PathBuf,
    },
    /// Builds the extensions for systems with systemd-sysext: for each an image.
    Sysext {
        /// The folder with our own binaries, for that processor.
        #[arg(long, default_value = "target/release")]
        programs: PathBuf,
        /// The folder to write to.
        #[arg(long, default_value = "target/sysext")]
        out: PathBuf,
        /// The processor.
        #[arg(long, value_enum, default_value_t)]
        arch: Arch,
        /// Where built trees are kept.
        #[arg(long, env = "BASALT_TREE_CACHE", default_value = ".cache/tree")]
        cache: PathBuf,
    },
    /// Packs `kubectl topolvm` for krew: an archive, and the manifest that names it.
    Krew {
        /// The folder with our own binaries.
        #[arg(long, default_value = "target/release")]
        programs: PathBuf,
        /// The folder to write to.
        #[arg(long, default_value = "target/krew")]
        out: PathBuf,
        /// Where the archive will be: https://..., ending in .tar.gz.
        #[arg(long)]
        uri: String,
    },
    /// Prints what cargo needs to build our programs for another processor (`cargo --config FILE build --target ...`).
    Cross {
        /// The processor.
        #[arg(long, value_enum)]
        arch: Arch,
        /// The folder for what the linker needs.
        #[arg(long, default_value = "target/cross")]
        out: PathBuf,
        /// Where built trees are kept.
        #[arg(long, env = "BASALT_TREE_CACHE", default_value = ".cache/tree")]
        cache: PathBuf,
    },
    /// Gathers all of a release: images, extension, charts, plugin, what they are made of, checksums. Pushes it on request.
    Release(release::Options),
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
    /// Prints what Talos' machine configuration needs: patches, pieces for TalHelper, or a container instead of the
    /// extension.
    Render {
        /// 1.13 for Talos up to 1.13 and clusters upgraded from there; 1.14 for clusters that 1.14 made.
        #[arg(long, default_value = "1.13", value_parser = ["1.13", "1.14"])]
        talos: String,
        /// Whom it is for.
        #[arg(long = "for", value_enum, default_value = "patch")]
        form: Form,
        /// What is named, instead of the defaults: see talos/values.yaml.
        #[arg(long)]
        values: Option<PathBuf>,
        /// Topics: the names of their files without .yaml. All patches unless given; for TalHelper, those that most
        /// clusters need.
        topics: Vec<String>,
        /// Writes a file for each patch into this folder instead.
        #[arg(long)]
        out: Option<PathBuf>,
    },
}

/// What `render` makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    /// Strategic merges, for talosctl.
    Patch,
    /// Pieces of TalHelper's talconfig.yaml.
    Talconfig,
    /// disk-watcher as a container that Talos 1.14 runs, without an extension.
    Containerconfig,
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
            let layout = image::layout(&root, Arch::Amd64, &reference, env!("CARGO_PKG_VERSION"))?;
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
            cache,
        } => {
            let cache = Cache::new(std::path::absolute(cache)?);
            let watcher = build::lvm_disk_watcher(&cache.tree(&Recipe::node())?, &programs)?;
            extension_for_talos(build::LVM_DISK_WATCHER, &watcher, &out)?;
            let tools = ThinTools::get(&cache, Arch::Amd64)?;
            let root = build::lvm_thin_tools(&tools)?;
            extension_for_talos(build::LVM_THIN_TOOLS, &root, &out)?;
        }
        Action::Sysext {
            programs,
            out,
            arch,
            cache,
        } => {
            let cache = Cache::new(std::path::absolute(cache)?);
            std::fs::create_dir_all(&out)
                .with_context(|| format!("could not write to {}", out.display()))?;
            let tree = cache.tree(&Recipe::node_for(arch))?;
            let watcher = sysext::lvm_disk_watcher(&tree, &programs, arch)?;
            let tools = sysext::lvm_thin_tools(&ThinTools::get(&cache, arch)?)?;
            for (name, root) in [
                (build::LVM_DISK_WATCHER, watcher),
                (build::LVM_THIN_TOOLS, tools),
            ] {
                // Under the name that systemd-sysext takes it by.
                let image = out.join(format!("{name}.raw"));
                squashfs::write(&root, &image, sysext::LEVEL, Some(sysext::label))?;
                let size = usize::try_from(image.metadata()?.len())?;
                println!("{}  {:.1} MB", image.display(), megabytes(size));
            }
        }
        Action::Krew { programs, out, uri } => {
            let archive = krew::archive(&programs, Path::new("."))?;
            let platform = krew::Platform {
                arch: Arch::Amd64,
                uri: &uri,
                archive: &archive,
            };
            let manifest = krew::manifest(env!("CARGO_PKG_VERSION"), &[platform])?;
            let name = uri.rsplit('/').next().unwrap_or_default();
            let plugin = format!("{}.yaml", krew::PLUGIN);
            std::fs::create_dir_all(&out)
                .and_then(|()| std::fs::write(out.join(name), &archive))
                .and_then(|()| std::fs::write(out.join(&plugin), manifest))
                .with_context(|| format!("could not write to {}", out.display()))?;
            println!(
                "{}  {:.1} MB",
                out.join(name).display(),
                megabytes(archive.len())
            );
            println!("{}", out.join(plugin).display());
        }
        Action::Cross { arch, out, cache } => {
            let tree = Cache::new(std::path::absolute(cache)?).tree(&Recipe::node_for(arch))?;
            let out = std::path::absolute(out)?;
            print!("{}", cross::config(arch, &tree, &out)?);
        }
        Action::Release(options) => {
            let step = Step::start("gathering the release");
            let told = release::run(&options)?;
            step.done();
            print!("{told}");
        }
        Action::Render {
            talos,
            form,
            values,
            topics,
            out,
        } => {
            ensure!(
                out.is_none() || form == Form::Patch,
                "--out is for patches; the others are one text"
            );
            let values = match values {
                None => Values::default(),
                Some(path) => {
                    read_values(&path).with_context(|| format!("cannot use {}", path.display()))?
                }
            };
            let dialect = if talos == Dialect::Documents.talos() {
                Dialect::Documents
            } else {
                Dialect::V1Alpha1
            };
            let topics = wanted(&topics, form)?;
            match form {
                Form::Patch => render_patches(&values, dialect, &topics, out.as_deref())?,
                Form::Talconfig => print!("{}", talconfig::render(&values, dialect, &topics)),
                Form::Containerconfig => {
                    ensure!(
                        dialect == Dialect::Documents,
                        "Talos runs containers of its own since 1.14: use --talos 1.14, or the extension"
                    );
                    print!("{}", container::render(&values));
                }
            }
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

fn read_values(path: &Path) -> anyhow::Result<Values> {
    Ok(Values::read(&std::fs::read_to_string(path)?)?)
}

fn wanted(names: &[String], form: Form) -> anyhow::Result<Vec<Topic>> {
    ensure!(
        names.is_empty() || form != Form::Containerconfig,
        "a container is one text, without topics"
    );
    for name in names {
        let known = Topic::ALL.iter().any(|topic| topic.name() == name);
        let all = Topic::ALL.map(Topic::name).join(", ");
        ensure!(known, "there is no topic {name}; there are {all}");
    }
    let is_wanted = |topic: &Topic| {
        if names.is_empty() {
            form == Form::Patch || !topic.is_extra()
        } else {
            names.iter().any(|name| name == topic.name())
        }
    };
    Ok(Topic::ALL.into_iter().filter(is_wanted).collect())
}

fn render_patches(
    values: &Values,
    dialect: Dialect,
    topics: &[Topic],
    out: Option<&Path>,
) -> anyhow::Result<()> {
    let mut texts = Vec::new();
    for topic in topics {
        let text = patches::render(values, *topic, dialect);
        texts.extend(text.map(|text| (topic.file(), text)));
    }
    ensure!(
        !texts.is_empty(),
        "there is no such patch for Talos {}",
        dialect.talos()
    );
    for (file, text) in &texts {
        if let Some(dir) = out {
            std::fs::write(dir.join(file), text)
                .with_context(|| format!("could not write to {}", dir.display()))?;
        }
    }
    if out.is_none() {
        let texts: Vec<String> = texts.into_iter().map(|(_, text)| text).collect();
        print!("{}", texts.join("---\n"));
    }
    Ok(())
}

fn extension_for_talos(name: &str, root: &Rootfs, out: &Path) -> anyhow::Result<()> {
    let step = Step::start(format!("packing the extension {name}"));
    let reference = format!("{name}:{}", env!("CARGO_PKG_VERSION"));
    let packed = build::pack(root, Arch::Amd64, name, &reference)?;
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

//! A release: everything that is shipped, under one version, in one folder, and in a registry.
//!
//! [`image`] makes what runs in a cluster, [`chart`] the charts, [`sbom`] says what the images are made of ([`debian`],
//! [`crates`]), [`registry`] pushes. Two runs with the same programs and the same tree write the same bytes.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};

use crate::oci::{self, Layout};
use crate::{Arch, Cache, Recipe, host, krew};

pub mod chart;
pub mod crates;
pub mod debian;
mod image;
pub mod registry;
pub mod sbom;

/// The charts' folders.
const CHARTS: &[&str] = &["disk-watcher", "topolvm"];

/// What is released, and where it goes.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// The version: what Cargo.toml says, since the programs say that.
    pub version: String,
    /// Pushes images, extensions and charts below this name: HOST/NAME.
    #[arg(long)]
    pub registry: Option<String>,
    /// Where the release's files can be downloaded, https://...: for the manifest of the plugin, which is left out otherwise.
    #[arg(long)]
    pub assets: Option<String>,
    /// A program that signs. It is called with `file PATH` for each file, and with `image NAME@DIGEST` for what was pushed.
    #[arg(long)]
    pub sign: Option<PathBuf>,
    /// The folder with the charts, the licence and Cargo.lock.
    #[arg(long, default_value = ".")]
    pub workspace: PathBuf,
    /// The folder with our own binaries.
    #[arg(long, default_value = "target/release")]
    pub programs: PathBuf,
    /// The folder with our own binaries for arm64; without it the release has none.
    #[arg(long)]
    pub programs_arm64: Option<PathBuf>,
    /// The folder to write to; the release gets one of its own in it.
    #[arg(long, default_value = "target/releases")]
    pub out: PathBuf,
    /// Where built trees are kept.
    #[arg(long, env = "BASALT_TREE_CACHE", default_value = ".cache/tree")]
    pub cache: PathBuf,
}

/// Something with a name of its own in a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// Below the registry's name, for example `charts/topolvm`.
    pub name: String,
    /// Its blobs.
    pub layout: Layout,
}

/// What a release consists of, before it is written anywhere.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Release {
    /// Files by their names.
    pub files: BTreeMap<String, Vec<u8>>,
    /// What goes to the registry.
    pub pushed: Vec<Pushed>,
}

/// Makes the release, writes it, signs and pushes it where that is asked for. Returns what people want to read.
///
/// # Errors
/// Something is missing, the registry has this version already with something else in it, or the signer failed.
pub fn run(options: &Options) -> anyhow::Result<String> {
    let ours = env!("CARGO_PKG_VERSION");
    ensure!(
        options.version == ours,
        "the programs say that they are {ours}, and not {}: write the version into Cargo.toml, and build them again",
        options.version
    );
    let release = Release::gather(options)?;
    let dir = options.out.join(&options.version);
    release.write(&dir)?;
    if let Some(signer) = &options.sign {
        for name in release.files.keys() {
            sign(signer, "file", &dir.join(name).display().to_string())?;
        }
    }
    if let Some(name) = &options.registry {
        release.push(name, &options.version, options.sign.as_deref())?;
    }
    release.told(&dir, options)
}

impl Release {
    /// Makes everything, in memory.
    ///
    /// # Errors
    /// A program, a chart or the tree is not there.
    pub fn gather(options: &Options) -> anyhow::Result<Self> {
        let Options {
            version, workspace, ..
        } = options;
        let cache = Cache::new(std::path::absolute(&options.cache)?);
        let mut sources = Vec::new();
        for (arch, programs) in options.architectures() {
            let tree = cache.tree(&Recipe::node_for(arch))?;
            sources.push(image::From {
                arch,
                tree,
                programs,
            });
        }
        let mut release = Self::default();
        image::node(&mut release, &sources, options)?;
        image::watcher(&mut release, &sources, options)?;
        image::thin_tools(&mut release, &cache, options)?;
        for name in CHARTS {
            let dir = workspace.join("charts").join(name);
            let chart = chart::Chart::pack(&dir, version, &options.reference("basalt"))?;
            let name = format!("charts/{name}");
            let layout = chart.layout(&format!("{}:{version}", options.reference(&name)));
            release.pushed.push(Pushed { name, layout });
            let file = format!("{}-{version}.tgz", chart.name);
            release.files.insert(file, chart.archive);
        }
        release.plugin(options)?;
        let digests = release.digests(options);
        release
            .files
            .insert("digests.txt".to_owned(), digests.into_bytes());
        let sums = release.checksums();
        release
            .files
            .insert("checksums.txt".to_owned(), sums.into_bytes());
        Ok(release)
    }

    /// Adds kubectl's plugin for each processor, and their manifest where somebody said where they will be.
    fn plugin(&mut self, options: &Options) -> anyhow::Result<()> {
        let version = &options.version;
        let mut archives = Vec::new();
        for (arch, programs) in options.architectures() {
            let name = format!("kubectl-topolvm-{version}-linux-{}.tar.gz", arch.name());
            archives.push((arch, name, krew::archive(&programs, &options.workspace)?));
        }
        if let Some(assets) = &options.assets {
            let assets = assets.trim_end_matches('/');
            let uris = archives
                .iter()
                .map(|(_, name, _)| format!("{assets}/{name}"));
            let uris: Vec<String> = uris.collect();
            let platforms = archives.iter().zip(&uris);
            let platforms = platforms.map(|((arch, _, archive), uri)| krew::Platform {
                arch: *arch,
                uri,
                archive,
            });
            let manifest = krew::manifest(version, &platforms.collect::<Vec<_>>())?;
            let name = format!("{}.yaml", krew::PLUGIN);
            self.files.insert(name, manifest.into_bytes());
        }
        let archives = archives.into_iter();
        self.files
            .extend(archives.map(|(_, name, archive)| (name, archive)));
        Ok(())
    }

    /// `NAME:VERSION@sha256:...` of each that has a name in the registry.
    fn digests(&self, options: &Options) -> String {
        let line = |pushed: &Pushed| {
            let name = options.reference(&pushed.name);
            format!("{name}:{}@{}\n", options.version, pushed.layout.digest)
        };
        self.pushed.iter().map(line).collect()
    }

    /// What `sha256sum --check` reads.
    fn checksums(&self) -> String {
        let line = |(name, bytes): (&String, &Vec<u8>)| format!("{}  {name}\n", oci::sha256(bytes));
        self.files.iter().map(line).collect()
    }

    /// Writes the files into `dir`, in place of what was there.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn write(&self, dir: &Path) -> anyhow::Result<()> {
        let cannot = || format!("cannot write to {}", dir.display());
        if dir.exists() {
            std::fs::remove_dir_all(dir).with_context(cannot)?;
        }
        std::fs::create_dir_all(dir).with_context(cannot)?;
        for (name, bytes) in &self.files {
            std::fs::write(dir.join(name), bytes).with_context(cannot)?;
        }
        Ok(())
    }

    /// Pushes everything that has a name in a registry below `registry`, and has each signed by its digest.
    ///
    /// # Errors
    /// As [`registry::push`], or the signer failed.
    pub fn push(&self, registry: &str, version: &str, signer: Option<&Path>) -> anyhow::Result<()> {
        for Pushed { name, layout } in &self.pushed {
            let work = tempfile::tempdir().context("no folder for what is pushed")?;
            let dir = work.path().join("layout");
            layout.write_dir(&dir)?;
            let name = format!("{registry}/{name}");
            registry::push(&dir, &name, version, &layout.digest)?;
            if let Some(signer) = signer {
                sign(signer, "image", &format!("{name}@{}", layout.digest))?;
            }
        }
        Ok(())
    }

    fn told(&self, dir: &Path, options: &Options) -> anyhow::Result<String> {
        let mut text = String::new();
        for (name, bytes) in &self.files {
            let path = dir.join(name);
            writeln!(text, "{}  {} bytes", path.display(), bytes.len())?;
        }
        match options.registry {
            Some(_) => text.push_str("pushed:\n"),
            None => text.push_str("not pushed (no registry was named):\n"),
        }
        text.push_str(&self.digests(options));
        if options.assets.is_none() {
            text.push_str("without the plugin's manifest: nobody said where the files will be\n");
        }
        if options.sign.is_none() {
            text.push_str("not signed: no program for that was named\n");
        }
        Ok(text)
    }
}

impl Options {
    /// What is built for, and where the programs are.
    fn architectures(&self) -> Vec<(Arch, PathBuf)> {
        let amd64 = (Arch::Amd64, self.programs.clone());
        let arm64 = self.programs_arm64.iter();
        let arm64 = arm64.map(|programs| (Arch::Arm64, programs.clone()));
        [amd64].into_iter().chain(arm64).collect()
    }

    /// What `name` is called where it will be pulled from.
    fn reference(&self, name: &str) -> String {
        match &self.registry {
            Some(registry) => format!("{registry}/{name}"),
            None => name.to_owned(),
        }
    }
}

fn sign(signer: &Path, kind: &str, what: &str) -> anyhow::Result<()> {
    host::capture(host::command(signer).args([kind, what]))
        .with_context(|| format!("{kind} {what} could not be signed"))?;
    Ok(())
}

//! Where the configuration of a node comes from: the DiskClass documents, and the file
//! `disk-config` of TrueCharts' watcher where there is one.

use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::{Deserialize, Serialize};

use super::{Config, Mode};
use crate::compat;

/// See the module.
#[derive(Debug, Clone, clap::Args)]
pub struct Sources {
    /// The DiskClass documents
    #[arg(long, default_value = super::CONFIG_FILE)]
    pub config: PathBuf,
    /// The file disk-config of TrueCharts' lvm-disk-watcher; with it, --config may be missing
    #[arg(long, value_name = "FILE", alias = "compat.disk-config")]
    pub compat_disk_config: Option<PathBuf>,
    /// What may be done for disk-config
    #[arg(long, value_enum, default_value_t, alias = "compat.mode")]
    pub compat_mode: Mode,
    /// The name of this node; the host's name unless given
    #[arg(long, env = "NODE_NAME")]
    pub node_name: Option<String>,
    /// There is a cluster: `run` also does what its DiskClasses and requests say, and shows there what is
    /// seen; --config may be missing. The cluster is that of the pod, or of $KUBECONFIG
    #[arg(long)]
    pub kubernetes: bool,
}

/// What tells that a file changed. ConfigMaps swap a symlink, so it is followed. The time is that
/// of the inode: a file that may be read again counts as changed.
pub type Stamp = [Option<(i64, i64, u64, u64)>; 2];

/// What the files say, word for word.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Texts {
    documents: Option<String>,
    disk_config: Option<String>,
}

impl Sources {
    /// Documents alone.
    pub fn documents(config: PathBuf) -> Self {
        Self {
            config,
            compat_disk_config: None,
            compat_mode: Mode::Plan,
            node_name: None,
            kubernetes: false,
        }
    }

    /// Reads and checks all of it.
    ///
    /// # Errors
    /// What is wrong, with the name of the file.
    pub fn load(&self) -> anyhow::Result<Config> {
        self.parse(&self.read()?)
    }

    /// Reads the files.
    ///
    /// # Errors
    /// Which of them cannot be read. Where there is another source the documents may be missing.
    pub fn read(&self) -> anyhow::Result<Texts> {
        let read = |path: &Path| {
            let text = std::fs::read_to_string(path);
            text.with_context(|| format!("cannot read {}", path.display()))
        };
        let may_be_missing = self.kubernetes || self.compat_disk_config.is_some();
        let missing =
            std::fs::metadata(&self.config).is_err_and(|e| e.kind() == ErrorKind::NotFound);
        Ok(Texts {
            documents: match missing && may_be_missing {
                true => None,
                false => Some(read(&self.config)?),
            },
            disk_config: self.compat_disk_config.as_deref().map(read).transpose()?,
        })
    }

    /// Checks what the files say.
    ///
    /// # Errors
    /// What is wrong, with the name of the file.
    pub fn parse(&self, texts: &Texts) -> anyhow::Result<Config> {
        let unused = |path: &Path| format!("{} is not used", path.display());
        let mut config = match &texts.documents {
            Some(text) => Config::load(text).with_context(|| unused(&self.config))?,
            None => Config::default(),
        };
        if !self.kubernetes {
            config
                .check_without_cluster()
                .with_context(|| unused(&self.config))?;
        }
        if let (Some(path), Some(text)) = (&self.compat_disk_config, &texts.disk_config) {
            let file = path.display().to_string();
            let class = compat::class(&file, text, &self.node()?, self.compat_mode);
            config.add(class.with_context(|| unused(path))?);
            config.check_twins().with_context(|| unused(path))?;
        }
        Ok(config)
    }

    /// That no file lost all that it said: that is what a write leaves that failed, and a mount
    /// that is not there. Whoever wants nothing writes a comment.
    ///
    /// # Errors
    /// Which of them did.
    pub fn check_lost(&self, before: &Texts, now: &Texts) -> anyhow::Result<()> {
        let says = |text: &Option<String>| text.as_ref().is_some_and(|t| !t.trim().is_empty());
        let compat = self.compat_disk_config.as_ref();
        for (path, before, now) in [
            (Some(&self.config), &before.documents, &now.documents),
            (compat, &before.disk_config, &now.disk_config),
        ] {
            let Some(path) = path else { continue };
            if says(before) && !says(now) {
                let how = if now.is_some() { "empty" } else { "gone" };
                anyhow::bail!(
                    "{} is {how}, and it was not before; to take back all that it said, leave a line in it that begins with #",
                    path.display()
                );
            }
        }
        Ok(())
    }

    /// The name of this node: as given, else the host's.
    ///
    /// # Errors
    /// When the host has no name that is text.
    pub fn node(&self) -> anyhow::Result<String> {
        if let Some(name) = self.node_name.as_ref().filter(|name| !name.is_empty()) {
            return Ok(name.clone());
        }
        nix::unistd::gethostname()
            .context("the host's name is not known")?
            .into_string()
            .map_err(|name| {
                anyhow::anyhow!("the host's name {name:?} is no text; give --node-name")
            })
    }

    /// Its files.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        [Some(&self.config), self.compat_disk_config.as_ref()]
            .into_iter()
            .flatten()
            .map(PathBuf::as_path)
    }

    /// How the files are now; it changes when one of them does.
    pub fn stamp(&self) -> Stamp {
        let of = |path: &Path| {
            let meta = std::fs::metadata(path).ok()?;
            Some((meta.ctime(), meta.ctime_nsec(), meta.ino(), meta.len()))
        };
        [
            of(&self.config),
            self.compat_disk_config.as_deref().and_then(of),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_files_make_one_configuration_and_may_not_share_a_group() {
        let dir = tempfile::tempdir().unwrap();
        let mut sources = Sources::documents(dir.path().join("config.yaml"));
        sources.compat_disk_config = Some(dir.path().join("disk-config"));
        sources.compat_mode = Mode::Enforce;
        sources.node_name = Some("n1".to_owned());
        assert!(
            sources
                .load()
                .unwrap_err()
                .to_string()
                .contains("cannot read")
        );
        std::fs::write(dir.path().join("disk-config"), "n1: all\n").unwrap();
        let config = sources.load().unwrap();
        assert_eq!(config.classes[0].mode, Mode::Enforce, "without --config");
        let class = "apiVersion: basalt.storage/v1alpha1\nkind: DiskClass\nmetadata: {name: fast}\nspec:\n  select: {model: [x]}\n  volumeGroup: {name: NAME}\n";
        let before = sources.stamp();
        std::fs::write(&sources.config, class.replace("NAME", "fast")).unwrap();
        assert_ne!(sources.stamp(), before);
        assert_eq!(sources.load().unwrap().classes.len(), 2);
        std::fs::write(&sources.config, class.replace("NAME", "topolvm_vg")).unwrap();
        let error = format!("{:#}", sources.load().unwrap_err());
        assert!(error.contains("is the group of 2 classes"), "{error}");
        std::fs::write(dir.path().join("disk-config"), "n1: none\n").unwrap();
        let names: Vec<String> = sources
            .load()
            .unwrap()
            .classes
            .into_iter()
            .map(|c| c.name)
            .collect();
        assert_eq!(names, ["fast"], "what takes no disk gives way");
    }
}

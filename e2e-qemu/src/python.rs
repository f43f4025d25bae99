//! Python's judges of what we write, from Python's package index, each in a folder of its own.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use extension::Cache;
use sha2::{Digest, Sha256};

use crate::host;

/// Packages with their versions, and what they need.
#[derive(Debug, Clone, Copy)]
pub struct Packages {
    name: &'static str,
    requirements: &'static str,
}

/// jsonschema, which holds documents to JSON schemas.
pub const JSONSCHEMA: Packages = Packages {
    name: "jsonschema",
    requirements: include_str!("../talos/jsonschema.txt"),
};

/// The SPDX project's reader of its documents.
pub const SPDX_TOOLS: Packages = Packages {
    name: "spdx-tools",
    requirements: include_str!("../release/spdx-tools.txt"),
};

impl Packages {
    /// A Python that finds the packages, which are installed if they are not in the workspace's cache.
    ///
    /// # Errors
    /// There is no Python, no pip, or no package index; the cache cannot be written.
    pub fn python(&self, workspace: &Path) -> Result<Command> {
        let hash = Sha256::digest(self.requirements);
        let hash: String = hash.iter().take(8).map(|b| format!("{b:02x}")).collect();
        let key = format!("{}-{hash}", self.name);
        let cache = Cache::of_workspace(workspace);
        let there = cache.made(self.name, &key, self.name, |work| self.install(work))?;
        let mut python = host::command("python3");
        python.env("PYTHONPATH", there);
        Ok(python)
    }

    fn install(&self, work: &Path) -> Result<PathBuf> {
        let (list, there) = (work.join("requirements.txt"), work.join("packages"));
        std::fs::write(&list, self.requirements)?;
        let mut pip = host::command("python3");
        pip.args(["-m", "pip", "install", "--quiet", "--no-deps", "--target"])
            .arg(&there)
            .arg("--requirement")
            .arg(list);
        host::capture(&mut pip)?;
        Ok(there)
    }
}

//! A registry of this machine: CNCF's, built from its Go module.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};

use anyhow::{Context as _, Result};

use crate::host;
use crate::release_tools::REGISTRY;

/// A running registry. It ends, and what it has is gone, with this value or with the thread that started it.
#[derive(Debug)]
pub struct Registry {
    child: Child,
    address: String,
    _store: tempfile::TempDir,
}

impl Registry {
    /// Builds the program, if it is not in `cache` yet.
    ///
    /// # Errors
    /// Go is not installed or fails; `cache` cannot be written.
    pub fn prepare(cache: &Path) -> Result<()> {
        REGISTRY.build(cache).map(drop)
    }

    /// Starts an empty one that listens on `address`, ADDRESS:PORT, in the network of this thread. Port 0 is any that is free.
    ///
    /// # Errors
    /// It was not prepared, or the port is taken.
    pub fn start(cache: &Path, address: &str) -> Result<Self> {
        let store = tempfile::tempdir().context("no folder for a registry")?;
        let config = store.path().join("config.yml");
        let text = format!(
            "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}/store}}}}\nhttp: {{addr: '{address}'}}\n",
            store.path().display()
        );
        std::fs::write(&config, text)?;
        let mut command = host::command(REGISTRY.current(cache).join("registry"));
        // Its traces would go to a collector that nobody has. On stdout is a line for each request.
        command
            .arg("serve")
            .arg(&config)
            .env("OTEL_TRACES_EXPORTER", "none")
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = host::die_with_caller(&mut command)
            .spawn()
            .context("cannot start the registry")?;
        let stderr = child.stderr.take().context("no stderr")?;
        let mut lines = BufReader::new(stderr).lines().map_while(Result::ok);
        let mut said = String::new();
        let address = lines.find_map(|line| {
            let listens = line.split_once("listening on ");
            let address = listens.and_then(|(_, rest)| rest.split('"').next());
            said = line.clone();
            address.map(str::to_owned)
        });
        // What it says later is read too, or it would wait for a reader.
        std::thread::spawn(move || lines.for_each(drop));
        let mut registry = Self {
            child,
            address: String::new(),
            _store: store,
        };
        // Without an address it is ended here.
        registry.address = address.with_context(|| format!("the registry ended: {said}"))?;
        Ok(registry)
    }

    /// ADDRESS:PORT.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

//! A registry on loopback, and what is asked of it.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::LazyLock;

use e2e_qemu::cluster::binaries::HELM;
use e2e_qemu::host;
use e2e_qemu::peer::Module;
use e2e_qemu::release_tools::REGISTRY;

/// The folder with all crates and charts.
pub(crate) fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// A program of a Go module.
pub(crate) fn build(module: &Module, program: &str) -> PathBuf {
    let cache = workspace().join(".cache");
    module
        .build(&cache, |program| host::command(program))
        .unwrap();
    module.current(&cache).join(program)
}

/// Helm, built from its Go module.
pub(crate) fn helm() -> &'static Path {
    static BUILT: LazyLock<PathBuf> = LazyLock::new(|| build(&HELM, "helm"));
    &BUILT
}

/// It ends, and what it has is gone, with this value.
#[derive(Debug)]
pub(crate) struct Registry {
    child: Child,
    /// HOST:PORT.
    pub(crate) address: String,
    _store: tempfile::TempDir,
}

impl Registry {
    /// Starts an empty one.
    pub(crate) fn start() -> Self {
        static BUILT: LazyLock<PathBuf> = LazyLock::new(|| build(&REGISTRY, "registry"));
        let store = tempfile::tempdir().unwrap();
        let config = store.path().join("config.yml");
        let text = format!(
            "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}/store}}}}\nhttp: {{addr: '127.0.0.1:0'}}\n",
            store.path().display()
        );
        std::fs::write(&config, text).unwrap();
        let mut command = host::command(&*BUILT);
        // Its traces would go to a collector that nobody has.
        command
            .arg("serve")
            .arg(&config)
            .env("OTEL_TRACES_EXPORTER", "none");
        // On stdout is a line for each request.
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = lines
            .find_map(|line| {
                let line = line.unwrap();
                let rest = line.split_once("listening on ")?.1.to_owned();
                Some(rest.split('"').next()?.to_owned())
            })
            .expect("the registry says where it listens");
        // What it says later is read too, or it would wait for a reader.
        std::thread::spawn(move || lines.for_each(drop));
        Self {
            child,
            address,
            _store: store,
        }
    }

    /// The manifest or index of NAME:TAG, as it is.
    pub(crate) fn manifest(&self, name: &str) -> Vec<u8> {
        let mut skopeo = host::command("skopeo");
        skopeo.args(["inspect", "--raw", "--tls-verify=false"]);
        let there = format!("docker://{}/{name}", self.address);
        host::capture(skopeo.arg(there)).unwrap()
    }

    /// Pulls NAME:TAG, all of it, into a layout in `dir`.
    pub(crate) fn pull(&self, name: &str, dir: &Path) {
        let mut skopeo = host::command("skopeo");
        skopeo.args([
            "copy",
            "--quiet",
            "--insecure-policy",
            "--all",
            "--preserve-digests",
        ]);
        skopeo.arg("--src-tls-verify=false");
        skopeo.arg(format!("docker://{}/{name}", self.address));
        host::capture(skopeo.arg(format!("oci:{}:pulled", dir.display()))).unwrap();
    }

    /// What helm renders of the chart NAME that it pulls from here.
    pub(crate) fn template(&self, name: &str, version: &str) -> String {
        let mut command = host::command(helm());
        command
            .args([
                "template",
                "release",
                "--plain-http",
                "--kube-version=1.35.0",
            ])
            .arg(format!("oci://{}/{name}", self.address))
            .args(["--version", version]);
        String::from_utf8(host::capture(&mut command).unwrap()).unwrap()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

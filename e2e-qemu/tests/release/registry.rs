//! What the tests hold a release to.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use e2e_qemu::cluster::binaries::HELM;
use e2e_qemu::peer::Module;
use e2e_qemu::{host, registry};

/// The folder with all crates and charts.
pub(crate) fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// A program of a Go module.
pub(crate) fn build(module: &Module, program: &str) -> PathBuf {
    let cache = workspace().join(".cache");
    module.build(&cache).unwrap().join(program)
}

/// Helm, built from its Go module.
pub(crate) fn helm() -> &'static Path {
    static BUILT: LazyLock<PathBuf> = LazyLock::new(|| build(&HELM, "helm"));
    &BUILT
}

/// A registry on loopback, and what is asked of it.
#[derive(Debug)]
pub(crate) struct Registry {
    /// HOST:PORT.
    pub(crate) address: String,
    _running: registry::Registry,
}

impl Registry {
    /// Starts an empty one.
    pub(crate) fn start() -> Self {
        let cache = workspace().join(".cache");
        registry::Registry::prepare(&cache).unwrap();
        let running = registry::Registry::start(&cache, "127.0.0.1:0").unwrap();
        Self {
            address: running.address().to_owned(),
            _running: running,
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

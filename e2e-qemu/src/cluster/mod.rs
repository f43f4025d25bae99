//! Real Kubernetes: a control plane on this machine, kubelets in guests. Nodes import their images; ours they can also
//! pull from a registry of this machine ([`REGISTRY`]).
//!
//! A cluster lives in a network namespace of the thread that made it ([`within`]) and in one folder; both go with it.

pub mod binaries;
mod control;
pub mod images;
mod network;
mod node;
pub mod older;
mod pki;
pub mod snapshots;
pub mod upstream;
mod wait;

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow};

use serde_json::Value;

use crate::host;
use crate::spec::Spec;
use binaries::Binaries;
pub use binaries::Minor;
pub use control::Control;
use extension::progress::Step;
use extension::{Cache, Recipe};
pub use network::REGISTRY;
pub use node::Node;
use upstream::Release;
pub use wait::until;

/// A control plane and its nodes.
#[derive(Debug)]
pub struct Cluster {
    workspace: PathBuf,
    dir: PathBuf,
    binaries: Binaries,
    archives: Vec<PathBuf>,
    /// etcd, API server, controller manager, scheduler.
    pub control: Control,
}

/// Builds what a cluster is made of and needs the machine's own network for: programs and trees.
///
/// # Errors
/// Something cannot be built.
pub fn prepare(workspace: &Path, minor: Minor) -> Result<Binaries> {
    let cache = workspace.join(".cache");
    let binaries = Binaries::build(&cache, minor)?;
    let trees = Cache::of_workspace(workspace);
    for recipe in [Recipe::node(), Recipe::guest()] {
        trees.tree(&recipe)?;
    }
    Ok(binaries)
}

/// Runs `work` in a thread with a network of its own. Cluster, guests and clients belong in there.
///
/// # Errors
/// The network cannot be made, or `work` fails.
pub fn within<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("cluster".to_owned());
        let thread = thread.spawn_scoped(scope, || {
            network::enter_new()?;
            work()
        })?;
        thread
            .join()
            .unwrap_or_else(|_| Err(anyhow!("the cluster's thread panicked")))
    })
}

impl Cluster {
    /// Brings up a control plane in the empty folder `dir`, in this thread's network.
    ///
    /// # Errors
    /// A program cannot be built or started.
    pub fn start(workspace: &Path, binaries: Binaries, dir: &Path) -> Result<Self> {
        let programs = workspace.join("target/debug");
        Self::start_with(workspace, Some(&programs), binaries, dir)
    }

    /// The same with our own programs from another folder; without one, nodes have no image of ours.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_with(
        workspace: &Path,
        programs: Option<&Path>,
        binaries: Binaries,
        dir: &Path,
    ) -> Result<Self> {
        Self::start_audited(workspace, programs, binaries, dir, None)
    }

    /// The same, and its API server writes the requests that this audit policy names to [`Self::audit_log`].
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_audited(
        workspace: &Path,
        programs: Option<&Path>,
        binaries: Binaries,
        dir: &Path,
        policy: Option<&str>,
    ) -> Result<Self> {
        std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let step = Step::start("packing the images");
        let archives = images::write(workspace, programs, &binaries, dir)?;
        step.done();
        let step = Step::start("starting the control plane");
        let control = Control::start_audited(dir, &binaries, policy)?;
        step.done();
        Ok(Self {
            workspace: workspace.to_owned(),
            dir: dir.to_owned(),
            binaries,
            archives,
            control,
        })
    }

    /// Where the API server of an audited cluster writes requests, one JSON object a line.
    #[must_use]
    pub fn audit_log(&self) -> PathBuf {
        self.dir.join(control::AUDIT_LOG)
    }

    /// Has the nodes that boot from now on know the images of a release of upstream's.
    ///
    /// # Errors
    /// They cannot be made.
    pub fn add_upstream(&mut self, release: &Release) -> Result<()> {
        let step = Step::start("packing upstream's images");
        let more = images::write_upstream(&self.workspace, release, &self.binaries, &self.dir)?;
        self.archives.extend(more);
        step.done();
        Ok(())
    }

    /// Has the nodes that boot from now on know [`older::IMAGE`], with these programs.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn add_older(&mut self, programs: &Path) -> Result<()> {
        let step = Step::start("packing the image of the earlier version");
        let image = images::write_other(&self.workspace, programs, older::IMAGE, &self.dir)?;
        self.archives.push(image);
        step.done();
        Ok(())
    }

    /// Boots node `number`, from 1, from `spec`, and waits until it is Ready.
    ///
    /// # Errors
    /// It does not come up.
    pub fn node(&self, number: u8, spec: Spec) -> Result<Node> {
        let step = Step::start(format!("booting node n{number}"));
        let node = Node::start(
            number,
            spec,
            &self.dir,
            &self.binaries,
            &self.archives,
            &self.control,
        )?;
        step.done();
        Ok(node)
    }

    /// Applies manifests, YAML or JSON, as the cluster's administrator; unknown fields are errors.
    ///
    /// # Errors
    /// kubectl or the API server refuses them.
    pub fn apply(&self, manifests: &str) -> Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(&self.dir)?;
        file.write_all(manifests.as_bytes())?;
        let path = file.path().to_str().context("the folder is no text")?;
        let strict = ["apply", "--server-side", "--validate=strict", "-f", path];
        self.control.kubectl(&strict).map(drop)
    }

    /// Installs the chart `charts/<name>` under its own name into a namespace that it makes, with the values of
    /// `files`, paths in the workspace, and then these.
    ///
    /// # Errors
    /// helm or the API server refuses it.
    pub fn helm_install(
        &self,
        name: &str,
        namespace: &str,
        files: &[&str],
        values: &Value,
    ) -> Result<()> {
        self.helm("install", &self.chart(name), name, namespace, files, values)
    }

    /// The same chart again, with these values in place of the ones before.
    ///
    /// # Errors
    /// helm or the API server refuses it.
    pub fn helm_upgrade(&self, name: &str, namespace: &str, values: &Value) -> Result<()> {
        self.helm("upgrade", &self.chart(name), name, namespace, &[], values)
    }

    fn chart(&self, name: &str) -> PathBuf {
        self.workspace.join("charts").join(name)
    }

    /// Installs or upgrades (`verb`) the release `name` with any `chart`.
    ///
    /// # Errors
    /// helm or the API server refuses it.
    pub fn helm(
        &self,
        verb: &str,
        chart: &Path,
        name: &str,
        namespace: &str,
        files: &[&str],
        values: &Value,
    ) -> Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(&self.dir)?;
        file.write_all(values.to_string().as_bytes())?;
        let mut helm = host::command(self.binaries.path("helm"));
        helm.env("KUBECONFIG", self.dir.join("admin.conf"))
            .env("HELM_CACHE_HOME", self.dir.join("helm-home"))
            .env("HELM_CONFIG_HOME", self.dir.join("helm-home"))
            .args([verb, name, "--namespace", namespace])
            .args((verb == "install").then_some("--create-namespace"))
            .args(files.iter().flat_map(|file| ["--values", file]))
            .arg("--values")
            .arg(file.path())
            .current_dir(&self.workspace)
            .arg(chart);
        host::capture(&mut helm)?;
        Ok(())
    }

    /// The objects that `chart` makes of these values as the release `name`.
    ///
    /// # Errors
    /// helm refuses it.
    pub fn helm_template(
        &self,
        chart: &Path,
        name: &str,
        namespace: &str,
        values: &Value,
    ) -> Result<Vec<Value>> {
        let mut file = tempfile::NamedTempFile::new_in(&self.dir)?;
        file.write_all(values.to_string().as_bytes())?;
        let mut helm = host::command(self.binaries.path("helm"));
        // Helm's own idea of a cluster is older than what the charts ask for.
        helm.args(["template", name, "--namespace", namespace])
            .args(["--kube-version=1.35.0", "--values"])
            .arg(file.path())
            .arg(chart);
        let text = String::from_utf8(host::capture(&mut helm)?)?;
        let all: Vec<Option<Value>> = serde_saphyr::from_multiple(&text)?;
        Ok(all.into_iter().flatten().collect())
    }

    /// Waits until each of these, such as `daemonset/topolvm-node`, runs as it is written.
    ///
    /// # Errors
    /// One does not within two minutes.
    pub fn rolled_out(&self, namespace: &str, workloads: &[&str]) -> Result<()> {
        for what in workloads {
            let status = ["-n", namespace, "rollout", "status", what, "--timeout=120s"];
            self.control.kubectl(&status)?;
        }
        Ok(())
    }

    /// The folder with kubeconfigs and logs.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The programs it was started from; `kubectl` and `helm` are among them.
    #[must_use]
    pub fn binaries(&self) -> &Binaries {
        &self.binaries
    }
}

//! A node: a guest with containerd and the kubelet.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::binaries::Binaries;
use super::control::Control;
use super::{images, network, wait};
use crate::command::Command;
use crate::guest::Guest;
use crate::process::Process;
use crate::spec::{Disk, Spec};

const SETUP: &str = include_str!("../../guest/node.sh");
const SOON: Duration = Duration::from_mins(3);
const CONTAINERD: &str = "/run/containerd/containerd.sock";

/// A node. Its power is cut when it is dropped.
#[derive(Debug)]
pub struct Node {
    number: u8,
    guest: Guest,
    dir: PathBuf,
    binaries: Binaries,
    containerd: Option<Process>,
    kubelet: Option<Process>,
}

impl Node {
    /// Boots the node of that number from `spec`, with the images of `archives`, and waits until it is Ready.
    pub(super) fn start(
        number: u8,
        spec: Spec,
        dir: &Path,
        binaries: &Binaries,
        archives: &[PathBuf],
        control: &Control,
    ) -> Result<Self> {
        let spec = ["overlay", "veth", "bridge"]
            .into_iter()
            .fold(spec, Spec::module);
        let spec = spec
            .memory_mib(3072)
            .tap(network::tap(number))
            .share(dir)
            .disk(Disk::new(16 << 30));
        let mut node = Self {
            number,
            guest: Guest::boot(spec)?,
            dir: dir.to_owned(),
            binaries: binaries.clone(),
            containerd: None,
            kubelet: None,
        };
        node.start_containerd()?;
        for archive in archives {
            let import = format!(
                "{} --namespace k8s.io images import --no-unpack=false {}",
                node.program("ctr"),
                archive.display()
            );
            node.guest
                .check(Command::shell(import).timeout(SOON))
                .with_context(|| format!("cannot import {}", archive.display()))?;
        }
        node.start_kubelet(control)?;
        Ok(node)
    }

    /// Its name in the cluster.
    #[must_use]
    pub fn name(&self) -> String {
        format!("n{}", self.number)
    }

    /// The guest: its disks, commands in it.
    #[must_use]
    pub fn guest(&self) -> &Guest {
        &self.guest
    }

    /// Cuts its power and boots it on the same disks; waits until its kubelet answers again.
    ///
    /// # Errors
    /// It does not come up.
    pub fn power_cycle(self, control: &Control) -> Result<Self> {
        self.power_cycle_with(control, |_| Ok(()))
    }

    /// The same, with something done to its guest while it is off.
    ///
    /// # Errors
    /// That fails, or it does not come up.
    pub fn power_cycle_with(
        mut self,
        control: &Control,
        work: impl FnOnce(&Guest) -> Result<()>,
    ) -> Result<Self> {
        self.kubelet = None;
        self.containerd = None;
        self.guest.cut_power()?;
        work(&self.guest)?;
        self.guest = self.guest.reboot()?;
        self.start_containerd()?;
        self.start_kubelet(control)?;
        Ok(self)
    }

    /// Gives an image of its own another name, as if another one had been pulled.
    ///
    /// # Errors
    /// It has no such image.
    pub fn tag(&self, image: &str, name: &str) -> Result<()> {
        let tag = format!(
            "{} --address {CONTAINERD} --namespace k8s.io images tag {image} {name}",
            self.program("ctr")
        );
        self.guest.check(Command::shell(tag)).map(drop)?;
        Ok(())
    }

    /// Kills its kubelet and starts it again; waits until it answers.
    ///
    /// # Errors
    /// It does not come up.
    pub fn restart_kubelet(&mut self, control: &Control) -> Result<()> {
        self.kubelet = None;
        self.guest.shell("pkill -KILL -x kubelet || :")?;
        self.start_kubelet(control)
    }

    fn start_containerd(&mut self) -> Result<()> {
        let disks = self.guest.disks();
        let disk = disks.first().context("the node has no disk")?.path();
        let setup = Command::shell(SETUP)
            .env("DISK", disk)
            .env("NAME", self.name())
            .env("ADDRESS", network::address(self.number))
            .env("PODS", network::pods(self.number))
            .env("GATEWAY", network::CONTROL)
            .env("REGISTRY", network::REGISTRY)
            .env("DIR", self.dir.display().to_string())
            .env("PAUSE", images::PAUSE)
            .timeout(SOON);
        self.guest
            .check(setup)
            .context("the guest is not fit for a kubelet")?;
        let start = format!(
            "{} --config /run/containerd.toml",
            self.program("containerd")
        );
        self.containerd = Some(self.daemon("containerd", &start)?);
        let ask = format!("{} --address {CONTAINERD} version", self.program("ctr"));
        self.until("containerd answers", || {
            Ok(self
                .guest
                .run(Command::shell(ask.clone()))?
                .status
                .success())
        })
    }

    fn start_kubelet(&mut self, control: &Control) -> Result<()> {
        let name = self.name();
        let start = format!(
            "{} --config /run/kubelet.yaml --kubeconfig {}/{name}.conf --hostname-override {name} --node-ip {} \
             --root-dir /var/lib/kubelet",
            self.program("kubelet"),
            self.dir.display(),
            network::address(self.number)
        );
        self.kubelet = Some(self.daemon("kubelet", &start)?);
        // After a power cut the Node is Ready by its lease for a while: the kubelet itself is asked.
        let healthy = format!("/api/v1/nodes/{name}/proxy/healthz");
        let ready = "jsonpath={.status.conditions[?(@.type==\"Ready\")].status}";
        self.until("the kubelet answers and the node is Ready", || {
            Ok(control
                .kubectl(&["get", "--raw", &healthy])
                .is_ok_and(|said| said == "ok")
                && control
                    .kubectl(&["get", "node", &name, "-o", ready])
                    .is_ok_and(|said| said == "True"))
        })
    }

    /// A program of the cluster, as the guest calls it.
    fn program(&self, name: &str) -> String {
        self.binaries.path(name).display().to_string()
    }

    /// Starts a daemon whose output goes to a file of the cluster's folder. Go's preemption by signals costs much where
    /// a signal is dear.
    fn daemon(&self, name: &str, line: &str) -> Result<Process> {
        let bin = self.binaries.path("containerd");
        let bin = bin.parent().unwrap_or(Path::new("/"));
        let script = format!(
            "export PATH={}:$PATH GODEBUG=asyncpreemptoff=1; exec {line} >>{}/{}.{name}.log 2>&1",
            bin.display(),
            self.dir.display(),
            self.name()
        );
        Ok(self
            .guest
            .spawn(Command::shell(script).timeout(Duration::from_hours(24)))?)
    }

    fn until(&self, what: &str, holds: impl Fn() -> Result<bool>) -> Result<()> {
        wait::until(what, SOON, || {
            for daemon in [&self.containerd, &self.kubelet].into_iter().flatten() {
                if let Some(status) = daemon.status() {
                    bail!("a daemon ended ({status:?})");
                }
            }
            holds()
        })
        .inspect_err(|_| {
            // Go programs answer with what each of their threads waits for.
            let _ = self.guest.shell("pkill -QUIT -x 'containerd|kubelet'");
        })
        .with_context(|| format!("the logs are in {}", self.dir.display()))?;
        Ok(())
    }
}

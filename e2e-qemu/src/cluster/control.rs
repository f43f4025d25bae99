//! The control plane: etcd, API server, controller manager, scheduler, as processes of this machine.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::binaries::Binaries;
use super::network::{self, CONTROL, SERVICE, SERVICES};
use super::pki::Pki;
use super::wait;
use crate::host;

/// Ten times what it takes on a machine with nothing else to do.
const READY: Duration = Duration::from_secs(120);

/// In the folder of a cluster: what its API server writes down, and what of.
pub(super) const AUDIT_LOG: &str = "audit.log";
const AUDIT_POLICY: &str = "audit-policy.json";

/// A running program of the control plane; killed when dropped.
#[derive(Debug)]
struct Daemon {
    name: &'static str,
    child: Child,
}

impl Daemon {
    /// Starts a program; its output goes to `<name>.log` in `dir`, its working folder.
    fn start(dir: &Path, name: &'static str, program: &Path, args: &[String]) -> Result<Self> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(dir.join(format!("{name}.log")))?;
        let mut command = host::command(program);
        command
            .args(args)
            .current_dir(dir)
            .stdin(std::process::Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let child = host::die_with_caller(&mut command)
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        Ok(Self { name, child })
    }

    fn ended(&mut self) -> Option<std::process::ExitStatus> {
        self.child.try_wait().ok().flatten()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The control plane; it ends when it is dropped.
#[derive(Debug)]
pub struct Control {
    dir: PathBuf,
    binaries: Binaries,
    daemons: Vec<Daemon>,
    audited: bool,
}

impl Control {
    /// Starts everything in `dir`, in the network that this thread is in, and waits until it is ready.
    ///
    /// # Errors
    /// A program does not start, or is not ready in time; its log is in `dir`.
    pub fn start(dir: &Path, binaries: &Binaries) -> Result<Self> {
        Self::start_audited(dir, binaries, None)
    }

    /// The same, with an API server that writes the requests that an audit policy names to [`AUDIT_LOG`] in `dir`.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_audited(dir: &Path, binaries: &Binaries, policy: Option<&str>) -> Result<Self> {
        certificates(dir)?;
        if let Some(policy) = policy {
            std::fs::write(dir.join(AUDIT_POLICY), policy)?;
        }
        let mut control = Self {
            dir: dir.to_owned(),
            binaries: binaries.clone(),
            daemons: Vec::new(),
            audited: policy.is_some(),
        };
        control.add("etcd", "etcd", &etcd())?;
        control.start_api_server()?;
        let manager = [
            "--use-service-account-credentials=true --leader-elect=false --root-ca-file=ca.crt",
            "--service-account-private-key-file=sa.key --cluster-signing-cert-file=ca.crt",
            "--cluster-signing-key-file=ca.key --allocate-node-cidrs=true --cluster-cidr=10.244.0.0/16",
            &as_user("manager"),
        ];
        control.add("manager", "kube-controller-manager", &words(&manager))?;
        let scheduler = ["--leader-elect=false", &as_user("scheduler")];
        control.add("scheduler", "kube-scheduler", &words(&scheduler))?;
        // The controller manager makes it: then both work.
        control.until("the default service account is there", |control| {
            control
                .kubectl(&["get", "serviceaccount", "default"])
                .is_ok()
        })?;
        Ok(control)
    }

    /// Starts the API server, at first and after [`Control::stop_api_server`].
    ///
    /// # Errors
    /// It does not start or is not ready in time.
    pub fn start_api_server(&mut self) -> Result<()> {
        let mut flags = api_server();
        if self.audited {
            flags.push(format!("--audit-policy-file={AUDIT_POLICY}"));
            flags.push(format!("--audit-log-path={AUDIT_LOG}"));
        }
        self.add("apiserver", "kube-apiserver", &flags)?;
        self.until("the API server is ready", |control| {
            control.kubectl(&["get", "--raw=/readyz"]).is_ok()
        })
    }

    /// Kills the API server.
    pub fn stop_api_server(&mut self) {
        self.stop("apiserver");
    }

    /// Starts the scheduler anew with this `KubeSchedulerConfiguration`, whose paths count from the control plane's folder,
    /// and with these feature gates on.
    ///
    /// # Errors
    /// The configuration cannot be written, or the program does not start.
    pub fn restart_scheduler(&mut self, config: &Value, gates: &[&str]) -> Result<()> {
        self.stop("scheduler");
        std::fs::write(self.dir.join("scheduler.json"), config.to_string())?;
        let args = "--config=scheduler.json --authentication-kubeconfig=scheduler.conf \
                    --authorization-kubeconfig=scheduler.conf";
        let mut args = words(&[args]);
        args.extend(
            gates
                .iter()
                .map(|gate| format!("--feature-gates={gate}=true")),
        );
        self.add("scheduler", "kube-scheduler", &args)
    }

    /// Runs kubectl as the cluster's administrator; what it wrote to stdout.
    ///
    /// # Errors
    /// It fails; the error has its stderr.
    pub fn kubectl(&self, args: &[&str]) -> Result<String> {
        let mut command = self.kubectl_command();
        let out = host::capture(command.args(args))?;
        Ok(String::from_utf8(out)?.trim().to_owned())
    }

    /// kubectl as the cluster's administrator; nothing is started yet.
    #[must_use]
    pub fn kubectl_command(&self) -> std::process::Command {
        let mut command = host::command(self.binaries.path("kubectl"));
        command.arg(format!(
            "--kubeconfig={}",
            self.dir.join("admin.conf").display()
        ));
        command.arg("--request-timeout=20s");
        command
    }

    /// The program of that name that it was started from, or that belongs to it.
    #[must_use]
    pub fn program(&self, name: &str) -> PathBuf {
        self.binaries.path(name)
    }

    fn stop(&mut self, name: &str) {
        self.daemons.retain(|daemon| daemon.name != name);
    }

    fn add(&mut self, name: &'static str, program: &str, args: &[String]) -> Result<()> {
        let program = self.binaries.path(program);
        self.daemons
            .push(Daemon::start(&self.dir, name, &program, args)?);
        Ok(())
    }

    fn until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) -> Result<()> {
        wait::until(what, READY, || {
            for daemon in &mut self.daemons {
                if let Some(status) = daemon.ended() {
                    bail!("{} ended ({status})", daemon.name);
                }
            }
            Ok(holds(self))
        })
        .with_context(|| format!("the logs are in {}", self.dir.display()))?;
        Ok(())
    }
}

fn certificates(dir: &Path) -> Result<()> {
    let pki = Pki::create(dir)?;
    let names = [
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "localhost",
    ];
    let here = [CONTROL, SERVICE, "127.0.0.1"];
    pki.sign("apiserver", "kube-apiserver", None, &names, &here)?;
    pki.user("admin", "admin", Some("system:masters"))?;
    pki.user("manager", "system:kube-controller-manager", None)?;
    pki.user("scheduler", "system:kube-scheduler", None)?;
    pki.user("kubelet-client", "kubelet-client", Some("system:masters"))?;
    for node in 1..=network::NODES {
        let name = format!("n{node}");
        let user = format!("system:node:{name}");
        let address = network::address(node);
        pki.sign(&name, &user, Some("system:nodes"), &[&name], &[&address])?;
        pki.kubeconfig(&name)?;
    }
    Ok(())
}

fn etcd() -> Vec<String> {
    // Nothing of a cluster outlives it: no fsync.
    words(&[
        "--data-dir=etcd --unsafe-no-fsync --log-level=warn",
        "--listen-client-urls=http://127.0.0.1:2379 --advertise-client-urls=http://127.0.0.1:2379",
        "--listen-peer-urls=http://127.0.0.1:2380 --initial-advertise-peer-urls=http://127.0.0.1:2380",
        "--initial-cluster=default=http://127.0.0.1:2380",
    ])
}

fn api_server() -> Vec<String> {
    // Webhooks are called by the address of their pod, which is routed to its node.
    words(&[
        "--etcd-servers=http://127.0.0.1:2379 --bind-address=0.0.0.0 --secure-port=443",
        &format!("--advertise-address={CONTROL} --service-cluster-ip-range={SERVICES}"),
        "--enable-aggregator-routing=true --endpoint-reconciler-type=none",
        "--tls-cert-file=apiserver.crt --tls-private-key-file=apiserver.key --client-ca-file=ca.crt",
        "--service-account-key-file=sa.pub --service-account-signing-key-file=sa.key",
        "--service-account-issuer=https://kubernetes.default.svc",
        "--authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true --kubelet-preferred-address-types=InternalIP",
        "--kubelet-client-certificate=kubelet-client.crt --kubelet-client-key=kubelet-client.key",
    ])
}

fn as_user(name: &str) -> String {
    format!(
        "--kubeconfig={name}.conf --authentication-kubeconfig={name}.conf \
         --authorization-kubeconfig={name}.conf"
    )
}

fn words(lines: &[&str]) -> Vec<String> {
    let words = lines.iter().flat_map(|line| line.split_whitespace());
    words.map(str::to_owned).collect()
}

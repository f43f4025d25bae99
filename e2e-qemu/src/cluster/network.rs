//! The network between a control plane and its nodes: a namespace of its own, so that clusters do not meet each
//! other or the machine's own network.
//!
//! One bridge, one tap per node. There is no kube-proxy: the Service address of the API server is an address of the
//! namespace's loopback, and each node's pods are routed to the node.

use std::io::Write as _;
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use nix::sched::{CloneFlags, unshare};

use crate::host;

/// Where the control plane listens.
pub(super) const CONTROL: &str = "10.77.0.1";
/// The Service `kubernetes` in namespace `default`.
pub(super) const SERVICE: &str = "10.96.0.1";
/// All Services.
pub(super) const SERVICES: &str = "10.96.0.0/16";
/// What a release that is pushed here calls its registry. Nodes, whose loopback is another one, look for it at [`CONTROL`].
pub const REGISTRY: &str = "127.0.0.1:5000";
/// How many nodes there is room for.
pub(super) const NODES: u8 = 4;

/// The address of a node, counted from 1.
pub(super) fn address(node: u8) -> String {
    format!("10.77.0.1{node}")
}

/// The addresses of a node's pods.
pub(super) fn pods(node: u8) -> String {
    format!("10.244.{node}.0/24")
}

/// A node's tap device.
pub(super) fn tap(node: u8) -> String {
    format!("tap{node}")
}

/// Moves this thread, and what it starts from now on, to a namespace with that network. It goes with the last
/// process in it.
pub(super) fn enter_new() -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNET).context("cannot make a network namespace")?;
    let mut child = host::command("ip")
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot start ip (Debian: iproute2)")?;
    let mut stdin = child.stdin.take().context("no stdin")?;
    stdin.write_all(batch().as_bytes())?;
    drop(stdin);
    let done = child.wait_with_output()?;
    ensure!(
        done.status.success(),
        "ip: {}",
        String::from_utf8_lossy(&done.stderr)
    );
    // /proc/sys/net shows the namespace of the thread that asks.
    std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").context("cannot switch on forwarding")
}

fn batch() -> String {
    let mut lines = vec![
        "link set lo up".to_owned(),
        "link add br0 type bridge".to_owned(),
        format!("addr add {CONTROL}/24 dev br0"),
        "link set br0 up".to_owned(),
        format!("addr add {SERVICE}/32 dev lo"),
    ];
    for node in 1..=NODES {
        let tap = tap(node);
        lines.push(format!("tuntap add {tap} mode tap"));
        lines.push(format!("link set {tap} master br0 up"));
        lines.push(format!("route add {} via {}", pods(node), address(node)));
    }
    lines.join("\n") + "\n"
}

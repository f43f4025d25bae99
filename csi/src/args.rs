//! The command lines of the CSI programs: upstream's flags, and our own.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use clap::builder::BoolishValueParser;
use lvmd::args::LogArgs;
use lvmd::names::{CSI_SOCKET, LVMD_CONFIG, LVMD_SOCKET};
use lvmd::runtime::Bind;
use lvmd::units::Bytes;

use crate::size::Minimums;

/// The CSI node: publishes volumes to the pods of one node.
#[derive(Debug, Parser)]
#[command(name = "topolvm-node", version)]
pub struct NodeCli {
    /// Where the CSI services are served
    #[arg(long, value_name = "SOCKET", default_value = CSI_SOCKET)]
    pub csi_socket: PathBuf,

    /// The name of this node
    #[arg(long, value_name = "NAME", env = "NODE_NAME")]
    pub nodename: String,

    /// Without Kubernetes: serves the controller too, and keeps all there is to remember
    /// in LVM tags
    #[arg(long)]
    pub standalone: bool,

    /// A folder that outlives a reboot, for the journal of formatting; the CSI socket's
    /// folder if not given
    #[arg(long, value_name = "FOLDER")]
    pub state_dir: Option<PathBuf>,

    /// A device class that pods may have inline volumes of, and the most such a volume may have; once for each. Without any
    /// there are none
    #[arg(long, value_name = "CLASS=SIZE", value_parser = inline_class)]
    pub inline_class: Vec<(String, Bytes)>,

    /// The DaemonSet that runs this, in this pod's namespace. Where its next pod is another program's, or there is none, the
    /// kubelet forgets the driver at the end
    #[arg(long, value_name = "NAME")]
    pub daemonset: Option<String>,

    /// Configuration file of the embedded lvmd; taken up again whenever it changes
    #[arg(long, value_name = "FILE", default_value = LVMD_CONFIG)]
    pub config: PathBuf,

    /// Where to serve /metrics, /healthz and /readyz; 0 or empty for nowhere
    #[arg(long, value_name = "ADDRESS", default_value = ":8080")]
    pub metrics_bind_address: Bind,

    /// The least a volume gets, by its kind.
    #[command(flatten)]
    pub minimums: MinimumArgs,

    /// lvmd runs in this program, and not in one of its own; with --standalone it always does
    #[arg(long, num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub embed_lvmd: bool,

    /// The socket of an lvmd of its own, this project's or TopoLVM's; it need not be there yet
    #[arg(long, value_name = "SOCKET", default_value = LVMD_SOCKET)]
    pub lvmd_socket: PathBuf,

    /// Deprecated: path of lvm on the host, reached through nsenter; excludes
    /// lvm-command-prefix in the configuration, which replaces it
    #[arg(
        long,
        value_name = "PATH",
        default_value = "",
        hide_default_value = true
    )]
    pub lvm_path: String,

    /// Flags without effect.
    #[command(flatten)]
    pub without_effect: WithoutEffect,

    /// What to log.
    #[command(flatten)]
    pub log: LogArgs,
}

/// The CSI controller: makes, grows, copies and deletes the volumes of a cluster.
#[derive(Debug, Parser)]
#[command(name = "topolvm-controller", version)]
pub struct ControllerCli {
    /// Where the CSI services are served
    #[arg(long, value_name = "SOCKET", default_value = CSI_SOCKET)]
    pub csi_socket: PathBuf,

    /// Where to serve /metrics, /healthz and /readyz; 0 or empty for nowhere
    #[arg(long, value_name = "ADDRESS", default_value = ":8080")]
    pub metrics_bind_address: Bind,

    /// Where to serve them too, as upstream serves /healthz and /readyz
    #[arg(long, value_name = "ADDRESS", default_value = ":8081")]
    pub health_probe_bind_address: Bind,

    /// The least a volume gets, by its kind.
    #[command(flatten)]
    pub minimums: MinimumArgs,

    /// Who leads.
    #[command(flatten)]
    pub election: ElectionArgs,

    /// Do not delete the PersistentVolumeClaims and LogicalVolumes of a Node that is deleted
    #[arg(long, num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub skip_node_finalize: bool,

    /// Flags without effect.
    #[command(flatten)]
    pub without_effect: WithoutEffect,

    /// The pod webhook.
    #[command(flatten)]
    pub webhook: WebhookArgs,

    /// What to log.
    #[command(flatten)]
    pub log: LogArgs,
}

/// Which of several controllers cleans up after Nodes and tells kubelets of growth. All
/// of them answer CSI calls.
#[derive(Debug, Clone, clap::Args)]
pub struct ElectionArgs {
    /// Only the one that holds the Lease does what one is enough for
    #[arg(long, num_args = 0..=1, require_equals = true, default_value = "true", default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub leader_election: bool,
    /// The Lease's name
    #[arg(long, value_name = "NAME", default_value = "topolvm")]
    pub leader_election_id: String,
    /// The Lease's namespace; this pod's if not given
    #[arg(
        long,
        value_name = "NAMESPACE",
        default_value = "",
        hide_default_value = true
    )]
    pub leader_election_namespace: String,
    /// How long a Lease that is not renewed is waited for
    #[arg(long, value_name = "DURATION", default_value = "15s", value_parser = duration)]
    pub leader_election_lease_duration: Duration,
    /// How long a leader that cannot renew its Lease goes on
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration)]
    pub leader_election_renew_deadline: Duration,
    /// How often the Lease is asked for and renewed
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = duration)]
    pub leader_election_retry_period: Duration,
}

/// A device class and a size.
fn inline_class(text: &str) -> Result<(String, Bytes), String> {
    let (class, size) = text
        .split_once('=')
        .ok_or("write CLASS=SIZE, such as ssd=10Gi")?;
    let size: Bytes = size.parse().map_err(|error| format!("{error}"))?;
    match class.is_empty() || size == Bytes(0) {
        true => Err("write CLASS=SIZE, such as ssd=10Gi".to_owned()),
        false => Ok((class.to_owned(), size)),
    }
}

/// A duration as Go programs take it: `15s`, `1m30s`, `500ms`.
fn duration(text: &str) -> Result<Duration, String> {
    const UNITS: [(&str, u64); 4] = [("ms", 1), ("h", 3_600_000), ("m", 60_000), ("s", 1000)];
    let fail = || format!("{text:?} is not a duration such as 15s, 1m30s or 500ms");
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(fail)?;
        let number: u64 = rest[..digits].parse().map_err(|_| fail())?;
        let (unit, millis) = UNITS
            .iter()
            .find(|(unit, _)| rest[digits..].starts_with(unit))
            .ok_or_else(fail)?;
        let part = number.checked_mul(*millis).ok_or_else(fail)?;
        total = total
            .checked_add(Duration::from_millis(part))
            .ok_or_else(fail)?;
        rest = &rest[digits + unit.len()..];
    }
    Some(total)
        .filter(|total| !total.is_zero())
        .ok_or_else(fail)
}

/// The webhook that tells the scheduler extender what a new pod wants.
#[derive(Debug, Clone, clap::Args)]
pub struct WebhookArgs {
    /// Serve the pod webhook, which only the scheduler extender needs
    #[arg(long, num_args = 0..=1, require_equals = true, default_value = "true", default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub enable_webhooks: bool,
    /// Where to serve it
    #[arg(long, value_name = "ADDRESS", default_value = ":9443")]
    pub webhook_addr: Bind,
    /// A folder with its tls.crt and tls.key; taken up again whenever they change
    #[arg(
        long,
        value_name = "FOLDER",
        default_value = "/tmp/k8s-webhook-server/serving-certs"
    )]
    pub cert_dir: PathBuf,
    /// In place of --cert-dir: a Secret of this pod's namespace, in which the leading
    /// controller keeps a certificate of its own making
    #[arg(
        long,
        value_name = "NAME",
        requires = "webhook_configuration",
        conflicts_with = "cert_dir"
    )]
    pub webhook_secret: Option<String>,
    /// The MutatingWebhookConfiguration that is told to trust the certificate in --webhook-secret
    #[arg(long, value_name = "NAME", requires = "webhook_secret")]
    pub webhook_configuration: Option<String>,
}

/// Upstream's flags that are accepted and named in the log.
#[derive(Debug, Clone, clap::Args)]
pub struct WithoutEffect {
    /// Without effect: metrics are served without TLS
    #[arg(long, num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub secure_metrics_server: bool,

    /// Without effect: profiles are not served
    #[arg(
        long,
        value_name = "ADDRESS",
        default_value = "",
        hide_default_value = true
    )]
    pub profiling_bind_address: String,
}

impl WithoutEffect {
    /// Those that were given, one sentence each.
    pub fn notices(&self) -> Vec<String> {
        let mut notices = Vec::new();
        if self.secure_metrics_server {
            notices.push("--secure-metrics-server: metrics are served without TLS".to_owned());
        }
        if !self.profiling_bind_address.is_empty() {
            notices.push("--profiling-bind-address: profiles are not served".to_owned());
        }
        notices
    }
}

/// The least a volume gets, by its kind.
#[derive(Debug, Clone, clap::Args)]
pub struct MinimumArgs {
    /// The least size of a raw block volume
    #[arg(long, value_name = "SIZE", default_value = "8Mi")]
    pub minimum_allocation_block: Bytes,
    /// The least size of a volume with ext4
    #[arg(long, value_name = "SIZE", default_value = "32Mi")]
    pub minimum_allocation_ext4: Bytes,
    /// The least size of a volume with XFS
    #[arg(long, value_name = "SIZE", default_value = "300Mi")]
    pub minimum_allocation_xfs: Bytes,
    /// The least size of a volume with Btrfs
    #[arg(long, value_name = "SIZE", default_value = "200Mi")]
    pub minimum_allocation_btrfs: Bytes,
}

impl MinimumArgs {
    /// As the rules take them.
    pub fn minimums(&self) -> Minimums {
        Minimums {
            block: self.minimum_allocation_block,
            ext4: self.minimum_allocation_ext4,
            xfs: self.minimum_allocation_xfs,
            btrfs: self.minimum_allocation_btrfs,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flags_defaults_are_the_rules_defaults() {
        let cli = NodeCli::try_parse_from(["topolvm-node", "--nodename=n"]).unwrap();
        assert_eq!(cli.minimums.minimums(), Minimums::default());
        let cli = NodeCli::try_parse_from([
            "topolvm-node",
            "--nodename=n",
            "--minimum-allocation-xfs=64Mi",
        ])
        .unwrap();
        assert_eq!(cli.minimums.minimums().xfs, Bytes(64 << 20));
    }

    #[test]
    fn a_minimum_is_a_size_that_is_not_negative() {
        let parse = |value: &str| {
            let flag = format!("--minimum-allocation-block={value}");
            let cli = ControllerCli::try_parse_from(["topolvm-controller", &flag]);
            cli.ok().map(|cli| cli.minimums.minimum_allocation_block)
        };
        let rows: [_; 3] = [("1Gi", Some(Bytes(1 << 30))), ("-1", None), ("blub", None)];
        for (text, size) in rows {
            assert_eq!(parse(text), size, "{text}");
        }
    }

    #[test]
    fn inline_volumes_need_a_class_and_a_limit() {
        let parse = |flags: &[&str]| {
            let line = ["topolvm-node", "--nodename=n"].iter().chain(flags);
            NodeCli::try_parse_from(line)
                .ok()
                .map(|cli| cli.inline_class)
        };
        assert_eq!(parse(&[]), Some(vec![]));
        let both = parse(&["--inline-class=ssd=10Gi", "--inline-class=hdd=1Gi"]).unwrap();
        assert_eq!(
            both,
            [
                ("ssd".to_owned(), Bytes(10 << 30)),
                ("hdd".to_owned(), Bytes(1 << 30))
            ]
        );
        for wrong in ["ssd", "ssd=", "=1Gi", "ssd=much", "ssd=0"] {
            assert_eq!(parse(&["--inline-class", wrong]), None, "{wrong}");
        }
    }

    #[test]
    fn the_webhooks_certificate_has_one_source() {
        let parse = |flags: &str| {
            ControllerCli::try_parse_from(format!("topolvm-controller {flags}").split_whitespace())
                .map(|cli| cli.webhook)
        };
        let webhook = parse("").unwrap();
        assert!(webhook.enable_webhooks && webhook.webhook_addr.to_string() == ":9443");
        assert!(parse("--webhook-secret=s --webhook-configuration=c").is_ok());
        for wrong in [
            "--webhook-secret=s",
            "--webhook-configuration=c",
            "--webhook-secret=s --webhook-configuration=c --cert-dir=/certs",
            "--enable-webhooks=false --webhook-addr=nowhere",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn durations_are_gos() {
        for (text, millis) in [
            ("15s", Some(15_000)),
            ("1m30s", Some(90_000)),
            ("500ms", Some(500)),
            ("2h", Some(7_200_000)),
            ("15", None),
            ("", None),
            ("0s", None),
            ("s", None),
            ("1d", None),
        ] {
            let read = duration(text).ok();
            assert_eq!(read, millis.map(Duration::from_millis), "{text}");
        }
    }

    #[test]
    fn upstreams_command_lines_are_understood() {
        let line = "topolvm-controller --csi-socket=/run/topolvm/csi-topolvm.sock --leader-election-namespace=ns \
                    --leader-election=false --enable-webhooks=false --skip-node-finalize --cert-dir=/certs --v=4 \
                    --leader-election-lease-duration=15s --webhook-addr=:9443 --minimum-allocation-xfs=64Mi";
        let cli = ControllerCli::try_parse_from(line.split_whitespace()).unwrap();
        assert!(cli.skip_node_finalize && !cli.election.leader_election);
        assert!(!cli.webhook.enable_webhooks && cli.without_effect.notices().is_empty());
        let line = "topolvm-node --csi-socket=/s --embed-lvmd --secure-metrics-server=false --nodename=n \
                    --lvmd-socket=/l --lvm-path= --profiling-bind-address=";
        let cli = NodeCli::try_parse_from(line.split_whitespace()).unwrap();
        assert!(cli.embed_lvmd && cli.without_effect.notices().is_empty());
    }
}

//! What the token of a node's pod may do, with the policies that the chart brings.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::json;

use super::{Bench, NAMESPACE};
use crate::{cluster, host};

impl Bench<'_> {
    /// The token of a pod on n1 may say n1's capacity and what became of n1's volumes, and nothing else.
    pub(super) fn tokens_are_for_their_own_node(&self) -> Result<()> {
        let account = "topolvm-node";
        let meta = |name: &str| json!({"name": name, "namespace": NAMESPACE});
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": meta("on-n1"), "spec": {
            "nodeName": "n1", "serviceAccountName": account, "containers": [{"name": "c", "image": "none"}]}});
        let nodes = ["n1", "n2"]
            .map(|n| json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": n}}));
        for object in nodes.iter().chain([&pod]) {
            let file = self.write("object.json", &object.to_string())?;
            self.kubectl(&["create", "-f", &file])?;
        }
        let create = ["create", "token", account, "-n", NAMESPACE];
        let bound = ["--bound-object-kind=Pod", "--bound-object-name=on-n1"];
        let on_n1 = self.kubectl(&[&create[..], &bound].concat())?;
        let nowhere = self.kubectl(&create)?;
        let capacity = r#"{"metadata": {"annotations": {"capacity.topolvm.io/thin": "1"}}}"#;
        let strays = r#"{"metadata": {"annotations": {"basalt.storage/strays": "{}"}}}"#;
        let other = r#"{"metadata": {"annotations": {"other": "1"}}}"#;
        let label = r#"{"metadata": {"labels": {"other": "1"}}}"#;
        let taint = r#"{"spec": {"unschedulable": true}}"#;
        let finalizer = r#"{"metadata": {"finalizers": ["topolvm.io/node"]}}"#;
        let status = r#"{"status": {"volumeID": "1"}}"#;
        let kept = r#"{"metadata": {"finalizers": ["topolvm.io/logicalvolume"]}}"#;
        let size = r#"{"spec": {"size": "2Gi"}}"#;
        let moved = r#"{"spec": {"nodeName": "n1"}}"#;
        let policy = "ValidatingAdmissionPolicy";
        // The policy is in force a moment after it is made.
        cluster::until("the policy is in force", Duration::from_mins(1), || {
            Ok(self.patch(&nowhere, &["node", "n2"], capacity).is_err())
        })?;
        for (token, object, patch, refused_by) in [
            (&on_n1, &["node", "n1"][..], capacity, ""),
            (&on_n1, &["node", "n1"], finalizer, ""),
            (&on_n1, &["node", "n1"], strays, ""),
            (&on_n1, &["node", "n2"], capacity, policy),
            (&on_n1, &["node", "n2"], strays, policy),
            (&on_n1, &["node", "n1"], other, policy),
            (&on_n1, &["node", "n1"], label, policy),
            (&on_n1, &["node", "n1"], taint, policy),
            (&nowhere, &["node", "n1"], capacity, policy),
            (&on_n1, &["logicalvolume", "theirs"], kept, ""),
            (
                &on_n1,
                &["logicalvolume", "theirs", "--subresource=status"],
                status,
                "",
            ),
            (&on_n1, &["logicalvolume", "theirs"], size, policy),
            (&on_n1, &["logicalvolume", "ours"], kept, policy),
            (
                &on_n1,
                &["logicalvolume", "ours", "--subresource=status"],
                status,
                policy,
            ),
            (&on_n1, &["logicalvolume", "ours"], moved, policy),
            (
                &nowhere,
                &["logicalvolume", "theirs", "--subresource=status"],
                status,
                policy,
            ),
            (
                &on_n1,
                &["node", "n1", "--subresource=status"],
                r#"{"status": {}}"#,
                "is forbidden",
            ),
        ] {
            match (self.patch(token, object, patch), refused_by) {
                (Ok(_), "") => {}
                (Ok(_), _) => bail!("{object:?} could be patched with {patch}"),
                (Err(error), "") => return Err(error),
                (Err(error), words) => {
                    let text = format!("{error:#}");
                    ensure!(text.contains(words), "{object:?} {patch}: {text}");
                }
            }
        }
        let delete = self.as_token(
            &on_n1,
            &["delete", "logicalvolume", "theirs", "--wait=false"],
        );
        ensure!(delete.is_err(), "a node may delete a LogicalVolume");
        let admin = self.kubectl(&["patch", "node", "n2", "--type=merge", "-p", label]);
        admin.context("the policies are for nodes alone")?;
        let warnings = "jsonpath={.items[*].status.typeChecking.expressionWarnings}";
        let warnings = self.kubectl(&["get", "validatingadmissionpolicies", "-o", warnings])?;
        ensure!(warnings.is_empty(), "{warnings}");
        self.context
            .result("a node's token: 5 things of its own node allowed, 13 others refused");
        Ok(())
    }

    /// The token of a watcher on n1 may show n1's disks and say how classes stand there, and nothing else.
    pub(super) fn a_watchers_token_is_for_its_own_node(&self) -> Result<()> {
        let (account, namespace) = ("disk-watcher", "lvm-disk-watcher");
        let install = ["install", account, "charts/disk-watcher", "-n", namespace];
        let objects = ["--set", "kubernetes.enabled=true"];
        self.helm(&[&install[..], &objects].concat())?;
        let group = "basalt.storage/v1alpha1";
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "on-n1", "namespace": namespace}, "spec": {
            "nodeName": "n1", "serviceAccountName": account, "containers": [{"name": "c", "image": "none"}]}});
        let class = json!({"apiVersion": group, "kind": "DiskClass", "metadata": {"name": "fast"},
            "spec": {"select": {"model": ["x"]}, "volumeGroup": {"name": "fast"}}});
        let disk = |node: &str| {
            let disk = json!({"apiVersion": group, "kind": "NodeDisk", "metadata": {"name": node},
                "spec": {"nodeName": node}});
            self.write(&format!("{node}.json"), &disk.to_string())
        };
        let (ours, theirs) = (disk("n1")?, disk("n2")?);
        let served = [
            "wait",
            "--for=condition=Established",
            "crd/diskclasses.basalt.storage",
        ];
        self.kubectl(&served)?;
        for object in [&pod, &class] {
            let file = self.write("object.json", &object.to_string())?;
            self.kubectl(&["create", "-f", &file])?;
        }
        let create = ["create", "token", account, "-n", namespace];
        let bound = ["--bound-object-kind=Pod", "--bound-object-name=on-n1"];
        let token = self.kubectl(&[&create[..], &bound].concat())?;
        let make = |file: &str| self.as_token(&token, &["create", "-f", file, "--validate=false"]);
        // The policy is in force a moment after it is made.
        cluster::until("the policy is in force", Duration::from_mins(1), || {
            let refused = self.as_token(
                &token,
                &[
                    "create",
                    "-f",
                    &theirs,
                    "--validate=false",
                    "--dry-run=server",
                ],
            );
            Ok(refused.is_err())
        })?;
        make(&ours).context("n1 cannot show its disk")?;
        let secret = |name: &str, kind: &str| -> Result<()> {
            let secret = json!({"apiVersion": "v1", "kind": "Secret", "type": kind,
                "metadata": {"name": name, "namespace": namespace, "annotations": {"kubernetes.io/service-account.name": account}}});
            let file = self.write("secret.json", &secret.to_string())?;
            let apply = [
                "apply",
                "--server-side",
                "--force-conflicts",
                "--field-manager=disk-watcher/n1",
                "-f",
            ];
            self.as_token(&token, &[&apply[..], &[&file, "--validate=false"]].concat())?;
            Ok(())
        };
        let ours_alone = "basalt.storage/volume-group";
        for _ in 0..2 {
            secret("vg-n1-0123456789ab", ours_alone).context("n1 cannot keep a description")?;
        }
        // One that is not its own, another's whose name begins like its own, and what would be a token.
        self.kubectl(&[
            "create",
            "secret",
            "generic",
            "theirs",
            "-n",
            namespace,
            "--from-literal=a=b",
        ])?;
        for (name, kind) in [
            ("theirs", "Opaque"),
            ("vg-n2-0123456789ab", ours_alone),
            ("vg-n1-x-0123456789ab", ours_alone),
            ("vg-n1-ba9876543210", "kubernetes.io/service-account-token"),
        ] {
            let refused = secret(name, kind)
                .err()
                .with_context(|| format!("n1's token may write {name}"))?;
            let refused = format!("{refused:#}");
            ensure!(
                refused.contains("of groups of that node only"),
                "{name}: {refused}"
            );
        }
        for verb in ["get", "delete"] {
            let done = self.as_token(
                &token,
                &[verb, "secret", "vg-n1-0123456789ab", "-n", namespace],
            );
            ensure!(done.is_err(), "n1's token may {verb} Secrets");
        }
        let lease = |node: &str| -> Result<()> {
            let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
                "metadata": {"name": format!("disk-watcher-{node}"), "namespace": namespace}, "spec": {"holderIdentity": "on-n1"}});
            let file = self.write("lease.json", &lease.to_string())?;
            self.as_token(&token, &["create", "-f", &file, "--validate=false"])?;
            Ok(())
        };
        lease("n1").context("n1 cannot take its Lease")?;
        let refused = lease("n2")
            .err()
            .context("n1's token may take n2's Lease")?;
        ensure!(
            format!("{refused:#}").contains("the Lease of that node only"),
            "{refused:#}"
        );
        let status = ["diskclass", "fast", "--subresource=status"];
        let on = |node: &str| format!(r#"{{"status": {{"nodes": [{{"name": "{node}"}}]}}}}"#);
        self.patch(&token, &status, &on("n1"))?;
        let mode = r#"{"spec": {"mode": "Enforce"}}"#;
        self.kubectl(&["create", "-f", &theirs])?;
        for (done, words) in [
            (
                self.as_token(&token, &["delete", "nodedisk", "n2"]),
                "that node only",
            ),
            (
                self.patch(
                    &token,
                    &["nodedisk", "n2"],
                    r#"{"spec": {"nodeName": "n1"}}"#,
                ),
                "that node only",
            ),
            (self.patch(&token, &status, &on("n2")), "on that node only"),
            (
                self.patch(&token, &["diskclass", "fast"], mode),
                "is forbidden",
            ),
        ] {
            let refused = format!(
                "{:#}",
                done.err().context("n1's token may do what is n2's")?
            );
            ensure!(refused.contains(words), "{words:?} is not in {refused}");
        }
        self.as_token(&token, &["delete", "nodedisk", "n1"])?;
        self.context
            .result("a watcher's token: 5 things of its own node allowed, 11 others refused");
        Ok(())
    }

    fn patch(&self, token: &str, object: &[&str], patch: &str) -> Result<String> {
        self.as_token(
            token,
            &[&["patch"], object, &["--type=merge", "-p", patch]].concat(),
        )
    }

    /// kubectl with a service account's token instead of the administrator's certificate.
    fn as_token(&self, token: &str, args: &[&str]) -> Result<String> {
        let view = self.kubectl(&[
            "config",
            "view",
            "--raw",
            "-o",
            "jsonpath={.clusters[0].cluster.server}",
        ])?;
        let authority = self.dir.join("ca.crt");
        let mut kubectl = host::command(self.control.program("kubectl"));
        kubectl
            .args([
                "--kubeconfig=/dev/null",
                "--server",
                &view,
                "--token",
                token,
            ])
            .arg(format!("--certificate-authority={}", authority.display()))
            .args(args);
        Ok(String::from_utf8(host::capture(&mut kubectl)?)?)
    }
}

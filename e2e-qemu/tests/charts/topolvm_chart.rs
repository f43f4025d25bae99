//! charts/topolvm: values and what becomes of them.

use std::collections::BTreeMap;

use clap::Parser;
use serde_json::{Value, json};

use crate::helm::{argv, container, pod, topolvm, workspace};
use crate::inventory::facts;

const GUIDE: &str = include_str!("../../../charts/topolvm/examples/truecharts.yaml");

fn words(value: &Value, key: &str) -> Vec<String> {
    let list = value.as_array().into_iter().flatten();
    list.map(|entry| entry[key].as_str().unwrap_or_default().to_owned())
        .collect()
}

#[test]
fn inline_volumes_are_what_the_values_name_classes_for() {
    let driver = |values: &str| {
        topolvm(values)
            .objects()
            .one("CSIDriver", "topolvm.io")
            .clone()
    };
    let label = "security.kubernetes.io/csi-ephemeral-volume-profile";
    let off = driver("");
    assert_eq!(off["spec"]["volumeLifecycleModes"], json!(["Persistent"]));
    assert!(off["metadata"]["labels"].get(label).is_none());
    let values = "node: {inlineVolumes: {classes: {ssd: 10Gi, hdd: 500Mi}}}";
    let on = driver(values);
    assert_eq!(
        on["spec"]["volumeLifecycleModes"],
        json!(["Persistent", "Ephemeral"])
    );
    assert_eq!(on["metadata"]["labels"][label], "privileged");
    let objects = topolvm(values).objects();
    let node = objects.one("DaemonSet", "topolvm-node");
    let line = argv(container(node, "topolvm-node"));
    let cli =
        csi::args::NodeCli::try_parse_from(line.into_iter().chain(["--nodename=n".to_owned()]));
    let classes: Vec<_> = cli
        .unwrap()
        .inline_class
        .into_iter()
        .map(|(class, most)| (class, most.0 >> 20))
        .collect();
    assert_eq!(
        classes,
        [("hdd".to_owned(), 500), ("ssd".to_owned(), 10240)]
    );
    assert!(
        topolvm("node: {inlineVolumes: {classes: {ssd: much}}}")
            .refusal()
            .contains("inlineVolumes")
    );
}

#[test]
fn values_that_cannot_be_meant_are_refused_with_the_way_out() {
    let nested = format!("values:\n{}", GUIDE.replace("\n", "\n  "));
    for (render, words) in [
        (topolvm(&nested), "Take that line out"),
        (topolvm("lvmd: {deviceClases: []}"), "deviceClases"),
        (
            topolvm("lvmd: {deviceClasses: [{name: x, volume-group: y, spare-gbs: 1}]}"),
            "spare-gbs",
        ),
        (
            topolvm("lvmd: {deviceClasses: [{name: x, volume-groups: []}]}"),
            "volume-groups",
        ),
        (
            topolvm("lvmd: {deviceClasses: [{name: x, volume-group: y, volume-groups: [z]}]}"),
            "oneOf",
        ),
        (
            topolvm("lvmd: {deviceClasses: [{name: x, volume-group: y, type: thin}]}"),
            "thin-pool",
        ),
        (
            topolvm("{lvmd: {socketName: /run/other.sock}, node: {lvmdEmbedded: false}}"),
            "Give both the same path",
        ),
        (
            topolvm("lvmd: {volumeMounts: [{name: a, mountPath: /a}]}"),
            "to node.volumeMounts.topolvmNode",
        ),
        (topolvm("useLegacy: true"), "topolvm.cybozu.com"),
        (
            topolvm(
                "webhook: {caBundle: eA==, certManager: false, podMutatingWebhook: {enabled: true}}",
            ),
            "name the Secret with tls.crt and tls.key",
        ),
        (
            topolvm("cert-manager: {enabled: true}"),
            "Install cert-manager by itself",
        ),
        (
            topolvm("image: {repository: ghcr.io/topolvm/topolvm-with-sidecar}"),
            "Take image.repository",
        ),
        (
            topolvm("image: {csi: {csiResizer: ''}}"),
            "image.csi.csiResizer is empty",
        ),
        (
            topolvm("scheduler: {type: job}"),
            "write daemonset or deployment",
        ),
        (
            topolvm(GUIDE).set("lvmd.additionalConfigs[0].nodeSelector.disks=hdd"),
            "node groups 0 and 1",
        ),
    ] {
        let refusal = render.refusal();
        assert!(refusal.contains(words), "{words:?} is not in {refusal}");
    }
}

#[test]
fn the_values_of_charts_15_4_to_17_1_are_taken() {
    let old = "image: {tag: 0.1.0}\nwebhook: {pvcMutatingWebhook: {enabled: true, objectSelector: {}}, caBundle: null}\n";
    let new = "crd: {annotations: {a: b}}\nimage: {reference: '0.1.0@sha256:00'}\nnode: {podAnnotations: {a: b}}\n";
    for (values, image) in [(old, "basalt:0.1.0"), (new, "basalt:0.1.0@sha256:00")] {
        let objects = topolvm(values).objects();
        let node = objects.one("DaemonSet", "topolvm-node");
        assert_eq!(container(node, "topolvm-node")["image"], image);
    }
    let number = topolvm("{}").set("image.tag=0.41").objects();
    let node = number.one("DaemonSet", "topolvm-node");
    assert_eq!(container(node, "topolvm-node")["image"], "basalt:0.41");
}

#[test]
fn the_environment_of_lvmd_reaches_it_where_it_runs() {
    let set = "env.topolvm_node[0].name=LVM_SYSTEM_DIR";
    let objects = topolvm(GUIDE)
        .set(set)
        .set("env.topolvm_node[0].value=/x")
        .objects();
    let node = container(objects.one("DaemonSet", "topolvm-node"), "topolvm-node");
    let env = node["env"].as_array().unwrap();
    assert_eq!(words(&node["env"], "name"), ["NODE_NAME", "LVM_SYSTEM_DIR"]);
    assert_eq!(env[1]["value"], "/x", "what is said of the container wins");
    let guide = topolvm(GUIDE).objects();
    let node = container(guide.one("DaemonSet", "topolvm-node"), "topolvm-node");
    assert_eq!(node["env"][1]["value"], "/tmp");
}

#[test]
fn lvmd_runs_where_the_values_say() {
    let groups = "additionalConfigs: [{nodeSelector: {disks: hdd}, deviceClasses: [{name: slow, volume-group: slow}]}]";
    let groups = format!("nodeSelector: {{disks: ssd}}, {groups}");
    let host = "lvmd: {managed: false}".to_owned();
    for (values, embedded, nodes, lvmds) in [
        (format!("{{lvmd: {{{groups}}}}}"), true, 2, 0),
        (
            format!("{{lvmd: {{{groups}, args: [--v=4]}}, node: {{lvmdEmbedded: false}}}}"),
            false,
            1,
            2,
        ),
        (host.clone(), false, 1, 0),
        (format!("{host}\nnode: {{lvmdEmbedded: true}}"), true, 1, 0),
    ] {
        let objects = topolvm(&values).objects();
        let node = objects.one("DaemonSet", "topolvm-node");
        let mut args = argv(container(node, "topolvm-node"));
        args.push("--nodename=n1".to_owned());
        let cli = csi::args::NodeCli::try_parse_from(args).unwrap();
        assert_eq!(cli.embed_lvmd, embedded, "{values}");
        let mounts = words(
            &container(node, "topolvm-node")["volumeMounts"],
            "mountPath",
        );
        let folder = cli.lvmd_socket.parent().unwrap().display().to_string();
        assert!(mounts.contains(&folder), "{folder} is not in {mounts:?}");
        assert_eq!(objects.count("DaemonSet"), nodes + lvmds, "{values}");
        for (index, disks) in (0..lvmds).zip(["ssd", "hdd"]) {
            let name = format!("topolvm-lvmd-{index}");
            let lvmd = objects.one("DaemonSet", &name);
            assert_eq!(pod(lvmd)["nodeSelector"]["disks"], disks);
            let args = argv(container(lvmd, "lvmd"));
            lvmd::args::Cli::try_parse_from(args).unwrap();
            let text = objects.one("ConfigMap", &name)["data"]["lvmd.yaml"].as_str();
            let config = lvmd::config::Config::parse(text.unwrap(), "lvmd.yaml".as_ref()).unwrap();
            assert_eq!(config.socket, cli.lvmd_socket);
            let mounts = words(&container(lvmd, "lvmd")["volumeMounts"], "mountPath");
            for path in [folder.as_str(), "/run/lock/lvm", "/host/run", "/dev"] {
                assert!(mounts.contains(&path.to_owned()), "{path} is not there");
            }
        }
        let config = objects.find("ConfigMap", "topolvm-lvmd-0");
        assert_eq!(config.is_some(), embedded || lvmds > 0, "{values}");
    }
}

#[test]
fn lvmd_takes_the_configuration() {
    let values = format!(
        "{GUIDE}\n{}",
        "scheduler: {enabled: true, schedulerOptions: {default-divisor: 2, divisors: {main-thin: 4}}}"
    );
    let set = "lvmd.additionalLVMDYamlContent.lvm-system-dir=user";
    let objects = topolvm(&values).set(set).objects();
    let text = objects.one("ConfigMap", "topolvm-lvmd-0")["data"]["lvmd.yaml"].as_str();
    let config = lvmd::config::Config::parse(text.unwrap(), "lvmd.yaml".as_ref()).unwrap();
    assert_eq!(config.lvm_system_dir, lvmd::config::LvmSystemDir::User);
    assert_eq!(config.classes.volume_groups(), ["topolvm_vg"]);
    let options = objects.one("ConfigMap", "topolvm-scheduler-options");
    let text = options["data"]["scheduler-options.yaml"].as_str().unwrap();
    assert!(scheduler::config::Config::parse(text).is_ok(), "{text}");
}

#[test]
fn a_class_may_have_several_volume_groups() {
    let objects = topolvm("lvmd: {deviceClasses: [{name: x, volume-groups: [a, b]}]}").objects();
    let text = objects.one("ConfigMap", "topolvm-lvmd-0")["data"]["lvmd.yaml"].as_str();
    let config = lvmd::config::Config::parse(text.unwrap(), "lvmd.yaml".as_ref()).unwrap();
    assert_eq!(config.classes.get("x").unwrap().members().len(), 2);
    assert_eq!(config.classes.volume_groups(), ["a", "b"]);
}

#[test]
fn the_programs_know_their_arguments() {
    let profiling = "profiling: {bindAddress: ':1'}";
    let election = "controller: {leaderElection: {enabled: false}, nodeFinalize: {skipped: false}}";
    let other = format!("node: {{args: [--v=4], {profiling}}}\n{election}");
    let webhook = |certificate: &str| {
        format!("webhook: {{{certificate}, podMutatingWebhook: {{enabled: true}}}}")
    };
    let [manager, own] = ["certManager: true", "certManager: false"].map(webhook);
    for values in [GUIDE, &other, &manager, &own] {
        let objects = topolvm(values).objects();
        let node = objects.one("DaemonSet", "topolvm-node");
        let mut node = argv(container(node, "topolvm-node"));
        // In the pod it is in the environment.
        node.push("--nodename=n1".to_owned());
        let cli = csi::args::NodeCli::try_parse_from(node).unwrap();
        assert!(cli.embed_lvmd);
        let controller = objects.one("Deployment", "topolvm-controller");
        let controller = argv(container(controller, "topolvm-controller"));
        csi::args::ControllerCli::try_parse_from(controller).unwrap();
    }
    for (kind, watches) in [("DaemonSet", false), ("Deployment", true)] {
        let values =
            format!("scheduler: {{enabled: true, type: {kind}, nodeCacheCapable: {watches}}}");
        let objects = topolvm(&values).objects();
        let options = objects.one("ConfigMap", "topolvm-scheduler-options");
        let text = options["data"]["scheduler-options.yaml"].as_str().unwrap();
        let config = scheduler::config::Config::parse(text).unwrap();
        assert_eq!(config.node_cache_capable, watches);
        let role = objects.find("ClusterRole", "topolvm-system:scheduler");
        assert_eq!(role.is_some(), watches);
        let token = &pod(objects.one(kind, "topolvm-scheduler"))["automountServiceAccountToken"];
        assert_eq!(*token, watches);
        let scheduler = container(objects.one(kind, "topolvm-scheduler"), "topolvm-scheduler");
        scheduler::Cli::try_parse_from(argv(scheduler)).unwrap();
    }
}

/// Or nobody could see that the extender is gone or refuses: what kube-scheduler asks is at localhost.
#[test]
fn the_extender_has_metrics_where_prometheus_reaches_them_once_somebody_reads_them() {
    for kind in ["DaemonSet", "Deployment"] {
        for read in [
            "",
            "prometheus: {podMonitor: {enabled: true}}",
            "prometheus: {serviceMonitor: {enabled: true}}",
            "metrics: {enabled: true, host: 10.0.0.1, port: 99}",
        ] {
            let values = format!(
                "scheduler: {{enabled: true, type: {kind}, {read}}}\nnetworkPolicy: {{enabled: true}}"
            );
            let objects = topolvm(&values).objects();
            let options = objects.one("ConfigMap", "topolvm-scheduler-options");
            let text = options["data"]["scheduler-options.yaml"].as_str().unwrap();
            let config = scheduler::config::Config::parse(text).unwrap();
            let workload = objects.one(kind, "topolvm-scheduler");
            let ports = &container(workload, "topolvm-scheduler")["ports"];
            let mut ports = ports.as_array().into_iter().flatten();
            let port = ports.find(|port| port["name"] == "metrics");
            let port = port.map(|port| port["containerPort"].as_u64().unwrap());
            let annotation = &workload["spec"]["template"]["metadata"]["annotations"];
            let annotation = annotation["prometheus.io/port"].as_str();
            let expected = match read {
                "" => ("0", None, None),
                own if own.contains("99") => ("10.0.0.1:99", Some(99), Some("metrics")),
                _ => (":9252", Some(9252), None),
            };
            let bind = config.metrics.to_string();
            assert_eq!((bind.as_str(), port, annotation), expected, "{values}");
            let monitor = |kind| objects.find(kind, "topolvm-scheduler").is_some();
            assert_eq!(monitor("PodMonitor"), read.contains("podMonitor"));
            assert_eq!(monitor("ServiceMonitor"), read.contains("serviceMonitor"));
            assert!(!monitor("NetworkPolicy"), "kube-scheduler is not kept out");
        }
    }
}

#[test]
fn the_pod_with_lvm_has_what_proves_the_lock_directory_also_beside_volumes_of_a_user() {
    let own = "volumeMounts: {topolvmNode: [{name: mine, mountPath: /dev/}, {name: pod-volumes-dir, mountPath: /elsewhere}]}";
    let values = format!("node: {{volumes: [{{name: mine, hostPath: {{path: /dev}}}}], {own}}}\n");
    for (values, dev) in [("{}", "devices-dir"), (values.as_str(), "mine")] {
        let objects = topolvm(values).objects();
        let node = objects.one("DaemonSet", "topolvm-node");
        let mounts = container(node, "topolvm-node")["volumeMounts"]
            .as_array()
            .unwrap();
        let volumes = words(&pod(node)["volumes"], "name");
        let mut at = BTreeMap::new();
        for mount in mounts {
            let [name, path] = ["name", "mountPath"].map(|key| mount[key].as_str().unwrap());
            assert!(volumes.contains(&name.to_owned()), "no volume {name}");
            let before = at.insert(path.trim_end_matches('/'), name);
            assert_eq!(before, None, "two mounts at {path}");
        }
        for path in [
            "/run/udev",
            "/run/lock/lvm",
            "/host/run",
            "/sys",
            "/run/topolvm",
            "/var/lib/kubelet/plugins_registry",
        ] {
            assert!(at.contains_key(path), "{path} is not in {at:?}");
        }
        assert_eq!(at["/dev"], dev);
        assert!(pod(node).get("hostPID").is_none());
    }
}

#[test]
fn each_node_group_is_a_daemon_set_of_its_own() {
    let values = format!(
        "{}\n  additionalConfigs:\n  - {{nodeSelector: {{disks: hdd}}, deviceClasses: [{{name: slow, volume-group: slow}}]}}\n",
        "lvmd:\n  nodeSelector: {disks: ssd}"
    );
    let objects = topolvm(&values).objects();
    assert_eq!(objects.count("DaemonSet"), 2);
    for (index, suffix, disks) in [(0, "", "ssd"), (1, "-1", "hdd")] {
        let node = objects.one("DaemonSet", &format!("topolvm-node{suffix}"));
        assert_eq!(pod(node)["nodeSelector"]["disks"], disks);
        let component = &node["spec"]["selector"]["matchLabels"]["app.kubernetes.io/component"];
        assert_eq!(*component, format!("node{suffix}"));
        let config = pod(node)["volumes"]
            .as_array()
            .unwrap()
            .iter()
            .find(|v| v["name"] == "config");
        assert_eq!(
            config.unwrap()["configMap"]["name"],
            format!("topolvm-lvmd-{index}")
        );
    }
}

/// That it is the CRD of the types is a test of theirs.
#[test]
fn the_crd_outlives_the_release() {
    let file = "charts/topolvm/files/crds/topolvm.io_logicalvolumes.yaml";
    let file = std::fs::read_to_string(workspace().join(file)).unwrap();
    let file: Value = serde_saphyr::from_str(&file).unwrap();
    let objects = topolvm("crd: {annotations: {a: b}}").objects();
    let crd = objects.one("CustomResourceDefinition", "logicalvolumes.topolvm.io");
    let spec = |crd: &Value| facts(&json!({"crd": crd["spec"]}));
    assert_eq!(spec(crd), spec(&file));
    let annotations = &crd["metadata"]["annotations"];
    assert_eq!(annotations["helm.sh/resource-policy"], "keep");
    assert_eq!(annotations["a"], "b");
}

#[test]
fn the_controller_may_delete_claims_only_where_deleting_a_node_shall() {
    for (skipped, may) in [("true", false), ("false", true)] {
        let objects = topolvm("{}")
            .set(&format!("controller.nodeFinalize.skipped={skipped}"))
            .objects();
        let controller = container(
            objects.one("Deployment", "topolvm-controller"),
            "topolvm-controller",
        );
        assert_eq!(
            argv(controller).contains(&"--skip-node-finalize".to_owned()),
            !may
        );
        let role = objects.one("ClusterRole", "topolvm-system:controller");
        let rules = role["rules"].as_array().unwrap();
        let claims = rules
            .iter()
            .find(|r| r["resources"][0] == "persistentvolumeclaims")
            .unwrap();
        assert_eq!(
            claims["verbs"]
                .as_array()
                .unwrap()
                .contains(&"delete".into()),
            may
        );
    }
}

#[test]
fn the_webhooks_certificate_comes_from_where_the_values_say() {
    let hook = "webhook.podMutatingWebhook.enabled=true";
    let annotation = "cert-manager.io/inject-ca-from";
    for (sets, secret, injected, bundle) in [
        (&[][..], Some("topolvm-mutatingwebhook"), true, false),
        (
            &["webhook.existingCertManagerIssuer.name=i"],
            Some("topolvm-mutatingwebhook"),
            true,
            false,
        ),
        (
            &["webhook.caBundle=eA=="],
            Some("topolvm-mutatingwebhook"),
            false,
            true,
        ),
        (
            &[
                "webhook.certManager=false",
                "webhook.secretName=s",
                "webhook.caBundle=eA==",
            ],
            Some("s"),
            false,
            true,
        ),
        (&["webhook.certManager=false"], None, false, false),
    ] {
        let render = sets
            .iter()
            .fold(topolvm("{}").set(hook), |render, set| render.set(set));
        let objects = render.objects();
        let controller = objects.one("Deployment", "topolvm-controller");
        let volumes = pod(controller)["volumes"].as_array().unwrap();
        let mounted = volumes.iter().find(|volume| volume["name"] == "certs");
        assert_eq!(
            mounted.and_then(|v| v["secret"]["secretName"].as_str()),
            secret,
            "{sets:?}"
        );
        let configuration = objects.one("MutatingWebhookConfiguration", "topolvm-hook");
        assert_eq!(
            configuration["metadata"]["annotations"]
                .get(annotation)
                .is_some(),
            injected
        );
        let client = &configuration["webhooks"][0]["clientConfig"];
        assert_eq!(client.get("caBundle").is_some(), bundle);
        let issuers = if sets.is_empty() { 2 } else { 0 };
        assert_eq!(objects.count("Issuer"), issuers, "{sets:?}");
        assert_eq!(objects.count("Secret"), usize::from(secret.is_none()));
        let role = objects.find("Role", "topolvm-mutatingwebhook");
        assert_eq!(role.is_some(), secret.is_none());
    }
    assert_eq!(
        topolvm("{}")
            .objects()
            .count("MutatingWebhookConfiguration"),
        0
    );
}

/// A user's labels and namespaces narrow whom it asks.
#[test]
fn the_webhook_is_asked_where_the_values_say() {
    let values = "webhook: {annotations: {a: b}, podMutatingWebhook: {enabled: true, ignoreNamespaces: [x], objectSelector: {webhook: topolvm}}}";
    let objects = topolvm(values).objects();
    let configuration = objects.one("MutatingWebhookConfiguration", "topolvm-hook");
    assert_eq!(configuration["metadata"]["annotations"]["a"], "b");
    let hook = &configuration["webhooks"][0];
    assert_eq!(
        hook["objectSelector"]["matchLabels"],
        json!({"webhook": "topolvm"})
    );
    let namespaces = &hook["namespaceSelector"]["matchExpressions"];
    assert_eq!(namespaces[0]["values"], json!(["ignore"]));
    assert_eq!(namespaces[1]["values"], json!(["x"]));
}

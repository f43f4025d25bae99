//! charts/disk-watcher: values and what becomes of them.

use clap::Parser;
use disk_watcher::args::Cli;
use disk_watcher::compat;
use disk_watcher::config::{Config, Mode};

use crate::helm::{argv, container, disk_watcher, pod, workspace};

const VALUES: &str = include_str!("values/disk-watcher.yaml");

#[test]
fn values_that_cannot_be_meant_are_refused_with_the_way_out() {
    let spec = "select: {media: [ssd]}, volumeGroup: {name: vg}";
    for (values, words) in [
        (
            format!("values: {{classes: [{{name: a, spec: {{{spec}}}}}]}}"),
            "Take that line out",
        ),
        ("clases: []".to_owned(), "clases"),
        (
            format!("classes: [{{name: a, spec: {{mode: Force, {spec}}}}}]"),
            "mode",
        ),
        (
            "classes: [{name: a, spec: {select: {media: [ssd]}}}]".to_owned(),
            "volumeGroup",
        ),
        (
            "image: {repository: example.org/containerforge/lvm-disk-watcher}".to_owned(),
            "Take image.repository",
        ),
        (
            "compat: {diskConfig: 'a: all', existingConfigMap: b}".to_owned(),
            "Keep one",
        ),
        (
            "updateStrategy: {type: RollingUpdate, rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}"
                .to_owned(),
            "Take maxSurge out",
        ),
        (
            "nodeSelector: {a: b}\nnodeGroups: [{name: x, nodeSelector: {c: d}}]".to_owned(),
            "may be on one node",
        ),
    ] {
        let refusal = disk_watcher(&values).refusal();
        assert!(refusal.contains(words), "{words:?} is not in {refusal}");
    }
}

#[test]
fn the_watcher_takes_its_files_and_arguments() {
    let objects = disk_watcher(VALUES).objects();
    for (suffix, class) in [("", "fast"), ("-bulk", "bulk")] {
        let map = objects.one("ConfigMap", &format!("disk-watcher-classes{suffix}"));
        let config = Config::load(map["data"]["config.yaml"].as_str().unwrap()).unwrap();
        let names: Vec<_> = config.classes.iter().map(|c| c.name.as_str()).collect();
        assert_eq!(names, [class]);
        let watcher = objects.one("DaemonSet", &format!("disk-watcher{suffix}"));
        Cli::try_parse_from(argv(container(watcher, "disk-watcher"))).unwrap();
    }
    let text = objects.one("ConfigMap", "disk-config")["data"]["disk-config"]
        .as_str()
        .unwrap();
    let class = compat::class("disk-config", text, "k8s-control-1", Mode::Enforce).unwrap();
    assert!(!class.is_idle() && class.mode == Mode::Enforce);
}

#[test]
fn without_values_it_runs_and_wants_no_disk() {
    let objects = disk_watcher("{}").objects();
    let map = objects.one("ConfigMap", "disk-watcher-classes");
    let config = Config::load(map["data"]["config.yaml"].as_str().unwrap()).unwrap();
    assert!(config.classes.is_empty());
    assert!(objects.find("ConfigMap", "disk-config").is_none());
    let plan = disk_watcher("compat: {diskConfig: 'n: all'}").objects();
    let argv = argv(container(
        plan.one("DaemonSet", "disk-watcher"),
        "disk-watcher",
    ));
    assert!(argv.contains(&"--compat-mode=Plan".to_owned()), "{argv:?}");
}

#[test]
fn with_the_clusters_objects_it_gets_a_token_and_crds_that_stay() {
    let objects = disk_watcher("kubernetes: {enabled: true}").objects();
    let watcher = objects.one("DaemonSet", "disk-watcher");
    assert_eq!(pod(watcher)["automountServiceAccountToken"], true);
    let words = argv(container(watcher, "disk-watcher"));
    assert!(words.contains(&"--kubernetes".to_owned()), "{words:?}");
    Cli::try_parse_from(words).unwrap();
    for crd in disk_watcher::kubernetes::types::crds() {
        let name = crd.metadata.name.unwrap();
        let there = objects.one("CustomResourceDefinition", &name);
        let kept = &there["metadata"]["annotations"]["helm.sh/resource-policy"];
        assert_eq!(kept, "keep", "{name}");
        assert_eq!(
            crd.spec,
            serde_json::from_value(there["spec"].clone()).unwrap()
        );
    }
    for (kind, count) in [
        ("ClusterRole", 1),
        ("Role", 1),
        ("RoleBinding", 1),
        ("ValidatingAdmissionPolicy", 1),
        ("ValidatingAdmissionPolicyBinding", 1),
    ] {
        assert_eq!(objects.count(kind), count, "{kind}");
    }
    let may_write_secrets = |values: &str| {
        let objects = disk_watcher(values).objects();
        let rules = objects.one("Role", "disk-watcher")["rules"].to_string();
        rules.contains("secrets")
    };
    assert!(may_write_secrets("kubernetes: {enabled: true}"));
    let unbound = "kubernetes: {enabled: true, admissionPolicy: false}";
    assert!(!may_write_secrets(unbound), "nothing would say which");
    let without = disk_watcher("{}").objects();
    assert_eq!(without.count("CustomResourceDefinition"), 0);
    assert_eq!(without.count("ClusterRole"), 0);
}

#[test]
fn it_may_read_what_other_systems_claim_and_write_nothing_of_it() {
    let objects = disk_watcher("kubernetes: {enabled: true}").objects();
    let role = &objects.one("ClusterRole", "disk-watcher.lvm-disk-watcher")["rules"];
    let about = |group: &str, plural: &str| -> Vec<serde_json::Value> {
        let rules = role.as_array().unwrap().iter();
        let is = |rule: &&serde_json::Value, key: &str, word: &str| {
            rule[key].as_array().unwrap().contains(&word.into())
        };
        rules
            .filter(|rule| is(rule, "apiGroups", group) && is(rule, "resources", plural))
            .map(|rule| rule["verbs"].clone())
            .collect()
    };
    for owner in disk_watcher::kubernetes::owners::OWNERS {
        let plural = format!("{}s", owner.kind.to_lowercase());
        let verbs = about(owner.group, &plural);
        assert_eq!(verbs, [serde_json::json!(["list", "watch"])], "{owner:?}");
    }
}

#[test]
fn the_pod_sees_the_host_and_has_no_token() {
    let objects = disk_watcher("{}").objects();
    let watcher = objects.one("DaemonSet", "disk-watcher");
    assert_eq!(pod(watcher)["hostPID"], true);
    assert_eq!(pod(watcher)["automountServiceAccountToken"], false);
    let mounts = container(watcher, "disk-watcher")["volumeMounts"]
        .as_array()
        .unwrap();
    for path in [
        "/dev",
        "/run/udev",
        "/run/lock/lvm",
        "/host/run",
        "/sys",
        "/run/disk-watcher",
        "/var/lib/disk-watcher",
    ] {
        let mount = mounts
            .iter()
            .find(|m| m["mountPath"] == path)
            .unwrap_or_else(|| panic!("no {path}"));
        let volumes = pod(watcher)["volumes"].as_array().unwrap();
        let volume = volumes.iter().find(|v| v["name"] == mount["name"]).unwrap();
        assert_eq!(volume["hostPath"]["path"], path.trim_start_matches("/host"));
    }
}

#[test]
fn the_folder_of_a_file_that_stands_in_for_a_disk_is_the_hosts() {
    let class = |path: &str| {
        format!(
            "{{name: trial, spec: {{mode: Plan, select: {{files: [{{path: {path}, size: 2Gi}}]}}, volumeGroup: {{name: trial}}}}}}"
        )
    };
    let folders = |values: &str, watcher: &str| -> Vec<String> {
        let objects = disk_watcher(values).objects();
        let watcher = objects.one("DaemonSet", watcher);
        let volumes = pod(watcher)["volumes"].as_array().unwrap().clone();
        let mounts = container(watcher, "disk-watcher")["volumeMounts"]
            .as_array()
            .unwrap();
        let mounts = mounts
            .iter()
            .filter(|mount| mount["name"].as_str().unwrap().starts_with("files-dir-"));
        mounts
            .map(|mount| {
                let volume = volumes
                    .iter()
                    .find(|volume| volume["name"] == mount["name"])
                    .unwrap();
                assert_eq!(
                    volume["hostPath"]["path"], mount["mountPath"],
                    "the watcher is told the host's path"
                );
                mount["mountPath"].as_str().unwrap().to_owned()
            })
            .collect()
    };
    let one = class("/var/lib/basalt/a.img");
    let twice = format!("classes: [{one}, {one}, {}]", class("/mnt/data/b.img"));
    assert_eq!(
        folders(&twice, "disk-watcher"),
        ["/var/lib/basalt", "/mnt/data"]
    );
    let group = format!(
        "nodeSelector: {{a: b}}\nnodeGroups: [{{name: x, nodeSelector: {{a: c}}, classes: [{one}]}}]"
    );
    assert_eq!(folders(&group, "disk-watcher"), [""; 0]);
    assert_eq!(folders(&group, "disk-watcher-x"), ["/var/lib/basalt"]);
    let journals = format!("classes: [{}]", class("/var/lib/disk-watcher/a.img"));
    assert_eq!(
        folders(&journals, "disk-watcher"),
        [""; 0],
        "it is there already"
    );
    for path in [
        "/a.img",
        "/var/a.img",
        "/etc/disk-watcher/a.img",
        "/run/x/a.img",
    ] {
        let refusal = disk_watcher(&format!("classes: [{}]", class(path))).refusal();
        assert!(refusal.contains("path"), "{path}: {refusal}");
    }
}

/// The classes in the docs and in the example file, with where each stands.
fn written_classes() -> Vec<(String, serde_json::Value)> {
    let docs = std::fs::read_dir(workspace().join("docs")).unwrap();
    let mut files: Vec<_> = docs.map(|file| file.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|ext| ext == "md"));
    let mut texts = vec![(
        "example".to_owned(),
        std::fs::read_to_string(workspace().join("disk-watcher/examples/config.yaml")).unwrap(),
    )];
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let blocks = text.split("```yaml class\n").skip(1);
        let blocks = blocks.map(|rest| rest.split("\n```").next().unwrap().to_owned());
        texts.extend(blocks.map(|block| (file.display().to_string(), block)));
    }
    let classes = texts.into_iter().flat_map(|(place, text)| {
        let all: Vec<serde_json::Value> = serde_saphyr::from_multiple(&text).unwrap();
        let classes = all.into_iter().filter(|one| one["kind"] == "DiskClass");
        classes
            .map(move |class| (place.clone(), class))
            .collect::<Vec<_>>()
    });
    classes.collect()
}

#[test]
fn the_values_take_every_class_that_the_docs_show() {
    let classes = written_classes();
    assert!(classes.len() > 8, "{}", classes.len());
    for (place, class) in classes {
        let value = serde_json::json!({"classes": [{"name": class["metadata"]["name"], "spec": class["spec"]}]});
        let objects = disk_watcher(&value.to_string()).objects();
        let map = objects.one("ConfigMap", "disk-watcher-classes");
        let config = Config::load(map["data"]["config.yaml"].as_str().unwrap()).unwrap();
        assert_eq!(config.classes.len(), 1, "{place}: {class}");
    }
}

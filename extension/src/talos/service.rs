//! The description of an extension's service, as Talos reads it at each boot
//! (`pkg/machinery/extensions/services` of Talos 1.12 to 1.14).

use serde_json::Value;

use super::finding::{Finding, Rule};
use super::yaml::{Node, Reader};

/// What Talos does when the service ends.
const RESTART: &[&str] = &["always", "never", "untilSuccess"];
/// What a service can wait for of the network.
const NETWORK: &[&str] = &["addresses", "connectivity", "hostname", "etcfiles"];

/// A service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Service {
    /// Talos calls the service `ext-<name>`; its root is named so too.
    pub name: String,
    /// What is started, a path in the service's root.
    pub entrypoint: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// `NAME=value`.
    pub environment: Vec<String>,
    /// What is mounted into it.
    pub mounts: Vec<Mount>,
    /// Where its container is not containerd's default.
    pub security: Security,
    /// Names of Talos' services that it waits for.
    pub after: Vec<String>,
    /// Whether it waits for an ExtensionServiceConfig.
    pub configured: bool,
}

/// What a service may do in its container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Security {
    /// Whether its /sys can be written to.
    pub writeable_sysfs: bool,
    /// Whether its root can be written to.
    pub writeable_rootfs: bool,
    /// Whether a mount that it makes is seen outside.
    pub rootfs_propagation: String,
    /// What is hidden from it, in place of containerd's list; an empty list hides nothing.
    pub masked_paths: Option<Vec<String>>,
    /// What it cannot write to, in place of containerd's list.
    pub readonly_paths: Option<Vec<String>>,
}

/// A mount, as the OCI runtime specification has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mount {
    /// On the node.
    pub source: String,
    /// In the service's root.
    pub destination: String,
    /// `bind`, or the type of a file system.
    pub kind: String,
    /// mount(8)'s options.
    pub options: Vec<String>,
}

/// Reads a description; what is wrong in it goes to `findings`.
pub fn read(file: &str, bytes: &[u8], findings: &mut Vec<Finding>) -> Option<Service> {
    let mut reader = Reader::new(file, findings);
    let document = reader.document(bytes)?;
    let keys = ["name", "container", "depends", "restart", "logToConsole"];
    let top = reader.node("", &document, &keys);
    let mut service = Service {
        name: reader.text(&top, "name"),
        ..Service::default()
    };
    if !is_name(&service.name) {
        let what = format!("{:?} is not made of -, _, a-z and 0-9", service.name);
        reader.note(Rule::Service, "name", what);
    }
    let restart = reader.text(&top, "restart");
    if !RESTART.contains(&restart.as_str()) {
        // Talos takes upper and lower case for the same.
        let known = RESTART
            .iter()
            .any(|kind| kind.eq_ignore_ascii_case(&restart));
        let rule = if known { Rule::Scalar } else { Rule::Service };
        let what = format!("{restart:?} is none of {}", RESTART.join(", "));
        reader.note(rule, "restart", what);
    }
    reader.flag(&top, "logToConsole");
    container(&mut reader, &top, &mut service);
    for (n, item) in reader.list(&top, "depends").iter().enumerate() {
        dependency(&mut reader, n, item, &mut service);
    }
    Some(service)
}

fn container(reader: &mut Reader, top: &Node, service: &mut Service) {
    let keys = [
        "entrypoint",
        "environment",
        "environmentFile",
        "args",
        "mounts",
        "security",
    ];
    let node = reader.child(top, "container", &keys);
    service.entrypoint = reader.text(&node, "entrypoint");
    if service.entrypoint.is_empty() {
        reader.note(Rule::Service, "container.entrypoint", "is missing");
    }
    service.args = reader.texts(&node, "args");
    service.environment = reader.texts(&node, "environment");
    if !reader.text(&node, "environmentFile").is_empty() {
        let what = "deprecated: an ExtensionServiceConfig has `environment`";
        reader.note(Rule::UnknownKey, "container.environmentFile", what);
    }
    for (n, item) in reader.list(&node, "mounts").iter().enumerate() {
        let at = format!("container.mounts[{n}]");
        service.mounts.push(mount(reader, &at, item));
    }
    service.security = security(reader, &node);
}

fn security(reader: &mut Reader, container: &Node) -> Security {
    let keys = [
        "writeableSysfs",
        "maskedPaths",
        "readonlyPaths",
        "writeableRootfs",
        "rootfsPropagation",
    ];
    let node = reader.child(container, "security", &keys);
    let mut given = |key| {
        let paths = reader.texts(&node, key);
        (!node.get(key).is_null()).then_some(paths)
    };
    let (masked_paths, readonly_paths) = (given("maskedPaths"), given("readonlyPaths"));
    Security {
        writeable_sysfs: reader.flag(&node, "writeableSysfs"),
        writeable_rootfs: reader.flag(&node, "writeableRootfs"),
        rootfs_propagation: reader.text(&node, "rootfsPropagation"),
        masked_paths,
        readonly_paths,
    }
}

fn mount(reader: &mut Reader, at: &str, item: &Value) -> Mount {
    let keys = ["source", "destination", "type", "options"];
    let node = reader.node(at, item, &keys);
    let mount = Mount {
        source: reader.text(&node, "source"),
        destination: reader.text(&node, "destination"),
        kind: reader.text(&node, "type"),
        options: reader.texts(&node, "options"),
    };
    for (key, path) in [
        ("source", &mount.source),
        ("destination", &mount.destination),
    ] {
        if !path.starts_with('/') {
            reader.note(
                Rule::Mount,
                &node.at(key),
                format!("{path:?} is not absolute"),
            );
        }
    }
    if mount.kind != "bind" {
        let what = format!("{:?} is not bind", mount.kind);
        reader.note(Rule::Mount, &node.at("type"), what);
    }
    if !["bind", "rbind"]
        .iter()
        .any(|bind| mount.options.iter().any(|o| o == bind))
    {
        reader.note(Rule::Mount, &node.at("options"), "neither bind nor rbind");
    }
    mount
}

fn dependency(reader: &mut Reader, n: usize, item: &Value, service: &mut Service) {
    let at = format!("depends[{n}]");
    let keys = ["service", "path", "network", "time", "configuration"];
    let node = reader.node(&at, item, &keys);
    let after = reader.text(&node, "service");
    let path = reader.text(&node, "path");
    let network = reader.texts(&node, "network");
    let time = reader.flag(&node, "time");
    let configured = reader.flag(&node, "configuration");
    let given = [
        !after.is_empty(),
        !path.is_empty(),
        !network.is_empty(),
        time,
        configured,
    ];
    match given.iter().filter(|given| **given).count() {
        1 => {}
        0 => reader.note(Rule::Service, &at, "waits for nothing"),
        _ => reader.note(Rule::Service, &at, "waits for more than one thing"),
    }
    if !path.is_empty() && !path.starts_with('/') {
        reader.note(
            Rule::Service,
            &node.at("path"),
            format!("{path:?} is not absolute"),
        );
    }
    for status in network {
        if !NETWORK.contains(&status.as_str()) {
            let known = NETWORK
                .iter()
                .any(|word| word.eq_ignore_ascii_case(&status));
            let rule = if known { Rule::Scalar } else { Rule::Malformed };
            let what = format!("{status:?} is none of {}", NETWORK.join(", "));
            reader.note(rule, &node.at("network"), what);
        }
    }
    service.configured |= configured;
    if !after.is_empty() {
        service.after.push(after);
    }
}

fn is_name(name: &str) -> bool {
    let fits = |c: char| matches!(c, '-' | '_' | 'a'..='z' | '0'..='9');
    !name.is_empty() && name.chars().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "name: x\ncontainer: {entrypoint: ./x}\nrestart: always\n";

    fn rules(yaml: &str) -> Vec<Rule> {
        let mut findings = Vec::new();
        read("x.yaml", yaml.as_bytes(), &mut findings);
        findings.into_iter().map(|finding| finding.rule).collect()
    }

    #[test]
    fn a_description_is_read_whole() {
        let yaml = "name: x\nrestart: never\ndepends: [{service: udevd}, {configuration: true}]\n\
            container:\n  entrypoint: /x\n  args: [run]\n  environment: [A=b]\n  \
            mounts: [{source: /dev, destination: /dev, type: bind, options: [rbind, rw]}]\n  \
            security: {writeableRootfs: true, rootfsPropagation: shared, maskedPaths: []}\n";
        let mut findings = Vec::new();
        let service = read("x.yaml", yaml.as_bytes(), &mut findings).unwrap();
        assert_eq!(findings, []);
        let mount = Mount {
            source: "/dev".into(),
            destination: "/dev".into(),
            kind: "bind".into(),
            options: vec!["rbind".into(), "rw".into()],
        };
        let expected = Service {
            name: "x".into(),
            entrypoint: "/x".into(),
            args: vec!["run".into()],
            environment: vec!["A=b".into()],
            mounts: vec![mount],
            security: Security {
                writeable_rootfs: true,
                rootfs_propagation: "shared".into(),
                masked_paths: Some(Vec::new()),
                ..Security::default()
            },
            after: vec!["udevd".into()],
            configured: true,
        };
        assert_eq!(service, expected);
    }

    #[test]
    fn each_rule_is_asked() {
        assert_eq!(rules(GOOD), []);
        for (yaml, rule) in [
            (GOOD.replace("name: x", "name: X"), Rule::Service),
            (GOOD.replace("always", "sometimes"), Rule::Service),
            (GOOD.replace("always", "Always"), Rule::Scalar),
            (GOOD.replace("./x", "''"), Rule::Service),
            (GOOD.replace("./x", "./x, entrypiont: y"), Rule::UnknownKey),
            (format!("{GOOD}depends: [{{}}]\n"), Rule::Service),
            (format!("{GOOD}depends: [{{path: dev/x}}]\n"), Rule::Service),
            (
                format!("{GOOD}depends: [{{time: true, service: cri}}]\n"),
                Rule::Service,
            ),
            (
                format!("{GOOD}depends: [{{network: [uplink]}}]\n"),
                Rule::Malformed,
            ),
            (
                GOOD.replace(
                    "./x",
                    "./x, mounts: [{source: /a, destination: b, type: bind, options: [bind]}]",
                ),
                Rule::Mount,
            ),
            (
                GOOD.replace(
                    "./x",
                    "./x, mounts: [{source: /a, destination: /b, type: bind}]",
                ),
                Rule::Mount,
            ),
        ] {
            assert_eq!(rules(&yaml), [rule], "{yaml}");
        }
    }
}

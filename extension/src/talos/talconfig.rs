//! The same as pieces of TalHelper's talconfig.yaml.
//!
//! TalHelper 3.1 refuses some documents of Talos 1.14 that have a key of its own: these keys are used for both versions.
//! Its lists for all nodes of a group are given up for those of a node that has its own.

use super::patches::{self, Dialect, Topic, indented};
use super::values::Values;

/// The pieces for these topics; control planes get what only they have a use for.
#[must_use]
pub fn render(values: &Values, dialect: Dialect, topics: &[Topic]) -> String {
    let mut text = String::from(
        "# Pieces of talconfig.yaml: merge each key with the one that is there. A node with a list of its own under one of\n\
         # these keys does not get the group's: add to that one too.\n",
    );
    if topics.contains(&Topic::Namespaces) {
        text.push_str("inlineManifests:\n");
        for name in &values.namespaces {
            let manifest = indented(&patches::namespace(name), 6);
            text.push_str(&format!(
                "  - name: namespace-{name}\n    contents: |-\n{manifest}"
            ));
        }
    }
    for group in ["controlPlane", "worker"] {
        let body = group_of(values, dialect, topics, group == "controlPlane");
        if !body.is_empty() {
            text.push_str(&format!("{group}:\n{}", indented(&body, 2)));
        }
    }
    text
}

fn group_of(values: &Values, dialect: Dialect, topics: &[Topic], control_plane: bool) -> String {
    let mut text = String::new();
    let mut modules = Vec::new();
    for (topic, names) in [
        (Topic::Modules, &values.modules),
        (Topic::ModulesRaid, &values.modules_raid),
    ] {
        if topics.contains(&topic) {
            modules.extend(names);
        }
    }
    if !modules.is_empty() {
        text.push_str("kernelModules:\n");
        for name in modules {
            text.push_str(&format!("  - name: {name}\n"));
        }
    }
    if topics.contains(&Topic::ExtensionService) {
        let service = indented(&patches::service(values), 4);
        text.push_str(&format!("extensionServices:\n  - {}", &service[4..]));
    }
    let patches = topics
        .iter()
        .filter(|topic| has_no_key(**topic) && (control_plane || !topic.for_control_planes()))
        .filter_map(|topic| patches::render(values, *topic, dialect))
        .map(|patch| format!("  - |-\n{}", indented(&patch, 4)))
        .collect::<String>();
    if !patches.is_empty() {
        text.push_str("patches:\n");
        text.push_str(&patches);
    }
    text
}

/// Whether talconfig.yaml has no key for it but `patches`.
fn has_no_key(topic: Topic) -> bool {
    matches!(
        topic,
        Topic::PodSecurity | Topic::RawVolume | Topic::Scheduler | Topic::VolumeGroup
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_get_nothing_that_is_for_control_planes() {
        let values = Values::default();
        for dialect in Dialect::ALL {
            let text = render(&values, dialect, &[Topic::PodSecurity, Topic::Scheduler]);
            assert!(text.contains("controlPlane:"), "{text}");
            assert!(!text.contains("worker:"), "{text}");
        }
    }

    /// Each topic stands once in each group: under its key or as a patch.
    #[test]
    fn every_topic_is_there() {
        for (topic, mark) in [
            (Topic::Modules, "- name: dm_thin_pool"),
            (Topic::ModulesRaid, "- name: dm_raid"),
            (Topic::Namespaces, "name: lvm-disk-watcher"),
            (Topic::PodSecurity, "exemptions:"),
            (Topic::RawVolume, "kind: RawVolumeConfig"),
            (Topic::Scheduler, "extenders:"),
            (Topic::VolumeGroup, "kind: LVMVolumeGroupConfig"),
            (Topic::ExtensionService, "kind: DiskClass"),
        ] {
            let text = render(&Values::default(), Dialect::Documents, &[topic]);
            assert!(text.contains(mark), "{topic:?}: {text}");
        }
    }
}

//! What went through the volumes, from the metrics of the pods with an lvmd.

use std::collections::HashMap;

use futures::future::join_all;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, ResourceExt};

use super::Cluster;

/// What went through a volume since it became active.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Io {
    /// Bytes that were read.
    pub read_bytes: u64,
    /// Bytes that were written.
    pub written_bytes: u64,
}

impl Cluster {
    /// Asks the pods with an lvmd, by node and LV. One that does not answer, or may not be asked, says nothing.
    pub async fn io(&self) -> HashMap<(String, String), Io> {
        let pods: Api<Pod> = Api::all(self.0.clone());
        let ours = ListParams::default().labels("app.kubernetes.io/name=topolvm");
        let pods = pods.list(&ours).await.map(|list| list.items);
        let mut pods = pods.unwrap_or_default();
        pods.retain(|pod| has_lvmd(pod) && runs(pod));
        let asked = pods.iter().map(|pod| async {
            let (namespace, name) = (pod.namespace().unwrap_or_default(), pod.name_any());
            let path = format!("/api/v1/namespaces/{namespace}/pods/{name}:8080/proxy/metrics");
            let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
            (
                node.unwrap_or_default(),
                self.get_soon(path).await.unwrap_or_default(),
            )
        });
        let told = join_all(asked).await;
        told.iter()
            .flat_map(|(node, page)| {
                let volumes = io_of(page).into_iter();
                volumes.map(|(lv, io)| ((node.clone(), lv.to_owned()), io))
            })
            .collect()
    }
}

/// Whether it is a node's or an lvmd's; each group of nodes has its own.
fn has_lvmd(pod: &Pod) -> bool {
    let component = pod.labels().get("app.kubernetes.io/component");
    component.is_some_and(|component| {
        let kind = component.split('-').next();
        matches!(kind, Some("node" | "lvmd"))
    })
}

fn runs(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_ref());
    phase.is_some_and(|phase| phase == "Running")
}

/// By LV, from a page of metrics in Prometheus' text format.
fn io_of(page: &str) -> HashMap<&str, Io> {
    let mut all: HashMap<&str, Io> = HashMap::new();
    for line in page.lines() {
        if let Some((lv, bytes)) = sample(line, "basalt_volume_read_bytes_total{") {
            all.entry(lv).or_default().read_bytes = bytes;
        } else if let Some((lv, bytes)) = sample(line, "basalt_volume_written_bytes_total{") {
            all.entry(lv).or_default().written_bytes = bytes;
        }
    }
    all
}

/// The LV and the value of a sample with this beginning. A name of an LV has nothing that would be escaped.
fn sample<'a>(line: &'a str, begins: &str) -> Option<(&'a str, u64)> {
    let (labels, value) = line.strip_prefix(begins)?.rsplit_once("} ")?;
    let (_, lv) = labels.split_once(",lv=\"")?;
    let (lv, _) = lv.split_once('"')?;
    Some((lv, value.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use lvmd::metrics::{Metrics, Page};
    use lvmd::units::Bytes;
    use lvmd::volumes::{Health, Io as Through, Measured, Through as Direction};
    use prometheus_client::registry::Registry;

    /// As a node's pod shows it.
    #[test]
    fn the_page_of_a_node_says_what_went_through_each_volume() {
        let volume = |lv: &str, io| Measured {
            class: "ssd".into(),
            lv: lv.into(),
            tags: vec![format!("basalt.lv=pvc-{lv}")],
            size: Bytes(1),
            used: None,
            health: Health::Well,
            io,
        };
        let direction = |bytes| Direction {
            bytes: Bytes(bytes),
            ..Direction::default()
        };
        let io = Through {
            read: direction(7 << 60),
            written: direction(5),
        };
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry, Some("n1"));
        metrics.set_volumes(vec![volume("a", Some(io)), volume("inactive", None)]);
        let (_, page) = Page::new(registry).render(None);
        let expected = Io {
            read_bytes: 7 << 60,
            written_bytes: 5,
        };
        assert_eq!(io_of(&page), HashMap::from([("a", expected)]));
        assert_eq!(io_of("not found"), HashMap::new());
    }
}

//! Helm, built from its Go module, and what it renders.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use e2e_qemu::cluster::binaries::HELM;
use e2e_qemu::host;
use serde_json::Value;

/// The folder with all crates and charts.
pub(crate) fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn binary() -> &'static Path {
    static BUILT: LazyLock<PathBuf> = LazyLock::new(|| {
        let cache = workspace().join(".cache");
        HELM.build(&cache).unwrap().join("helm")
    });
    &BUILT
}

/// A chart with values.
#[derive(Debug, Clone)]
pub(crate) struct Render {
    chart: PathBuf,
    name: &'static str,
    namespace: &'static str,
    values: String,
    sets: Vec<String>,
}

/// charts/topolvm as the guide installs it, with these values.
pub(crate) fn topolvm(values: &str) -> Render {
    Render {
        chart: workspace().join("charts/topolvm"),
        name: "topolvm",
        namespace: "topolvm-system",
        values: values.to_owned(),
        sets: vec![],
    }
}

/// A copy of TopoLVM's own chart, installed in the same way.
pub(crate) fn theirs(chart: &Path, values: &str) -> Render {
    Render {
        chart: chart.to_owned(),
        ..topolvm(values)
    }
}

/// charts/disk-watcher in the namespace of TrueCharts' watcher, with these values.
pub(crate) fn disk_watcher(values: &str) -> Render {
    Render {
        chart: workspace().join("charts/disk-watcher"),
        name: "disk-watcher",
        namespace: "lvm-disk-watcher",
        values: values.to_owned(),
        sets: vec![],
    }
}

impl Render {
    /// Sets one value on top, as `key=value`.
    pub(crate) fn set(mut self, assignment: &str) -> Self {
        self.sets.push(assignment.to_owned());
        self
    }

    /// The objects.
    pub(crate) fn objects(&self) -> Objects {
        match self.run() {
            Ok(text) => Objects::read(&text),
            Err(words) => panic!("helm refused: {words}"),
        }
    }

    /// Helm's words when it refuses.
    pub(crate) fn refusal(&self) -> String {
        match self.run() {
            Ok(_) => panic!("helm took these values: {} {:?}", self.values, self.sets),
            Err(words) => words,
        }
    }

    fn run(&self) -> Result<String, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &self.values).unwrap();
        let mut helm = host::command(binary());
        // Helm's own idea of a cluster is older than what the charts ask for.
        helm.args(["template", self.name])
            .arg(&self.chart)
            .args([
                "--kube-version=1.35.0",
                "--namespace",
                self.namespace,
                "--values",
            ])
            .arg(file.path());
        for set in &self.sets {
            helm.args(["--set", set]);
        }
        let done = helm.output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        if done.status.success() {
            Ok(text(&done.stdout))
        } else {
            Err(text(&done.stderr))
        }
    }
}

/// What was rendered.
#[derive(Debug)]
pub(crate) struct Objects(pub(crate) Vec<Value>);

impl Objects {
    fn read(text: &str) -> Self {
        let all: Vec<Option<Value>> = serde_saphyr::from_multiple(text).unwrap();
        Self(all.into_iter().flatten().collect())
    }

    /// The one of this kind and name.
    pub(crate) fn one(&self, kind: &str, name: &str) -> &Value {
        self.find(kind, name)
            .unwrap_or_else(|| panic!("no {kind} {name}"))
    }

    /// The one of this kind and name, if it is there.
    pub(crate) fn find(&self, kind: &str, name: &str) -> Option<&Value> {
        let mut found = self
            .0
            .iter()
            .filter(|o| o["kind"] == kind && o["metadata"]["name"] == name);
        let first = found.next();
        assert!(found.next().is_none(), "two of {kind} {name}");
        first
    }

    /// How many there are of a kind.
    pub(crate) fn count(&self, kind: &str) -> usize {
        self.0.iter().filter(|o| o["kind"] == kind).count()
    }
}

/// The pod of a workload.
pub(crate) fn pod(workload: &Value) -> &Value {
    &workload["spec"]["template"]["spec"]
}

/// A container of a workload.
pub(crate) fn container<'a>(workload: &'a Value, name: &str) -> &'a Value {
    let all = pod(workload)["containers"].as_array().unwrap();
    all.iter()
        .find(|c| c["name"] == name)
        .unwrap_or_else(|| panic!("no container {name}"))
}

/// The words a container is started with.
pub(crate) fn argv(container: &Value) -> Vec<String> {
    let words = |key: &str| container[key].as_array().cloned().unwrap_or_default();
    [words("command"), words("args")]
        .concat()
        .iter()
        .map(|word| word.as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn helm_lint_has_nothing_to_say() {
    for chart in ["topolvm", "disk-watcher"] {
        let done = host::command(binary())
            .args(["lint", "--strict", "--kube-version=1.35.0"])
            .arg(workspace().join("charts").join(chart))
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&done.stdout);
        assert!(done.status.success(), "{text}");
        assert!(
            !text.contains("[WARNING]") && !text.contains("[ERROR]"),
            "{text}"
        );
    }
}

//! A Helm chart as a release has it: its archive, the same bytes on each build, and the same for a registry.
//!
//! `helm package` writes the hour into the archive, and `helm push` into the manifest; both formats are simple enough
//! (<https://helm.sh/docs/topics/charts/>, <https://helm.sh/docs/topics/registries/>). Helm itself reads them in the tests.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::image::EPOCH;
use crate::layer;
use crate::oci::Layout;
use crate::rootfs::{Node, Rootfs, Source};

const CONFIG: &str = "application/vnd.cncf.helm.config.v1+json";
const CONTENT: &str = "application/vnd.cncf.helm.chart.content.v1.tar+gzip";

/// What `.helmignore` of our charts leaves out.
const LEFT_OUT: &[&str] = &["tests"];

/// A packed chart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chart {
    /// As in Chart.yaml.
    pub name: String,
    /// The archive that Helm installs.
    pub archive: Vec<u8>,
    /// Chart.yaml, as JSON.
    metadata: Value,
}

impl Chart {
    /// Packs the chart in the folder `dir` as `version`, which its images have too; they are pulled from `image`.
    ///
    /// # Errors
    /// A file cannot be read, or the chart is not written as ours are.
    pub fn pack(dir: &Path, version: &str, image: &str) -> anyhow::Result<Self> {
        let read = |name: &str| {
            let path = dir.join(name);
            std::fs::read_to_string(&path)
                .with_context(|| format!("cannot read {}", path.display()))
        };
        let about = read("Chart.yaml")?;
        let about = with_line(&about, "version: ", version)?;
        let about = with_line(&about, "appVersion: ", version)?;
        let values = with_line(&read("values.yaml")?, "  repository: ", image)?;
        let metadata: Value = serde_saphyr::from_str(&about)?;
        let name = metadata["name"].as_str().context("a chart has a name")?;
        let mut root = Rootfs::default();
        for path in files(dir, Path::new(""))? {
            let from = match path.to_str() {
                Some("Chart.yaml") => Source::Bytes(about.clone().into_bytes()),
                Some("values.yaml") => Source::Bytes(values.clone().into_bytes()),
                _ => Source::Path(dir.join(&path)),
            };
            root.put(
                &Path::new(name).join(&path),
                Node::File { mode: 0o644, from },
            )?;
        }
        Ok(Self {
            name: name.to_owned(),
            archive: layer::pack(&root, EPOCH)?.blob,
            metadata,
        })
    }

    /// The chart as `helm push` would give it to a registry.
    #[must_use]
    pub fn layout(&self, reference: &str) -> Layout {
        let content = (CONTENT, self.archive.clone());
        Layout::artifact(reference, (CONFIG, self.metadata.clone()), content)
    }
}

/// `text` with `value` in the one line that begins so. The tag of an image stays empty: it is the chart's appVersion then, also
/// where somebody upgrades with `--reuse-values`.
fn with_line(text: &str, begin: &str, value: &str) -> anyhow::Result<String> {
    let found = text.lines().filter(|line| line.starts_with(begin)).count();
    ensure!(
        found == 1,
        "there are {found} lines that begin with {begin:?}, and one was expected"
    );
    let line = |line: &str| match line.starts_with(begin) {
        true => format!("{begin}{value}\n"),
        false => format!("{line}\n"),
    };
    Ok(text.lines().map(line).collect())
}

/// The files below `dir/at`, relative to `dir`.
fn files(dir: &Path, at: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let folder = dir.join(at);
    let entries =
        std::fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))?;
    let mut all = Vec::new();
    for entry in entries {
        let entry = entry?;
        let path = at.join(entry.file_name());
        if LEFT_OUT.iter().any(|left_out| path == Path::new(left_out)) {
            continue;
        }
        match entry.file_type()?.is_dir() {
            true => all.extend(files(dir, &path)?),
            false => all.push(path),
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ours(name: &str) -> Chart {
        let charts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts");
        Chart::pack(&charts.join(name), "1.2.3", "registry.example/x/basalt").unwrap()
    }

    #[test]
    fn both_charts_pack_to_the_same_bytes_twice() {
        for name in ["topolvm", "disk-watcher"] {
            let chart = ours(name);
            assert_eq!(chart, ours(name));
            assert_eq!(chart.name, name);
            for key in ["version", "appVersion"] {
                assert_eq!(chart.metadata[key], "1.2.3");
            }
            let reference = "registry.example/x/charts/topolvm:1.2.3";
            assert_eq!(chart.layout(reference), ours(name).layout(reference));
        }
    }

    #[test]
    fn a_line_that_is_not_there_once_is_an_error() {
        assert_eq!(
            with_line("a: 1\nb: 2\n", "a: ", "3").unwrap(),
            "a: 3\nb: 2\n"
        );
        for text in ["b: 2\n", "a: 1\na: 2\n", "  a: 1\n"] {
            assert!(with_line(text, "a: ", "3").is_err(), "{text}");
        }
    }
}

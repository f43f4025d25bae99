//! Where the charts and our image come from.

use std::path::PathBuf;

use anyhow::Result;
use serde_json::{Value, json};

use super::Context;
use crate::cluster::{Cluster, images};

/// Charts, and what they are told of where our image is.
#[derive(Debug)]
pub(super) struct Source {
    /// The folder with the charts.
    charts: PathBuf,
    /// What their names end in there.
    end: String,
    /// What they get as `image`.
    image: Value,
}

impl Source {
    /// The charts of this tree, and the image that nodes imported.
    pub(super) fn imported(context: &Context) -> Self {
        Self {
            charts: context.workspace.join("charts"),
            end: String::new(),
            image: images::chart_value(false),
        }
    }

    /// A release's files in `dir`. Its charts know where its image is.
    pub(super) fn released(dir: PathBuf, version: &str) -> Self {
        Self {
            charts: dir,
            end: format!("-{version}.tgz"),
            image: json!({}),
        }
    }

    /// Installs a chart under its own name, with the values of `files`, paths in the workspace, and then these.
    pub(super) fn install(
        &self,
        cluster: &Cluster,
        name: &str,
        namespace: &str,
        files: &[&str],
        mut values: Value,
    ) -> Result<()> {
        values["image"] = self.image.clone();
        if name == "topolvm" {
            values["image"]["csi"] = images::chart_sidecars();
        }
        let chart = self.charts.join(format!("{name}{}", self.end));
        cluster.helm("install", &chart, name, namespace, files, &values)
    }
}

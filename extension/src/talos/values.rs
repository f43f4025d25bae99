//! What everything for Talos names: the one source of patches, talconfig and containers.

use std::collections::HashSet;

use serde::Deserialize;

/// What is named. What a file leaves out is as [`Values::default`] has it, and as TrueCharts' guide.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Values {
    /// Kernel modules; dm_mod is built into Talos' kernel and asked for because TrueCharts' guide does.
    pub modules: Vec<String>,
    /// Kernel modules for RAID.
    pub modules_raid: Vec<String>,
    /// Where our charts are installed.
    pub namespaces: Vec<String>,
    /// The raw volume; its partition has the label `r-<name>`.
    pub raw_volume: String,
    /// The volume group on it.
    pub volume_group: String,
    /// Where topolvm-scheduler listens.
    pub extender: String,
    /// disk-watcher's classes: the text of its configuration file.
    pub class: String,
    /// Where disk-watcher serves its metrics; the network is the node's.
    pub metrics: String,
    /// The node image, with the registry that has it; best with its digest.
    pub image: String,
}

impl Default for Values {
    fn default() -> Self {
        let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
        Self {
            modules: texts(&["dm_thin_pool", "dm_mod"]),
            modules_raid: texts(&["dm_raid"]),
            namespaces: texts(&["topolvm-system", "lvm-disk-watcher"]),
            raw_volume: "topolvm".to_owned(),
            volume_group: "topolvm_vg".to_owned(),
            extender: "http://127.0.0.1:9251".to_owned(),
            class: include_str!("../../../talos/class.yaml").to_owned(),
            metrics: "127.0.0.1:9428".to_owned(),
            image: concat!("registry.example/basalt:", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }
}

/// A file of values cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ValuesError {
    /// It is no YAML, or has a key that nothing reads.
    #[error("not values: {0}")]
    Malformed(String),
    /// A text that would break the YAML around it, or that Kubernetes and Talos would refuse.
    #[error("{key}: {text:?} is {problem}")]
    Bad {
        /// The key.
        key: &'static str,
        /// What stands there.
        text: String,
        /// What is wrong with it.
        problem: &'static str,
    },
}

impl Values {
    /// From a file's text.
    ///
    /// # Errors
    /// See [`ValuesError`].
    pub fn read(text: &str) -> Result<Self, ValuesError> {
        let values: Self =
            serde_saphyr::from_str(text).map_err(|e| ValuesError::Malformed(e.to_string()))?;
        values.check()?;
        Ok(values)
    }

    fn check(&self) -> Result<(), ValuesError> {
        let one = |key, text: &String, good: bool, problem| {
            let text = text.clone();
            if good {
                Ok(())
            } else {
                Err(ValuesError::Bad { key, text, problem })
            }
        };
        for (key, names) in [
            ("modules", &self.modules),
            ("modulesRaid", &self.modules_raid),
        ] {
            for name in names {
                one(key, name, is_name(name, "_-"), "no name of a kernel module")?;
            }
        }
        let mut seen = HashSet::new();
        for name in &self.namespaces {
            one(
                "namespaces",
                name,
                is_name(name, "-"),
                "no name of a namespace",
            )?;
            one("namespaces", name, seen.insert(name), "there twice")?;
        }
        let name = &self.raw_volume;
        one(
            "rawVolume",
            name,
            is_name(name, "-"),
            "no name of a raw volume: a-z, 0-9 and -",
        )?;
        let name = &self.volume_group;
        one(
            "volumeGroup",
            name,
            is_name(name, "_-"),
            "no name that Talos gives a group",
        )?;
        let plain = |text: &str| {
            !text.is_empty()
                && text
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b".:/@_-[]".contains(&b))
        };
        one("extender", &self.extender, plain(&self.extender), "no URL")?;
        one(
            "metrics",
            &self.metrics,
            plain(&self.metrics),
            "no address with a port",
        )?;
        one(
            "image",
            &self.image,
            plain(&self.image),
            "no reference of an image",
        )
    }
}

/// Letters, digits and `more`, up to 63; letters and digits at the ends.
fn is_name(text: &str, more: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || more.as_bytes().contains(&b);
    let ends = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    text.len() <= 63
        && text.bytes().all(inner)
        && ends(text.as_bytes().first())
        && ends(text.as_bytes().last())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_says_the_defaults() {
        let text = include_str!("../../../talos/values.yaml");
        let mut values = Values::read(text).unwrap();
        // Its own version is not written there.
        assert!(values.image.starts_with("registry.example/basalt:"));
        values.image = Values::default().image;
        assert_eq!(values, Values::default());
    }

    #[test]
    fn what_is_left_out_is_the_default() {
        let values = Values::read("volumeGroup: fast").unwrap();
        assert_eq!(values.volume_group, "fast");
        assert_eq!(values.modules, Values::default().modules);
    }

    #[test]
    fn what_would_break_the_output_is_refused_with_its_key() {
        for (text, key) in [
            ("volumeGroup: 'a b'", "volumeGroup"),
            ("rawVolume: a_b", "rawVolume"),
            ("namespaces: [a, a]", "namespaces"),
            ("modules: ['x: y']", "modules"),
            ("extender: \"http://a\\nb\"", "extender"),
            ("image: ''", "image"),
            ("volumegroup: a", "volumegroup"),
        ] {
            let error = Values::read(text).unwrap_err().to_string();
            assert!(error.contains(key), "{text}: {error}");
        }
    }
}

//! The configuration file: upstream's keys, `node-cache-capable` and `metrics-bind-address`, all of them optional.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use lvmd::runtime::Bind;
use lvmd::runtime::bind::NotAnAddress;
use serde::Deserialize;

use crate::score::Divisors;

/// Where the extender listens unless told otherwise.
const LISTEN: &str = ":8000";

/// A configuration that keeps all rules.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Where to listen.
    pub listen: Bind,
    /// Where to serve metrics and health beside it.
    pub metrics: Bind,
    /// What room is divided by.
    pub divisors: Divisors,
    /// Whether kube-scheduler sends only names of nodes, so that the nodes are watched here.
    pub node_cache_capable: bool,
    /// Whether profiles were asked for, which are not served.
    pub profiling: bool,
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's words.
        source: std::io::Error,
    },
    /// The text does not have the form of a configuration.
    #[error("the configuration cannot be understood:\n{text}")]
    Form {
        /// What is wrong, with the line and a mark at the place.
        text: String,
    },
    /// There is no such address to listen at.
    #[error("listen: {0}")]
    Listen(NotAnAddress),
    /// Nor to serve metrics at.
    #[error("metrics-bind-address: {0}")]
    Metrics(NotAnAddress),
    /// Without an address there is nothing to do.
    #[error("listen is empty; leave it out for {LISTEN}")]
    Nowhere,
    /// A divisor is not above zero.
    #[error("{key} is {value}; write a number above 0, 1 to count in GiB")]
    Divisor {
        /// The key, with the class.
        key: String,
        /// What was written.
        value: f64,
    },
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Raw {
    listen: Option<String>,
    metrics_bind_address: Option<String>,
    default_divisor: Option<f64>,
    divisors: Option<BTreeMap<String, f64>>,
    node_cache_capable: Option<bool>,
    profiling_bind_address: Option<String>,
}

impl Config {
    /// Reads and checks a file; without one, everything has its default.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn load(path: Option<&Path>) -> Result<Self, ConfigError> {
        let Some(path) = path else {
            return Self::parse("");
        };
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(&text)
    }

    /// Checks a text.
    ///
    /// # Errors
    /// See [`ConfigError`]; never `Read`.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let raw: Option<Raw> = if text.trim().is_empty() {
            None
        } else {
            serde_saphyr::from_str(text).map_err(|error| ConfigError::Form {
                text: error.render(),
            })?
        };
        let Raw {
            listen,
            metrics_bind_address,
            default_divisor,
            divisors,
            node_cache_capable,
            profiling_bind_address,
        } = raw.unwrap_or_default();
        let listen = listen.as_deref().unwrap_or(LISTEN).parse();
        let listen = listen.map_err(ConfigError::Listen)?;
        let metrics = metrics_bind_address.unwrap_or_default().parse();
        if listen == Bind::Off {
            return Err(ConfigError::Nowhere);
        }
        let default = divisor("default-divisor".to_owned(), default_divisor.unwrap_or(1.0))?;
        let by_class = divisors.unwrap_or_default();
        for (class, value) in &by_class {
            divisor(format!("divisors.{class}"), *value)?;
        }
        Ok(Self {
            listen,
            metrics: metrics.map_err(ConfigError::Metrics)?,
            divisors: Divisors { default, by_class },
            node_cache_capable: node_cache_capable.unwrap_or_default(),
            profiling: profiling_bind_address.is_some_and(|a| !a.is_empty()),
        })
    }
}

/// Upstream checks all but the default one, and scores nonsense with it.
fn divisor(key: String, value: f64) -> Result<f64, ConfigError> {
    if value.is_finite() && value > 0.0 {
        return Ok(value);
    }
    Err(ConfigError::Divisor { key, value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_has_a_default() {
        let config = Config::load(None).unwrap();
        assert_eq!(config.listen.to_string(), ":8000");
        assert_eq!(config.divisors.default, 1.0);
        assert!(!config.node_cache_capable);
        assert!(
            Config::parse("node-cache-capable: true")
                .unwrap()
                .node_cache_capable
        );
        assert_eq!(Config::parse("# none\n").unwrap(), config);
    }

    #[test]
    fn upstreams_file_is_read() {
        let text =
            "listen: \"localhost:9251\"\ndefault-divisor: 10\ndivisors:\n  ssd: 5\n  hdd: 0.5\n";
        let config = Config::parse(text).unwrap();
        assert_eq!(config.listen.to_string(), "localhost:9251");
        assert_eq!(config.divisors.default, 10.0);
        assert_eq!(config.divisors.by_class["hdd"], 0.5);
        assert_eq!(config.metrics, Bind::Off);
    }

    #[test]
    fn metrics_have_an_address_of_their_own_where_it_is_given() {
        let text = "listen: localhost:9251\nmetrics-bind-address: ':9252'";
        let config = Config::parse(text).unwrap();
        assert_eq!(config.metrics.to_string(), ":9252");
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for (text, part) in [
            ("divisors: {ssd: 0}", "divisors.ssd is 0"),
            ("default-divisor: -1", "default-divisor is -1"),
            ("default-divisor: .nan", "default-divisor is NaN"),
            ("listen: nowhere", "is not an address"),
            ("listen: \"\"", "listen is empty"),
            (
                "metrics-bind-address: here",
                "metrics-bind-address: \"here\" is not",
            ),
            ("default_divisor: 1", "default_divisor"),
        ] {
            let error = Config::parse(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
        let error = Config::load(Some(Path::new("/no/file"))).unwrap_err();
        assert_eq!(error.to_string(), "cannot read /no/file");
    }
}

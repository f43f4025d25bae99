//! Logs: to stderr, as text for people or JSON for machines.

use std::io::{IsTerminal, stderr};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::TryInitError;
use tracing_subscriber::{fmt, prelude::*};

/// How a line of the log looks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Format {
    /// Text; in colour on a terminal only.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// What is logged, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    /// A level, or directives such as `info,lvmd::cmd=debug`.
    pub filter: String,
    /// How a line looks.
    pub format: Format,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self {
            filter: "info".to_owned(),
            format: Format::Text,
        }
    }
}

/// Why logging could not begin.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter is not one.
    #[error("{filter:?} is no log filter: write a level such as info, or info,lvmd::cmd=debug")]
    Filter {
        /// What was written.
        filter: String,
        /// The parser's words.
        source: tracing_subscriber::filter::ParseError,
    },
    /// Logging has begun already.
    #[error("logging is set up twice")]
    Twice(#[from] TryInitError),
}

/// Checks a filter without using it.
///
/// # Errors
/// The filter is not one.
pub fn check_filter(filter: &str) -> Result<EnvFilter, LogError> {
    EnvFilter::try_new(filter).map_err(|source| LogError::Filter {
        filter: filter.to_owned(),
        source,
    })
}

/// Begins to log, for the whole process.
///
/// # Errors
/// See [`LogError`].
pub fn init(settings: &LogSettings) -> Result<(), LogError> {
    let registry = tracing_subscriber::registry().with(check_filter(&settings.filter)?);
    match settings.format {
        Format::Json => {
            let layer = fmt::layer().json().flatten_event(true).with_writer(stderr);
            registry.with(layer).try_init()?;
        }
        Format::Text => {
            let layer = fmt::layer()
                .with_ansi(stderr().is_terminal())
                .with_writer(stderr);
            registry.with(layer).try_init()?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_is_none_is_named() {
        check_filter("info,lvmd::cmd=debug").unwrap();
        let error = check_filter("lvmd=loud").unwrap_err().to_string();
        assert!(error.contains("lvmd=loud"), "{error}");
    }
}

//! Where this host gets Debian packages from.
//!
//! Reads apt's own files in both formats (one line per source, and deb822 stanzas) and takes the first source
//! that offers component `main` of a Debian release. The suite is replaced by the recipe's.

use std::path::{Path, PathBuf};

/// Debian's archive keys, where the package `debian-archive-keyring` puts them.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Releases whose main archive is a Debian mirror; other vendors name their suites differently.
const RELEASES: [&str; 8] = [
    "bookworm",
    "trixie",
    "forky",
    "sid",
    "stable",
    "testing",
    "unstable",
    "oldstable",
];

/// A Debian archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// Its address as apt's files have it.
    pub uri: String,
}

/// No Debian archive was found.
#[derive(Debug, thiserror::Error)]
#[error(
    "no Debian mirror in {}: the tree is built from the mirror that this host's apt uses",
    .searched.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(", ")
)]
pub struct NoMirrorError {
    /// The files that were read.
    pub searched: Vec<PathBuf>,
}

impl Mirror {
    /// Finds the mirror in `apt`, usually `/etc/apt`.
    ///
    /// # Errors
    /// None of the files there names a Debian archive with component `main`.
    pub fn find(apt: &Path) -> Result<Self, NoMirrorError> {
        let mut files = vec![apt.join("sources.list")];
        let mut parts: Vec<PathBuf> = std::fs::read_dir(apt.join("sources.list.d"))
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
            .collect();
        parts.sort();
        files.extend(parts);
        for file in &files {
            let Ok(text) = std::fs::read_to_string(file) else {
                continue;
            };
            let found = match file.extension().and_then(|e| e.to_str()) {
                Some("list") => from_lines(&text),
                Some("sources") => from_stanzas(&text),
                _ => None,
            };
            if let Some(uri) = found {
                return Ok(Self { uri });
            }
        }
        Err(NoMirrorError { searched: files })
    }

    /// The one-line source for `suite`, component main, with Debian's keys.
    #[must_use]
    pub fn source_line(&self, suite: &str) -> String {
        format!("deb [signed-by={KEYRING}] {} {suite} main", self.uri)
    }

    /// The same for the packages' sources.
    #[must_use]
    pub fn sources_line(&self, suite: &str) -> String {
        format!("deb-src [signed-by={KEYRING}] {} {suite} main", self.uri)
    }
}

/// `deb [options] URI suite component...`
fn from_lines(text: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let line = line.split('#').next().unwrap_or_default().trim();
        let rest = line.strip_prefix("deb")?.strip_prefix([' ', '\t'])?.trim();
        let rest = match rest.strip_prefix('[') {
            Some(options) => options.split_once(']')?.1,
            None => rest,
        };
        let mut words = rest.split_whitespace();
        let uri = words.next()?;
        let suite = words.next()?;
        (is_debian(suite) && words.any(|component| component == "main")).then(|| uri.to_owned())
    })
}

/// Stanzas of `Field: value`, continued on lines that start with a blank, separated by empty lines.
fn from_stanzas(text: &str) -> Option<String> {
    text.split("\n\n").find_map(|stanza| {
        let field = |name: &str| -> Vec<&str> {
            let mut inside = false;
            let mut words = Vec::new();
            for line in stanza.lines().filter(|line| !line.starts_with('#')) {
                if line.starts_with([' ', '\t']) {
                    if inside {
                        words.extend(line.split_whitespace());
                    }
                } else if let Some((key, value)) = line.split_once(':') {
                    inside = key.trim().eq_ignore_ascii_case(name);
                    if inside {
                        words.extend(value.split_whitespace());
                    }
                }
            }
            words
        };
        let usable = field("Types").contains(&"deb")
            && field("Components").contains(&"main")
            && field("Suites").into_iter().any(is_debian)
            && !field("Enabled").contains(&"no");
        usable.then(|| field("URIs").first().map(|uri| (*uri).to_owned()))?
    })
}

fn is_debian(suite: &str) -> bool {
    RELEASES.contains(&suite)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEB822: &str = "\
Types: deb
# a comment
URIs: http://security.example/debian-security
Suites: bookworm-security
Components: main

Types: deb deb-src
URIs: http://mirror.example/debian
 http://second.example/debian
Suites: bookworm
 bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
";

    #[test]
    fn stanzas_give_the_main_archive_and_not_the_security_one() {
        assert_eq!(
            from_stanzas(DEB822).as_deref(),
            Some("http://mirror.example/debian")
        );
    }

    #[test]
    fn a_disabled_stanza_is_no_source() {
        let text = DEB822.replace("Components: main contrib", "Components: main\nEnabled: no");
        assert_eq!(from_stanzas(&text), None);
    }

    #[test]
    fn lines_with_and_without_options() {
        for (line, uri) in [
            (
                "deb http://m.example/debian trixie main",
                Some("http://m.example/debian"),
            ),
            (
                "deb [arch=amd64 signed-by=/k.gpg] https://m.example/d stable main contrib # here",
                Some("https://m.example/d"),
            ),
            ("# deb http://m.example/debian trixie main", None),
            ("deb-src http://m.example/debian trixie main", None),
            (
                "deb http://vendor.example/apt cloud-sdk-bookworm main",
                None,
            ),
            ("deb http://m.example/debian trixie contrib", None),
            ("deb", None),
        ] {
            assert_eq!(from_lines(line).as_deref(), uri, "{line}");
        }
    }

    #[test]
    fn files_are_searched_in_order_and_named_when_nothing_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let parts = dir.path().join("sources.list.d");
        std::fs::create_dir(&parts).unwrap();
        let error = Mirror::find(dir.path()).unwrap_err();
        assert!(error.to_string().contains("sources.list"));
        std::fs::write(parts.join("debian.sources"), DEB822).unwrap();
        let mirror = Mirror::find(dir.path()).unwrap();
        assert_eq!(
            mirror.source_line("trixie"),
            format!("deb [signed-by={KEYRING}] http://mirror.example/debian trixie main")
        );
    }
}

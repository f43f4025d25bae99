//! Finds guest tests: test targets whose name starts with `guest`, in any crate of the workspace.

use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use extension::progress::Step;
use serde::Deserialize;

use crate::host::{self, HostError};

/// The tests could not be built or listed.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// cargo could not be run, or the code does not compile.
    #[error("could not build the tests or what they run")]
    Cargo(#[source] HostError),
    /// cargo said something that is not what it promises.
    #[error("could not read what cargo built")]
    Message(#[source] serde_json::Error),
    /// A test binary would not say what is in it.
    #[error("could not list the tests of {}", binary.display())]
    List {
        /// The test binary.
        binary: PathBuf,
        /// Why not.
        #[source]
        source: HostError,
    },
}

/// One test function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestTest {
    /// The test binary.
    pub binary: PathBuf,
    /// The crate's folder, where the test runs.
    pub folder: PathBuf,
    /// The crate's folder name and the target's name, for example `lvmd::guest_api`.
    pub suite: String,
    /// The function's path in the binary.
    pub function: String,
    /// Marked `#[ignore]`: runs only when everything is run.
    pub ignored: bool,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Found(Vec<GuestTest>);

impl Found {
    /// The tests, those marked `#[ignore]` only if asked for.
    pub fn into_tests(self, all: bool) -> impl Iterator<Item = GuestTest> {
        self.0.into_iter().filter(move |test| all || !test.ignored)
    }
}

/// The parts of cargo's messages that matter here (`cargo help build`, `--message-format`).
#[derive(Debug, Deserialize)]
struct Message {
    reason: String,
    target: Option<Target>,
    manifest_path: Option<PathBuf>,
    executable: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

/// Builds the guest tests whose name may contain `filter`, of all crates or the one whose name it begins with, and
/// lists their functions.
///
/// # Errors
/// They do not compile, or do not say what is in them.
pub fn guest_tests(
    workspace: &Path,
    filter: Option<&str>,
    release: bool,
) -> Result<Found, BuildError> {
    let step = Step::start("building the guest tests");
    let which = filter.and_then(|filter| one_crate(workspace, filter));
    let messages = host::capture(
        host::command("cargo")
            .arg("test")
            .args(which.unwrap_or_else(|| vec!["--workspace".to_owned()]))
            .args(["--features", "guest", "--no-run"])
            .args(release.then_some("--release"))
            .arg("--message-format=json-render-diagnostics")
            .current_dir(workspace),
    )
    .map_err(BuildError::Cargo)?;
    step.done();
    let mut found = Found::default();
    for (binary, folder, suite) in binaries(&messages)? {
        let all = functions(&binary, &[])?;
        let ignored = functions(&binary, &["--ignored"])?;
        found.0.extend(all.into_iter().map(|function| GuestTest {
            binary: binary.clone(),
            folder: folder.clone(),
            suite: suite.clone(),
            ignored: ignored.contains(&function),
            function,
        }));
    }
    Ok(found)
}

/// Builds the programs that scenarios run in their guests. Building the guest tests builds them too.
///
/// # Errors
/// They do not compile.
pub fn programs(workspace: &Path) -> Result<(), BuildError> {
    let step = Step::start("building the programs");
    host::capture(
        host::command("cargo")
            .args(["build", "--workspace", "--bins"])
            .current_dir(workspace),
    )
    .map_err(BuildError::Cargo)?;
    step.done();
    Ok(())
}

/// What has cargo build only what a filter `<crate>::...` or `<crate>::<target>::...` names.
fn one_crate(workspace: &Path, filter: &str) -> Option<Vec<String>> {
    let (name, rest) = filter.split_once("::")?;
    let folder = workspace.join(name);
    if !folder.join("Cargo.toml").is_file() {
        return None;
    }
    let mut args = vec!["--package".to_owned(), format!("basalt-{name}")];
    if let Some((target, _)) = rest.split_once("::")
        && folder.join("tests").join(target).is_dir()
    {
        args.extend(["--test".to_owned(), target.to_owned()]);
    }
    Some(args)
}

/// Binary, crate folder and suite of each guest-test target in cargo's messages.
fn binaries(messages: &[u8]) -> Result<Vec<(PathBuf, PathBuf, String)>, BuildError> {
    let mut found = Vec::new();
    for line in messages.lines() {
        let line = line.map_err(|error| BuildError::Message(serde_json::Error::io(error)))?;
        // The tests' own output cannot be among them: nothing is run.
        let message: Message = serde_json::from_str(&line).map_err(BuildError::Message)?;
        let (Some(target), Some(manifest), Some(binary)) =
            (message.target, message.manifest_path, message.executable)
        else {
            continue;
        };
        let is_guest = target.kind == ["test"] && target.name.starts_with("guest");
        if message.reason != "compiler-artifact" || !is_guest {
            continue;
        }
        let folder = manifest.parent().unwrap_or(Path::new("/")).to_owned();
        let crate_name = folder
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        found.push((binary, folder, format!("{crate_name}::{}", target.name)));
    }
    found.sort();
    Ok(found)
}

fn functions(binary: &Path, more: &[&str]) -> Result<Vec<String>, BuildError> {
    let output = host::capture(
        host::command(binary)
            .args(["--list", "--format=terse"])
            .args(more)
            .stdin(Stdio::null()),
    )
    .map_err(|source| BuildError::List {
        binary: binary.to_owned(),
        source,
    })?;
    Ok(String::from_utf8_lossy(&output)
        .lines()
        .filter_map(|line| line.strip_suffix(": test"))
        .map(str::to_owned)
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGES: &str = r#"{"reason":"compiler-artifact","package_id":"x","manifest_path":"/w/lvmd/Cargo.toml","target":{"kind":["lib"],"crate_types":["lib"],"name":"lvmd","src_path":"/w/lvmd/src/lib.rs"},"executable":"/w/target/debug/deps/lvmd-1"}
{"reason":"build-script-executed","package_id":"x"}
{"reason":"compiler-artifact","package_id":"x","manifest_path":"/w/lvmd/Cargo.toml","target":{"kind":["test"],"crate_types":["bin"],"name":"guest_api","src_path":"/w/lvmd/tests/guest_api.rs"},"executable":"/w/target/debug/deps/guest_api-2"}
{"reason":"compiler-artifact","package_id":"x","manifest_path":"/w/csi/Cargo.toml","target":{"kind":["test"],"crate_types":["bin"],"name":"sanity","src_path":"/w/csi/tests/sanity.rs"},"executable":"/w/target/debug/deps/sanity-3"}
{"reason":"build-finished","success":true}
"#;

    #[test]
    fn only_test_targets_named_guest_count() {
        assert_eq!(
            binaries(MESSAGES.as_bytes()).unwrap(),
            [(
                PathBuf::from("/w/target/debug/deps/guest_api-2"),
                PathBuf::from("/w/lvmd"),
                "lvmd::guest_api".to_owned()
            )]
        );
    }

    #[test]
    fn a_full_name_has_only_its_target_built() {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let args = |filter: &str| one_crate(&workspace, filter).map(|args| args.join(" "));
        assert_eq!(
            args("lvmd::guest::rpc").unwrap(),
            "--package basalt-lvmd --test guest"
        );
        assert_eq!(args("lvmd::gu").unwrap(), "--package basalt-lvmd");
        assert_eq!(args("rpc::a_thick"), None);
    }

    #[test]
    fn nonsense_from_cargo_is_an_error() {
        assert!(binaries(b"warning: hello\n").is_err());
    }
}

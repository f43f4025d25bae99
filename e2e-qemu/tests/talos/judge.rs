//! Talos' own code, as a program.

use std::ffi::OsString;
use std::path::PathBuf;

use e2e_qemu::host;
use e2e_qemu::peer::Module;
use extension::talos::finding::Rule;
use serde::Deserialize;

use crate::cache;

/// What the judge says of one file or folder.
#[derive(Debug, Deserialize)]
pub(crate) struct Verdict {
    /// Where it was refused.
    pub(crate) step: Option<String>,
    /// In Talos' words.
    #[serde(default)]
    pub(crate) why: String,
    /// Whether a second application of a patch changes the result of the first.
    #[serde(default)]
    pub(crate) twice: bool,
}

/// The judge's steps at which what breaks a rule is refused.
pub(crate) fn steps(rule: Rule) -> &'static [&'static str] {
    match rule {
        Rule::TopLevel | Rule::ManifestMissing | Rule::RootfsMissing | Rule::ManifestVersion => {
            &["load"]
        }
        Rule::Malformed => &["load", "service"],
        Rule::Constraint | Rule::Incompatible | Rule::Path | Rule::SpecialFile => &["validate"],
        Rule::Service => &["service"],
        _ => &[],
    }
}

/// What the judge says of each of the unpacked extensions.
pub(crate) fn extensions(module: &Module, talos: [u64; 3], paths: &[PathBuf]) -> Vec<Verdict> {
    let [major, minor, patch] = talos;
    let version = format!("{major}.{minor}.{patch}");
    let mut args: Vec<OsString> = vec!["extensions".into(), version.into()];
    args.extend(paths.iter().map(|path| path.clone().into_os_string()));
    judge(module, &args)
}

/// What the judge says of each of the patches, on a configuration of this contract (`v1.13`) and role.
pub(crate) fn patches(
    module: &Module,
    contract: &str,
    role: &str,
    paths: &[PathBuf],
) -> Vec<Verdict> {
    let mut args: Vec<OsString> = vec!["patches".into(), contract.into(), role.into()];
    args.extend(paths.iter().map(|path| path.clone().into_os_string()));
    judge(module, &args)
}

/// What the judge says of each of the machine configurations.
pub(crate) fn configs(module: &Module, paths: &[PathBuf]) -> Vec<Verdict> {
    let mut args: Vec<OsString> = vec!["configs".into()];
    args.extend(paths.iter().map(|path| path.clone().into_os_string()));
    judge(module, &args)
}

fn judge(module: &Module, args: &[OsString]) -> Vec<Verdict> {
    let mut command = host::command(module.build(&cache()).unwrap().join("judge"));
    let said = host::capture(command.args(args)).unwrap();
    String::from_utf8(said)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

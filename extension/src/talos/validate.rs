//! Whether an extension is one that Talos takes, and that then works.
//!
//! Stricter than Talos' own code: [`Rule::stricter_than_talos`] tells what is more.

use std::fs::File;
use std::io;
use std::path::Path;

use super::contents::{Contents, Kind};
use super::finding::{Finding, Rule};
use super::range::Version;
use super::service::Service;
use super::{CONTAINERS, SERVICES, files, image, manifest, service};

/// What an extension is to be for.
#[derive(Debug, Clone)]
pub struct Target {
    /// `amd64` or `arm64`.
    pub architecture: String,
    /// The version of Talos.
    pub talos: Version,
}

/// Everything that is wrong with the extension at `path`: a folder or a tar with `manifest.yaml` and `rootfs`, or an OCI
/// layout as a folder or an archive.
///
/// # Errors
/// It cannot be read.
pub fn path(path: &Path, target: &Target) -> io::Result<Vec<Finding>> {
    let mut findings = Vec::new();
    let contents = if path.is_dir() {
        Contents::of_dir(path, &mut findings)?
    } else {
        Contents::of_tar(File::open(path)?, &mut findings)?
    };
    if contents.file("oci-layout").is_none() {
        check(&contents, target, &mut findings);
        return Ok(findings);
    }
    // The rules for a layer are not those for the archive that it came in.
    findings.clear();
    if let Some(contents) = image::unpack(&contents, &target.architecture, &mut findings) {
        check(&contents, target, &mut findings);
    }
    Ok(findings)
}

fn check(contents: &Contents, target: &Target, findings: &mut Vec<Finding>) {
    for (path, _) in contents.iter() {
        let top = path.components().count() == 1;
        if top && path != Path::new("manifest.yaml") && path != Path::new("rootfs") {
            let what = "beside manifest.yaml and rootfs";
            findings.push(Finding::new(Rule::TopLevel, path.display(), what));
        }
    }
    match contents.file("manifest.yaml") {
        Some(bytes) => manifest::check("manifest.yaml", bytes, target.talos, findings),
        None => findings.push(Finding::new(
            Rule::ManifestMissing,
            "manifest.yaml",
            "is missing",
        )),
    }
    match contents.get(Path::new("rootfs")).map(|entry| &entry.kind) {
        None => findings.push(Finding::new(Rule::RootfsMissing, "rootfs", "is missing")),
        Some(Kind::Dir) => files::check(contents, target, findings),
        Some(_) => findings.push(Finding::new(Rule::Path, "rootfs", "is no folder")),
    }
    services(contents, findings);
}

fn services(contents: &Contents, findings: &mut Vec<Finding>) {
    let dir = Path::new("rootfs").join(SERVICES);
    let mut names = Vec::new();
    for (path, entry) in contents
        .iter()
        .filter(|(path, _)| path.parent() == Some(&dir))
    {
        let at = Path::new("/").join(path.strip_prefix("rootfs").unwrap_or(path));
        let at = at.display().to_string();
        let Kind::File(bytes) = &entry.kind else {
            findings.push(Finding::new(Rule::ServiceRoot, at, "is no file"));
            continue;
        };
        if path.extension().is_none_or(|extension| extension != "yaml") {
            findings.push(Finding::new(Rule::ServiceRoot, at, "is not read: no .yaml"));
            continue;
        }
        let Some(service) = service::read(&at, bytes, findings) else {
            continue;
        };
        if path
            .file_stem()
            .is_none_or(|stem| stem != service.name.as_str())
        {
            let what = format!("describes {:?}", service.name);
            findings.push(Finding::new(Rule::ServiceRoot, &at, what));
        }
        root(contents, &service, &at, findings);
        names.push(service.name);
    }
    // A root that no service has is of no use, and most likely a wrong name.
    let roots = Path::new("rootfs").join(CONTAINERS);
    for (path, _) in contents
        .iter()
        .filter(|(path, _)| path.parent() == Some(&roots))
    {
        if !names.iter().any(|name| path.ends_with(name)) {
            findings.push(Finding::new(
                Rule::ServiceRoot,
                path.display(),
                "is no service's",
            ));
        }
    }
}

/// The service starts from its root, and what is mounted hides nothing there.
fn root(contents: &Contents, service: &Service, at: &str, findings: &mut Vec<Finding>) {
    let root = Path::new("rootfs").join(CONTAINERS).join(&service.name);
    let mut note = |rule, what: String| findings.push(Finding::new(rule, at, what));
    let entrypoint = service
        .entrypoint
        .trim_start_matches("./")
        .trim_start_matches('/');
    let program = contents
        .resolve(&root, Path::new(entrypoint))
        .and_then(|path| contents.get(&path).cloned());
    let runs =
        program.is_some_and(|entry| matches!(entry.kind, Kind::File(_)) && entry.mode & 0o111 != 0);
    if !runs && !service.entrypoint.is_empty() {
        note(
            Rule::ServiceRoot,
            format!("{}: no program in its root", service.entrypoint),
        );
    }
    for mount in &service.mounts {
        let path = root.join(mount.destination.trim_start_matches('/'));
        let hidden = contents
            .iter()
            .find(|(below, entry)| below.starts_with(&path) && entry.kind != Kind::Dir);
        if let Some((hidden, _)) = hidden {
            note(
                Rule::Mount,
                format!("{} hides {}", mount.destination, hidden.display()),
            );
        }
    }
}

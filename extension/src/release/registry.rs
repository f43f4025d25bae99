//! Layouts into a registry and back, by skopeo: it keeps digests, and has the credentials that people gave it
//! (docs/decisions/releases.md).

use std::net::IpAddr;
use std::path::Path;

use anyhow::{Context, ensure};

use crate::host;
use crate::oci;

/// Pushes what the layout in the folder `dir` calls `tag` to `name:tag` (`registry.example/some/name`), unless it is there.
///
/// # Errors
/// Another image has the name already, the registry refuses, or what is there afterwards is not what was pushed.
pub fn push(dir: &Path, name: &str, tag: &str, digest: &str) -> anyhow::Result<()> {
    let there = format!("docker://{name}:{tag}");
    // What cannot be read is taken for not there: the push says what is wrong.
    if let Ok(found) = digest_of(&there) {
        ensure!(
            found == digest,
            "{name}:{tag} is {found} already, and this release has {digest}: what was released stays; take the next version"
        );
        return Ok(());
    }
    let mut skopeo = host::command("skopeo");
    skopeo
        .args([
            "copy",
            "--quiet",
            "--insecure-policy",
            "--all",
            "--preserve-digests",
        ])
        .arg(format!("--dest-tls-verify={}", tls(name)))
        .arg(format!("oci:{}:{tag}", dir.display()))
        .arg(&there);
    host::capture(&mut skopeo).with_context(|| format!("could not push {name}:{tag}"))?;
    let found = digest_of(&there)?;
    ensure!(
        found == digest,
        "{name}:{tag} was pushed as {digest}, and the registry has {found}"
    );
    Ok(())
}

/// `sha256:...` of what a registry has under `docker://NAME:TAG`.
fn digest_of(reference: &str) -> anyhow::Result<String> {
    let name = reference.trim_start_matches("docker://");
    let mut skopeo = host::command("skopeo");
    skopeo
        .args(["inspect", "--raw"])
        .arg(format!("--tls-verify={}", tls(name)))
        .arg(reference);
    Ok(oci::digest(&host::capture(&mut skopeo)?))
}

/// Whether the registry has to have a certificate: all but those of this machine, as containerd and Docker do.
fn tls(name: &str) -> bool {
    let host = name.split('/').next().unwrap_or_default();
    let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    !(host == "localhost" || address.is_ok_and(|address| address.is_loopback()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_may_do_without_a_certificate() {
        for name in ["localhost:5000/x", "127.0.0.1:5000/x", "[::1]:5000/x"] {
            assert!(!tls(name), "{name}");
        }
        for name in [
            "registry.example/x",
            "localhost.example:5000/x",
            "127.example/x",
            "10.0.0.1:5000/127.0.0.1",
        ] {
            assert!(tls(name), "{name}");
        }
    }
}

//! What is pushed and pulled, with a small image and our charts.

use std::collections::BTreeSet;
use std::path::Path;

use e2e_qemu::host;
use extension::oci::{ImageSpec, Layout};
use extension::release::chart::Chart;
use extension::release::{Pushed, Release};
use extension::rootfs::{Node, Rootfs, Source};
use extension::{image, layer};
use serde_json::Value;

use crate::registry::{Registry, helm, workspace};

const VERSION: &str = "1.2.3";

/// An image for two architectures with this text in it, under basalt:1.2.3.
fn basalt(registry: &str, text: &str) -> Pushed {
    let reference = format!("{registry}/basalt:{VERSION}");
    let mut root = Rootfs::default();
    let from = Source::Bytes(text.into());
    root.put(Path::new("x"), Node::File { mode: 0o644, from })
        .unwrap();
    let images = ["amd64", "arm64"].map(|architecture| {
        let spec = ImageSpec {
            reference: reference.clone(),
            architecture,
            entrypoint: vec!["/hypertopolvm".to_owned()],
            env: vec![],
            labels: vec![],
            epoch: image::EPOCH,
        };
        Layout::new(&spec, layer::pack(&root, image::EPOCH).unwrap())
    });
    Pushed {
        name: "basalt".to_owned(),
        layout: Layout::join(&images, &reference),
    }
}

fn chart(name: &str, registry: &str) -> (Chart, Pushed) {
    let dir = workspace().join("charts").join(name);
    let chart = Chart::pack(&dir, VERSION, &format!("{registry}/basalt")).unwrap();
    let name = format!("charts/{name}");
    let layout = chart.layout(&format!("{registry}/{name}:{VERSION}"));
    (chart, Pushed { name, layout })
}

fn release(pushed: Vec<Pushed>) -> Release {
    Release {
        pushed,
        ..Release::default()
    }
}

/// The blobs of a layout, by their names.
fn blobs(dir: &Path) -> BTreeSet<(String, Vec<u8>)> {
    let entries = std::fs::read_dir(dir.join("blobs/sha256")).unwrap();
    let read = |entry: std::io::Result<std::fs::DirEntry>| {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        (name, std::fs::read(entry.path()).unwrap())
    };
    entries.map(read).collect()
}

#[test]
fn what_is_pulled_is_what_was_pushed_byte_for_byte_with_each_platform() {
    let registry = Registry::start();
    let name = format!("{}/some/name", registry.address);
    let pushed = vec![basalt(&name, "first"), chart("topolvm", &name).1];
    let all = release(pushed.clone());
    all.push(&name, VERSION, None).unwrap();
    // Again: what is there already is done.
    all.push(&name, VERSION, None).unwrap();
    for Pushed { name, layout } in &pushed {
        let dir = tempfile::tempdir().unwrap();
        let (ours, theirs) = (dir.path().join("ours"), dir.path().join("theirs"));
        layout.write_dir(&ours).unwrap();
        registry.pull(&format!("some/name/{name}:{VERSION}"), &theirs);
        assert_eq!(blobs(&ours), blobs(&theirs), "{name}");
    }
    let index = registry.manifest(&format!("some/name/basalt:{VERSION}"));
    let index: Value = serde_json::from_slice(&index).unwrap();
    let platforms = index["manifests"].as_array().unwrap().iter();
    let platforms: Vec<_> = platforms
        .map(|one| &one["platform"]["architecture"])
        .collect();
    assert_eq!(platforms, ["amd64", "arm64"]);
}

#[test]
fn a_version_that_was_released_with_something_else_stays_as_it_is() {
    let registry = Registry::start();
    let name = &registry.address;
    let push = |text: &str| release(vec![basalt(name, text)]).push(name, VERSION, None);
    push("first").unwrap();
    let before = registry.manifest("basalt:1.2.3");
    let error = push("second").unwrap_err().to_string();
    assert!(error.contains("what was released stays"), "{error}");
    assert_eq!(registry.manifest("basalt:1.2.3"), before);
}

#[test]
fn a_registry_that_is_not_there_is_named() {
    let name = "127.0.0.1:1/x";
    let error = release(vec![basalt(name, "x")])
        .push(name, VERSION, None)
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "could not push 127.0.0.1:1/x/basalt:1.2.3"
    );
}

#[test]
fn the_charts_that_helm_pulls_render_with_the_image_of_the_release() {
    let registry = Registry::start();
    let name = format!("{}/x", registry.address);
    let charts = ["topolvm", "disk-watcher"];
    let pushed = charts.map(|chart_name| chart(chart_name, &name).1);
    release(pushed.into()).push(&name, VERSION, None).unwrap();
    let image = format!("{name}/basalt:{VERSION}");
    for chart in charts {
        let rendered = registry.template(&format!("x/charts/{chart}"), VERSION);
        let ours: BTreeSet<&str> = rendered
            .lines()
            .filter_map(|line| line.trim().trim_start_matches("- ").strip_prefix("image: "))
            .map(|image| image.trim_matches('"'))
            .filter(|image| image.contains("basalt"))
            .collect();
        assert_eq!(ours, [image.as_str()].into(), "{chart}");
        assert!(rendered.contains(VERSION), "{chart}");
    }
}

#[test]
fn our_archive_of_a_chart_has_the_files_that_helm_would_pack() {
    for name in ["topolvm", "disk-watcher"] {
        let dir = tempfile::tempdir().unwrap();
        let mut command = host::command(helm());
        command
            .arg("package")
            .arg(workspace().join("charts").join(name));
        host::capture(command.args(["--version", VERSION, "-d"]).arg(dir.path())).unwrap();
        let theirs = dir.path().join(format!("{name}-{VERSION}.tgz"));
        let ours = dir.path().join("ours.tgz");
        std::fs::write(&ours, chart(name, "x").0.archive).unwrap();
        let list = |archive: &Path| -> BTreeSet<String> {
            let listed = host::capture(host::command("tar").arg("-tzf").arg(archive)).unwrap();
            let listed = String::from_utf8(listed).unwrap();
            let files = listed.lines().filter(|line| !line.ends_with('/'));
            files.map(str::to_owned).collect()
        };
        assert_eq!(list(&ours), list(&theirs), "{name}");
    }
}

/// `cosign` is a program here that writes down how it was called.
#[test]
fn the_signer_is_called_for_each_digest_once_it_is_there_and_its_refusal_ends_the_release() {
    let registry = Registry::start();
    let name = &registry.address;
    let dir = tempfile::tempdir().unwrap();
    let signer = dir.path().join("sign");
    let log = dir.path().join("log");
    let script = |path: &Path, text: String| {
        std::fs::write(path, text).unwrap();
        host::capture(host::command("chmod").arg("755").arg(path)).unwrap();
    };
    script(
        &dir.path().join("cosign"),
        format!("#!/bin/sh\necho \"$@\" >>{}\n", log.display()),
    );
    script(
        &signer,
        format!(
            "#!/bin/sh\nPATH={}:$PATH exec {}/extension/sign-with-cosign.sh \"$@\"\n",
            dir.path().display(),
            workspace().display()
        ),
    );
    let pushed = vec![basalt(name, "first"), chart("topolvm", name).1];
    let digests: Vec<_> = pushed.iter().map(|one| one.layout.digest.clone()).collect();
    release(pushed).push(name, VERSION, Some(&signer)).unwrap();
    let expected = format!(
        "sign --yes {name}/basalt@{}\nsign --yes {name}/charts/topolvm@{}\n",
        digests[0], digests[1]
    );
    assert_eq!(std::fs::read_to_string(&log).unwrap(), expected);
    script(&signer, "#!/bin/sh\necho no key >&2; exit 1\n".to_owned());
    let error = release(vec![basalt(name, "first")])
        .push(name, VERSION, Some(&signer))
        .unwrap_err();
    assert!(format!("{error:#}").contains("no key"), "{error:#}");
}

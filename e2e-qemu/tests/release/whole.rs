//! A whole release, of the programs in target/debug: a minute, so it belongs to `make test-all`.

use std::path::{Path, PathBuf};

use e2e_qemu::host;
use e2e_qemu::python::SPDX_TOOLS;
use extension::release::{self, Options, Release};
use extension::talos::finding::Rule;
use extension::talos::validate::{self, Target};
use extension::{Arch, Cache, Recipe, cross};
use serde_json::Value;

use crate::registry::{Registry, workspace};

pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// A release of the programs in target/debug.
pub(crate) fn options(registry: &str, out: &Path) -> Options {
    let programs = workspace().join("target/debug");
    for program in ["hypertopolvm", "disk-watcher", "kubectl-topolvm"] {
        let program = programs.join(program);
        let there = program.exists();
        assert!(there, "{}: cargo build --workspace", program.display());
    }
    Options {
        version: VERSION.to_owned(),
        registry: Some(registry.to_owned()),
        assets: Some("https://registry.example/files".to_owned()),
        sign: None,
        workspace: workspace().to_owned(),
        programs,
        programs_arm64: None,
        out: out.to_owned(),
        cache: workspace().join(".cache/tree"),
    }
}

/// The SPDX project's reader, from Python's package index: what it has against a document.
fn judged(document: &Path) -> Result<(), String> {
    let mut python = SPDX_TOOLS.python(workspace()).unwrap();
    python.args(["-m", "spdx_tools.spdx.clitools.pyspdxtools", "--infile"]);
    let done = python.arg(document).output().unwrap();
    match done.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&done.stderr).into_owned()),
    }
}

fn names(document: &Path) -> Vec<String> {
    let document: Value = serde_json::from_slice(&std::fs::read(document).unwrap()).unwrap();
    let packages = document["packages"].as_array().unwrap().iter();
    packages
        .map(|one| one["name"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
#[ignore = "a minute: packs whole images twice"]
fn a_release_is_the_same_twice_and_what_its_registry_helm_and_spdx_take() {
    let registry = Registry::start();
    let name = format!("{}/x", registry.address);
    let out = tempfile::tempdir().unwrap();
    let options = options(&name, out.path());
    let told = release::run(&options).unwrap();
    let dir: PathBuf = out.path().join(VERSION);

    let again = Release::gather(&options).unwrap();
    let written = std::fs::read_dir(&dir).unwrap().count();
    assert_eq!(written, again.files.len());
    for (file, bytes) in &again.files {
        assert!(
            std::fs::read(dir.join(file)).unwrap() == *bytes,
            "{file} differs"
        );
    }
    let mut sums = host::command("sha256sum");
    sums.args(["--check", "--strict", "checksums.txt"]);
    host::capture(sums.current_dir(&dir)).unwrap();

    for pushed in &again.pushed {
        let (name, digest) = (&pushed.name, &pushed.layout.digest);
        let pulled = tempfile::tempdir().unwrap();
        registry.pull(&format!("x/{name}:{VERSION}"), pulled.path());
        let index = std::fs::read(pulled.path().join("index.json")).unwrap();
        let index: Value = serde_json::from_slice(&index).unwrap();
        assert_eq!(index["manifests"][0]["digest"], digest.as_str(), "{name}");
        assert!(told.contains(digest), "{told}");
    }
    let rendered = registry.template("x/charts/topolvm", VERSION);
    assert!(rendered.contains(&format!("image: \"{name}/basalt:{VERSION}\"")));

    let extension = |end: &str| dir.join(format!("lvm-disk-watcher-{VERSION}{end}"));
    let thin_tools = |end: &str| dir.join(format!("lvm-thin-tools-{VERSION}{end}"));
    let target = Target {
        architecture: "amd64".to_owned(),
        talos: [1, 13, 9],
    };
    for path in [
        extension(".oci.tar"),
        extension("-amd64.tar"),
        thin_tools(".oci.tar"),
        thin_tools("-amd64.tar"),
    ] {
        let findings = validate::path(&path, &target).unwrap();
        assert!(findings.is_empty(), "{}: {findings:?}", path.display());
    }

    let basalt = dir.join(format!("basalt-{VERSION}-amd64.spdx.json"));
    let watcher = extension("-amd64.spdx.json");
    for document in [&basalt, &watcher] {
        judged(document).unwrap();
        let all = names(document);
        for needed in ["lvm2", "libc6", "basalt-disk-watcher", "rust-std"] {
            assert!(all.iter().any(|one| one == needed), "{needed}");
        }
    }
    for only_node in ["xfsprogs", "basalt-csi"] {
        let has = |document: &Path| names(document).iter().any(|one| one == only_node);
        assert!(has(&basalt) && !has(&watcher), "{only_node}");
    }
    let tools = thin_tools("-amd64.spdx.json");
    judged(&tools).unwrap();
    for needed in ["thin-provisioning-tools", "roaring", "rust-std"] {
        assert!(names(&tools).iter().any(|one| one == needed), "{needed}");
    }
    for raw in [extension("-amd64.raw"), thin_tools("-amd64.raw")] {
        let raw = std::fs::read(raw).unwrap();
        assert!(raw.starts_with(b"hsqs"), "no squashfs");
    }
    // Their licence asks for the source.
    let source = |end: &str| {
        let ends =
            |file: &&String| file.starts_with("thin-provisioning-tools_") && file.ends_with(end);
        again.files.keys().filter(ends).count()
    };
    assert_eq!(
        [".dsc", ".orig.tar.xz", ".debian.tar.xz"].map(source),
        [1, 1, 1]
    );
    // The reader refuses what breaks a rule.
    let text = std::fs::read_to_string(&basalt).unwrap();
    let broken = out.path().join("broken.spdx.json");
    std::fs::write(
        &broken,
        text.replace("LicenseRef-deb-lvm2", "LicenseRef+lvm2"),
    )
    .unwrap();
    assert!(judged(&broken).is_err());
}

#[test]
fn another_version_than_the_programs_say_is_refused_before_anything_is_made() {
    let out = tempfile::tempdir().unwrap();
    let mut options = options("127.0.0.1:1/x", out.path());
    options.version = "99.0.0".to_owned();
    let error = release::run(&options).unwrap_err().to_string();
    assert!(
        error.contains("write the version into Cargo.toml"),
        "{error}"
    );
    assert_eq!(std::fs::read_dir(out.path()).unwrap().count(), 0);
}

/// Our programs for arm64, as `make release ARM64=1` builds them, but for the profile.
fn arm64_programs() -> PathBuf {
    let cache = Cache::of_workspace(workspace());
    let tree = cache.tree(&Recipe::node_for(Arch::Arm64)).unwrap();
    let target = workspace().join("target");
    let config = cross::config(Arch::Arm64, &tree, &target.join("cross")).unwrap();
    let file = target.join("cross.toml");
    std::fs::write(&file, config).unwrap();
    let mut cargo = host::command("cargo");
    cargo.current_dir(workspace()).arg("--config").arg(file);
    cargo.args([
        "build",
        "--quiet",
        "--locked",
        "--target",
        Arch::Arm64.target(),
    ]);
    cargo.args([
        "--package",
        "basalt-csi",
        "--package",
        "basalt-disk-watcher",
    ]);
    host::capture(&mut cargo).unwrap();
    target.join(Arch::Arm64.target()).join("debug")
}

#[test]
#[ignore = "minutes: builds everything for arm64; needs Debian's cross compiler and Rust's target for it"]
fn a_release_for_two_processors_has_an_image_and_an_extension_for_each() {
    let out = tempfile::tempdir().unwrap();
    let mut options = options("registry.example/x", out.path());
    options.programs_arm64 = Some(arm64_programs());
    let release = Release::gather(&options).unwrap();
    release.write(out.path().join("all").as_path()).unwrap();
    let file = |name: String| out.path().join("all").join(name);

    let rules = |path: &Path, arch: Arch| {
        let target = Target {
            architecture: arch.name().to_owned(),
            talos: [1, 13, 9],
        };
        let findings = validate::path(path, &target).unwrap();
        findings.into_iter().map(|finding| finding.rule)
    };
    let manifest = std::fs::read_to_string(file("topolvm.yaml".to_owned())).unwrap();
    for (arch, other) in [(Arch::Amd64, Arch::Arm64), (Arch::Arm64, Arch::Amd64)] {
        let plugin = format!("kubectl-topolvm-{VERSION}-linux-{}.tar.gz", arch.name());
        assert!(manifest.contains(&plugin), "{manifest}");
        assert!(file(plugin).exists());
        for name in ["lvm-disk-watcher", "lvm-thin-tools"] {
            let layout = file(format!("{name}-{VERSION}.oci.tar"));
            assert_eq!(rules(&layout, arch).count(), 0);
            let flat = file(format!("{name}-{VERSION}-{}.tar", arch.name()));
            assert_eq!(rules(&flat, arch).count(), 0);
            assert!(rules(&flat, other).any(|rule| rule == Rule::Machine));
        }
        let document = file(format!("basalt-{VERSION}-{}.spdx.json", arch.name()));
        let text = std::fs::read_to_string(document).unwrap();
        let of = |arch: Arch| text.contains(&format!("?arch={}&distro", arch.name()));
        assert!(of(arch) && !of(other), "{arch:?}");
    }
    // Programs for another processor than the tree's find no loader in it.
    options.programs_arm64 = Some(options.programs.clone());
    let error = Release::gather(&options).unwrap_err().to_string();
    assert!(error.starts_with("/lib64 is not in"), "{error}");
}

//! Extensions, good and bad, as folders. Each is the good one with one thing changed.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use extension::talos::finding::Rule;

/// An extension and the rules that it breaks.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) rules: &'static [Rule],
}

/// A case that is good since Talos 1.13 and breaks [`Rule::Path`] before.
pub(crate) const NEW_IN_1_13: &str = "nvme-on-the-host";

const MANIFEST: &str = "version: v1alpha1
metadata:
  name: sample
  version: 1.2.3
  author: Somebody
  description: Does something.
  compatibility:
    talos:
      version: \">= v1.12.0\"
";
const SERVICE: &str = "name: sample
container:
  entrypoint: ./run
  mounts:
    - {source: /dev, destination: /dev, type: bind, options: [rbind]}
depends:
  - service: udevd
restart: always
";
const SPEC: &str = "rootfs/usr/local/etc/containers/sample.yaml";
const ROOT: &str = "rootfs/usr/local/lib/containers/sample";

/// Writes the file and its folders.
pub(crate) fn put(dir: &Path, path: &str, text: &str) {
    let path = dir.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, text).unwrap();
    mode(&path, 0o644);
}

/// Writes a program that needs nothing.
pub(crate) fn program(dir: &Path, path: &str) {
    elf(dir, path, 62, None);
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// An ELF file for a machine (62: x86-64, 183: aarch64), with its loader's path.
fn elf(dir: &Path, path: &str, machine: u16, loader: Option<&str>) {
    let loader = loader.map(|path| [path.as_bytes(), b"\0"].concat());
    let mut bytes = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    for half in [2, machine] {
        bytes.extend(half.to_le_bytes());
    }
    bytes.extend(1_u32.to_le_bytes());
    for word in [0_u64, if loader.is_some() { 64 } else { 0 }, 0] {
        bytes.extend(word.to_le_bytes());
    }
    bytes.extend(0_u32.to_le_bytes());
    for half in [64_u16, 56, u16::from(loader.is_some()), 64, 0, 0] {
        bytes.extend(half.to_le_bytes());
    }
    if let Some(loader) = loader {
        let size = loader.len() as u64;
        for half in [3_u32, 4] {
            bytes.extend(half.to_le_bytes());
        }
        for word in [120, 0, 0, size, size, 1] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(loader);
    }
    put(dir, path, "");
    fs::write(dir.join(path), bytes).unwrap();
    mode(&dir.join(path), 0o755);
}

fn good(dir: &Path) {
    put(dir, "manifest.yaml", MANIFEST);
    put(dir, SPEC, SERVICE);
    program(dir, &format!("{ROOT}/run"));
}

fn manifest(dir: &Path, from: &str, to: &str) {
    assert!(MANIFEST.contains(from), "{from}");
    put(dir, "manifest.yaml", &MANIFEST.replace(from, to));
}

fn service(dir: &Path, from: &str, to: &str) {
    assert!(SERVICE.contains(from), "{from}");
    put(dir, SPEC, &SERVICE.replace(from, to));
}

type Change = fn(&Path);

/// Writes each into a folder of its name.
pub(crate) fn write(dir: &Path) -> Vec<Case> {
    let cases: &[(&'static str, &'static [Rule], Change)] = &[
        ("good", &[], |_| {}),
        ("udev-rules", &[], |d| {
            put(d, "rootfs/usr/lib/udev/rules.d/1.rules", "")
        }),
        ("empty-folder-elsewhere", &[], |d| {
            fs::create_dir_all(d.join("rootfs/etc/lvm")).unwrap()
        }),
        ("good-link", &[], |d| {
            symlink("run", d.join(ROOT).join("link")).unwrap()
        }),
        ("link-to-proc", &[], |d| {
            symlink("/proc/self/mounts", d.join(ROOT).join("mtab")).unwrap()
        }),
        ("loader-is-there", &[], |d| {
            elf(d, &format!("{ROOT}/dynamic"), 62, Some("/lib/ld.so"));
            program(d, &format!("{ROOT}/lib/ld.so"));
        }),
        (NEW_IN_1_13, &[], |d| program(d, "rootfs/usr/bin/nvme")),
        // What Talos refuses too.
        ("file-at-the-top", &[Rule::TopLevel], |d| {
            put(d, "README", "")
        }),
        ("no-manifest", &[Rule::ManifestMissing], |d| {
            fs::remove_file(d.join("manifest.yaml")).unwrap()
        }),
        ("no-rootfs", &[Rule::RootfsMissing], |d| {
            fs::remove_dir_all(d.join("rootfs")).unwrap()
        }),
        ("rootfs-is-a-file", &[Rule::Path], |d| {
            fs::remove_dir_all(d.join("rootfs")).unwrap();
            put(d, "rootfs", "");
        }),
        ("manifest-is-no-yaml", &[Rule::Malformed], |d| {
            put(d, "manifest.yaml", "version: [\n")
        }),
        ("manifest-key-twice", &[Rule::Malformed], |d| {
            manifest(d, "  name: sample\n", "  name: sample\n  name: other\n")
        }),
        (
            "manifest-list-for-text",
            &[Rule::Malformed, Rule::Metadata],
            |d| manifest(d, "author: Somebody", "author: [Somebody]"),
        ),
        (
            "manifest-of-another-version",
            &[Rule::ManifestVersion],
            |d| manifest(d, "v1alpha1", "v1beta1"),
        ),
        ("caret-range", &[Rule::Constraint], |d| {
            manifest(d, ">= v1.12.0", "^1.12.0")
        }),
        ("range-of-two-numbers", &[Rule::Constraint], |d| {
            manifest(d, ">= v1.12.0", ">= v1.12")
        }),
        ("other-talos", &[Rule::Incompatible], |d| {
            manifest(d, ">= v1.12.0", ">= v1.99.0")
        }),
        ("lvm-conf", &[Rule::Path], |d| {
            put(d, "rootfs/etc/lvm/lvm.conf", "")
        }),
        ("thin-check-on-the-host", &[Rule::Path], |d| {
            program(d, "rootfs/usr/bin/thin_check")
        }),
        ("lib64", &[Rule::Path], |d| {
            put(d, "rootfs/usr/lib64/a.so", "")
        }),
        ("link-elsewhere", &[Rule::Path], |d| {
            fs::create_dir_all(d.join("rootfs/etc")).unwrap();
            symlink("/usr/local", d.join("rootfs/etc/x")).unwrap();
        }),
        ("pipe", &[Rule::SpecialFile], |d| {
            nix::unistd::mkfifo(
                &d.join("rootfs/usr/local/pipe"),
                nix::sys::stat::Mode::S_IRWXU,
            )
            .unwrap()
        }),
        ("socket", &[Rule::SpecialFile], |d| {
            drop(std::os::unix::net::UnixListener::bind(d.join("rootfs/usr/local/s")).unwrap())
        }),
        (
            "service-is-no-yaml",
            &[Rule::Malformed, Rule::ServiceRoot],
            |d| put(d, SPEC, "name: [\n"),
        ),
        ("service-name", &[Rule::Service, Rule::ServiceRoot], |d| {
            service(d, "name: sample", "name: Sample")
        }),
        ("no-restart", &[Rule::Service], |d| {
            service(d, "restart: always\n", "")
        }),
        ("no-entrypoint", &[Rule::Service], |d| {
            service(d, "entrypoint: ./run", "args: [x]")
        }),
        ("waits-for-nothing", &[Rule::Service], |d| {
            service(d, "service: udevd", "time: false")
        }),
        ("waits-for-two", &[Rule::Service], |d| {
            service(d, "service: udevd", "service: udevd\n    time: true")
        }),
        ("waits-for-a-relative-path", &[Rule::Service], |d| {
            service(d, "service: udevd", "path: dev/x")
        }),
        ("waits-for-an-unknown-network", &[Rule::Malformed], |d| {
            service(d, "service: udevd", "network: [uplink]")
        }),
        // What only we refuse.
        ("unknown-key-in-manifest", &[Rule::UnknownKey], |d| {
            manifest(d, "author:", "homepage: x\n  author:")
        }),
        ("unknown-key-in-service", &[Rule::UnknownKey], |d| {
            service(d, "container:\n", "container:\n  environmnet: [A=b]\n")
        }),
        ("host-runner-of-1.14", &[Rule::UnknownKey], |d| {
            put(
                d,
                SPEC,
                "name: sample\nrunnerMode: host\ncontainer: {entrypoint: /run}\nrestart: always\n",
            )
        }),
        ("number-for-text", &[Rule::Scalar], |d| {
            manifest(d, "author: Somebody", "author: 1.10")
        }),
        ("restart-in-capitals", &[Rule::Scalar], |d| {
            service(d, "restart: always", "restart: ALWAYS")
        }),
        ("two-documents", &[Rule::MoreDocuments], |d| {
            put(d, "manifest.yaml", &format!("{MANIFEST}---\n{MANIFEST}"))
        }),
        ("no-author", &[Rule::Metadata], |d| {
            manifest(d, "  author: Somebody\n", "")
        }),
        ("version-is-a-word", &[Rule::Metadata], |d| {
            manifest(d, "version: 1.2.3", "version: latest")
        }),
        ("name-with-capitals", &[Rule::Metadata], |d| {
            manifest(d, "name: sample", "name: Sample")
        }),
        ("for-any-talos", &[Rule::NoConstraint], |d| {
            manifest(d, "version: \">= v1.12.0\"", "version: ''")
        }),
        ("wildcard-range", &[Rule::NoConstraint], |d| {
            manifest(d, ">= v1.12.0", "1.x")
        }),
        ("beside-local", &[Rule::PathPrefix], |d| {
            put(d, "rootfs/usr/localfoo/x", "")
        }),
        ("world-writable", &[Rule::WorldWritable], |d| {
            mode(&d.join(ROOT).join("run"), 0o777)
        }),
        ("setuid", &[Rule::SetId], |d| {
            mode(&d.join(ROOT).join("run"), 0o4755)
        }),
        ("hard-link", &[Rule::HardLink], |d| {
            fs::hard_link(d.join(ROOT).join("run"), d.join(ROOT).join("again")).unwrap()
        }),
        ("dangling-link", &[Rule::DanglingLink], |d| {
            symlink("gone", d.join(ROOT).join("link")).unwrap()
        }),
        ("link-out-of-the-container", &[Rule::DanglingLink], |d| {
            put(d, "rootfs/usr/local/share/x", "");
            symlink("/usr/local/share/x", d.join(ROOT).join("link")).unwrap();
        }),
        ("wrong-machine", &[Rule::Machine], |d| {
            elf(d, &format!("{ROOT}/other"), 183, None)
        }),
        ("loader-is-missing", &[Rule::Loader], |d| {
            elf(d, &format!("{ROOT}/dynamic"), 62, Some("/lib/ld.so"))
        }),
        ("script-without-shell", &[Rule::Loader], |d| {
            put(d, &format!("{ROOT}/script"), "#!/bin/sh\n")
        }),
        ("no-program", &[Rule::ServiceRoot], |d| {
            service(d, "./run", "./walk")
        }),
        ("root-without-service", &[Rule::ServiceRoot], |d| {
            program(d, "rootfs/usr/local/lib/containers/other/run")
        }),
        ("file-name-is-not-the-service", &[Rule::ServiceRoot], |d| {
            fs::rename(
                d.join(SPEC),
                d.join("rootfs/usr/local/etc/containers/other.yaml"),
            )
            .unwrap()
        }),
        ("service-that-is-not-read", &[Rule::ServiceRoot], |d| {
            put(d, "rootfs/usr/local/etc/containers/x.yml", SERVICE)
        }),
        ("mount-hides-a-file", &[Rule::Mount], |d| {
            put(d, &format!("{ROOT}/dev/x"), "")
        }),
        ("relative-mount", &[Rule::Mount], |d| {
            service(d, "destination: /dev", "destination: dev")
        }),
    ];
    cases
        .iter()
        .map(|&(name, rules, change)| {
            let path = dir.join(name);
            good(&path);
            change(&path);
            Case { name, rules }
        })
        .collect()
}

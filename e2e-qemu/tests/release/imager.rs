//! What is released for Talos, merged into an initramfs by Talos' own imager, as a user does who makes an installer.
//!
//! The imager wants programs that are newer than the oldest host that runs this has, so it runs in a root of its own. Kernel and
//! initramfs are stand-ins: it appends what it makes of the extensions.

use std::path::{Path, PathBuf};
use std::process::Output;

use e2e_qemu::host;
use e2e_qemu::peer::{IMAGER_1_12, IMAGER_1_13, IMAGER_1_14, Module};
use extension::release::Release;
use extension::{Cache, Recipe};

use crate::registry::{Registry, build, workspace};
use crate::whole::{VERSION, options};

const NAMES: [&str; 2] = ["lvm-disk-watcher", "lvm-thin-tools"];
/// Stands for Talos' initramfs.
const BEFORE: &[u8] = b"an initramfs";
/// Where [`Imager::dir`] is, in the imager's root.
const INSIDE: &str = "/mnt";

/// An imager, and the folder that it works in.
struct Imager {
    root: PathBuf,
    dir: tempfile::TempDir,
}

impl Imager {
    fn new(module: &Module) -> Self {
        // Of what ends a tree, the first script is for every one.
        let recipe = Recipe {
            name: "imager",
            packages: vec![
                "base-files",
                "coreutils",
                "cpio",
                "dash",
                "libc-bin",
                "squashfs-tools",
                "xz-utils",
                "zstd",
            ],
            finish: Recipe::node().finish[..1].to_vec(),
            ..Recipe::node()
        };
        let root = Cache::of_workspace(workspace()).tree(&recipe).unwrap();
        let dir = tempfile::tempdir().unwrap();
        std::fs::copy(build(module, "imager"), dir.path().join("imager")).unwrap();
        for file in ["vmlinuz", "initramfs"] {
            std::fs::write(dir.path().join(file), BEFORE).unwrap();
        }
        std::fs::create_dir(dir.path().join("tmp")).unwrap();
        Self { root, dir }
    }

    /// Runs a script in the root, with the folder at [`INSIDE`]; both mounts end with it.
    fn run(&self, script: &str) -> Output {
        let mounted = "mount --rbind /dev \"$1/dev\"; mount --bind \"$2\" \"$1$3\"; cd \"$1$3\"; \
            exec chroot \"$1\" /bin/sh -euc \"cd $3; export TMPDIR=$3/tmp; $4\"";
        let mut unshare = host::command("unshare");
        unshare
            .args(["--mount", "--propagation=private", "sh", "-euc", mounted])
            .arg("sh")
            .arg(&self.root)
            .arg(self.dir.path())
            .args([INSIDE, script]);
        unshare.output().unwrap()
    }

    /// Does what a profile says, to which the stand-ins are added; or what it says against it.
    fn merge(&self, profile: &str) -> Result<(), String> {
        let inputs = format!(
            "input:\n  kernel: {{path: {INSIDE}/vmlinuz}}\n  initramfs: {{path: {INSIDE}/initramfs}}\n"
        );
        let profile = profile.replace("input:\n", &inputs);
        std::fs::write(self.dir.path().join("profile.yaml"), profile).unwrap();
        let appended = BEFORE.len() + 1;
        let done = self.run(&format!(
            "rm -rf out merged; ./imager --output out - <profile.yaml; mkdir merged; cd merged; \
             tail -c +{appended} ../out/* | zstd -dcq | cpio -idm --quiet; \
             for one in *.sqsh; do unsquashfs -q -n -d ${{one%.sqsh}} $one >/dev/null; done"
        ));
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        match done.status.success() {
            true => Ok(()),
            false => Err(said),
        }
    }

    /// Of what was merged last: the layers hold the same files as the released tars, and the list of layers names them.
    fn holds(&self, tars: &[PathBuf]) {
        let out = std::fs::read_dir(self.dir.path().join("out")).unwrap();
        let out: Vec<PathBuf> = out.map(|entry| entry.unwrap().path()).collect();
        assert_eq!(out.len(), 1, "{out:?}");
        assert!(std::fs::read(&out[0]).unwrap().starts_with(BEFORE));
        let merged = self.dir.path().join("merged");
        let list = std::fs::read_to_string(merged.join("extensions.yaml")).unwrap();
        for (index, (name, tar)) in NAMES.iter().zip(tars).enumerate() {
            for mark in [&format!("image: {index}.sqsh"), &format!("name: {name}")] {
                assert!(list.contains(mark.as_str()), "{mark} in\n{list}");
            }
            let released = tempfile::tempdir().unwrap();
            unpack(tar, released.path());
            let (ours, theirs) = (
                released.path().join("rootfs"),
                merged.join(index.to_string()),
            );
            assert_eq!(listing(&theirs), listing(&ours), "{name}");
            let mut diff = host::command("diff");
            diff.args(["--recursive", "--no-dereference"]);
            host::capture(diff.arg(ours).arg(theirs)).unwrap();
        }
    }
}

/// A profile with these items of `systemExtensions`; for another version of Talos than the imager's own where one is given.
fn profile(version: Option<&str>, extensions: &[String]) -> String {
    let version = version.map_or(String::new(), |version| format!("version: {version}\n"));
    let items: String = extensions
        .iter()
        .map(|item| format!("    - {item}\n"))
        .collect();
    format!(
        "arch: amd64\nplatform: metal\n{version}input:\n  systemExtensions:\n{items}\
         output: {{kind: initramfs, outFormat: raw}}\n"
    )
}

/// The profile of docs/releases.md, but for what comes out, with the tar in the folder that the imager has here.
fn profile_of_docs() -> String {
    let docs = std::fs::read_to_string(workspace().join("docs/releases.md")).unwrap();
    let block = docs.split("```yaml\n").nth(1).unwrap();
    let profile = block.split("```").next().unwrap();
    let released = format!("/in/lvm-disk-watcher-{VERSION}-amd64.tar");
    assert!(profile.contains(&released) && profile.contains("kind: installer\n"));
    profile
        .replace(&released, &format!("{INSIDE}/lvm-disk-watcher.tar"))
        .replace("kind: installer\n", "kind: initramfs\n")
}

fn unpack(tar: &Path, dir: &Path) {
    let mut command = host::command("tar");
    command.arg("-xpf").arg(tar).arg("-C").arg(dir);
    host::capture(&mut command).unwrap();
}

/// Path, type, mode, owner and link of all that is in a folder.
fn listing(dir: &Path) -> Vec<String> {
    let mut find = host::command("find");
    find.arg(dir)
        .args(["-mindepth", "1", "-printf", "%P %y %m %U %G %l\n"]);
    let listed = String::from_utf8(host::capture(&mut find).unwrap()).unwrap();
    let mut lines: Vec<String> = listed.lines().map(str::to_owned).collect();
    lines.sort();
    assert!(lines.len() > 10, "{lines:?}");
    lines
}

#[test]
#[ignore = "minutes: builds three imagers and packs whole extensions"]
fn talos_imagers_merge_what_is_released_from_tars_layouts_and_a_registry() {
    let registry = Registry::start();
    let name = format!("{}/x", registry.address);
    let out = tempfile::tempdir().unwrap();
    let release = Release::gather(&options(&name, out.path())).unwrap();
    let dir = out.path().join("all");
    release.write(&dir).unwrap();
    release.push(&name, VERSION, None).unwrap();
    let tars = NAMES.map(|one| dir.join(format!("{one}-{VERSION}-amd64.tar")));

    let mut docs = 0;
    for (module, version) in [
        (&IMAGER_1_12, "v1.12.6"),
        (&IMAGER_1_13, "v1.13.9"),
        (&IMAGER_1_14, "v1.14.1"),
    ] {
        let imager = Imager::new(module);
        let inside = imager.dir.path();
        for (one, tar) in NAMES.iter().zip(&tars) {
            std::fs::copy(tar, inside.join(format!("{one}.tar"))).unwrap();
            let layout = inside.join(format!("{one}.layout"));
            std::fs::create_dir(&layout).unwrap();
            unpack(&dir.join(format!("{one}-{VERSION}.oci.tar")), &layout);
        }
        let flat = NAMES.map(|one| format!("tarballPath: {INSIDE}/{one}.tar"));
        let layouts = NAMES.map(|one| format!("ociPath: {INSIDE}/{one}.layout"));
        let pulled = NAMES
            .map(|one| format!("{{imageRef: \"{name}/{one}:{VERSION}\", forceInsecure: true}}"));
        for (what, items) in [
            ("tars", &flat),
            ("layouts", &layouts),
            ("a registry", &pulled),
        ] {
            imager
                .merge(&profile(None, items))
                .unwrap_or_else(|said| panic!("{}, {what}: {said}", module.name));
            imager.holds(&tars);
            println!("{} merges them from {what}", module.name);
        }
        if profile_of_docs().contains(&format!("version: {version}\n")) {
            imager.merge(&profile_of_docs()).unwrap();
            imager.holds(&tars[..1]);
            println!("{} takes the profile of docs/releases.md", module.name);
            docs += 1;
        }
        // What it refuses, so that taking the others says something.
        let other = profile(Some("v1.99.0"), &flat);
        let said = imager.merge(&other).unwrap_err();
        assert!(said.contains("error validating extension"), "{said}");
        let other = flat[0].replace("lvm-disk-watcher", "vmlinuz");
        let said = imager.merge(&profile(None, &[other])).unwrap_err();
        assert!(said.contains("vmlinuz"), "{said}");
    }
    assert_eq!(docs, 1, "no imager is of the version in docs/releases.md");
}

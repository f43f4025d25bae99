//! The guest's disks and programs. Guest tests of other crates use it too.

use std::process::{Output, Stdio};

/// The disks e2e-qemu gave this guest. They are the tests' to destroy.
pub fn disks() -> Vec<String> {
    let list = std::env::vars()
        .find(|(key, _)| key == "BASALT_DISKS")
        .map(|(_, value)| value);
    let list = list.expect("BASALT_DISKS is not set: run guest tests with `e2e-qemu test`");
    list.split(',').map(str::to_owned).collect()
}

/// Runs a program to its end.
pub fn output(program: &str, args: &[&str]) -> Output {
    #[expect(clippy::disallowed_methods, reason = "the door of the guest tests")]
    let mut command = std::process::Command::new(program);
    command
        .args(args)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|e| panic!("{program}: {e}"))
}

/// Runs a program that must succeed and gives what it printed.
pub fn run(program: &str, args: &[&str]) -> String {
    let out = output(program, args);
    assert!(
        out.status.success(),
        "{program} {args:?}: {}{}",
        String::from_utf8_lossy(&out.stdout),
        String::from_utf8_lossy(&out.stderr)
    );
    String::from_utf8_lossy(&out.stdout).trim().to_owned()
}

/// Runs the `lvm` of the guest with its defaults, as another program on the node would.
pub fn lvm(args: &[&str]) -> String {
    run("lvm", args)
}

/// Takes down whatever an earlier test left, and blanks the first and last MiB of each disk.
pub fn clean() {
    for vg in lvm(&["vgs", "--noheadings", "-o", "vg_name"]).split_whitespace() {
        output("lvm", &["vgchange", "-an", vg]);
    }
    output("dmsetup", &["remove_all", "--force"]);
    for disk in disks() {
        run("wipefs", &["-aq", &disk]);
        run(
            "dd",
            &[
                "if=/dev/zero",
                &format!("of={disk}"),
                "bs=1M",
                "count=2",
                "oflag=direct",
                "status=none",
            ],
        );
    }
    run("udevadm", &["settle"]);
    // Links of mappings that were removed behind LVM's back.
    for link in ["/dev/vg", "/dev/other", "/dev/gone"] {
        if std::path::Path::new(link).exists() {
            let left: Vec<_> = std::fs::read_dir(link)
                .unwrap()
                .map(|e| {
                    (
                        e.as_ref().unwrap().path(),
                        std::fs::read_link(e.unwrap().path()),
                    )
                })
                .collect();
            println!("left over: {left:?}");
            std::fs::remove_dir_all(link).unwrap();
        }
    }
}

/// A VG `vg` over the first `count` disks, and in it, if asked, the pool `pool` of half its size.
pub fn make_vg(count: usize, pool: bool) {
    clean();
    let disks = disks();
    let mut args = vec!["vgcreate", "vg"];
    args.extend(disks[..count].iter().map(String::as_str));
    lvm(&args);
    if pool {
        lvm(&["lvcreate", "-y", "-l", "50%VG", "-T", "vg/pool"]);
    }
}

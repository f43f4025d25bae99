//! The `/dev` that lvm sees: its PVs by the names that everybody has for them, and nothing it would only walk through.

use std::collections::BTreeSet;

use lvmd::cmd::{Cmd, Host, Runner as _};

use crate::harness::{Daemon, MIB, clean, disks, eventually, lvm, make_vg, output, run};

const CLASSES: &str = "device-classes:
- {name: plain, volume-group: vg, default: true, spare-gb: 0, zero: none}
- {name: mapped, volume-group: other, spare-gb: 0, zero: none}
";

/// The names of its PVs that a group's metadata has, for whoever reads it next.
fn hints(device: &str) -> Vec<String> {
    let text = lvm(&["pvck", "--dump", "metadata", device]);
    let lines = text.lines().map(str::trim);
    lines
        .filter(|line| line.starts_with("device = "))
        .map(str::to_owned)
        .collect()
}

/// A disk that people know by a mapping's name, as one that is encrypted.
fn mapped(disk: &str) -> String {
    let sectors = run("blockdev", &["--getsz", disk]);
    let table = format!("0 {sectors} linear {disk} 0");
    run("dmsetup", &["create", "data-crypt", "--table", &table]);
    run("udevadm", &["settle"]);
    "/dev/mapper/data-crypt".to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn lvm_sees_its_disks_by_their_names_and_no_volume() {
    make_vg(2, false);
    let mapped = mapped(&disks()[2]);
    lvm(&["vgcreate", "other", &mapped]);
    for n in 0..5 {
        lvm(&[
            "lvcreate",
            "-y",
            "-L",
            "8M",
            "-n",
            &format!("before{n}"),
            "vg",
        ]);
    }
    let disk = disks()[0].clone();
    let (of_disks, of_mapped) = (hints(&disk), hints(&mapped));
    assert_eq!(of_mapped, [format!("device = \"{mapped}\"")]);
    let daemon = Daemon::start(CLASSES).await;
    let seen = daemon.dir.path().join("seen");
    let strace = [
        "-f",
        "-qq",
        "-s",
        "200",
        "-e",
        "trace=openat,newfstatat,execve",
        "-o",
        seen.to_str().unwrap(),
        "-p",
        &daemon.pid().to_string(),
    ];
    let mut strace = crate::harness::start("strace", &strace);
    eventually("strace has begun", async || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
        !status.contains("TracerPid:\t0\n")
    })
    .await;
    daemon.create("a", "plain", 16 * MIB).await.unwrap();
    daemon.create("b", "mapped", 16 * MIB).await.unwrap();
    run("kill", &[&strace.id().to_string()]);
    strace.wait().unwrap();

    let text = std::fs::read_to_string(&seen).unwrap();
    let lvms: BTreeSet<&str> = text
        .lines()
        .filter(|line| line.contains("execve(\"/usr/sbin/lvm\"") && line.contains("/lvcreate."))
        .filter_map(|line| line.split(' ').next())
        .collect();
    assert_eq!(lvms.len(), 2, "{text}");
    let by_lvm: Vec<&str> = text
        .lines()
        .filter(|line| line.split(' ').next().is_some_and(|pid| lvms.contains(pid)))
        .collect();
    let names = |part: &str| by_lvm.iter().filter(|line| line.contains(part)).count();
    assert!(names(&format!("\"{disk}\"")) > 0 && names(&format!("\"{mapped}\"")) > 0);
    for others in ["/dev/disk/", "before", "/dev/vg/", "/dev/tty"] {
        assert_eq!(names(others), 0, "{others}");
    }
    assert_eq!(hints(&disk), of_disks);
    assert_eq!(hints(&mapped), of_mapped);
    daemon.remove("a", "plain").await.unwrap();
    daemon.remove("b", "mapped").await.unwrap();
    daemon.stop();
    lvm(&["vgremove", "-y", "other"]);
    run("udevadm", &["settle"]);
    run("dmsetup", &["remove", "data-crypt"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_system_that_is_unmounted_while_lvm_runs_is_not_kept_in_use() {
    make_vg(1, false);
    lvm(&["lvcreate", "-y", "-L", "16M", "-n", "lv", "vg"]);
    run("mkfs.ext4", &["-q", "/dev/vg/lv"]);
    std::fs::create_dir_all("/tmp/own-dev").unwrap();
    // As systemd, Talos and kubelet have it; and so that the test can tell, as they do not.
    for (propagation, in_use) in [("shared", "0"), ("private", "1")] {
        run("mount", &[&format!("--make-r{propagation}"), "/"]);
        run("mount", &["/dev/vg/lv", "/tmp/own-dev"]);
        let mut long = Cmd::new("/bin/sleep").arg("3");
        long.dev = Some("/dev".into());
        let running = tokio::spawn(Host.run(long));
        eventually("it runs in a namespace of its own", async || {
            let own = std::fs::read_link("/proc/self/ns/mnt").unwrap();
            let pid = output("pgrep", &["-x", "sleep"]).stdout;
            let pid = String::from_utf8(pid).unwrap();
            let its = std::fs::read_link(format!("/proc/{}/ns/mnt", pid.trim()));
            its.is_ok_and(|its| its != own)
        })
        .await;
        run("umount", &["/tmp/own-dev"]);
        let open = ["info", "-c", "--noheadings", "-o", "open", "vg-lv"];
        assert_eq!(run("dmsetup", &open), in_use, "{propagation}");
        running.await.unwrap().unwrap();
        assert_eq!(run("dmsetup", &open), "0");
    }
    clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn where_namespaces_are_forbidden_lvm_sees_all_of_dev_and_volumes_are_made() {
    const MOST: &str = "/proc/sys/user/max_mnt_namespaces";
    make_vg(2, false);
    lvm(&["vgcreate", "other", &disks()[2]]);
    let before = std::fs::read_to_string(MOST).unwrap();
    std::fs::write(MOST, "0").unwrap();
    let daemon = Daemon::start(CLASSES).await;
    daemon.create("a", "plain", 16 * MIB).await.unwrap();
    daemon.remove("a", "plain").await.unwrap();
    let log = daemon.log();
    assert!(log.contains("cannot be given one of its own"), "{log}");
    daemon.stop();
    std::fs::write(MOST, before.trim()).unwrap();
    let daemon = Daemon::start(CLASSES).await;
    std::fs::write(MOST, "0").unwrap();
    // It had one when it started: it says why there is none now, and goes on when there is.
    let error = daemon.create("b", "plain", 16 * MIB).await.unwrap_err();
    assert!(error.message().contains("namespace"), "{error}");
    std::fs::write(MOST, before.trim()).unwrap();
    daemon.create("b", "plain", 16 * MIB).await.unwrap();
    daemon.remove("b", "plain").await.unwrap();
    daemon.stop();
}

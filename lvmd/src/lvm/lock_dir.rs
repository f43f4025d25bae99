//! Proof that LVM's lock directory is the host's.
//!
//! LVM keeps writers of a VG apart with files in `/run/lock/lvm`. In a container with
//! a `/run` of its own that directory is private: two writers then both believe they
//! hold the lock, and metadata updates are lost without an error (measured: 4 of 50).
//! So before anything is changed the directory must be shown to be the host's. What
//! marks the host's `/run` is udevd's control socket, answered by a living udevd.

use std::fmt;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::mountinfo::{self, Mount};
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};

/// The places looked at; `/` except in tests.
#[derive(Debug, Clone)]
pub struct Places {
    /// LVM's lock directory, `/run/lock/lvm`.
    pub lock_dir: PathBuf,
    /// Where the chart mounts the host's `/run`, recursively and read-only.
    pub host_run: PathBuf,
    /// udevd's control socket, `/run/udev/control`.
    pub udev_control: PathBuf,
    /// The text of `/proc/self/mountinfo`.
    pub mountinfo: String,
}

impl Places {
    /// This process's own view.
    ///
    /// # Errors
    /// When `/proc/self/mountinfo` cannot be read.
    pub fn here() -> std::io::Result<Self> {
        Ok(Self {
            lock_dir: crate::names::LVM_LOCK_DIR.into(),
            host_run: "/host/run".into(),
            udev_control: "/run/udev/control".into(),
            mountinfo: fs::read_to_string("/proc/self/mountinfo")?,
        })
    }
}

/// How the lock directory was recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// It is a bind mount of `/lock/lvm` of the file system that carries udevd's socket.
    BoundFromHostRun,
    /// It is the same directory as `lock/lvm` under the host's `/run` at `/host/run`.
    SameAsUnderHostRun,
    /// This is the host: `/run` carries udevd's socket, and nothing is mounted on the directory.
    OnTheHost,
}

/// The lock directory is not shown to be the host's.
#[derive(Debug, Clone, thiserror::Error)]
#[error(
    "{} is not shown to be the host's lock directory ({found}); LVM would lose metadata updates. \
     Mount the host's /run/lock/lvm there, with the host's /run/udev at /run/udev, or the host's /run \
     recursively at /host/run",
    lock_dir.display()
)]
pub struct NotTheHosts {
    /// The directory.
    pub lock_dir: PathBuf,
    /// What was found instead.
    pub found: String,
}

/// Shows that the lock directory is the host's, or says what was found instead.
///
/// # Errors
/// When none of the three proofs holds; unknown means no.
pub fn prove(places: &Places) -> Result<Proof, NotTheHosts> {
    let mounts = mountinfo::parse(&places.mountinfo);
    let mut found = Vec::new();
    let udev_dir = places
        .udev_control
        .parent()
        .unwrap_or(Path::new("/run/udev"));
    let udev = is_live_socket(&places.udev_control);
    // (a): the mount's root is /lock/lvm of the very file system on which udevd listens.
    if let Some(mount) = mounts.iter().rev().find(|m| m.at == places.lock_dir) {
        match (&udev, device_of(udev_dir)) {
            (Err(reason), _) => found.push(format!("{}: {reason}", places.udev_control.display())),
            (Ok(()), Some(run))
                if mount.root == "/lock/lvm" && device_of(&places.lock_dir) == Some(run) =>
            {
                return Ok(Proof::BoundFromHostRun);
            }
            (Ok(()), run) => found.push(format!(
                "it is a mount of {} of device {}, while udevd's socket is on {run:?}",
                mount.root, mount.device
            )),
        }
    } else {
        // (c): the host itself, where nothing is mounted on the directory.
        match on_the_host(places, &mounts, &udev) {
            Ok(()) => return Ok(Proof::OnTheHost),
            Err(reason) => found.push(reason),
        }
    }
    // (b): the same directory as under the host's /run.
    match same_as_under(places) {
        Ok(()) => return Ok(Proof::SameAsUnderHostRun),
        Err(reason) => found.push(reason),
    }
    Err(NotTheHosts {
        lock_dir: places.lock_dir.clone(),
        found: found.join("; "),
    })
}

fn on_the_host(places: &Places, mounts: &[Mount], udev: &Result<(), String>) -> Result<(), String> {
    if let Err(reason) = udev {
        return Err(format!("{}: {reason}", places.udev_control.display()));
    }
    // Of mounts stacked on one place the last is the one in force; max_by_key keeps the last.
    let covering = |path: &Path| {
        mounts
            .iter()
            .filter(|m| path.starts_with(&m.at))
            .max_by_key(|m| m.at.as_os_str().len())
    };
    let (Some(lock), Some(udev)) = (covering(&places.lock_dir), covering(&places.udev_control))
    else {
        return Err("the mount table does not show what /run is".into());
    };
    let run = places
        .udev_control
        .parent()
        .and_then(Path::parent)
        .unwrap_or(Path::new("/run"));
    // udevd's socket must be on the whole of /run, not on a part of it bound in here.
    if udev.root != "/" || run != udev.at {
        return Err(format!(
            "{} is on a mount of {} at {}, not on /run itself",
            places.udev_control.display(),
            udev.root,
            udev.at.display()
        ));
    }
    let part_of_run = lock.at == udev.at;
    let own_tmpfs = lock.at == run.join("lock")
        && lock.kind == "tmpfs"
        && lock.root == "/"
        && lock.parent == udev.id;
    if part_of_run || own_tmpfs {
        Ok(())
    } else {
        Err(format!(
            "it is on a mount of {} ({}) at {}",
            lock.root,
            lock.kind,
            lock.at.display()
        ))
    }
}

fn same_as_under(places: &Places) -> Result<(), String> {
    let theirs = places.host_run.join("lock/lvm");
    let control = places.host_run.join("udev/control");
    is_live_socket(&control).map_err(|reason| format!("{}: {reason}", control.display()))?;
    match (fs::metadata(&theirs), fs::metadata(&places.lock_dir)) {
        (Ok(a), Ok(b)) if (a.dev(), a.ino()) == (b.dev(), b.ino()) => Ok(()),
        (Ok(_), Ok(_)) => Err(format!("it is another directory than {}", theirs.display())),
        (Err(error), _) => Err(format!("{}: {error}", theirs.display())),
        (_, Err(error)) => Err(error.to_string()),
    }
}

/// Whether somebody listens on the socket; the file alone may be left over.
fn is_live_socket(path: &Path) -> Result<(), String> {
    let kind = fs::symlink_metadata(path)
        .map_err(|error| error.to_string())?
        .file_type();
    if !kind.is_socket() {
        return Err("it is no socket".into());
    }
    let fd = socket(
        AddressFamily::Unix,
        SockType::SeqPacket,
        SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
        None,
    )
    .map_err(|e| e.to_string())?;
    let address = UnixAddr::new(path).map_err(|e| e.to_string())?;
    match connect(std::os::fd::AsRawFd::as_raw_fd(&fd), &address) {
        // EAGAIN: it listens, but has not taken the connections before ours from its queue, which udevd keeps at
        // length 1; where nobody listens, connect(2) says ECONNREFUSED.
        Ok(()) | Err(Errno::EAGAIN) => Ok(()),
        Err(error) => Err(format!("no udevd answers ({error})")),
    }
}

fn device_of(path: &Path) -> Option<u64> {
    fs::metadata(path).ok().map(|m| m.dev())
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BoundFromHostRun => "a mount of the host's /run/lock/lvm",
            Self::SameAsUnderHostRun => "the same directory as under /host/run",
            Self::OnTheHost => "the host's own",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::socket::{Backlog, bind, listen};

    /// A `/run` in a temporary directory, with a listening udevd when asked.
    fn run_dir(live: bool) -> (tempfile::TempDir, Places, Option<std::os::fd::OwnedFd>) {
        let dir = tempfile::tempdir().unwrap();
        let run = dir.path().join("run");
        fs::create_dir_all(run.join("lock/lvm")).unwrap();
        fs::create_dir_all(run.join("udev")).unwrap();
        let control = run.join("udev/control");
        let fd = socket(
            AddressFamily::Unix,
            SockType::SeqPacket,
            SockFlag::empty(),
            None,
        )
        .unwrap();
        bind(
            std::os::fd::AsRawFd::as_raw_fd(&fd),
            &UnixAddr::new(&control).unwrap(),
        )
        .unwrap();
        let fd = live.then(|| {
            listen(&fd, Backlog::new(8).unwrap()).unwrap();
            fd
        });
        let places = Places {
            lock_dir: run.join("lock/lvm"),
            host_run: dir.path().join("host/run"),
            udev_control: control,
            mountinfo: format!("20 1 0:20 / {} rw - tmpfs tmpfs rw\n", run.display()),
        };
        (dir, places, fd)
    }

    #[test]
    fn on_the_host_the_directory_is_part_of_run_or_on_a_tmpfs_of_its_own() {
        let (_dir, mut places, _udevd) = run_dir(true);
        assert_eq!(prove(&places).unwrap(), Proof::OnTheHost);
        let lock = places.lock_dir.parent().unwrap().display().to_string();
        places.mountinfo += &format!("21 20 0:21 / {lock} rw - tmpfs tmpfs rw\n");
        assert_eq!(prove(&places).unwrap(), Proof::OnTheHost);
        places.mountinfo += &format!("22 20 0:30 /var/x {lock} rw - ext4 /dev/sda1 rw\n");
        let error = prove(&places).unwrap_err().to_string();
        assert!(error.contains("/var/x"), "{error}");
    }

    #[test]
    fn without_a_living_udevd_nothing_is_proven() {
        let (_dir, places, _none) = run_dir(false);
        let error = prove(&places).unwrap_err().to_string();
        assert!(error.contains("no udevd answers"), "{error}");
    }

    #[test]
    fn a_udevd_that_is_busy_lives() {
        let (_dir, places, udevd) = run_dir(true);
        listen(udevd.as_ref().unwrap(), Backlog::new(0).unwrap()).unwrap();
        // Nobody accepts, so from the second on the queue is full.
        for _ in 0..3 {
            assert_eq!(prove(&places).unwrap(), Proof::OnTheHost);
        }
    }

    #[test]
    fn a_pods_own_directory_is_refused() {
        let (_dir, mut places, _udevd) = run_dir(true);
        // As in a pod: /run is the image's, /run/udev alone comes from the host.
        let udev = places.udev_control.parent().unwrap().display().to_string();
        places.mountinfo = format!(
            "1 0 0:5 / / rw - overlay overlay rw\n2 1 0:20 /udev {udev} rw - tmpfs tmpfs rw\n"
        );
        let error = prove(&places).unwrap_err().to_string();
        assert!(error.contains("not on /run itself"), "{error}");
    }

    #[test]
    fn a_mount_from_the_hosts_run_is_recognised() {
        let (_dir, mut places, _udevd) = run_dir(true);
        let lock = places.lock_dir.display().to_string();
        let pod = format!(
            "1 0 0:5 / / rw - overlay overlay rw\n3 1 0:20 /lock/lvm {lock} rw - tmpfs tmpfs rw\n"
        );
        places.mountinfo = pod.clone();
        assert_eq!(prove(&places).unwrap(), Proof::BoundFromHostRun);
        places.mountinfo = pod.replace("/lock/lvm /", "/containers/x/lock/lvm /");
        assert!(
            prove(&places).is_err(),
            "the same file system, but a private folder of it"
        );
    }

    #[test]
    fn the_same_directory_under_the_hosts_run_is_recognised() {
        let (dir, mut places, _udevd) = run_dir(true);
        let lock = places.lock_dir.display().to_string();
        places.mountinfo = format!("3 1 0:33 / {lock} rw - tmpfs tmpfs rw\n");
        fs::create_dir_all(dir.path().join("host")).unwrap();
        std::os::unix::fs::symlink(dir.path().join("run"), &places.host_run).unwrap();
        assert_eq!(prove(&places).unwrap(), Proof::SameAsUnderHostRun);
        fs::create_dir_all(dir.path().join("other")).unwrap();
        places.lock_dir = dir.path().join("other");
        let error = prove(&places).unwrap_err().to_string();
        assert!(error.contains("another directory"), "{error}");
    }
}

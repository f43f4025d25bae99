//! A script in the place of lvm, for every program of the guest.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::harness::run;

pub(crate) const LVM: &str = "/usr/sbin/lvm";

/// An lvm of ours in the place of lvm, while it lives.
pub(crate) struct Fake;

impl Fake {
    /// Puts this script of sh there; the real one is `$REAL` in it. `dir` keeps both.
    pub(crate) fn install(dir: &Path, script: &str) -> Self {
        // lvm goes by the name it is called by.
        let (real, fake) = (dir.join("real/lvm"), dir.join("lvm"));
        std::fs::create_dir_all(dir.join("real")).unwrap();
        std::fs::copy(LVM, &real).unwrap();
        let script = format!("#!/bin/sh\nREAL={}\n{script}\n", real.display());
        std::fs::write(&fake, script).unwrap();
        std::fs::set_permissions(&fake, std::fs::Permissions::from_mode(0o755)).unwrap();
        run("mount", &["--bind", fake.to_str().unwrap(), LVM]);
        Self
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        run("umount", &[LVM]);
    }
}

//! Cuts one lvm command off before one of its writes.

use std::fs;
use std::path::Path;

use crate::harness::run;

const DIR: &str = "/run/cut";
/// Stands in the place of lvm; the next command of an armed kind is killed before its n-th
/// write to the disks.
const SHIM: &str = r#"#!/bin/sh
cut=/run/cut/$1
if [ -e "$cut" ]; then
  read -r n disks <"$cut"
  rm "$cut"
  for disk in $disks; do only="$only -P $disk"; done
  exec strace -f -o /run/cut/trace $only -e trace=write,pwrite64 -e "inject=write,pwrite64:signal=KILL:when=$n" \
    /run/cut/lvm "$@"
fi
exec /run/cut/lvm "$@"
"#;

/// While it lives, lvm can be cut.
pub(crate) struct Knife(());

impl Knife {
    pub(crate) fn new() -> Self {
        fs::create_dir_all(DIR).unwrap();
        fs::copy("/usr/sbin/lvm", "/run/cut/lvm").unwrap();
        fs::write("/run/cut/shim", SHIM).unwrap();
        run("chmod", &["755", "/run/cut/shim"]);
        run("mount", &["--bind", "/run/cut/shim", "/usr/sbin/lvm"]);
        Self(())
    }

    /// The next `verb` is killed before its `n`-th write to the disks, counted from one.
    pub(crate) fn arm(&self, verb: &str, n: u32, disks: &[String]) {
        let _ = fs::remove_file("/run/cut/trace");
        let order = format!("{n} {}", disks.join(" "));
        fs::write(Path::new(DIR).join(verb), order).unwrap();
    }

    /// Whether the command was killed; it was not when it writes less often than that.
    pub(crate) fn has_cut(&self) -> bool {
        fs::read_to_string("/run/cut/trace").is_ok_and(|text| text.contains("killed by SIGKILL"))
    }
}

impl Drop for Knife {
    fn drop(&mut self) {
        run("umount", &["/usr/sbin/lvm"]);
        fs::remove_dir_all(DIR).unwrap();
    }
}

//! SCSI disks that the guest's kernel makes up, for what a user-mode kernel's own disks lack: a serial number, a
//! WWN, a bus, and to be pulled while in use.
//!
//! They live in the guest's memory, so they do not survive a reboot. Each has its own content; all of one boot
//! have the same size.

use std::time::Duration;

use crate::command::Command;
use crate::error::Result;
use crate::guest::Guest;

/// Adds one host with one disk and waits until udev knows it. Prints the disk's name.
const ADD: &str = r#"
driver=/sys/bus/pseudo/drivers/scsi_debug
if [ ! -e $driver ]; then
  # ndelay: answers after 10 us, not after a tick.
  modprobe scsi_debug "dev_size_mb=$MIB" per_host_store=1 add_host=0 ndelay=10000
fi
if [ "$(cat /sys/module/scsi_debug/parameters/dev_size_mb)" != "$MIB" ]; then
  echo "the first disk of this boot had another size" >&2
  exit 1
fi
before=$(ls /sys/bus/pseudo/devices)
echo 1 >$driver/add_host
for adapter in $(ls /sys/bus/pseudo/devices); do
  case " $(echo $before) " in *" $adapter "*) continue ;; esac
  until set -- /sys/bus/pseudo/devices/"$adapter"/host*/target*/*/block/* && [ -e "$1" ]; do :; done
  udevadm settle
  echo "${1##*/}"
done
"#;

/// Has each adapter whose disk was pulled look for it again, and waits until udev knows it.
const REPLUG: &str = r#"
for host in /sys/bus/pseudo/devices/*/host*; do
  set -- "$host"/target*/*/block/*
  [ -e "$1" ] && continue
  echo "- - -" >"$host/scsi_host/${host##*/}/scan"
  until set -- "$host"/target*/*/block/* && [ -e "$1" ]; do :; done
done
udevadm settle
"#;

impl Guest {
    /// Plugs a made-up SCSI disk with a serial number and a WWN of its own; returns its device, for example
    /// `/dev/sda`.
    ///
    /// # Errors
    /// An earlier one of this boot had another size, or the guest is gone.
    pub fn plug_scsi_debug(&self, mib: u32) -> Result<String> {
        let add = Command::shell(ADD)
            .env("MIB", mib.to_string())
            .timeout(Duration::from_secs(60));
        Ok(format!("/dev/{}", self.check(add)?))
    }

    /// Pulls a made-up SCSI disk, in use or not.
    ///
    /// # Errors
    /// There is no such disk, or the guest is gone.
    pub fn pull_scsi_debug(&self, device: &str) -> Result<()> {
        let name = device.trim_start_matches("/dev/");
        self.shell(format!(
            "echo 1 >/sys/block/{name}/device/delete; udevadm settle"
        ))
        .map(drop)
    }

    /// Plugs in again what was pulled, under whatever name it gets now.
    ///
    /// # Errors
    /// It does not come back, or the guest is gone.
    pub fn replug_scsi_debug(&self) -> Result<()> {
        self.shell(REPLUG).map(drop)
    }
}

//! The power goes while a pool is in one state or another, and the machine boots again.

use anyhow::{Context as _, ensure};
use serde_json::Value;

use super::{Context, clone, growth, onboarding};
use crate::guest::Guest;

/// How a pool is brought into a state, with no watcher there, and what the kernel says of it then.
struct State {
    name: &'static str,
    script: &'static str,
    says: &'static str,
}

/// Of pool0 in group fast, with the volumes `data`, which is kept, and `more`. It is full first, while the group has room.
const STATES: [State; 4] = [
    State {
        name: "out of space, with a writer that waits",
        script: "nohup dd if=/dev/urandom of=/dev/fast/more bs=1M oflag=direct >/dev/null 2>&1 & \
                 while dmsetup status fast-pool0-tpool | grep -q ' rw '; do sleep 0.2; done",
        says: "out_of_data_space",
    },
    State {
        name: "in use",
        script: "dd if=/dev/urandom of=/dev/fast/more bs=1M count=8 oflag=direct status=none",
        says: " rw ",
    },
    State {
        // The superblock can be written, and nothing else of the metadata.
        name: "read-only because its metadata cannot be written",
        script: "set -- $(dmsetup table fast-pool0_tmeta); \
                 printf '0 8 linear %s %s\\n8 %s flakey %s %s 0 600 1 error_writes\\n' $4 $5 $(($2 - 8)) $4 $(($5 + 8)) >/run/cut; \
                 dmsetup load fast-pool0_tmeta /run/cut; dmsetup suspend --noflush --nolockfs fast-pool0_tmeta; \
                 dmsetup resume fast-pool0_tmeta; \
                 dd if=/dev/urandom of=/dev/fast/more bs=1M count=8 oflag=direct conv=fsync status=none 2>/dev/null || true; \
                 while dmsetup status fast-pool0-tpool | grep -q ' rw '; do sleep 0.2; done",
        says: "needs_check",
    },
    State {
        name: "not active",
        script: "lvm vgchange -qq -an fast; dmsetup table | sed -n '/^fast-/q1'",
        says: "",
    },
];

/// Whoever activates it, LVM at boot or disk-watcher: each time the pool works again, its volume has its data and
/// another one can be made and written, and no byte of the disks of others changed.
pub(super) fn in_each_state(context: &Context) -> anyhow::Result<()> {
    for (activates, class) in [
        ("the system", onboarding::CLASS.to_owned()),
        ("disk-watcher", clone::class()),
    ] {
        let (mut guest, bystander) = onboarding::machine(context, "reboots")?;
        let watcher = onboarding::start_with(context, &guest, &class)?;
        onboarding::ready(&guest, &watcher)?;
        stop(&guest)?;
        let data = guest.shell(
            "lvm lvcreate -qq -y -V 32M -T fast/pool0 -n data >&2 && \
             lvm lvcreate -qq -y -V 200M -T fast/pool0 -n more >&2 && \
             dd if=/dev/urandom of=/dev/fast/data bs=1M count=32 conv=fsync status=none && \
             sha256sum </dev/fast/data",
        )?;
        for state in &STATES {
            let what = format!("{}, activated by {activates}", state.name);
            guest.shell(state.script).with_context(|| what.clone())?;
            let says = guest.shell("dmsetup status fast-pool0-tpool 2>/dev/null || true")?;
            ensure!(says.contains(state.says), "{what}: the kernel says {says}");
            guest.cut_power()?;
            guest = guest.reboot()?;
            if activates == "the system" {
                guest.shell("lvm vgchange -qq -aay fast")?;
            }
            let watcher = onboarding::start_with(context, &guest, &class)?;
            let works = ["Active", "LowSpace"];
            growth::wait(&guest, &watcher, &what, |guest| {
                let status = growth::status(guest)?;
                let status: Value = serde_json::from_str(&status).unwrap_or_default();
                Ok(works
                    .iter()
                    .any(|state| status["pools"][0]["state"] == *state))
            })?;
            // As lvmd does when a volume is published.
            guest.shell("lvm lvchange -qq -ay fast/data fast/more; udevadm settle")?;
            ensure!(
                guest.shell("sha256sum </dev/fast/data")? == data,
                "{what}: the volume changed"
            );
            guest
                .shell(
                    "lvm lvcreate -qq -y -V 16M -T fast/pool0 -n probe && \
                     dd if=/dev/urandom of=/dev/fast/probe bs=1M count=16 conv=fsync status=none && \
                     lvm lvremove -qq -y fast/probe && lvm vgck fast && blkdiscard /dev/fast/more && \
                     dmsetup status fast-pool0-tpool >&2",
                )
                .with_context(|| what.clone())?;
            stop(&guest)?;
            println!("power cut while the pool was {what}: works again, with its data");
        }
        ensure!(
            guest.shell("sha256sum </dev/ubdc")? == bystander,
            "a disk that is not ours changed"
        );
        context.result(format!(
            "{activates} activates: works again after a reboot in {} states",
            STATES.len()
        ));
    }
    Ok(())
}

fn stop(guest: &Guest) -> anyhow::Result<()> {
    guest.shell(
        "pkill -x disk-watcher; while pgrep -x disk-watcher >/dev/null; do sleep 0.1; done",
    )?;
    Ok(())
}

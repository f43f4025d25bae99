//! A disk leaves its group at a person's request, wherever the power goes in that.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};

use super::{Context, onboarding};
use crate::command::Command;
use crate::guest::Guest;
use crate::process::Process;
use crate::spec::{Backend, Disk};

const MIB: u64 = 1 << 20;
/// How long a disk may take to leave or to join; ten times what it does.
const PATIENCE: Duration = Duration::from_mins(5);

/// Takes the two large disks.
const CLASS: &str = "apiVersion: basalt.storage/v1alpha1
kind: DiskClass
metadata: {name: fast}
spec:
  mode: Enforce
  discovery: Continuous
  select: {transport: [ubd], size: {min: 256Mi}}
  limits: {settle: 1s, minDisks: 2}
  safety: {allowUniqueIdMissing: true, requireZeroed: HeadAndTail}
  volumeGroup: {name: fast}
  thinPool: {name: pool0, size: 30%, metadata: {size: 4Mi}, autoExtend: {enabled: false}}
";

/// The PV that the pool lies on.
struct Member {
    uuid: String,
    device: String,
    used: u64,
}

/// What is on the disk is moved while its pool is in use, then its PV is removed; a cut of the power anywhere in that
/// is gone on from, and so is a kill; without the request it stays. Volumes and other disks keep their contents.
pub(super) fn leaves(context: &Context, cuts: u32) -> anyhow::Result<()> {
    let spec = context.spec(Backend::Uml, "drain").memory_mib(768);
    let spec = spec.limit(Duration::from_mins(25));
    let spec = [384, 384, 64, 64]
        .iter()
        .fold(spec, |spec, mib| spec.disk(Disk::new(mib * MIB)));
    let mut guest = Guest::boot(spec)?;
    guest.shell(
        "dd if=/dev/urandom of=/dev/ubdd bs=1M count=64 conv=fsync status=none; \
         mkfs.ext4 -q /dev/ubde; mkdir /run/j; mount /dev/ubde /run/j",
    )?;
    let bystander = guest.shell("sha256sum </dev/ubdd")?;
    let watcher = start(context, &guest, "")?;
    members(&guest, &watcher, 2)?;
    guest.shell(
        "lvm lvcreate -qq -y -V 160M -T fast/pool0 -n data && \
         dd if=/dev/urandom of=/dev/fast/data bs=1M count=160 conv=fsync status=none",
    )?;
    let data = guest.shell("sha256sum </dev/fast/data")?;
    stop(&guest)?;
    let check = |guest: &Guest, members: usize| -> anyhow::Result<()> {
        ensure!(
            guest.shell("sha256sum </dev/fast/data")? == data,
            "the volume changed"
        );
        ensure!(
            guest.shell("sha256sum </dev/ubdd")? == bystander,
            "a disk that is not ours changed"
        );
        guest.shell("lvm vgck fast")?;
        let left = guest.shell("lvm lvs -a --noheadings -o lv_name fast")?;
        ensure!(!left.contains("pvmove"), "a pvmove is left: {left}");
        let seen = guest.shell("lvm pvs --noheadings -o pv_name")?;
        ensure!(seen.lines().count() == members, "the PVs are {seen}");
        Ok(())
    };

    // Something else takes the room.
    let member = fullest(&guest)?;
    let other = if member.device == "/dev/ubdb" {
        "/dev/ubdc"
    } else {
        "/dev/ubdb"
    };
    guest.shell(format!(
        "lvm lvcreate -qq -y -Wn -Zn -an -L 300M -n thick fast {other}"
    ))?;
    let watcher = start(context, &guest, &member.uuid)?;
    requested(&guest, &watcher, "Refused")?;
    guest.shell("lvm lvs -a --noheadings -o lv_name fast | grep -c pvmove || true")?;
    stop(&guest)?;
    ensure!(
        fullest(&guest)?.used >= member.used,
        "a refused request moved something"
    );

    // A kill in the middle of a piece, and nobody asks any more.
    guest.shell("lvm lvremove -qq -y fast/thick")?;
    for kill_number in 1..=cuts {
        let member = fullest(&guest)?;
        let watcher = start(context, &guest, &member.uuid)?;
        requested(&guest, &watcher, "Moving")?;
        kill(
            &guest,
            "while ! lvm lvs -a --noheadings -o lv_name fast | grep -q pvmove; do :; done",
        )?;
        let watcher = start(context, &guest, "")?;
        let ended = await_log(&guest, &watcher, "the disk stays in its group")
            .and_then(|()| check(&guest, 2));
        if let Err(error) = ended {
            let state = state(&guest, &watcher).unwrap_or_else(|error| format!("{error:#}"));
            return Err(error.context(format!("kill {kill_number}\n{state}")));
        }
        stop(&guest)?;
    }

    let mut takes = 0.0;
    for cut in 0..=cuts {
        let member = fullest(&guest)?;
        let started = Instant::now();
        let mut watcher = start(context, &guest, &member.uuid)?;
        if cut == 0 {
            requested(&guest, &watcher, "Moving")?;
            // The pool is in use meanwhile.
            let made = guest.run(Command::shell(
                "lvm lvcreate -qq -y -V 16M -T fast/pool0 -n other && \
                 dd if=/dev/urandom of=/dev/fast/other bs=1M count=16 conv=fsync status=none",
            ))?;
            ensure!(
                made.status.success(),
                "{}",
                String::from_utf8_lossy(&made.stderr)
            );
        } else {
            let delay = takes * (f64::from(cut - 1) + onboarding::chance()) / f64::from(cuts);
            guest.shell(format!("sleep {delay}"))?;
            guest.cut_power()?;
            guest = guest.reboot()?;
            guest.shell(
                // As the host does. Where the pool's metadata was moving lvm cannot, and the watcher has to.
                "lvm vgchange -qq -ay fast || echo not activated; mkdir -p /run/j; mount /dev/ubde /run/j",
            )?;
            watcher = start(context, &guest, &member.uuid)?;
        }
        requested(&guest, &watcher, "Done").with_context(|| format!("cut {cut}"))?;
        if cut == 0 {
            takes = started.elapsed().as_secs_f64();
            context.result(format!(
                "{} extents of 4 MiB under an active thin pool left their disk in {takes:.1} s",
                member.used
            ));
        }
        check(&guest, 1).with_context(|| format!("cut {cut}"))?;
        let text = String::from_utf8_lossy(&watcher.stderr()).into_owned();
        ensure!(!text.contains("--force") && !text.contains(" -f"), "{text}");
        stop(&guest)?;
        // The same disk, blank, may join again.
        guest.shell(format!(
            "wipefs -aq {0}; dd if=/dev/zero of={0} bs=1M count=384 conv=fsync status=none",
            member.device
        ))?;
        let watcher = start(context, &guest, "")?;
        members(&guest, &watcher, 2)?;
        stop(&guest)?;
    }
    context.result(format!(
        "{cuts} power cuts on that way: each time it went on"
    ));
    Ok(())
}

/// With a request about this PV, unless it is empty.
fn start(context: &Context, guest: &Guest, uuid: &str) -> anyhow::Result<Process> {
    let request = if uuid.is_empty() {
        String::new()
    } else {
        format!(
            "---\napiVersion: basalt.storage/v1alpha1\nkind: DiskRemovalRequest\nmetadata: {{name: out}}\nspec: {{node: n1, pvUUID: {uuid}}}\n"
        )
    };
    guest.shell("rm -rf /run/status")?;
    onboarding::start_with(context, guest, &format!("{CLASS}{request}"))
}

/// Asks the watcher to end, and waits for that.
fn stop(guest: &Guest) -> anyhow::Result<()> {
    guest.shell("pkill -x disk-watcher; while pgrep -x disk-watcher >/dev/null; do :; done")?;
    Ok(())
}

/// The watcher and its lvm are killed at one moment, after `moment`.
fn kill(guest: &Guest, moment: &str) -> anyhow::Result<()> {
    guest.shell(format!(
        "{moment}; pkill -KILL -x 'disk-watcher|lvm'; while pgrep -ax lvm; do sleep 0.1; done"
    ))?;
    Ok(())
}

fn fullest(guest: &Guest) -> anyhow::Result<Member> {
    let line = guest.shell(
        "lvm pvs --noheadings -o pv_uuid,pv_name,pv_pe_alloc_count --sort -pv_pe_alloc_count -S vg_name=fast | head -1",
    )?;
    let words: Vec<&str> = line.split_whitespace().collect();
    let [uuid, device, used] = words[..] else {
        bail!("no PV: {line:?}");
    };
    Ok(Member {
        uuid: uuid.to_owned(),
        device: device.to_owned(),
        used: used.parse()?,
    })
}

/// Waits until so many disks are ready.
fn members(guest: &Guest, watcher: &Process, count: usize) -> anyhow::Result<()> {
    wait(guest, watcher, "all disks are ready", || {
        let ready = guest.shell(
            "grep -l '\"stage\": \"Ready\"' /run/j/journal/claims/*.json 2>/dev/null || true",
        )?;
        Ok(ready.lines().count() == count)
    })
}

/// Waits until the request has come so far.
fn requested(guest: &Guest, watcher: &Process, state: &str) -> anyhow::Result<()> {
    wait(guest, watcher, state, || {
        let status = guest.shell("cat /run/status/status.json 2>/dev/null || true")?;
        let Some((_, requests)) = status.split_once("\"requests\": [") else {
            return Ok(false);
        };
        Ok(requests.contains(&format!("\"state\": \"{state}\"")))
    })
}

fn await_log(guest: &Guest, watcher: &Process, words: &str) -> anyhow::Result<()> {
    wait(guest, watcher, words, || {
        Ok(String::from_utf8_lossy(&watcher.stderr()).contains(words))
    })
}

/// What a person looks at who asks why it does not go on.
fn state(guest: &Guest, watcher: &Process) -> anyhow::Result<String> {
    let log = String::from_utf8_lossy(&watcher.stderr()).into_owned();
    // No lvm: it may be what hangs.
    let status = guest.shell(
        "cat /run/status/status.table; dmsetup info -c; dmsetup table; dmsetup table --inactive; ps axf",
    )?;
    Ok(format!("{status}\n{log}"))
}

fn wait(
    guest: &Guest,
    watcher: &Process,
    what: &str,
    holds: impl Fn() -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let started = Instant::now();
    while !holds()? {
        if watcher.status().is_some() || started.elapsed() > PATIENCE {
            bail!("still not: {what}\n{}", state(guest, watcher)?);
        }
    }
    Ok(())
}

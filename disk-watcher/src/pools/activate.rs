//! Activating a pool after a boot, and deactivating its group at the end.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use lvmd::cmd::Runner;
use lvmd::dm;
use lvmd::lvm::model::{Lv, Vg};
use lvmd::pool;
use lvmd::volumes::{Wreck, diagnose};
use tracing::{error, info, warn};

use super::act::threshold;
use super::{Care, Seen};
use crate::activation::{Failed, Failure, Inactive, Left, decide};
use crate::commands::{self, LvmCall};
use crate::config::{DiskClass, Mode, ThinPool};

/// What lvm has beside thin_check itself.
const LVMS_TIME: Duration = Duration::from_secs(120);
/// How long a deactivation may take; a pod is killed after 30 seconds where nobody gives it more.
const LEAVING: Duration = Duration::from_secs(15);

impl<R: Runner + Clone> Care<R> {
    /// Activates a pool that nobody activated since the boot, where that is safe. Gives the
    /// pool as it is then, and why it is left inactive.
    pub(super) async fn activated(
        &mut self,
        class: &DiskClass,
        wanted: &ThinPool,
        seen: Seen,
    ) -> (Seen, Option<Left>) {
        if seen.active.is_some() {
            self.inactive_since = None;
            self.failed = None;
            self.booted.note(&seen.lv.uuid);
            return (seen, None);
        }
        let now = Instant::now();
        let obstacles: Vec<String> = super::lock_dir_problem()
            .into_iter()
            .chain(seen.view.frozen.iter().map(ToString::to_string))
            .chain(self.home.doubt())
            .collect();
        let inactive = Inactive {
            activation: class.volume_group.activation,
            mode: class.mode,
            obstacles: &obstacles,
            was_active: self.booted.was_active(&seen.lv.uuid),
            since: *self.inactive_since.get_or_insert(now),
            failed: self.failed.as_ref(),
        };
        if let Err(left) = decide(&inactive, now) {
            return (seen, Some(left));
        }
        let failed = match self.activate(class, wanted, &seen).await {
            Ok(after) => {
                self.failed = None;
                self.booted.note(&after.lv.uuid);
                info!(class = %class.name, pool = %wanted.name, "the pool is activated");
                return (after, None);
            }
            Err(failed) => failed,
        };
        let code = failed.failure.code();
        error!(class = %class.name, pool = %wanted.name, code, why = %failed.why, "the pool is not activated");
        let why = failed.why.clone();
        self.failed = Some(failed);
        (seen, Some(Left { code, why }))
    }

    async fn activate(
        &self,
        class: &DiskClass,
        wanted: &ThinPool,
        seen: &Seen,
    ) -> Result<Seen, Failed> {
        let failed = |failure, why| Failed {
            at: Instant::now(),
            failure,
            why,
        };
        let not_activated = |why| failed(Failure::NotActivated, why);
        self.clear_parts(seen).await.map_err(not_activated)?;
        let settings = self.check.settings(&class.name);
        self.check.prepare(&class.name);
        let devices = &seen.view.devices;
        let moving = seen.view.vg.is_moving();
        let activate = |lv| {
            let call = commands::activate(class, devices, lv, threshold(wanted), &settings);
            commands::unpolled(call, moving)
        };
        if moving {
            self.activate_mirror(class, wanted, devices).await;
        }
        let pool = activate(Some(&wanted.name));
        let limit = self.check.limit + LVMS_TIME;
        let said = self.tell(class, &pool, limit).await;
        let after = match self.look(class, wanted).await {
            Ok(Some(after)) if after.active.is_some() => after,
            _ => {
                let note = self.check.note(&class.name);
                return Err(match note.and_then(|n| Some((n.failure()?, n.text))) {
                    Some((failure, text)) => failed(failure, format!("{text}{}", advice(failure))),
                    None => not_activated(said.err().unwrap_or_else(|| {
                        "lvm reports success and it is not active; lvs -o autoactivation says whether it is to be".to_owned()
                    })),
                });
            }
        };
        // Its volumes, and what else is in the group.
        let rest = activate(None);
        if let Err(why) = self.tell(class, &rest, limit).await {
            warn!(class = %class.name, %why, "not all volumes of the group are activated; lvmd activates those that are used");
        }
        Ok(after)
    }

    /// Activates the mirror of a pvmove that the pool's metadata may lie on. lvm gives it its table only after it has read
    /// the metadata, so it can neither activate such a pool after a boot nor, since nothing is active then, go on with the
    /// move or take it back (measured with lvm2 2.03.31).
    async fn activate_mirror(&self, class: &DiskClass, wanted: &ThinPool, devices: &[PathBuf]) {
        let part = commands::activate_metadata(class, devices, &wanted.name);
        if let Err(why) = self.tell(class, &part, LVMS_TIME).await {
            warn!(class = %class.name, %why, "the metadata of the pool, which may be moving, is not activated");
        }
    }

    /// Deactivates what nobody has open, where the class asks for it.
    pub async fn release(&mut self, class: &DiskClass) {
        let Some(wanted) = &class.thin_pool else {
            return;
        };
        let asked = class.volume_group.deactivate_on_exit && class.mode == Mode::Enforce;
        if !asked || super::lock_dir_problem().is_some() {
            return;
        }
        let seen = match self.look(class, wanted).await {
            Ok(Some(seen)) if seen.active.is_some() && seen.view.frozen.is_empty() => seen,
            _ => return,
        };
        let call = commands::deactivate(class, &seen.view.devices);
        let said = self.tell(class, &call, LEAVING).await;
        // Whatever is left active is found active again.
        self.booted.forget();
        match self.look(class, wanted).await {
            Ok(Some(after)) if after.active.is_none() => {
                info!(class = %class.name, "the group is deactivated");
            }
            _ => {
                let why = said.err().unwrap_or_default();
                info!(class = %class.name, %why, "what is open stays active");
            }
        }
    }

    /// Removes the hidden parts of the pool that a cut-off activation left: lvm refuses
    /// everything while they are there.
    async fn clear_parts(&self, seen: &Seen) -> Result<(), String> {
        let (vg, lv) = (seen.view.vg.clone(), seen.lv.clone());
        let what = format!("the parts of {}/{}", vg.name, lv.name);
        let clear = move || -> io::Result<Vec<String>> {
            let control = dm::Control::open()?;
            let mut devices = HashMap::new();
            for uuid in uuids(&vg, &lv) {
                if let Some(device) = control.device(&uuid)? {
                    devices.insert(uuid, device);
                }
            }
            let mut cleared = Vec::new();
            for wreck in diagnose(&vg, &devices) {
                match wreck {
                    Wreck::HalfPool { pool, parts, .. } if pool == lv.name => {
                        for part in parts {
                            control.remove_unused(&part)?;
                            cleared.push(part);
                        }
                    }
                    _ => {}
                }
            }
            Ok(cleared)
        };
        let answer = self.node.patience().ask(&what, clear).await;
        let cleared = answer
            .map_err(|e| e.to_string())?
            .map_err(|e| e.to_string())?;
        if !cleared.is_empty() {
            info!(parts = ?cleared, "an activation was cut off; its parts are removed");
        }
        Ok(())
    }

    async fn tell(&self, class: &DiskClass, call: &LvmCall, limit: Duration) -> Result<(), String> {
        let group = Some(class.volume_group.name.as_str());
        let cmd = self.node.tool().call(group, &call.devices, &call.args);
        let cmd = cmd.map_err(|e| e.to_string())?.limit(limit);
        info!(command = %cmd, "running");
        let said = self.node.runner().run(cmd).await;
        said.map(drop).map_err(|e| e.to_string())
    }
}

/// The devices a pool may have: itself and its two hidden parts.
fn uuids(vg: &Vg, lv: &Lv) -> Vec<String> {
    let part = |suffix: &str| {
        let part = vg.hidden(&format!("{}_{suffix}", lv.name))?;
        Some(part.dm_uuid(vg, suffix))
    };
    let whole = pool::uuids(vg, lv);
    whole
        .into_iter()
        .chain(["tmeta", "tdata"].into_iter().filter_map(part))
        .collect()
}

/// What a person does about it.
fn advice(failure: Failure) -> &'static str {
    match failure {
        Failure::ThinCheckFailed => {
            "; see lvmthin(7), metadata check and repair; then activate it with lvchange -a y, or restart disk-watcher"
        }
        Failure::ThinCheckTimedOut => {
            "; look whether its disks are well; give it more with --thin-check-limit"
        }
        Failure::ThinCheckMissing => "; install thin-provisioning-tools",
        Failure::NotActivated => "",
    }
}

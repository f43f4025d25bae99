//! A pool that a command left suspended.
//!
//! Each lvm command that changes an active pool suspends it, or a part of it, for a moment. One that is killed in that
//! moment leaves it so: whatever is asked of its volumes waits, and so does, for ever, the next lvm command that
//! reloads the pool, since it flushes the part that is suspended (seen with `lvchange --refresh` after a killed pvmove).
//! So nothing is asked of such a pool, and it goes on as it was where that is provably right
//! ([`lvmd::volumes::stopped`]).

use std::time::{Duration, Instant};

use lvmd::cmd::Runner;
use lvmd::lvm::model::Lv;
use lvmd::lvm::snapshot::VgView;
use lvmd::lvm::vg_lock;
use lvmd::volumes::stopped;
use tracing::warn;

use super::Care;
use crate::config::{DiskClass, Mode};

/// How long a command is taken to be at work, as lvmd does; most take a tenth of a second.
const AT_WORK: Duration = Duration::from_secs(5);
/// How long between two looks.
const PAUSE: Duration = Duration::from_millis(100);

impl<R: Runner + Clone> Care<R> {
    /// Waits until no part of the pool is suspended, and lets one go on that a command left so.
    ///
    /// # Errors
    /// What is suspended, and why it stays so.
    pub(super) async fn still(
        &self,
        class: &DiskClass,
        view: &VgView,
        pool: &Lv,
    ) -> Result<(), String> {
        let begun = Instant::now();
        let parts = loop {
            let (vg, lv) = (view.vg.clone(), pool.clone());
            let look = move || stopped::suspended(&vg, &lv);
            let parts = self.ask_kernel(view, pool, look).await?;
            if parts.is_empty() {
                return Ok(());
            }
            if begun.elapsed() >= AT_WORK {
                break parts.join(" and ");
            }
            tokio::time::sleep(PAUSE).await;
        };
        let stays = |why: String| {
            format!(
                "Suspended: {parts} of {}/{} is suspended, so that its volumes wait: {why}",
                view.vg.name, pool.name
            )
        };
        if class.mode != Mode::Enforce {
            return Err(stays("nothing is changed in this mode".into()));
        }
        let held = vg_lock::exclusive(&view.vg.name).await.map_err(stays)?;
        let what = format!("resuming {}/{}", view.vg.name, pool.name);
        let (view, pool) = (view.clone(), pool.clone());
        let go_on = move || stopped::go_on(&held, &view, &pool);
        let went = self.node.patience().ask(&what, go_on).await;
        went.map_err(|e| e.to_string()).flatten().map_err(stays)?;
        warn!(class = %class.name, %parts, "a command was cut off and left it suspended; it goes on");
        Ok(())
    }
}

//! Each volume as metrics show it: how large, how full, whether it is well, what went through it.
//!
//! For that no lvm runs and no disk is read: what was read last, which the keeper does after each change, is joined with
//! what device-mapper and the kernel's counters say now.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use super::io::Io;
use super::{Volumes, belongs, stranded};
use crate::cmd::Runner;
use crate::config::DeviceClass;
use crate::dm;
use crate::lvm::health::Verdict;
use crate::lvm::live::{self, Shown};
use crate::lvm::model::{Lv, Vg};
use crate::lvm::snapshot::VgView;
use crate::names;
use crate::pool;
use crate::units::Bytes;

/// How a volume is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// Nothing is known to be wrong with it.
    Well,
    /// This is, by its stable code.
    Sick(&'static str),
    /// Only lvm could tell.
    Unknown,
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Measured {
    /// Its device class: the one it was made in, where that has it.
    pub class: String,
    /// Its LV.
    pub lv: String,
    /// Its tags.
    pub tags: Vec<String>,
    /// Its size.
    pub size: Bytes,
    /// Of a thin volume, how much was written and not discarded.
    pub used: Option<Bytes>,
    /// How it is.
    pub health: Health,
    /// What went through it since it became active; `None` while it is not.
    pub io: Option<Io>,
}

impl<R: Runner + Clone> Volumes<R> {
    /// The volumes of all classes, those being made, copied or wiped left out; none before state was read once.
    pub async fn measured(&self) -> Vec<Measured> {
        let Some(snapshot) = self.inner.engine.last_read() else {
            return Vec::new();
        };
        let config = self.config();
        let mut all = Vec::new();
        for group in config.classes.volume_groups() {
            let Some(view) = snapshot.vg(group) else {
                continue;
            };
            let members = config.classes.members();
            let classes: Vec<Arc<DeviceClass>> = members
                .filter(|class| class.volume_group == group)
                .cloned()
                .collect();
            let measure = {
                let (view, classes) = (view.clone(), classes.clone());
                move || measure(&view, &classes)
            };
            // Not the question of who lists them: what becomes of a page is no reason to call volumes sick.
            let what = format!("the metrics of {group}");
            let measured = match self.inner.engine.patience().ask(&what, measure).await {
                Ok(measured) => measured,
                Err(_) => without_status(view, &classes),
            };
            match measured {
                Ok(measured) => all.extend(measured),
                Err(error) => tracing::info!(vg = group, %error, "its volumes are not measured"),
            }
        }
        all
    }
}

/// The volumes of a group, in each of which the status of a table is asked for. Blocks while a pool hangs.
fn measure(view: &VgView, classes: &[Arc<DeviceClass>]) -> io::Result<Vec<Measured>> {
    let vg = &view.vg;
    let control = dm::Control::open()?;
    let mut of_pools: HashMap<&str, Option<&'static str>> = HashMap::new();
    let mut all = Vec::new();
    for (lv, class) in volumes(vg, classes) {
        let of_pool = *of_pools.entry(&class.name).or_insert_with(|| {
            let pool = vg.pool(class.pool()?)?;
            wrong_with(&control, vg, pool, class)
        });
        let (shown, told) = match live::show(vg, lv, &control) {
            Ok(shown) => (shown, true),
            Err(_) => (live::show_device(vg, lv, &control, '-')?, false),
        };
        let health = match health(view, shown, of_pool) {
            sick @ Health::Sick(_) => sick,
            well => match stranded::of(vg, lv) {
                Ok(Some(_)) => Health::Sick("Stranded"),
                Ok(None) if told => well,
                Ok(None) | Err(_) => Health::Unknown,
            },
        };
        all.push(measured(lv, class, shown, health));
    }
    Ok(all)
}

/// The volumes of a group where a pool does not say how it is.
fn without_status(view: &VgView, classes: &[Arc<DeviceClass>]) -> io::Result<Vec<Measured>> {
    let control = dm::Control::open()?;
    volumes(&view.vg, classes)
        .map(|(lv, class)| {
            let shown = live::show_device(&view.vg, lv, &control, 'X')?;
            Ok(measured(lv, class, shown, health(view, shown, None)))
        })
        .collect()
}

fn measured(lv: &Lv, class: &DeviceClass, shown: Shown, health: Health) -> Measured {
    let size = lv.visible_size();
    let used = shown.data.filter(|_| lv.is_thin());
    Measured {
        class: class.name.clone(),
        lv: lv.name.clone(),
        tags: lv.tags.clone(),
        size,
        used: used.map(|share| share.share_of(size)),
        health,
        io: shown.devno.and_then(Io::of),
    }
}

/// The volumes of a group, each with its class.
fn volumes<'a>(
    vg: &'a Vg,
    classes: &'a [Arc<DeviceClass>],
) -> impl Iterator<Item = (&'a Lv, &'a DeviceClass)> {
    let there = vg.lvs.iter().filter(|lv| !lv.is_under_way());
    there.filter_map(|lv| Some((lv, class_of(lv, classes)?)))
}

fn class_of<'a>(lv: &Lv, classes: &'a [Arc<DeviceClass>]) -> Option<&'a DeviceClass> {
    let made_in = names::tag_value(&lv.tags, names::TAG_DEVICE_CLASS);
    let of = || classes.iter().filter(|class| belongs(lv, class));
    let found = of().find(|class| made_in == Some(&class.name));
    found.or_else(|| of().next()).map(|class| &**class)
}

/// What is wrong with the pool of a class, as far as its volumes go.
fn wrong_with(
    control: &dm::Control,
    vg: &Vg,
    pool: &Lv,
    class: &DeviceClass,
) -> Option<&'static str> {
    let active = match pool::look(control, &pool::uuids(vg, pool)) {
        Ok(active) => active,
        Err(_) => return Some("PoolUnknown"),
    };
    let conditions = pool::conditions(pool, active.as_ref(), class.gate_percent);
    let bad = conditions.iter().find(|condition| condition.abnormal);
    bad.map(|condition| condition.code)
}

/// In the order in which a volume's condition says it: its group, itself, its pool.
fn health(view: &VgView, shown: Shown, of_pool: Option<&'static str>) -> Health {
    let of_group = view.frozen.first().map(|freeze| freeze.code());
    let own = || Verdict::of(shown.attr).map(Verdict::code);
    let wrong = of_group.or_else(own).or(of_pool);
    wrong.map_or(Health::Well, Health::Sick)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lvm::attr::LvAttr;
    use crate::lvm::report;
    use crate::lvm::snapshot::Freeze;

    fn view() -> VgView {
        let json = include_bytes!("../../tests/fixtures/fullreport-lvm2-2.03.31.json");
        VgView {
            vg: report::parse(json).unwrap().remove(0),
            devices: vec![],
            frozen: vec![],
            copies_differ: false,
        }
    }

    #[test]
    fn a_volume_suffers_from_its_group_itself_and_its_pool_in_this_order() {
        let mut view = view();
        let lv = view.vg.lvs.iter().find(|lv| lv.is_thin()).unwrap().clone();
        let well = lv.shown.unwrap();
        let sick = Shown {
            attr: LvAttr::parse("Vwi-a-tzF-").unwrap(),
            ..well
        };
        assert_eq!(health(&view, well, None), Health::Well);
        let of_pool = Some("PoolReadOnly");
        assert_eq!(health(&view, well, of_pool), Health::Sick("PoolReadOnly"));
        assert_eq!(health(&view, sick, of_pool), Health::Sick("ThinFailed"));
        view.frozen = vec![Freeze::Exported];
        assert_eq!(health(&view, sick, of_pool), Health::Sick("Exported"));
    }
}

//! What a person should know of the copies of a VG. Pure.

use super::plan::{self, Stage};
use crate::lvm::model::Vg;
use crate::names;
use crate::pool::Condition;

/// That there are copies which are not whole, and which of them never will be.
pub(in crate::volumes) fn conditions(vg: &Vg) -> Vec<Condition> {
    let copies = vg.lvs.iter().filter(|lv| lv.is_copying());
    let copies = copies.filter(|lv| lv.name.starts_with(names::COPYING_PREFIX));
    let (mut under_way, mut lost) = (Vec::new(), Vec::new());
    for name in copies.map(plan::copy_of) {
        match Stage::of(vg, name) {
            Stage::Begun { from: None, .. } => lost.push(name),
            _ => under_way.push(name),
        }
    }
    let told = |code, abnormal, names: &[&str], what: &str| {
        let message = format!("{} {what}", names.join(", "));
        (!names.is_empty()).then_some(Condition {
            code,
            abnormal,
            message,
        })
    };
    let under_way = told(
        "CopyUnderWay",
        false,
        &under_way,
        "has not all data of its source yet",
    );
    let lost = told(
        "CopyLost",
        true,
        &lost,
        "never will be a whole copy, as its frozen source is gone: remove it and ask for another",
    );
    under_way.into_iter().chain(lost).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lvm::model::Lv;
    use crate::lvm::report;

    #[test]
    fn copies_that_are_not_whole_are_named_and_those_that_never_will_be_are_abnormal() {
        let report = include_bytes!("../../../tests/fixtures/fullreport-lvm2-2.03.31.json");
        let mut vg = report::parse(report).unwrap().remove(0);
        assert_eq!(conditions(&vg), []);
        let (plain, cow) = (
            vg.lv("thick").unwrap().clone(),
            vg.lv("cow").unwrap().clone(),
        );
        let part = |lv: &Lv, name: &str| Lv {
            name: name.into(),
            tags: vec!["basalt.state=copying".into(), "basalt.copy=ro/thick".into()],
            ..lv.clone()
        };
        vg.lvs.push(part(&plain, "basalt-copying-a"));
        vg.lvs.push(part(&cow, "basalt-frozen-a"));
        vg.lvs.push(part(&plain, "basalt-copying-b"));
        let told: Vec<_> = conditions(&vg)
            .into_iter()
            .map(|told| {
                (
                    told.code,
                    told.abnormal,
                    told.message.split(' ').next().unwrap().to_owned(),
                )
            })
            .collect();
        assert_eq!(
            told,
            [
                ("CopyUnderWay", false, "a".into()),
                ("CopyLost", true, "b".into())
            ]
        );
    }
}

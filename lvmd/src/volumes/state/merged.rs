//! The state of a class out of that of its members. Pure.

use std::cmp::Reverse;
use std::sync::Arc;

use super::{ClassState, PoolState};
use crate::config::DeviceClass;
use crate::engine::EngineError;
use crate::pool::Condition;
use crate::units::Bytes;
use crate::volumes::VolumeError;

/// What the class can give, as [`super::NodeState::classes`] says it; `None` when no member is `there`. `away` are the
/// others, and why.
pub(super) fn merged(
    mut there: Vec<ClassState>,
    away: &[(Arc<DeviceClass>, VolumeError)],
) -> Option<ClassState> {
    if there.len() < 2 && away.is_empty() {
        return there.pop();
    }
    let is_missing =
        |error: &VolumeError| matches!(error, VolumeError::Engine(EngineError::Missing(_)));
    let closed = there.iter().any(|state| !state.frozen.is_empty())
        || away.iter().any(|(_, error)| is_missing(error));
    let roomiest = there.iter().min_by_key(|state| Reverse(state.free))?;
    let pools = || there.iter().filter_map(|state| state.pool.as_ref());
    let highest = |of: fn(&PoolState) -> f64| pools().map(of).fold(0.0, f64::max);
    let given = |bytes: Bytes| Some(bytes).filter(|_| !closed).unwrap_or_default();
    let told = there.iter().flat_map(|state| {
        let of = |condition| apart(&state.volume_group, condition);
        state.conditions.iter().map(of)
    });
    let not_there = away.iter().map(|(member, error)| {
        let code = match error {
            VolumeError::Engine(EngineError::Missing(_)) => "VGMissing",
            VolumeError::PoolMissing { .. } => "PoolMissing",
            _ => "PoolUnknown",
        };
        let message = match is_missing(error) {
            true => "it is not there, and nothing is made in this class until it is back or is taken out of volume-groups"
                .to_owned(),
            false => format!("nothing is made there: {error}"),
        };
        let abnormal = true;
        let condition = Condition { code, abnormal, message };
        apart(&member.volume_group, &condition)
    });
    let groups = there.iter().map(|state| state.volume_group.as_str());
    let groups: Vec<&str> = groups
        .chain(away.iter().map(|(member, _)| &*member.volume_group))
        .collect();
    Some(ClassState {
        volume_group: groups.join(", "),
        free: given(roomiest.free),
        vg_free: given(roomiest.vg_free),
        pool: roomiest.pool.as_ref().map(|pool| PoolState {
            data_percent: highest(|pool| pool.data_percent),
            metadata_percent: highest(|pool| pool.metadata_percent),
            overprovision_free: given(pool.overprovision_free),
            size: pool.size,
        }),
        frozen: there
            .iter()
            .flat_map(|state| state.frozen.clone())
            .collect(),
        conditions: told.chain(not_there).collect(),
        ..roomiest.clone()
    })
}

/// A condition of one group, told of the class. Volumes in the others do not suffer, and those in this one say it themselves.
fn apart(vg: &str, condition: &Condition) -> Condition {
    Condition {
        code: condition.code,
        abnormal: false,
        message: format!("volume group {vg}: {}", condition.message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::lvm::snapshot::Freeze;
    use std::path::Path;

    fn state(vg: &str, free: u64) -> ClassState {
        ClassState {
            class: "c".into(),
            volume_group: vg.into(),
            is_default: true,
            free: Bytes(free),
            vg_free: Bytes(free),
            vg_size: Bytes(free + 1),
            pool: None,
            frozen: Vec::new(),
            conditions: Vec::new(),
        }
    }

    fn member(vg: &str) -> Arc<DeviceClass> {
        let text = format!("device-classes: [{{name: c, volume-groups: [{vg}, other]}}]");
        let config = Config::parse(&text, Path::new("test")).unwrap();
        config.classes.get("c").unwrap().members()[0].clone()
    }

    fn missing(vg: &str) -> (Arc<DeviceClass>, VolumeError) {
        (member(vg), EngineError::Missing(vg.into()).into())
    }

    #[test]
    fn a_class_can_give_what_its_roomiest_group_can_and_not_the_sum() {
        let merged = merged(vec![state("a", 10), state("b", 30), state("c", 30)], &[]).unwrap();
        let ClassState {
            free,
            vg_free,
            vg_size,
            ..
        } = &merged;
        assert_eq!((free.0, vg_free.0, vg_size.0), (30, 30, 31));
        assert_eq!(merged.volume_group, "a, b, c");
        assert!(merged.is_default && merged.conditions.is_empty());
    }

    #[test]
    fn a_pool_that_fills_shows_in_any_group() {
        let thin = |vg: &str, free, (data_percent, metadata_percent)| ClassState {
            pool: Some(PoolState {
                data_percent,
                metadata_percent,
                overprovision_free: Bytes(free),
                size: Bytes(free * 2),
            }),
            ..state(vg, free)
        };
        let states = vec![thin("a", 10, (90.0, 1.0)), thin("b", 20, (5.0, 80.0))];
        let pool = merged(states, &[]).unwrap().pool.unwrap();
        assert_eq!(pool.percents(), (90.0, 80.0));
        assert_eq!((pool.overprovision_free.0, pool.size.0), (20, 40));
    }

    #[test]
    fn one_group_is_told_as_it_is() {
        let mut one = state("a", 10);
        one.conditions = vec![Condition {
            code: "X",
            abnormal: true,
            message: "m".into(),
        }];
        assert_eq!(merged(vec![one.clone()], &[]), Some(one));
        assert_eq!(merged(vec![], &[missing("a")]), None);
    }

    #[test]
    fn a_group_that_is_away_or_frozen_closes_the_class_and_says_so_without_blaming_others_volumes()
    {
        let away = merged(vec![state("a", 10)], &[missing("b")]).unwrap();
        let mut cold = state("b", 0);
        cold.frozen = vec![Freeze::Exported];
        cold.conditions = vec![super::super::frozen(&Freeze::Exported)];
        let frozen = merged(vec![state("a", 10), cold], &[]).unwrap();
        for (merged, code) in [(&away, "VGMissing"), (&frozen, "Exported")] {
            assert_eq!((merged.free.0, merged.vg_free.0), (0, 0));
            let [condition] = merged.conditions.as_slice() else {
                panic!("{:?}", merged.conditions);
            };
            assert_eq!((condition.code, condition.abnormal), (code, false));
            assert!(condition.message.starts_with("volume group b: "));
        }
        assert_eq!(frozen.frozen, [Freeze::Exported]);
    }

    #[test]
    fn a_group_without_the_pool_leaves_the_others_open() {
        let gone = VolumeError::PoolMissing {
            vg: "b".into(),
            pool: "p".into(),
        };
        let merged = merged(vec![state("a", 10)], &[(member("b"), gone)]).unwrap();
        assert_eq!(merged.free.0, 10);
        assert_eq!(merged.conditions[0].code, "PoolMissing");
    }
}

//! Whether a volume that is there is the one that is asked for, by its tags.
//!
//! Which tags a volume gets grows from version to version, and a volume keeps those that it was made with. So one that has
//! fewer is not another one: as long as it has been made for the same name and says nothing else, it is given what it lacks.

use crate::names;

/// The tags that a volume lacks of those that are asked for; `None` when it is another's.
pub(super) fn lacking(has: &[String], wanted: &[String]) -> Option<Vec<String>> {
    let absent: Vec<String> = wanted
        .iter()
        .filter(|tag| !has.contains(tag))
        .cloned()
        .collect();
    // An untagged volume is upstream's; whoever asks for it by name claims it.
    if absent.is_empty() || has.is_empty() {
        return Some(absent);
    }
    let made_for = |tags| names::tag_value(tags, names::TAG_LV);
    let is_the_one = made_for(has).is_some() && made_for(has) == made_for(wanted);
    let is_new = |tag: &String| {
        let key = tag.split_once('=').map(|(key, _)| key);
        key.is_some_and(|key| names::tag_value(has, key).is_none())
    };
    (is_the_one && absent.iter().all(is_new)).then_some(absent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_that_an_earlier_version_made_with_fewer_tags_is_the_one_that_is_asked_for() {
        let tags = |all: &[&str]| all.iter().map(|tag| (*tag).to_owned()).collect::<Vec<_>>();
        let wanted = tags(&[
            "basalt.lv=pvc-1",
            "basalt.pvc=ns/a",
            "basalt.device-class=ssd",
        ]);
        let lacks = |has: &[&str]| lacking(&tags(has), &wanted);
        assert_eq!(lacks(&["basalt.lv=pvc-1"]), Some(wanted[1..].to_vec()));
        assert_eq!(lacks(&[]), Some(wanted.clone()));
        let more = [
            &["mine"],
            &wanted.iter().map(String::as_str).collect::<Vec<_>>()[..],
        ]
        .concat();
        assert_eq!(lacks(&more), Some(vec![]));
        for others in [
            &["mine"][..],
            &["basalt.lv=pvc-2"],
            &["basalt.pvc=ns/a"],
            &["basalt.lv=pvc-1", "basalt.pvc=ns/b"],
        ] {
            assert_eq!(lacks(others), None, "{others:?}");
        }
        let plain = lacking(
            &tags(&["basalt.lv=pvc-1"]),
            &tags(&["basalt.lv=pvc-1", "mine"]),
        );
        assert_eq!(plain, None, "nobody knows what it says");
    }
}

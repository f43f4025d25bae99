use super::*;
use crate::lvm::describe;
use crate::lvm::metadata::Group;
use crate::lvm::report;
use std::collections::HashMap;

const TEXT: &[u8] = include_bytes!("../../../tests/fixtures/layouts-lvm2-2.03.31.vg");
const REPORT: &[u8] = include_bytes!("../../../tests/fixtures/layouts-lvm2-2.03.31.json");
/// `dmsetup info -c -o name,uuid,open,suspended,major,minor` and `dmsetup status` of the same moment.
const INFO: &str = include_str!("../../../tests/fixtures/layouts-dmsetup-info.txt");
const STATUS: &str = include_str!("../../../tests/fixtures/layouts-dmsetup-status.txt");

/// Devices by uuid.
#[derive(Default)]
struct Table(HashMap<String, (Device, Vec<Target>)>);

impl Mapper for Table {
    fn device(&self, uuid: &str) -> io::Result<Option<Device>> {
        Ok(self.0.get(uuid).map(|(device, _)| device.clone()))
    }

    fn status(&self, uuid: &str) -> io::Result<Option<(Device, Vec<Target>)>> {
        Ok(self.0.get(uuid).cloned())
    }
}

impl Table {
    fn captured() -> Self {
        let devices = INFO.lines().map(|line| {
            let words: Vec<&str> = line.split(':').collect();
            let [name, uuid, open, state, major, minor] = words[..] else {
                panic!("{line}")
            };
            let device = Device {
                name: name.into(),
                uuid: uuid.into(),
                devno: (major.parse().unwrap(), minor.parse().unwrap()),
                open_count: open.parse().unwrap(),
                suspended: state != "Active",
                // dmsetup shows it in a column of its own; only these have one.
                readonly: ["vg-readonly", "vg-s2", "vg-ext-real"].contains(&name),
                live: true,
                loaded: false,
                event_nr: 0,
            };
            let targets = STATUS.lines().filter_map(|line| {
                let rest = line.strip_prefix(&format!("{name}: "))?;
                let mut words = rest.splitn(4, ' ');
                Some(Target {
                    start: words.next()?.parse().unwrap(),
                    length: words.next()?.parse().unwrap(),
                    kind: words.next()?.into(),
                    params: words.next().unwrap_or_default().into(),
                })
            });
            (uuid.to_owned(), (device, targets.collect()))
        });
        Self(devices.collect())
    }

    fn change(mut self, uuid: &str, change: impl FnOnce(&mut Device, &mut Vec<Target>)) -> Self {
        let (device, targets) = self.0.get_mut(uuid).unwrap();
        change(device, targets);
        self
    }

    fn without(mut self, uuid: &str) -> Self {
        assert!(self.0.remove(uuid).is_some(), "{uuid}");
        self
    }
}

fn read() -> Vg {
    let group = Group::parse(TEXT).unwrap();
    let devices = group
        .pvs
        .iter()
        .map(|pv| (pv.uuid.as_str(), pv.device.clone()))
        .collect();
    describe::vg(&group, &devices).unwrap()
}

fn shown(vg: &Vg, name: &str, table: &Table) -> Shown {
    let lv = vg.lvs.iter().find(|lv| lv.name == name).unwrap();
    show(vg, lv, table).unwrap()
}

#[test]
fn metadata_and_device_mapper_make_what_lvm_reports() {
    let vg = read();
    let reported = report::parse(REPORT).unwrap().remove(0);
    let table = Table::captured();
    assert_eq!(vg.lvs.len(), reported.lvs.len());
    let mut differences = Vec::new();
    for (lv, by_lvm) in vg.lvs.iter().zip(&reported.lvs) {
        let shown = show(&vg, lv, &table).unwrap();
        differences.extend(crate::lvm::compare::lv(lv, shown, by_lvm));
    }
    differences.extend(crate::lvm::compare::vg(&vg, &reported));
    assert!(differences.is_empty(), "{differences:#?}");
}

#[test]
fn an_inactive_group_shows_no_device() {
    let vg = read();
    for lv in &vg.lvs {
        let shown = show(&vg, lv, &Table::default()).unwrap();
        assert_eq!((shown.attr, shown.devno, shown.data), (lv.attr, None, None));
    }
}

#[test]
fn each_state_has_its_character() {
    let vg = read();
    let uuid = |name: &str, suffix: &str| {
        let lv = vg.lvs.iter().find(|lv| lv.name == name).unwrap();
        lv.dm_uuid(&vg, suffix)
    };
    let (thin, pool, cow) = (uuid("t1", ""), uuid("pool", "tpool"), uuid("cow", ""));
    let attr = |name: &str, table: Table| shown(&vg, name, &table).attr.to_string();
    let status = |uuid: &str, text: &str| {
        Table::captured().change(uuid, |_, targets| targets[0].params = text.into())
    };
    let device = |uuid: &str, change: fn(&mut Device)| {
        Table::captured().change(uuid, |device, _| change(device))
    };
    assert_eq!(
        attr("t1", device(&thin, |d| d.suspended = true)),
        "Vwi-s-tz--"
    );
    assert_eq!(
        attr("t1", device(&thin, |d| d.readonly = true)),
        "VRi-a-tz--"
    );
    assert_eq!(attr("s2", Table::captured()), "Vri-a-tz--");
    assert_eq!(attr("t1", device(&thin, |d| d.live = false)), "Vwi-d-tz--");
    let waits = |d: &mut Device| (d.live, d.loaded) = (false, true);
    assert_eq!(attr("t1", device(&thin, waits)), "Vwi-i-tz--");
    assert_eq!(attr("t1", status(&thin, "Fail")), "Vwi-a-tzF-");
    let full =
        "5 114/1024 1024/1024 - out_of_data_space no_discard_passdown queue_if_no_space - 256";
    assert_eq!(attr("pool", status(&pool, full)), "twi-aotzD-");
    let check = "5 114/1024 160/1024 - ro no_discard_passdown queue_if_no_space needs_check 256";
    assert_eq!(attr("pool", status(&pool, check)), "twi-cotzM-");
    assert_eq!(attr("pool", status(&pool, "Fail")), "twi-aotzF-");
    assert_eq!(shown(&vg, "pool", &status(&pool, "Fail")).data, None);
    assert_eq!(attr("cow", status(&cow, "Invalid")), "swi-I-s---");
    assert_eq!(attr("cow", status(&cow, "Merge failed")), "swi-m-s---");
    // A pool without its own device is only used, not active; lvm still sees its usage.
    let used = Table::captured().without(&uuid("pool", "pool"));
    assert_eq!(attr("pool", used), "twi---tz--");
    let origin = Table::captured().without(&uuid("linear", ""));
    assert_eq!(attr("linear", origin), "owi---s---");
}

#[test]
fn a_table_that_is_not_of_this_metadata_is_a_question_for_lvm() {
    let vg = read();
    let unsure = |name: &str, table: &Table| {
        let lv = vg.lvs.iter().find(|lv| lv.name == name).unwrap();
        matches!(
            show(&vg, lv, table),
            Err(LiveError::Unsure(Unsure::Mapping { .. }))
        )
    };
    let uuid = |name: &str, suffix: &str| {
        let lv = vg.lvs.iter().find(|lv| lv.name == name).unwrap();
        lv.dm_uuid(&vg, suffix)
    };
    let shorter = |name: &str, suffix: &str| {
        Table::captured().change(&uuid(name, suffix), |_, targets| targets[0].length -= 8)
    };
    let of_kind = |name: &str, suffix: &str| {
        Table::captured().change(&uuid(name, suffix), |_, targets| {
            targets[0].kind = "other".into()
        })
    };
    for (name, suffix) in [
        ("striped", ""),
        ("t1", ""),
        ("pool", "tpool"),
        ("pool_tmeta", "tmeta"),
        ("cow", ""),
        ("linear", "real"),
        ("ext", "real"),
        ("zer", ""),
    ] {
        assert!(!unsure(name, &Table::captured()), "{name}");
        assert!(unsure(name, &shorter(name, suffix)), "{name}");
        assert!(unsure(name, &of_kind(name, suffix)), "{name}");
    }
    let garbled = |name: &str, suffix: &str| {
        Table::captured().change(&uuid(name, suffix), |_, targets| {
            targets[0].params = "what".into()
        })
    };
    for (name, suffix) in [("t1", ""), ("pool", "tpool"), ("cow", "")] {
        assert!(unsure(name, &garbled(name, suffix)), "{name}");
    }
    // A half-done activation.
    let moved = |from: (&str, &str), to: (&str, &str)| {
        let mut table = Table::captured();
        let seen = table.0.remove(&uuid(from.0, from.1)).unwrap();
        table.0.insert(uuid(to.0, to.1), seen);
        table
    };
    assert!(unsure(
        "striped",
        &moved(("striped", ""), ("striped", "real"))
    ));
    assert!(unsure(
        "pool_tmeta",
        &moved(("pool_tmeta", "tmeta"), ("pool_tmeta", ""))
    ));
}

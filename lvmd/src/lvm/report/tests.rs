use super::*;
use crate::units::MIB;

const REPORT: &[u8] = include_bytes!("../../../tests/fixtures/fullreport-lvm2-2.03.31.json");

#[test]
fn reads_every_kind_of_lv() {
    let vgs = parse(REPORT).unwrap();
    let [vg] = &vgs[..] else { panic!("{vgs:?}") };
    assert_eq!(
        (vg.name.as_str(), vg.extent_count, vg.free_count, vg.seqno),
        ("vg", 126, 92, 14)
    );
    assert_eq!(vg.owner(), Some("x"));
    assert_eq!(vg.pvs.len(), 2);
    let thin = vg.lv("t1").unwrap();
    assert!(
        thin.is_thin() && thin.pool == "pool" && thin.tags == ["a=b", "c"],
        "{thin:?}"
    );
    assert_eq!(vg.lv("s1").unwrap().origin, "t1");
    let pool = vg.pool("pool").unwrap();
    assert_eq!(
        (pool.size, pool.metadata_size),
        (Bytes(80 * MIB), Bytes(4 * MIB))
    );
    let cow = vg.lv("cow").unwrap();
    assert_eq!(
        (cow.visible_size(), cow.size),
        (Bytes(8 * MIB), Bytes(4 * MIB))
    );
    assert!(
        vg.lv("pool_tmeta").is_none(),
        "a hidden LV is nobody's volume"
    );
    assert_eq!(vg.lv("r1").unwrap().segtype, "raid1");
    assert_eq!(vg.virtual_bytes("pool"), Bytes(64 * MIB));
    let inactive = vg.lv("inactive").unwrap();
    assert_eq!(
        inactive.tags,
        Vec::<String>::new(),
        "no tag is not one empty tag"
    );
    let devno = |lv: &Lv| lv.shown.as_ref().unwrap().devno;
    assert_eq!(devno(inactive), None, "lvm writes -1");
    assert!(devno(thin).is_some(), "{thin:?}");
}

#[test]
fn the_device_mapper_uuid_is_the_one_the_kernel_shows() {
    let vgs = parse(REPORT).unwrap();
    let pool = vgs[0].pool("pool").unwrap();
    assert_eq!(
        pool.dm_uuid(&vgs[0], "tpool"),
        "LVM-BrxQrPM5cvej9flRBtnJhpsXYRTjKGKOg1tq2wO2P3DtQXJzzYTJxaEbacSMpzBt-tpool"
    );
}

#[test]
fn half_a_report_is_no_report() {
    let text = String::from_utf8(REPORT.to_vec()).unwrap();
    for (from, to) in [
        (r#""lv_size":"83886080""#, r#""lv_size":"83.9m""#),
        (r#""lv_attr":"twi-aotz--""#, r#""lv_attr":"""#),
        (r#""vg_free_count":"92", "#, ""),
    ] {
        assert!(text.contains(from), "{from}");
        assert!(
            parse(text.replacen(from, to, 1).as_bytes()).is_err(),
            "{to}"
        );
    }
    assert!(parse(&REPORT[..REPORT.len() / 2]).is_err());
}

#[test]
fn what_lvm_warns_of_is_heard() {
    let row = |kind: &str, text: &str| {
        format!(r#"{{"log_seq_num":"1", "log_type":"{kind}", "log_message":"{text}"}}"#)
    };
    let rows = [
        row("warn", "Checksum error on /dev/sdb"),
        row("print", "Retrying"),
        row("warn", "Checksum error on /dev/sdb"),
    ];
    let json = format!(r#"{{"report":[],"log":[{}]}}"#, rows.join(","));
    let (_, warnings) = read(json.as_bytes()).unwrap();
    assert_eq!(warnings, ["Checksum error on /dev/sdb"]);
}

use super::*;

#[test]
fn options_that_shape_the_volume_pass_in_one_form() {
    for (words, args) in [
        (&["--type=raid1"][..], &["--type=raid1"][..]),
        (
            &["--type", "raid10", "-m1", "-i", "2"],
            &["--type=raid10", "--mirrors=1", "--stripes=2"],
        ),
        (&["--mirrors=1"], &["--mirrors=1"]),
        (&["-I64k"], &["--stripesize=64k"]),
        (&["-vqi2"], &["--verbose", "--quiet", "--stripes=2"]),
        (&["-Cy"], &["--contiguous=y"]),
        (&["--stripe-size=4"], &["--stripesize=4"]),
        (
            &["--addtag", "a=b", "--addtag=c"],
            &["--addtag=a=b", "--addtag=c"],
        ),
        (
            &["-Zy", "-ay", "-kn", "-prw", "--monitor=n"],
            &[
                "--zero=y",
                "--activate=y",
                "--setactivationskip=n",
                "--permission=rw",
                "--monitor=n",
            ],
        ),
        (&[], &[]),
    ] {
        assert_eq!(
            LvcreateOptions::parse(words).unwrap().args(),
            args,
            "{words:?}"
        );
    }
}

#[test]
fn options_that_lead_past_the_engine_are_refused_however_they_are_written() {
    for words in [
        &["--force"][..],
        &["-f"],
        &["-vf"],
        &["--fo-rce"],
        &["--conf=devices{}"],
        &["--config", "devices{scan=\"/\"}"],
        &["--profile=x"],
        &["--devices=/dev/sda"],
        &["--devices-file="],
        &["--nolocking"],
        &["--test"],
        &["-t"],
        &["--noudevsync"],
        &["-n", "x"],
        &["-nx"],
        &["-vnx"],
        &["-L1g"],
        &["-l", "100%FREE"],
        &["-V1g"],
        &["-T"],
        &["-s"],
        &["--snapshot"],
        &["-y"],
        &["-Wn"],
        &["-an"],
        &["--activate", "n"],
        &["-Zn"],
        &["-ky"],
        &["-pr"],
        &["--type=thin-pool"],
        &["--type=snapshot"],
        &["--type", "vdo"],
        &["--mirr=1"],
        &["--whatever"],
        &["/dev/sdb"],
        &["vg/lv"],
        &["--"],
        &["-"],
        &[""],
        &["--mirrors"],
        &["--mirrors="],
        &["-m"],
        &["--nosync=y"],
        &["--type=raid1", "-m1", "othervg"],
        &["--addtag=basalt.owner=me"],
        &["--addtag=@basalt.state=wiping"],
        &["-ж"],
    ] {
        let error = LvcreateOptions::parse(words).unwrap_err();
        assert!(!error.reason.is_empty(), "{words:?}");
    }
}

#[test]
fn a_refusal_names_the_word_and_the_reason() {
    let error = LvcreateOptions::parse(&["--type=raid1", "-Zn"]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "option \"-Zn\" is refused: what stood on the disk before would show in the new volume; \
         allowed values: y"
    );
}

#[test]
fn values_are_found_by_the_long_name() {
    let options = LvcreateOptions::parse(&["-m", "1", "--nosync", "-I4"]).unwrap();
    assert_eq!(options.value("mirrors"), Some("1"));
    assert_eq!(options.value("nosync"), Some(""));
    assert_eq!(options.value("stripes"), None);
    assert_eq!(options.value("stripe"), None);
}

#[test]
fn the_table_names_each_option_once() {
    for (i, a) in OPTIONS.iter().enumerate() {
        for b in &OPTIONS[i + 1..] {
            assert_ne!(a.long, b.long);
            assert!(a.short.is_none() || a.short != b.short, "-{:?}", a.short);
        }
    }
}

use proptest::prelude::{Just, Strategy, any, prop, prop_oneof, proptest};
use serde::de::IgnoredAny;

use super::*;

fn is_json(text: &str) -> bool {
    let mut scanner = Scanner::new(text);
    scanner.value().and_then(|()| scanner.end()).is_ok()
}

fn serde_takes(text: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(text).is_ok()
}

#[test]
fn json_is_told_from_what_is_none() {
    let good = [
        " null ",
        "true",
        "false",
        "0",
        "-0",
        "10.50e+7",
        "1E-2",
        "{}",
        " [ ] ",
        "[{}, [[]], \"\"]",
        r#"{"a":{"b":[1,2,{"c":null}]},"d":"x"}"#,
        r#""\u00e9\n\/ä""#,
        "\"\\ud800\"",
        "\"\u{7f}\"",
    ];
    let bad = [
        "",
        " ",
        "nul",
        "nulll",
        "True",
        "01",
        "-",
        "1.",
        ".1",
        "1e",
        "1e+",
        "+1",
        "[",
        "]",
        "[1,]",
        "[1 2]",
        "[1}",
        "{",
        "{]",
        "{a:1}",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{1:2}",
        "\"",
        "\"a",
        "\"\\\"",
        "\"\\x\"",
        "\"\\u12g4\"",
        "\"\\u12",
        "\"a\nb\"",
        "\"\0\"",
        "1 2",
        "{}{}",
        "[\"12345678\n\"]",
        "nu\u{fe}l",
    ];
    for (texts, expected) in [(&good[..], true), (&bad[..], false)] {
        for text in texts {
            assert_eq!(is_json(text), expected, "{text:?}");
            assert_eq!(serde_takes(text), expected, "{text:?}, serde_json");
        }
    }
}

#[test]
fn depth_takes_no_stack() {
    let deep = 1 << 20;
    assert!(is_json(&("[".repeat(deep) + &"]".repeat(deep))));
    assert!(!is_json(&("[".repeat(deep) + &"]".repeat(deep - 1))));
    let objects = "{\"a\":".repeat(deep) + "0" + &"}".repeat(deep);
    assert!(is_json(&objects));
}

#[test]
fn strings_are_read_as_they_are_meant() {
    let read = |text| Scanner::new(text).string().and_then(Text::read);
    assert!(matches!(read("\"plain\""), Ok(Cow::Borrowed("plain"))));
    assert_eq!(read(r#""\u0061\"b\\""#).unwrap(), "a\"b\\");
    assert!(read(r#""\ud800""#).is_err());
    assert!(read("7").is_err());
}

/// Bits of JSON, whole and broken, one behind the other.
fn bits() -> impl Strategy<Value = String> {
    let bit = prop_oneof![
        prop::sample::select(vec![
            "{",
            "}",
            "[",
            "]",
            ",",
            ":",
            "\"",
            "\\",
            "\\u",
            "12aF",
            "-",
            "0",
            "7",
            ".",
            "e",
            "E+",
            "null",
            "true",
            "false",
            " ",
            "\n",
            "\"a\":",
            "\"key\"",
            "[]",
            "{}",
            "é",
            "\u{1}",
            "long enough to fill a word or two",
        ])
        .prop_map(str::to_owned),
        any::<char>().prop_map(String::from),
    ];
    prop::collection::vec(bit, 0..12).prop_map(|bits| bits.concat())
}

/// JSON, and what becomes of it when a byte of it is another one or it ends early.
fn nearly() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<String>().prop_map(Into::into),
    ];
    let value = leaf.prop_recursive(5, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
            prop::collection::btree_map(any::<String>(), inner, 0..6)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    });
    let damage = prop::option::of((any::<prop::sample::Index>(), prop::option::of(0..128_u8)));
    (value, any::<bool>(), damage).prop_map(|(value, pretty, damage)| {
        let written = match pretty {
            true => serde_json::to_string_pretty(&value),
            false => serde_json::to_string(&value),
        };
        let mut bytes = written.unwrap_or_default().into_bytes();
        if let Some((at, byte)) = damage {
            let at = at.index(bytes.len());
            match byte {
                Some(byte) => bytes[at] = byte,
                None => bytes.truncate(at),
            }
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(4000))]

    #[test]
    fn what_is_json_is_what_serde_json_takes(text in prop_oneof![bits(), nearly()]) {
        assert_eq!(is_json(&text), serde_takes(&text), "{text:?}");
    }

    #[test]
    fn strings_are_read_as_serde_json_reads_them(text in any::<String>(), quoted in any::<bool>()) {
        let json = if quoted { serde_json::to_string(&text).unwrap() } else { format!("\"{text}\"") };
        let ours = Scanner::new(&json).span(|s| s.string().map(drop)).ok();
        let mut serde = serde_json::Deserializer::from_str(&json).into_iter::<String>();
        let theirs = serde.next().and_then(Result::ok);
        assert_eq!(ours.is_some(), theirs.is_some(), "{json}");
        if let (Some(ours), Some(theirs)) = (ours, theirs) {
            assert_eq!(Scanner::new(ours).string().unwrap().read().unwrap(), theirs);
        }
    }
}

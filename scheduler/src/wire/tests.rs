use proptest::prelude::{Just, Strategy, prop, prop_oneof, proptest};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::*;

/// A question as serde reads it.
#[derive(Deserialize)]
struct SerdeQuestion<'a> {
    #[serde(alias = "Pod")]
    pod: Option<SerdeObject>,
    #[serde(borrow, alias = "Nodes")]
    nodes: Option<SerdeList<'a>>,
    #[serde(alias = "NodeNames", alias = "nodeNames")]
    nodenames: Option<Vec<String>>,
}

#[derive(Default, Deserialize)]
struct SerdeObject {
    #[serde(default)]
    metadata: SerdeMetadata,
}

#[derive(Default, Deserialize)]
struct SerdeMetadata {
    #[serde(default)]
    name: String,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
struct SerdeList<'a> {
    #[serde(borrow)]
    metadata: Option<&'a RawValue>,
    #[serde(borrow, default)]
    items: Option<Vec<&'a RawValue>>,
}

/// Its name and its capacities.
type Plain = (String, Vec<(String, String)>);

fn plain(metadata: &Metadata<'_>) -> Plain {
    let capacities = metadata
        .capacities()
        .map(|(class, text)| (class.to_owned(), text.to_owned()));
    (metadata.name.to_string(), capacities.collect())
}

fn serde_plain(metadata: SerdeMetadata) -> Plain {
    let annotations = metadata.annotations.unwrap_or_default().into_iter();
    let capacities = annotations
        .filter_map(|(key, text)| Some((key.strip_prefix(CAPACITY_PREFIX)?.to_owned(), text)));
    (metadata.name, capacities.collect())
}

/// All that is read: the pod, the list's metadata and each node's text and metadata, the names.
type Read = (
    Option<Plain>,
    Option<(Option<String>, Vec<(String, Option<Plain>)>)>,
    Option<Vec<String>>,
);

fn read(text: &str) -> Option<Read> {
    read_after(text, &Arriving::default())
}

/// As by an extender that has seen these nodes.
fn read_after(text: &str, arrived: &Arriving) -> Option<Read> {
    let question = Question::of(text, arrived).ok()?;
    let nodes = question.nodes.map(|list| {
        let items = list.items.unwrap_or_default().into_iter().map(|node| {
            assert_eq!(&text[node.at..][..node.raw.len()], node.raw);
            (
                node.raw.to_owned(),
                node.metadata.as_ref().ok().map(|metadata| plain(metadata)),
            )
        });
        (list.metadata.map(str::to_owned), items.collect())
    });
    let names = question
        .names
        .map(|names| names.into_iter().map(Cow::into_owned).collect());
    Some((question.pod.as_ref().map(plain), nodes, names))
}

fn serde_read(text: &str) -> Option<Read> {
    let question: SerdeQuestion<'_> = serde_json::from_str(text).ok()?;
    let nodes = question.nodes.map(|list| {
        let items = list.items.unwrap_or_default().into_iter().map(|raw| {
            let node = serde_json::from_str::<SerdeObject>(raw.get());
            (
                raw.get().to_owned(),
                node.ok().map(|node| serde_plain(node.metadata)),
            )
        });
        (
            list.metadata.map(|raw| raw.get().to_owned()),
            items.collect(),
        )
    });
    Some((
        question.pod.map(|pod| serde_plain(pod.metadata)),
        nodes,
        question.nodenames,
    ))
}

#[test]
fn a_question_is_read_as_serde_reads_it() {
    let node = r#"{"status":{"x":[1]},"metadata":{"labels":{"a":"b"},"name":"n\u0031","annotations":{"x":"y","capacity.topolvm.io/ssd":"7","capacity.topolvm\u002eio/a":"8","capacity.topolvm.io/ssd":"9"}}}"#;
    let whole = format!(
        "{{\"Nodes\": {{\"items\": [{node} , {{}},{node}], \"metadata\": {{}} }}, \"Pod\":{node},\n\"x\":[{{}}]}}"
    );
    let read_whole = read(&whole).expect("a question");
    assert_eq!(
        read_whole.0.as_ref().unwrap(),
        &(
            "n1".to_owned(),
            vec![
                ("a".to_owned(), "8".to_owned()),
                ("ssd".to_owned(), "9".to_owned())
            ]
        )
    );
    assert_eq!(Some(read_whole), serde_read(&whole));
    for (text, good) in [
        ("{}", true),
        ("{\"pod\":null,\"nodes\":null,\"nodenames\":null}", true),
        (r#"{"nodes":{"items":null,"metadata":null}}"#, true),
        (r#"{"nodes":{"items":[7,"x",null]}}"#, true),
        (r#"{"nodenames":["a","\u00e9",""]}"#, true),
        (r#"{"p\u006fd":{}}"#, true),
        (r#"{"pod":{"metadata":{"annotations":{"x":null}}}}"#, false),
        (r#"{"pod":{"metadata":{"name":7}}}"#, false),
        (r#"{"pod":{"metadata":null}}"#, false),
        (r#"{"pod":7}"#, false),
        (r#"{"pod":{},"Pod":{}}"#, false),
        (r#"{"pod":{"metadata":{"name":"a","name":"b"}}}"#, false),
        (r#"{"nodes":{"items":{}}}"#, false),
        (r#"{"nodes":{"items":[{},]}}"#, false),
        (r#"{"nodes":{"items":[{}}}"#, false),
        (r#"{"nodenames":["a",7]}"#, false),
        (r#"{"nodenames":["\ud800"]}"#, false),
        ("[]", false),
        ("{} {}", false),
    ] {
        let ours = read(text);
        assert_eq!(ours.is_some(), good, "{text}");
        assert_eq!(ours, serde_read(text), "{text}");
    }
}

#[test]
fn more_nodes_than_there_can_be_are_refused() {
    let many = |value: &str| format!("[{}]", vec![value; MOST + 1].join(","));
    let nodes = format!("{{\"nodes\":{{\"items\":{}}}}}", many("{}"));
    let names = format!("{{\"nodenames\":{}}}", many("\"\""));
    for text in [nodes, names] {
        assert_eq!(
            Question::of(&text, &Arriving::default()).unwrap_err().what,
            TOO_MANY
        );
    }
}

/// Objects with keys of a question and others, in any order and more than once, and what they may hold. No arrays for objects: serde takes
/// the fields of a structure in that form too, which nobody writes.
fn question() -> impl Strategy<Value = String> {
    let text = prop::sample::select(vec![
        r#""a""#,
        r#""n\u0031""#,
        r#""7""#,
        r#""é\n""#,
        r#""""#,
    ]);
    let other = prop::sample::select(vec!["null", "7", "{}", r#""x""#, r#"{"a":[{}]}"#]);
    fn object<V: Strategy<Value = (String, String)>>(members: V) -> impl Strategy<Value = String> {
        prop::collection::vec(members, 0..4).prop_map(|members| {
            let members = members.iter().map(|(key, value)| format!("{key}:{value}"));
            format!("{{{}}}", members.collect::<Vec<_>>().join(" ,"))
        })
    }
    let key =
        |keys: Vec<&'static str>| prop::sample::select(keys).prop_map(|key| format!("\"{key}\""));
    let text = move || text.clone().prop_map(str::to_owned);
    let other = move || other.clone().prop_map(str::to_owned);
    let annotations = || {
        let key = key(vec![
            "a",
            "capacity.topolvm.io/a",
            r"capacity.topolvm\u002eio/a",
            "capacity.topolvm.io/b",
        ]);
        object((key, prop_oneof![9 => text(), 1 => other()]))
    };
    let metadata = || {
        object(prop_oneof![
            (key(vec!["name"]), prop_oneof![9 => text(), 1 => other()]),
            (
                key(vec!["annotations", r"annot\u0061tions"]),
                prop_oneof![9 => annotations(), 1 => other()]
            ),
            (key(vec!["labels"]), other()),
        ])
    };
    // Of a node's metadata serde reads the last, and the node as a whole: one each.
    let node = || {
        let metadata = (
            key(vec!["metadata", r"met\u0061data"]),
            prop_oneof![9 => metadata(), 1 => other()],
        );
        (
            prop::option::of(metadata),
            (key(vec!["status"]), other()),
            prop::bool::ANY,
        )
            .prop_map(|(metadata, status, first)| {
                let status = Some(status);
                let both = if first {
                    [metadata, status]
                } else {
                    [status, metadata]
                };
                let both = both
                    .into_iter()
                    .flatten()
                    .map(|(key, value)| format!("{key}: {value}"));
                format!("{{{}}}", both.collect::<Vec<_>>().join(","))
            })
    };
    let list = |item: prop::strategy::BoxedStrategy<String>| {
        prop::collection::vec(item, 0..3).prop_map(|items| format!("[{}]", items.join(" , ")))
    };
    let nodes = object(prop_oneof![
        (key(vec!["metadata"]), other()),
        (key(vec!["items"]), list(node().boxed())),
        (key(vec!["items"]), list(other().boxed())),
        (key(vec!["kind"]), other()),
    ]);
    object(prop_oneof![
        (
            key(vec!["pod", "Pod"]),
            prop_oneof![9 => node(), 1 => other()]
        ),
        (
            key(vec!["nodes", "Nodes"]),
            prop_oneof![9 => nodes, 1 => Just("null".to_owned())]
        ),
        (
            key(vec!["nodenames", "NodeNames", "nodeNames"]),
            list(prop_oneof![9 => text(), 1 => other()].boxed())
        ),
        (key(vec!["kind"]), other()),
    ])
}

proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(4000))]

    #[test]
    fn questions_are_read_as_serde_reads_them(text in question()) {
        assert_eq!(read(&text), serde_read(&text), "{text}");
    }

    #[test]
    fn a_question_is_read_alike_whatever_was_seen_before(
        before in question(), text in question(), part in 1..40_usize,
    ) {
        let last = LastSeen::default();
        for text in [&before, &text] {
            let arriving = seen::in_parts(&last, text, part);
            assert_eq!(read_after(text, &arriving), serde_read(text), "{before} {text}");
            if let Ok(question) = Question::of(text, &arriving) {
                last.note(text, &question);
            }
        }
    }
}

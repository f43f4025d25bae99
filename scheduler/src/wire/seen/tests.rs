use super::*;

fn node(name: &str, status: &str) -> String {
    format!(r#"{{"metadata":{{"name":"{name}"}},"status":{status}}}"#)
}

fn question(nodes: &[String]) -> String {
    format!(r#"{{"nodes":{{"items":[{}]}}}}"#, nodes.join(","))
}

/// How many of a question's nodes were known, and the names of all.
fn ask(last: &LastSeen, nodes: &[String]) -> (usize, Vec<String>) {
    let text = question(nodes);
    let arriving = in_parts(last, &text, 100);
    let question = Question::of(&text, &arriving).unwrap();
    last.note(&text, &question);
    let list = question.nodes.unwrap();
    let items = list.items.iter().flatten().zip(nodes);
    let names = items.map(|(node, written)| {
        assert_eq!(
            (node.raw, &text[node.at..][..node.raw.len()]),
            (&**written, node.raw)
        );
        node.named().unwrap().0.into_owned()
    });
    (list.known, names.collect())
}

fn many() -> Vec<String> {
    (0..100).map(|at| node(&format!("n{at}"), "{}")).collect()
}

#[test]
fn what_was_seen_is_known_while_it_stays_the_same() {
    let (last, mut nodes) = (LastSeen::default(), many());
    let names: Vec<_> = (0..100).map(|at| format!("n{at}")).collect();
    assert_eq!(ask(&last, &nodes), (0, names.clone()));
    assert_eq!(ask(&last, &nodes), (100, names.clone()));
    // One byte of one of them; it is new each time, until there are many.
    nodes[50] = node("n50", "[]");
    assert_eq!(ask(&last, &nodes), (99, names.clone()));
    assert_eq!(ask(&last, &nodes), (99, names.clone()));
    for (at, new) in nodes.iter_mut().enumerate().skip(60).take(7) {
        *new = node(&format!("n{at}"), "[]");
    }
    assert_eq!(ask(&last, &nodes), (92, names.clone()));
    assert_eq!(ask(&last, &nodes), (100, names));
}

#[test]
fn nodes_that_are_left_out_are_gone_over_and_the_others_stay_known() {
    let (last, nodes) = (LastSeen::default(), many());
    ask(&last, &nodes);
    let some: Vec<_> = nodes.iter().step_by(AHEAD).cloned().collect();
    assert_eq!(ask(&last, &some).0, some.len());
    assert_eq!(ask(&last, &nodes).0, nodes.len());
    // In another order than the seen.
    let turned: Vec<_> = nodes.iter().rev().cloned().collect();
    assert_eq!(ask(&last, &turned).1[0], "n99");
}

#[test]
fn what_only_begins_like_one_that_was_seen_is_another() {
    let last = LastSeen::default();
    for text in [
        question(&["7".into()]),
        question(&["77".into()]),
        question(&[r#"{"metadata":7}"#.into()]),
        question(&[r#"{"metadata":7}"#.into()]),
        question(&["{}".into()]),
    ] {
        let arriving = in_parts(&last, &text, 1);
        let question = Question::of(&text, &arriving).unwrap();
        last.note(&text, &question);
        assert_eq!(question.nodes.unwrap().known, 0, "{text}");
    }
}

#[test]
fn a_very_long_question_is_not_kept() {
    let last = LastSeen::default();
    let long = |length| vec![node("n", &format!("\"{}\"", "x".repeat(length)))];
    for question in [long(LONGEST), vec![long(LONGEST / 2)[0].clone(); 65]] {
        for _ in 0..2 {
            assert_eq!(ask(&last, &question).0, 0);
        }
    }
}

#[test]
fn nodes_are_known_while_the_rest_comes() {
    let last = LastSeen::default();
    let nodes = many();
    ask(&last, &nodes);
    let text = question(&nodes);
    let found = |text: &str, part| in_parts(&last, text, part).found.len();
    for part in [1, 7, 50, text.len()] {
        assert_eq!(found(&text, part), nodes.len());
        assert_eq!(found(&text[..text.len() / 2], part), 49);
        // A volume of a pod has items too, but not that many.
        for (count, known) in [(1, nodes.len()), (TRIES - 1, nodes.len()), (TRIES, 0)] {
            let volumes = r#"{"downwardAPI":{"items":[{"path":"a"}]}},"#.repeat(count);
            let pod = format!(r#"{{"pod":{{"spec":{{"volumes":[{volumes}{{}}]}}}},"#);
            let text = format!("{pod}{}", &text[1..]);
            assert_eq!(found(&text, part), known);
            let arriving = in_parts(&last, &text, part);
            let list = Question::of(&text, &arriving).unwrap().nodes.unwrap();
            assert_eq!(list.known, nodes.len());
        }
    }
}

#[test]
fn what_has_the_bytes_of_a_node_and_is_none_does_not_count() {
    let last = LastSeen::default();
    let [seen, other] = ["a", "b"].map(|name| node(name, "{}"));
    ask(&last, std::slice::from_ref(&seen));
    for (nodes, known) in [(&other, 0), (&seen, 1)] {
        let text =
            format!(r#"{{"pod":{{"spec":{{"items":[{seen}]}}}},"nodes":{{"items":[{nodes}]}}}}"#);
        let arriving = in_parts(&last, &text, 3);
        assert_eq!(arriving.found.len(), 1);
        let list = Question::of(&text, &arriving).unwrap().nodes.unwrap();
        assert_eq!((list.known, list.items.unwrap()[0].raw), (known, &**nodes));
    }
}

use std::collections::{BTreeMap, HashMap};

use axum::body::Body;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::*;
use crate::wire::Metadata;

fn node(name: &str, gib: [u64; 3]) -> Value {
    let bytes = gib.map(|g| (g << 30).to_string());
    json!({
        "metadata": {"name": name, "annotations": {
            "capacity.topolvm.io/dc1": bytes[0],
            "capacity.topolvm.io/dc2": bytes[1],
            "capacity.topolvm.io/dc3": bytes[2],
        }},
        "status": {"images": [{"sizeBytes": 12_345_678_901_234_567_890_u64}]},
    })
}

fn pod() -> Value {
    json!({"metadata": {"annotations": {"capacity.topolvm.io/dc1": (3u64 << 30).to_string()}}})
}

fn question() -> Value {
    let items = [node("10.1.1.1", [2, 10, 10]), node("10.1.1.2", [5, 10, 10])];
    json!({"pod": pod(), "nodes": {"metadata": {"resourceVersion": "7"}, "items": items}})
}

fn divisors() -> Divisors {
    Divisors {
        default: 1.0,
        by_class: BTreeMap::from([("dc1".to_owned(), 1.0)]),
    }
}

async fn post(path: &str, body: impl Into<Body>) -> (StatusCode, String) {
    post_to(Extender::new(divisors(), None), path, body).await
}

async fn post_to(extender: Extender, path: &str, body: impl Into<Body>) -> (StatusCode, String) {
    let request = Request::post(path).body(body.into()).unwrap();
    let response = router(extender).oneshot(request).await.unwrap();
    let status = response.status();
    let body = axum::body::to_bytes(response.into_body(), usize::MAX)
        .await
        .unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

async fn ask(path: &str, question: &Value) -> Value {
    let (status, body) = post(path, question.to_string()).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    serde_json::from_str(&body).unwrap()
}

#[tokio::test]
async fn predicate_keeps_the_nodes_that_fit_whole() {
    let answer = ask("/predicate", &question()).await;
    assert_eq!(
        answer["nodes"]["items"],
        json!([node("10.1.1.2", [5, 10, 10])])
    );
    assert_eq!(answer["nodes"]["metadata"]["resourceVersion"], "7");
    assert_eq!(
        answer["failedNodes"],
        json!({"10.1.1.1": "out of VG free space"})
    );
}

#[tokio::test]
async fn prioritize_scores_every_node() {
    let answer = ask("/prioritize", &question()).await;
    let expected = json!([{"host": "10.1.1.1", "score": 1}, {"host": "10.1.1.2", "score": 2}]);
    assert_eq!(answer, expected);
}

#[tokio::test]
async fn a_pod_that_wants_nothing_passes_everywhere() {
    let mut question = question();
    question["pod"] = json!({"metadata": {"annotations": null}});
    let answer = ask("/predicate", &question).await;
    assert_eq!(answer, json!({"nodes": question["nodes"]}));
    assert_eq!(ask("/prioritize", &question).await, Value::Null);
}

#[tokio::test]
async fn keys_are_read_as_kube_scheduler_writes_them() {
    let small = question();
    let question = json!({"Pod": small["pod"], "Nodes": small["nodes"], "NodeNames": null});
    let answer = ask("/predicate", &question).await;
    assert_eq!(answer["nodes"]["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn lists_without_nodes_are_answered() {
    for items in [json!([]), Value::Null] {
        let question = json!({"pod": pod(), "nodes": {"items": items}});
        assert_eq!(
            ask("/predicate", &question).await["nodes"]["items"],
            json!([])
        );
        assert_eq!(ask("/prioritize", &question).await, json!([]));
    }
}

#[tokio::test]
async fn what_cannot_be_answered_is_400_with_the_reason() {
    for path in ["/predicate", "/prioritize"] {
        for (body, part) in [
            (String::new(), "the body is no question"),
            ("{}".to_owned(), "has no pod"),
            (json!({"pod": pod()}).to_string(), "has no nodes"),
            (
                json!({"Pod": pod(), "NodeNames": ["a"]}).to_string(),
                "node-cache-capable to true",
            ),
            (
                json!({"pod": pod(), "nodes": {"items": [7]}}).to_string(),
                "a node cannot be read",
            ),
        ] {
            let (status, text) = post(path, body).await;
            assert_eq!(status, StatusCode::BAD_REQUEST, "{text}");
            let answer: Value = serde_json::from_str(&text).unwrap();
            assert!(answer["error"].as_str().unwrap().contains(part), "{answer}");
        }
    }
}

/// With the node as large as a kubelet and an informer make it, within some bytes.
fn large(at: usize) -> Value {
    let mut node = node(&format!("n{at}"), [at as u64 % 8, 0, 0]);
    let image = |i: usize| json!({"names": ["x".repeat(90), "y".repeat(40)], "sizeBytes": i});
    node["status"]["images"] = (0..20).map(image).collect();
    node
}

#[tokio::test]
async fn ten_thousand_nodes_are_answered_in_time_and_more_than_the_limit_is_refused() {
    // Some times what it takes, without optimization, beside other work: 0.6 s.
    const LIMIT: Duration = Duration::from_secs(10);
    let items: Vec<Value> = (0..10_000).map(large).collect();
    let question = json!({"pod": pod(), "nodes": {"items": items}}).to_string();
    let size = question.len();
    assert!(size > 20 << 20, "{size} bytes, no more than upstream takes");
    for (path, part) in [
        ("/predicate", "\"failedNodes\""),
        ("/prioritize", "\"score\""),
    ] {
        let body = question.clone();
        let timed = Instant::now();
        let (status, answer) = post(path, body).await;
        let took = timed.elapsed();
        println!("{path}: 10,000 nodes in {} MiB took {took:.0?}", size >> 20);
        assert_eq!(status, StatusCode::OK);
        assert!(answer.contains(part));
        assert!(took < LIMIT, "{took:?}");
        // Three of eight nodes are too small.
        let answer: Value = serde_json::from_str(&answer).unwrap();
        let failed = answer["failedNodes"].as_object();
        assert!(failed.is_none_or(|failed| failed.len() == 3750));
    }
    let (status, _) = post("/predicate", vec![b' '; MAX_QUESTION + 1]).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
}

/// Nodes as a watch knows them.
fn known(count: usize) -> Nodes {
    let nodes = (0..count).map(|at| {
        let bytes = (at as u64 % 8) << 30;
        let annotation = ("capacity.topolvm.io/dc1".into(), bytes.to_string().into());
        let name = format!("n{at}");
        let metadata = Metadata::new(name.clone(), [annotation]);
        (name, metadata)
    });
    Nodes::of(nodes.collect::<HashMap<_, _>>())
}

#[tokio::test]
async fn names_of_nodes_are_answered_with_names_where_nodes_are_watched() {
    let ask = async |nodes: Nodes, path: &str, question: Value| {
        let extender = Extender::new(divisors(), Some(nodes));
        let (status, text) = post_to(extender, path, question.to_string()).await;
        (status, serde_json::from_str::<Value>(&text).unwrap())
    };
    let named = |pod: Value| json!({"Pod": pod, "Nodes": null, "NodeNames": ["n2", "n5", "gone"]});
    let (_, answer) = ask(known(8), "/predicate", named(pod())).await;
    assert_eq!(
        answer,
        json!({"nodenames": ["n5"], "failedNodes": {
            "n2": "out of VG free space", "gone": "no capacity annotation"
        }})
    );
    let (_, answer) = ask(known(8), "/prioritize", named(pod())).await;
    let scores = [("n2", 1), ("n5", 2), ("gone", 0)];
    assert_eq!(
        answer,
        json!(scores.map(|(host, score)| json!({"host": host, "score": score})))
    );
    let nothing = json!({"metadata": {}});
    let (_, answer) = ask(known(8), "/predicate", named(nothing.clone())).await;
    assert_eq!(answer, json!({"nodenames": ["n2", "n5", "gone"]}));
    assert_eq!(
        ask(known(8), "/prioritize", named(nothing)).await.1,
        Value::Null
    );
    // Whole nodes are answered as ever.
    let (_, answer) = ask(known(8), "/predicate", question()).await;
    assert_eq!(answer["nodes"]["items"].as_array().unwrap().len(), 1);
    let (status, answer) = ask(Nodes::default(), "/predicate", named(pod())).await;
    assert_eq!(
        (status, answer),
        (
            StatusCode::SERVICE_UNAVAILABLE,
            json!({"error": "the nodes are not known yet"})
        )
    );

    let names: Vec<String> = (0..10_000).map(|at| format!("n{at}")).collect();
    let nodes = known(10_000);
    let timed = Instant::now();
    let many = json!({"Pod": pod(), "NodeNames": names});
    let (_, answer) = ask(nodes, "/predicate", many).await;
    let took = timed.elapsed();
    println!("/predicate: 10,000 names took {took:.0?}");
    assert_eq!(answer["nodenames"].as_array().unwrap().len(), 6250);
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[tokio::test]
async fn answers_are_counted() {
    let extender = Arc::new(Extender {
        limit: Duration::from_millis(50),
        ..Extender::new(divisors(), None)
    });
    let app = |path: &str, body: Body| {
        let request = Request::post(path).body(body).unwrap();
        routes(extender.clone()).oneshot(request)
    };
    app("/predicate", question().to_string().into())
        .await
        .unwrap();
    app("/prioritize", "nonsense".into()).await.unwrap();
    // None of these comes as a whole.
    let large = Request::post("/predicate")
        .header(CONTENT_LENGTH, MAX_QUESTION + 1)
        .body(Body::empty());
    let refused = routes(extender.clone()).oneshot(large.unwrap());
    let refused = refused.await.unwrap().status();
    assert_eq!(refused, StatusCode::PAYLOAD_TOO_LARGE);
    let parts = [
        Ok("{"),
        Err(std::io::Error::other("the connection is gone")),
    ];
    let broken = Body::from_stream(stream::iter(parts));
    let refused = app("/predicate", broken).await.unwrap().status();
    assert_eq!(refused, StatusCode::BAD_REQUEST);
    let never = stream::pending::<Result<String, Infallible>>();
    let refused = app("/prioritize", Body::from_stream(never)).await.unwrap();
    assert_eq!(refused.status(), StatusCode::REQUEST_TIMEOUT);
    app("/status", Body::empty()).await.unwrap();
    app("/elsewhere", Body::empty()).await.unwrap();
    let (_, page) = extender.page().render(None);
    let lines = page.lines().filter(|line| {
        let counted = [
            "basalt_extender_answers_total",
            "basalt_extender_answer_seconds_count",
        ];
        counted.iter().any(|name| line.starts_with(name))
    });
    let mut lines: Vec<_> = lines.collect();
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            "basalt_extender_answer_seconds_count{verb=\"predicate\"} 1",
            "basalt_extender_answer_seconds_count{verb=\"prioritize\"} 1",
            "basalt_extender_answers_total{verb=\"predicate\",code=\"200\"} 1",
            "basalt_extender_answers_total{verb=\"predicate\",code=\"400\"} 1",
            "basalt_extender_answers_total{verb=\"predicate\",code=\"413\"} 1",
            "basalt_extender_answers_total{verb=\"prioritize\",code=\"400\"} 1",
            "basalt_extender_answers_total{verb=\"prioritize\",code=\"408\"} 1",
        ]
    );
}

#[tokio::test]
async fn status_is_ok_once_nodes_are_known_and_the_rest_unknown() {
    assert_eq!(post("/status", "").await, (StatusCode::OK, "ok".to_owned()));
    for (nodes, expected) in [(Nodes::default(), 503), (known(0), 200)] {
        let (status, _) = post_to(Extender::new(divisors(), Some(nodes)), "/status", "").await;
        assert_eq!(status.as_u16(), expected);
    }
    assert_eq!(post("/", "").await.0, StatusCode::NOT_FOUND);
}

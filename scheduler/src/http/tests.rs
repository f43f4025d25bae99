use axum::body::Body;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::*;

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
    let request = Request::post(path).body(body.into()).unwrap();
    let response = router(divisors()).oneshot(request).await.unwrap();
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
                "nodeCacheCapable",
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

#[tokio::test]
async fn more_than_ten_mib_of_nodes_are_answered_and_more_than_the_limit_refused() {
    let filler = "x".repeat(1 << 20);
    let mut items: Vec<Value> = Vec::new();
    for i in 0..12 {
        let mut big = node(&format!("n{i}"), [i, 0, 0]);
        big["metadata"]["managedFields"] = json!([filler]);
        items.push(big);
    }
    let answer = ask(
        "/predicate",
        &json!({"pod": pod(), "nodes": {"items": items}}),
    )
    .await;
    assert_eq!(answer["nodes"]["items"].as_array().unwrap().len(), 9);
    let (status, _) = post("/predicate", vec![b' '; MAX_QUESTION + 1]).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn status_is_ok_and_the_rest_unknown() {
    assert_eq!(post("/status", "").await, (StatusCode::OK, "ok".to_owned()));
    assert_eq!(post("/", "").await.0, StatusCode::NOT_FOUND);
}

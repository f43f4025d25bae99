//! How much a status differs from what an object says, and so how soon it is written. Pure.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

/// What may change with each look, and is written once a minute at most.
const RESTLESS: [&str; 10] = [
    "used",
    "usedBytes",
    "metadataUsedBytes",
    "timeToFullSeconds",
    "doneBytes",
    "percent",
    "summary",
    "detail",
    "message",
    "plan",
];
/// At least this long between two writes for restless things alone.
const MINUTE: Duration = Duration::from_secs(60);
/// When an offer to wipe a disk, which is good for a day, is written anew.
const OFFER: Duration = Duration::from_secs(12 * 3600);

/// How long after the last write this is written; `None`: nothing changed.
pub(super) fn due(now: &Value, wanted: &Value) -> Option<Duration> {
    let without = |value: &Value, keys: &[&str]| {
        let mut value = value.clone();
        strip(&mut value, keys);
        value
    };
    if without(now, &["lastTransitionTime"]) == without(wanted, &["lastTransitionTime"]) {
        return None;
    }
    let offer = ["lastTransitionTime", "wipe"];
    if without(now, &offer) == without(wanted, &offer) {
        // Its end moves with each look; anything else of it is a change.
        let endless = |status: &Value| {
            let text = status["wipe"].as_str().unwrap_or_default();
            text.split("notAfter").next().map(str::to_owned)
        };
        let same = endless(now) == endless(wanted);
        return Some(if same { OFFER } else { Duration::ZERO });
    }
    let restless = [&RESTLESS[..], &offer].concat();
    let same = without(now, &restless) == without(wanted, &restless);
    Some(if same { MINUTE } else { Duration::ZERO })
}

fn strip(value: &mut Value, keys: &[&str]) {
    match value {
        Value::Object(map) => {
            map.retain(|key, _| !keys.contains(&key.as_str()));
            map.values_mut().for_each(|value| strip(value, keys));
        }
        Value::Array(list) => list.iter_mut().for_each(|value| strip(value, keys)),
        _ => {}
    }
}

/// Gives each condition of `wanted` its time: the old one while its status stands still.
pub(super) fn set_times(wanted: &mut Value, now: &Value, at: Timestamp) {
    let Some(conditions) = wanted["conditions"].as_array_mut() else {
        return;
    };
    let old = now["conditions"].as_array().cloned().unwrap_or_default();
    for condition in conditions {
        let same = old
            .iter()
            .find(|c| c["type"] == condition["type"] && c["status"] == condition["status"]);
        let time = same.map(|c| c["lastTransitionTime"].clone());
        condition["lastTransitionTime"] =
            time.unwrap_or_else(|| Value::String(at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_matters_is_written_at_once_and_the_rest_with_time() {
        let status = json!({"state": "Ready", "used": "1%", "wipe": "{a, notAfter: 1, b}",
            "conditions": [{"type": "Ready", "status": "True", "message": "", "lastTransitionTime": "x"}]});
        let with = |path: &str, value: &str| {
            let mut other = status.clone();
            *other.pointer_mut(path).unwrap() = json!(value);
            due(&status, &other)
        };
        assert_eq!(due(&status, &status), None);
        assert_eq!(with("/conditions/0/lastTransitionTime", "y"), None);
        assert_eq!(with("/state", "Missing"), Some(Duration::ZERO));
        assert_eq!(with("/conditions/0/status", "False"), Some(Duration::ZERO));
        assert_eq!(with("/used", "2%"), Some(MINUTE));
        assert_eq!(with("/conditions/0/message", "42 of 100"), Some(MINUTE));
        assert_eq!(with("/wipe", "{a, notAfter: 2, b}"), Some(OFFER));
        assert_eq!(with("/wipe", "{c, notAfter: 1, b}"), Some(Duration::ZERO));
        assert_eq!(
            due(&Value::Null, &status),
            Some(Duration::ZERO),
            "a new object"
        );
    }

    #[test]
    fn a_condition_keeps_its_time_while_its_status_stands_still() {
        let old = json!({"conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "then"}]});
        let mut wanted = json!({"conditions": [
            {"type": "Ready", "status": "True"}, {"type": "Safe", "status": "True"}]});
        set_times(&mut wanted, &old, Timestamp::UNIX_EPOCH);
        let times: Vec<_> = wanted["conditions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|c| &c["lastTransitionTime"])
            .collect();
        assert_eq!(times, ["then", "1970-01-01T00:00:00Z"]);
    }
}

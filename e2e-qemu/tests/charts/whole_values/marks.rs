//! Values that can be told from all others, one for each key.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Value, json};

/// Where a value stands: keys, and numbers in lists. Keys may have dots.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Path(pub(super) Vec<String>);

impl Path {
    /// Of a text whose keys have no dots.
    pub(super) fn of(text: &str) -> Self {
        Self(text.split('.').map(str::to_owned).collect())
    }

    pub(super) fn join(&self, key: &str) -> Self {
        let mut path = self.clone();
        path.0.push(key.to_owned());
        path
    }

    fn last(&self) -> &str {
        self.0.last().map_or("", String::as_str)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("."))
    }
}

/// Values as YAML.
pub(super) fn read(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap()
}

/// All that is not a map or a list of objects with something in it.
pub(super) fn leaves(values: &Value) -> BTreeMap<Path, Value> {
    fn collect(at: &Path, value: &Value, found: &mut BTreeMap<Path, Value>) {
        match value {
            Value::Object(map) if !map.is_empty() => {
                for (key, value) in map {
                    collect(&at.join(key), value, found);
                }
            }
            Value::Array(items) if items.iter().any(Value::is_object) => {
                for (index, item) in items.iter().enumerate() {
                    collect(&at.join(&index.to_string()), item, found);
                }
            }
            value => {
                found.insert(at.clone(), value.clone());
            }
        }
    }
    let mut found = BTreeMap::new();
    collect(&Path(vec![]), values, &mut found);
    found
}

/// Puts a value where the path says.
pub(super) fn put(values: &mut Value, path: &Path, value: Value) {
    let mut at = values;
    for key in &path.0 {
        at = match key.parse::<usize>() {
            Ok(index) if at.is_array() => &mut at[index],
            _ => &mut at[key.as_str()],
        };
    }
    *at = value;
}

/// Another value of a switch, or of a key that takes few words. `None`: the key takes any.
pub(super) fn other(path: &Path, now: &Value) -> Option<Value> {
    let word = match (path.to_string().as_str(), now) {
        (_, Value::Bool(is)) => return Some(json!(!is)),
        ("image.pullPolicy", _) => "Never",
        ("scheduler.type", _) => "daemonset",
        ("scheduler.service.type", _) => "NodePort",
        ("storageClasses.0.storageClass.fsType", _) => "btrfs",
        ("storageClasses.0.storageClass.reclaimPolicy", _) => "Retain",
        ("storageClasses.0.storageClass.volumeBindingMode", _) => "Immediate",
        _ => return None,
    };
    Some(json!(word))
}

/// The values with a mark at each key that is meant and takes any value, and the marks.
pub(super) fn mark(
    values: &Value,
    meant: impl Fn(&Path) -> bool,
) -> (Value, BTreeMap<Path, String>) {
    let (mut marked, mut marks) = (values.clone(), BTreeMap::new());
    for (number, (path, now)) in leaves(values).into_iter().enumerate() {
        if other(&path, &now).is_some() || !meant(&path) {
            continue;
        }
        let (value, mark) = mark_of(&path, &now, number);
        put(&mut marked, &path, value);
        marks.insert(path, mark);
    }
    (marked, marks)
}

/// What to write at a key, and what to look for.
fn mark_of(path: &Path, now: &Value, number: usize) -> (Value, String) {
    let text = format!("m{number}m");
    let m = text.as_str();
    let key = path.last();
    let is_number = now.is_number()
        || now.is_null()
            && ["Seconds", "Threshold", "nodePort"]
                .iter()
                .any(|end| key.ends_with(end));
    if is_number {
        let number = 30_000 + number;
        return (json!(number), number.to_string());
    }
    let value = match (key, now) {
        ("schedulerOptions", _) => json!({"default-divisor": 1, "divisors": {m: 2}}),
        ("existingCertManagerIssuer", _) => json!({"name": m, "kind": "Issuer"}),
        ("lvcreateOptionClasses", _) => json!([{"name": m, "options": [m]}]),
        ("kubeletWorkDirectory", _) => json!(format!("/{m}")),
        // A text of templates in YAML.
        ("affinity", Value::String(_)) => json!(format!("note: {m}")),
        ("args" | "mountOptions" | "ignoreNamespaces", _) => json!([m]),
        ("tolerations", _) => json!([{"key": m}]),
        ("relabelings" | "metricRelabelings", _) => json!([{"targetLabel": m}]),
        ("volumes" | "additionalVolumes", _) => json!([{"name": m, "emptyDir": {}}]),
        ("volumeMounts" | "topolvmNode", _) => json!([{"name": m, "mountPath": format!("/{m}")}]),
        (_, Value::Array(_)) => json!([{"name": m, "image": m, "value": m}]),
        (_, Value::Object(_)) => json!({m: m}),
        _ => json!(m),
    };
    (value, text)
}

//! Which nodes a class is for: `spec.nodeSelector`, in Kubernetes' words. Pure.
//!
//! Nothing in it is ignored: a key that is not understood might be what kept the class from
//! a node.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

/// A node's labels.
pub type Labels = BTreeMap<String, String>;

/// See the module. All that is given must hold; without anything it holds for every node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct NodeSelector {
    match_labels: Labels,
    match_expressions: Vec<Expression>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expression {
    key: String,
    operator: Operator,
    #[serde(default)]
    values: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
enum Operator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
}

impl NodeSelector {
    /// Takes it out of a class' spec, whose other fields are the same in a file.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn take(spec: &mut Value) -> Result<Self, String> {
        let selector = spec
            .as_object_mut()
            .and_then(|spec| spec.remove("nodeSelector"));
        let Some(selector) = selector else {
            return Ok(Self::default());
        };
        let read = Self::deserialize(selector).map_err(|error| {
            format!("spec.nodeSelector: {error}; write matchLabels or matchExpressions")
        })?;
        for expression in &read.match_expressions {
            let wants = matches!(expression.operator, Operator::In | Operator::NotIn);
            if wants == expression.values.is_empty() {
                return Err(format!(
                    "spec.nodeSelector.matchExpressions: {} {:?} {}",
                    expression.key,
                    expression.operator,
                    if wants {
                        "needs values"
                    } else {
                        "takes no values, remove them"
                    }
                ));
            }
        }
        Ok(read)
    }

    /// Whether a node with these labels is meant.
    pub fn selects(&self, labels: &Labels) -> bool {
        let mut wanted = self.match_labels.iter();
        wanted.all(|(key, value)| labels.get(key) == Some(value))
            && self.match_expressions.iter().all(|e| e.holds(labels))
    }
}

impl Expression {
    fn holds(&self, labels: &Labels) -> bool {
        let value = labels.get(&self.key);
        let named = || value.is_some_and(|value| self.values.contains(value));
        match self.operator {
            Operator::In => named(),
            Operator::NotIn => !named(),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn take(selector: Value) -> Result<NodeSelector, String> {
        NodeSelector::take(&mut json!({"nodeSelector": selector}))
    }

    #[test]
    fn it_means_what_it_means_elsewhere_in_kubernetes() {
        let labels = Labels::from([("a".to_owned(), "1".to_owned())]);
        for (selector, wanted) in [
            (json!({}), true),
            (json!({"matchLabels": {"a": "1"}}), true),
            (json!({"matchLabels": {"a": "1", "b": "1"}}), false),
            (json!({"matchLabels": {"a": ""}}), false),
            (
                json!({"matchExpressions": [{"key": "a", "operator": "In", "values": ["0", "1"]}]}),
                true,
            ),
            (
                json!({"matchExpressions": [{"key": "b", "operator": "In", "values": ["1"]}]}),
                false,
            ),
            (
                json!({"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["1"]}]}),
                false,
            ),
            (
                json!({"matchExpressions": [{"key": "b", "operator": "NotIn", "values": ["1"]}]}),
                true,
            ),
            (
                json!({"matchExpressions": [{"key": "a", "operator": "Exists"}]}),
                true,
            ),
            (
                json!({"matchLabels": {"a": "1"}, "matchExpressions": [{"key": "a", "operator": "DoesNotExist"}]}),
                false,
            ),
        ] {
            assert_eq!(
                take(selector.clone()).unwrap().selects(&labels),
                wanted,
                "{selector}"
            );
        }
        let mut without = json!({"mode": "Plan"});
        assert!(
            NodeSelector::take(&mut without)
                .unwrap()
                .selects(&Labels::new())
        );
    }

    #[test]
    fn what_is_not_understood_selects_no_node() {
        for selector in [
            json!({"storage": "fast"}),
            json!({"matchLabels": {"a": 1}}),
            json!({"matchExpressions": [{"key": "a", "operator": "Gt", "values": ["1"]}]}),
            json!({"matchExpressions": [{"key": "a", "operator": "In"}]}),
            json!({"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["1"]}]}),
            json!("a=1"),
            json!(null),
        ] {
            let error = take(selector.clone()).expect_err(&selector.to_string());
            assert!(error.contains("spec.nodeSelector"), "{error}");
        }
    }
}

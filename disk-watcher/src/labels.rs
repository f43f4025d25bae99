//! Labels, and what selects by them, in Kubernetes' words. Pure.
//!
//! Nothing in a selector is ignored: a key that is not understood might be what kept something out.

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

/// The labels of an object.
pub type Labels = BTreeMap<String, String>;

/// All that is given must hold; without anything it holds for everything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct LabelSelector {
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

impl LabelSelector {
    /// Checks what its form alone does not tell.
    ///
    /// # Errors
    /// What is wrong, beginning with the field.
    pub fn check(&self) -> Result<(), String> {
        for expression in &self.match_expressions {
            let wants = matches!(expression.operator, Operator::In | Operator::NotIn);
            if wants == expression.values.is_empty() {
                return Err(format!(
                    "matchExpressions: {} {:?} {}",
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
        Ok(())
    }

    /// Whether what has these labels is meant.
    pub fn selects(&self, labels: &Labels) -> bool {
        let mut wanted = self.match_labels.iter();
        wanted.all(|(key, value)| labels.get(key) == Some(value))
            && self.match_expressions.iter().all(|e| e.holds(labels))
    }

    /// Whether what has no labels is never meant.
    pub fn wants_a_label(&self) -> bool {
        !self.selects(&Labels::new())
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

impl std::fmt::Display for LabelSelector {
    /// As kubectl writes it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let labels = self.match_labels.iter();
        let mut all: Vec<String> = labels
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        all.extend(self.match_expressions.iter().map(|expression| {
            let Expression { key, values, .. } = expression;
            match expression.operator {
                Operator::In => format!("{key} in ({})", values.join(",")),
                Operator::NotIn => format!("{key} notin ({})", values.join(",")),
                Operator::Exists => key.clone(),
                Operator::DoesNotExist => format!("!{key}"),
            }
        }));
        f.write_str(&all.join(", "))
    }
}

impl JsonSchema for LabelSelector {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "LabelSelector".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "x-kubernetes-preserve-unknown-fields": true,
            "properties": {
                "matchLabels": {"type": "object", "additionalProperties": {"type": "string"}},
                "matchExpressions": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["key", "operator"],
                        "properties": {
                            "key": {"type": "string"},
                            "operator": {"type": "string", "enum": ["In", "NotIn", "Exists", "DoesNotExist"]},
                            "values": {"type": "array", "items": {"type": "string"}},
                        },
                    },
                },
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn read(selector: Value) -> LabelSelector {
        LabelSelector::deserialize(selector).unwrap()
    }

    #[test]
    fn it_means_what_it_means_elsewhere_in_kubernetes() {
        let labels = Labels::from([("a".to_owned(), "1".to_owned())]);
        let expression = |key: &str, operator: &str, values: &[&str]| json!({"matchExpressions": [{"key": key, "operator": operator, "values": values}]});
        for (selector, wanted, words) in [
            (json!({}), true, ""),
            (json!({"matchLabels": {"a": "1"}}), true, "a=1"),
            (
                json!({"matchLabels": {"a": "1", "b": "1"}}),
                false,
                "a=1, b=1",
            ),
            (json!({"matchLabels": {"a": ""}}), false, "a="),
            (expression("a", "In", &["0", "1"]), true, "a in (0,1)"),
            (expression("b", "In", &["1"]), false, "b in (1)"),
            (expression("a", "NotIn", &["1"]), false, "a notin (1)"),
            (expression("b", "NotIn", &["1"]), true, "b notin (1)"),
            (expression("a", "Exists", &[]), true, "a"),
            (
                json!({"matchLabels": {"a": "1"}, "matchExpressions": [{"key": "a", "operator": "DoesNotExist"}]}),
                false,
                "a=1, !a",
            ),
        ] {
            let read = read(selector.clone());
            assert_eq!(read.selects(&labels), wanted, "{selector}");
            assert_eq!(read.to_string(), words);
            read.check().unwrap();
        }
        assert!(read(json!({"matchLabels": {"a": "1"}})).wants_a_label());
        assert!(!read(expression("a", "NotIn", &["1"])).wants_a_label());
    }
}

//! Which nodes a class is for: `spec.nodeSelector`. Pure.

use serde::Deserialize;
use serde_json::Value;

use crate::labels::{LabelSelector, Labels};

/// See the module. Without one a class is for every node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeSelector(LabelSelector);

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
        let read = LabelSelector::deserialize(selector).map_err(|error| {
            format!("spec.nodeSelector: {error}; write matchLabels or matchExpressions")
        })?;
        read.check()
            .map_err(|why| format!("spec.nodeSelector.{why}"))?;
        Ok(Self(read))
    }

    /// Whether a node with these labels is meant.
    pub fn selects(&self, labels: &Labels) -> bool {
        self.0.selects(labels)
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
    fn without_one_every_node_is_meant() {
        let mut without = json!({"mode": "Plan"});
        let all = NodeSelector::take(&mut without).unwrap();
        assert!(all.selects(&Labels::new()));
        let one = take(json!({"matchLabels": {"a": "1"}})).unwrap();
        assert!(!one.selects(&Labels::new()));
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

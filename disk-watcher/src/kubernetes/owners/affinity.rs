//! Node selectors of the core API (`nodeSelectorTerms`), as far as to say that one cannot hold. What is not understood may.

use serde_json::Value;

use super::{Here, each, texts};

/// Whether a selector may hold for this node. Terms are alternatives, and all of a term has to hold.
pub(super) fn may_hold(selector: &Value, here: &Here<'_>) -> bool {
    let terms = each(&selector["nodeSelectorTerms"]);
    terms.is_empty()
        || terms.into_iter().any(|term| {
            let labels = each(&term["matchExpressions"]).into_iter();
            let fields = each(&term["matchFields"]).into_iter();
            labels.into_iter().all(|wants| {
                let key = wants["key"].as_str().unwrap_or_default();
                holds(wants, here.labels.get(key).map(String::as_str))
            }) && fields.into_iter().all(|wants| {
                // The only field that there is.
                wants["key"] != "metadata.name" || holds(wants, Some(here.name))
            })
        })
}

fn holds(wants: &Value, value: Option<&str>) -> bool {
    let values = texts(&wants["values"]);
    let named = value.is_some_and(|value| values.iter().any(|one| one == value));
    let numbers = || {
        let limit = values.first()?.parse::<i64>().ok()?;
        Some((value?.parse::<i64>().ok()?, limit))
    };
    match wants["operator"].as_str() {
        Some("In") => named,
        Some("NotIn") => !named,
        Some("Exists") => value.is_some(),
        Some("DoesNotExist") => value.is_none(),
        Some("Gt") => numbers().is_some_and(|(is, limit)| is > limit),
        Some("Lt") => numbers().is_some_and(|(is, limit)| is < limit),
        _ => true,
    }
}

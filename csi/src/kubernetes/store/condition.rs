//! Whether LogicalVolumes keep the condition in which a node says what is wrong with a volume.

use std::time::{Duration, Instant};

use kube::Client;
use kube::api::GetParams;
use kube::core::Request;
use serde_json::Value;
use tokio::sync::Mutex;
use tracing::warn;

/// What the API server tells of the types of LogicalVolume's group (OpenAPI 3).
const TYPES: &str = "/openapi/v3/apis/topolvm.io";

/// How long its answer is good: the CRD changes only when somebody moves to upstream or back.
const FRESH: Duration = Duration::from_mins(1);

/// Whether LogicalVolumes keep conditions (those of upstream's CRD do not), asked once in a while.
#[derive(Debug, Default)]
pub(super) struct Kept(Mutex<Option<(Instant, bool)>>);

impl Kept {
    /// What it was last known to be where the API server does not answer, and `false` where it never did.
    pub(super) async fn are_kept(&self, client: &Client) -> bool {
        let mut last = self.0.lock().await;
        if let Some((at, kept)) = *last
            && at.elapsed() < FRESH
        {
            return kept;
        }
        match types(client).await {
            Ok(types) => {
                let kept = have_conditions(&types);
                *last = Some((Instant::now(), kept));
                kept
            }
            Err(error) => {
                warn!(%error, "whether LogicalVolumes have conditions cannot be told");
                last.is_some_and(|(_, kept)| kept)
            }
        }
    }
}

async fn types(client: &Client) -> kube::Result<Value> {
    let ask = Request::new(TYPES).get("v1", &GetParams::default());
    let ask = ask.map_err(kube::Error::BuildRequest)?;
    client.request(ask).await
}

fn have_conditions(types: &Value) -> bool {
    let schemas = types
        .pointer("/components/schemas")
        .and_then(Value::as_object);
    schemas.into_iter().flatten().any(|(name, schema)| {
        name.ends_with(".LogicalVolume")
            && schema
                .pointer("/properties/status/properties/conditions")
                .is_some()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubernetes::logical_volume::LogicalVolume;
    use kube::CustomResourceExt;
    use serde_json::json;

    #[test]
    fn our_crd_keeps_conditions_and_one_without_them_does_not() {
        let crd = serde_json::to_value(LogicalVolume::crd()).unwrap();
        let mut schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone();
        let types = |schema: &Value| json!({"components": {"schemas": {"io.topolvm.v1.LogicalVolume": schema}}});
        assert!(have_conditions(&types(&schema)));
        schema["properties"]["status"]["properties"]
            .as_object_mut()
            .unwrap()
            .remove("conditions")
            .unwrap();
        assert!(!have_conditions(&types(&schema)));
        assert!(!have_conditions(&json!({})));
    }
}

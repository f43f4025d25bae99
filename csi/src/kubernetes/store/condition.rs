//! Whether LogicalVolumes keep the condition in which a node says what is wrong with a volume.

use kube::Client;
use kube::api::GetParams;
use kube::core::Request;
use serde_json::Value;
use tracing::warn;

/// What the API server tells of the types of LogicalVolume's group (OpenAPI 3).
const TYPES: &str = "/openapi/v3/apis/topolvm.io";

/// Whether LogicalVolumes keep conditions; those of upstream's CRD do not.
pub(super) async fn are_kept(client: &Client) -> bool {
    let types = async {
        let ask = Request::new(TYPES).get("v1", &GetParams::default());
        client
            .request::<Value>(ask.map_err(kube::Error::BuildRequest)?)
            .await
    };
    match types.await {
        Ok(types) => have_conditions(&types),
        Err(error) => {
            warn!(%error, "whether LogicalVolumes have conditions cannot be told");
            false
        }
    }
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

//! The object that an id means.

use kube::ResourceExt;
use lvmd::names;

use crate::error::Error;
use crate::kubernetes::logical_volume::LogicalVolume;

/// The only object that names the volume of this id; `None` where none does.
///
/// # Errors
/// Several do, as after a restore of etcd beside an adoption. A deletion that takes the wrong one removes the LV of another
/// node.
pub(super) fn only<'a>(
    objects: impl IntoIterator<Item = &'a LogicalVolume>,
    id: &str,
) -> Result<Option<&'a LogicalVolume>, Error> {
    let mut named = objects.into_iter().filter(|object| object.id() == Some(id));
    let (first, second) = (named.next(), named.next());
    let Some((first, second)) = first.zip(second) else {
        return Ok(first);
    };
    let place =
        |object: &LogicalVolume| format!("{} (node {})", object.name_any(), object.spec.node_name);
    Err(Error::Precondition(format!(
        "LogicalVolumes {} and {} both name volume {id}, and nobody can tell which is meant: give the wrong one the annotation \
         {}=true, take its finalizers away, and delete it; no LV is removed by that",
        place(first),
        place(second),
        names::ANNOTATION_PENDING_DELETION
    )))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_id_that_two_objects_have_is_refused_with_both() {
        let object = |name: &str, node: &str, id: &str| -> LogicalVolume {
            serde_json::from_value(json!({"metadata": {"name": name},
                "spec": {"name": name, "nodeName": node, "size": "1Gi"}, "status": {"volumeID": id}}))
            .unwrap()
        };
        let mut all = vec![object("x", "n1", "other"), object("a", "n1", "id")];
        assert_eq!(only(&all, "id").unwrap().unwrap().name_any(), "a");
        assert_eq!(only(&all, "none").unwrap(), None);
        all.push(object("b", "n2", "id"));
        let error = only(&all, "id").unwrap_err();
        assert_eq!(crate::error::code(&error), tonic::Code::FailedPrecondition);
        let words = error.to_string();
        assert!(words.contains("a (node n1) and b (node n2)"), "{words}");
    }
}

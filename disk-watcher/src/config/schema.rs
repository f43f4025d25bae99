//! The schemas of what people write, for the API server: made from the types that the
//! documents are read into.
//!
//! Keys that nobody knows are kept, not dropped: a misspelt `exclude` that vanishes would
//! have a disk taken. Whoever reads the object refuses it then.

use schemars::transform::{Transform, transform_subschemas};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use super::raw;
use super::values::SizeOr;

macro_rules! written {
    ($name:ident, $doc:literal, $schema:tt) => {
        #[doc = $doc]
        pub(super) struct $name;

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    };
}

written!(Size, "A number of bytes, or a text such as 10Gi.", {"x-kubernetes-int-or-string": true, "pattern": "^[0-9]"});
written!(Share, "A share such as 80%, or a size where one may stand.", {"type": "string", "pattern": "^[0-9]", "maxLength": 32});
written!(Time, "A duration such as 10s.", {"type": "string", "pattern": "^[0-9]+(ms|s|m|h)$"});

/// Only the mapping: a structural schema has one type for each field.
impl<M: JsonSchema> JsonSchema for SizeOr<M> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        M::schema_name()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        M::json_schema(generator)
    }
}

/// The schema of a DiskClass' `spec`, without what only objects have.
pub(crate) fn class(generator: &mut SchemaGenerator) -> Schema {
    of::<raw::Spec>(generator)
}

/// The schema of a DiskRemovalRequest's `spec`.
pub(crate) fn removal(generator: &mut SchemaGenerator) -> Schema {
    of::<raw::RemovalSpec>(generator)
}

/// The schema of a DiskWipeRequest's `spec`.
pub(crate) fn wipe(generator: &mut SchemaGenerator) -> Schema {
    of::<raw::WipeSpec>(generator)
}

fn of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = T::json_schema(generator);
    KeepsAll.transform(&mut schema);
    schema
}

/// No key is dropped, and nothing is filled in.
struct KeepsAll;

impl Transform for KeepsAll {
    fn transform(&mut self, schema: &mut Schema) {
        transform_subschemas(self, schema);
        schema.remove("default");
        if schema.get("additionalProperties") == Some(&Value::Bool(false)) {
            schema.remove("additionalProperties");
            schema.insert("x-kubernetes-preserve-unknown-fields".into(), json!(true));
        }
    }
}

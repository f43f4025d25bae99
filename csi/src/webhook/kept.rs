//! How pairs of certificates are kept in a Secret, and what a MutatingWebhookConfiguration
//! says of them.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::jiff::Timestamp;

use super::own::{Pair, Pairs};

/// What all its webhooks trust; nothing, unless they trust the same.
pub(super) fn bundle(configuration: &MutatingWebhookConfiguration) -> String {
    let bundles = configuration
        .webhooks
        .iter()
        .flatten()
        .map(|hook| &hook.client_config.ca_bundle);
    let mut bundles =
        bundles.map(|bundle| bundle.as_ref().map(|b| b.0.as_slice()).unwrap_or_default());
    let first = bundles.next().unwrap_or_default();
    match bundles.all(|other| other == first) {
        true => String::from_utf8_lossy(first).into_owned(),
        false => String::new(),
    }
}

/// The name that the API server expects in the certificate.
pub(super) fn server(configuration: &MutatingWebhookConfiguration) -> Option<String> {
    let mut hooks = configuration.webhooks.iter().flatten();
    let service = hooks.find_map(|hook| hook.client_config.service.as_ref())?;
    Some(format!("{}.{}.svc", service.name, service.namespace))
}

/// Keys of the Secret, for the pair in use and the next one: certificate, key, authority, name, end.
const KEYS: [[&str; 5]; 2] = [
    ["tls.crt", "tls.key", "ca.crt", "name", "ends"],
    [
        "next-tls.crt",
        "next-tls.key",
        "next-ca.crt",
        "next-name",
        "next-ends",
    ],
];
/// Key of the authority before the current one.
const LAST: &str = "last-ca.crt";

pub(super) fn pairs(secret: &Secret) -> Pairs {
    let text = |key: &str| {
        let value = secret.data.as_ref()?.get(key)?;
        String::from_utf8(value.0.clone()).ok()
    };
    let [current, next] = KEYS.map(|[chain, key, authority, name, ends]| {
        let ends: Timestamp = text(ends)?.parse().ok()?;
        Some(Pair {
            chain: text(chain)?,
            key: text(key)?,
            authority: text(authority)?,
            name: text(name)?,
            ends: ends.into(),
        })
    });
    Pairs {
        current,
        next,
        last_authority: text(LAST),
    }
}

/// As a merge patch: what is not there any more is null.
pub(super) fn data(pairs: &Pairs) -> BTreeMap<&'static str, Option<ByteString>> {
    let bytes = |text: &str| Some(ByteString(text.as_bytes().to_vec()));
    let mut data = BTreeMap::new();
    for (keys, pair) in KEYS.into_iter().zip([&pairs.current, &pairs.next]) {
        let values = pair.as_ref().and_then(|pair| {
            let ends = Timestamp::try_from(pair.ends).ok()?.to_string();
            Some(
                [&pair.chain, &pair.key, &pair.authority, &pair.name, &ends]
                    .map(|text| bytes(text)),
            )
        });
        data.extend(keys.into_iter().zip(values.unwrap_or_default()));
    }
    data.insert(LAST, pairs.last_authority.as_deref().and_then(bytes));
    data
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use serde_json::json;

    use super::*;

    #[test]
    fn a_secret_keeps_pairs_as_they_are() {
        let now = SystemTime::now();
        let pair = |name: &str| Some(Pair::make(name, now, Duration::from_secs(600)).unwrap());
        for pairs_made in [
            Pairs::default(),
            Pairs {
                current: pair("a"),
                ..Pairs::default()
            },
            Pairs {
                current: pair("a"),
                next: pair("b"),
                last_authority: Some("c".to_owned()),
            },
        ] {
            let data = data(&pairs_made)
                .into_iter()
                .filter_map(|(key, value)| Some((key.to_owned(), value?)));
            let secret = Secret {
                data: Some(data.collect()),
                ..Secret::default()
            };
            assert_eq!(pairs(&secret), pairs_made);
        }
    }

    #[test]
    fn webhooks_that_trust_different_things_trust_nothing_yet() {
        let read = |one: &str, two: &str| {
            let hook = |trust: &str| {
                json!({"name": "x", "sideEffects": "None", "admissionReviewVersions": ["v1"],
                "clientConfig": {"caBundle": trust, "service": {"namespace": "ns", "name": "s"}}})
            };
            let all = json!({"webhooks": [hook(one), hook(two)]});
            serde_json::from_value::<MutatingWebhookConfiguration>(all).unwrap()
        };
        assert_eq!(bundle(&read("YQ==", "YQ==")), "a");
        assert_eq!(bundle(&read("YQ==", "Yg==")), "");
        assert_eq!(server(&read("", "")).as_deref(), Some("s.ns.svc"));
        assert_eq!(bundle(&MutatingWebhookConfiguration::default()), "");
    }
}

//! What holds for every document and every text.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::super::csaf::Advisory;
use super::super::versions::{Expression, Version};
use super::super::{Verdict, judge};
use super::documents::{read, small};
use super::{DOCUMENTS, device};

fn any_json() -> impl Strategy<Value = Value> {
    let name = prop_oneof![
        prop::sample::select(vec![
            "document",
            "product_tree",
            "vulnerabilities",
            "branches",
            "category",
            "name",
            "product",
            "product_id",
            "tracking",
            "id",
            "version",
            "status",
            "title",
            "publisher",
            "csaf_version",
            "product_status",
            "known_affected",
            "relationships",
            "full_product_names",
            "scores",
            "cvss_v3",
            "baseScore",
            "remediations",
        ])
        .prop_map(str::to_owned),
        ".{0,8}",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((name.clone(), inner), 0..6)
                .prop_map(|fields| Value::from(fields.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// How many places a document has.
fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(values) => values.iter().map(count).sum(),
        Value::Object(fields) => fields.values().map(count).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}

/// The place of a number, from the front.
fn place(value: &mut Value, at: usize) -> Option<&mut Value> {
    if at == 0 {
        return Some(value);
    }
    let inner: Vec<&mut Value> = match value {
        Value::Array(values) => values.iter_mut().collect(),
        Value::Object(fields) => fields.values_mut().collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    };
    let mut left = at - 1;
    for one in inner {
        let size = count(one);
        if left < size {
            return place(one, left);
        }
        left -= size;
    }
    None
}

fn with_version(text: &str, category: &str) -> Advisory {
    let mut document = small();
    let branch = &mut document["product_tree"]["branches"][0]["branches"][0]["branches"][0];
    branch["name"] = json!(text);
    branch["category"] = json!(category);
    read(&document).expect("a document that is read")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_json_is_read_or_refused(document in any_json(), bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = read(&document);
        let _ = Advisory::read(&bytes);
    }

    #[test]
    fn a_real_document_with_anything_in_one_place_is_read_or_refused(
        which in 0_usize..7, at in any::<prop::sample::Index>(), other in any_json(), texts in any::<[String; 3]>(),
    ) {
        let mut document: Value = serde_json::from_slice(DOCUMENTS[which].1).unwrap();
        let at = at.index(count(&document));
        *place(&mut document, at).expect("a place") = other;
        if let Ok(advisory) = read(&document) {
            judge(&device(&texts[0], &texts[1], &texts[2]), &advisory);
            judge(&device("BD", "Alaris 8015 PC unit", "9.7"), &advisory);
        }
    }

    #[test]
    fn an_unknown_field_changes_nothing(
        which in 0_usize..7, at in any::<prop::sample::Index>(), value in any_json(),
        row in prop::sample::select(vec![
            ("BD", "Alaris 8015 PC unit", "9.7"), ("BD", "Alaris Gateway Workstation", "1.1.3"),
            ("Baxter", "Sigma Spectrum", "8.1"), ("B. Braun", "Infusomat Space", "L81"), ("Medtronic", "24950", ""),
        ]),
    ) {
        let before = Advisory::read(DOCUMENTS[which].1).unwrap();
        let mut document: Value = serde_json::from_slice(DOCUMENTS[which].1).unwrap();
        let at = at.index(count(&document));
        if let Some(Value::Object(fields)) = place(&mut document, at) {
            fields.insert("x-unknown".to_owned(), value);
        }
        let after = read(&document).unwrap();
        prop_assert_eq!(&after, &before);
        let device = device(row.0, row.1, row.2);
        prop_assert_eq!(judge(&device, &after), judge(&device, &before));
    }

    #[test]
    fn a_version_text_that_is_not_understood_is_never_clear(
        text in "[ -~]{1,24}|[0-9]{1,2}(\\.[0-9x]{1,2}){0,3} ?[a-zA-Z<>=|,+~-]{0,12} ?[0-9.]{0,4}",
        firmware in "[0-9]{1,2}\\.[0-9]{1,2}|[ -~]{0,12}",
        is_range in any::<bool>(),
    ) {
        prop_assume!(!text.trim().is_empty());
        let category = if is_range { "product_version_range" } else { "product_version" };
        let verdict = judge(&device("Acme", "Volumat", &firmware), &with_version(&text, category)).verdict;
        match Expression::read(&text, is_range) {
            Expression::Unknown => prop_assert_eq!(verdict, Verdict::Review),
            Expression::All => prop_assert_eq!(verdict, Verdict::Affected),
            Expression::Some(..) if Version::read(&firmware).is_none() => prop_assert_eq!(verdict, Verdict::Review),
            Expression::Some(..) => {}
        }
    }

    #[test]
    fn words_around_a_version_that_nobody_knows_are_never_clear(
        before in "([b-z][a-z]{2,9} ){0,2}", after in "( [b-z][a-z]{2,9}){1,2}", version in "[0-9]\\.[0-9]{2}",
    ) {
        let text = format!("{before}{version}{after}");
        let verdict = judge(&device("Acme", "Volumat", "0.01"), &with_version(&text, "product_version")).verdict;
        prop_assert_ne!(verdict, Verdict::Clear, "{}", text);
    }

    #[test]
    fn the_order_of_versions_is_one(a in "[0-9]{1,3}([.a-c][0-9]{1,3}){0,3}", b in "[0-9]{1,3}([.a-c][0-9]{1,3}){0,3}") {
        let (a, b) = (Version::read(&a).unwrap(), Version::read(&b).unwrap());
        prop_assert_eq!(a.compare(&b), b.compare(&a).map(std::cmp::Ordering::reverse));
        prop_assert_eq!(a.compare(&a), Some(std::cmp::Ordering::Equal));
    }
}

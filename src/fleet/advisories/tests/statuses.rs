//! What the seven documents do not have: other statuses, relationships, products in words alone.

use serde_json::{Value, json};

use super::super::csaf::Advisory;
use super::super::{Verdict, judge};
use super::device;
use super::documents::{read, small};
use Verdict::{Affected, Clear, Review};

/// A document with the products P1 (Volumat 1.0), P2 (Volumat 2.0) and P3 (all of Volumat), and this status.
fn document(status: &Value) -> Advisory {
    let version = |name: &str, id: &str| json!({ "category": "product_version", "name": name, "product": { "name": format!("Volumat {name}"), "product_id": id } });
    let mut document = small();
    document["product_tree"]["branches"][0]["branches"][0]["branches"] =
        json!([version("1.0", "P1"), version("2.0", "P2"), version("vers:all/*", "P3")]);
    document["vulnerabilities"][0]["product_status"] = status.clone();
    read(&document).unwrap()
}

fn verdict(advisory: &Advisory, firmware: &str) -> Verdict {
    judge(&device("Acme", "Volumat", firmware), advisory).verdict
}

#[test]
fn each_status_has_its_verdict() {
    let table = [
        (json!({ "known_affected": ["P1"] }), "1.0", Affected),
        // P3 is listed, and nothing is said of it: so the document does not say that 2.0 is well.
        (json!({ "known_affected": ["P1"] }), "2.0", Review),
        (json!({ "known_affected": ["P1"], "known_not_affected": ["P2", "P3"] }), "2.0", Clear),
        (json!({ "known_affected": ["P1"], "under_investigation": ["P2", "P3"] }), "2.0", Review),
        (json!({ "known_affected": ["P3"], "fixed": ["P2"] }), "1.0", Affected),
        // All are affected, and one is fixed: the document has to be read.
        (json!({ "known_affected": ["P3"], "fixed": ["P2"] }), "2.0", Review),
        (
            json!({ "first_affected": ["P1"], "last_affected": ["P2"], "recommended": ["P3"] }),
            "1.0",
            Affected,
        ),
        (json!({ "first_affected": ["P1"], "last_affected": ["P2"], "recommended": ["P3"] }), "1.5", Review),
        (json!({ "first_affected": ["P1"], "recommended": ["P2", "P3"] }), "1.5", Review),
        (json!({ "first_affected": ["P1"], "recommended": ["P2", "P3"] }), "0.9", Clear),
        (json!({ "last_affected": ["P2"], "recommended": ["P1", "P3"] }), "2.1", Clear),
        (json!({ "recommended": ["P1", "P2", "P3"] }), "1.0", Clear),
        (json!({}), "1.0", Review),
    ];
    for (status, firmware, expected) in table {
        let advisory = document(&status);
        let found = judge(&device("Acme", "Volumat", firmware), &advisory);
        assert_eq!(found.verdict, expected, "{status} {firmware}: {:?}", found.reasons);
    }
}

#[test]
fn a_product_that_is_exempt_outweighs_a_name_that_matches_in_part_only() {
    let mut raw = small();
    let line = |name: &str, id: &str| {
        json!({ "category": "product_name", "name": name, "branches": [{
            "category": "product_version", "name": "vers:all/*", "product": { "name": name, "product_id": id },
        }] })
    };
    raw["product_tree"]["branches"][0]["branches"] =
        json!([line("Volumat Base Rack", "P1"), line("Volumat Agilia", "P2")]);
    let agilia = device("Acme", "Volumat Agilia", "1.0");
    assert_eq!(judge(&agilia, &read(&raw).unwrap()).verdict, Review);
    raw["vulnerabilities"][0]["product_status"] =
        json!({ "known_affected": ["P1"], "known_not_affected": ["P2"] });
    let found = judge(&agilia, &read(&raw).unwrap());
    assert_eq!(found.verdict, Clear);
    assert!(found.reasons[0].contains("not affected or fixed"), "{:?}", found.reasons);
}

#[test]
fn what_depends_on_more_than_an_inventory_knows_is_for_review() {
    // A service pack, on the way to the product.
    let mut raw = small();
    let leaf = raw["product_tree"]["branches"][0]["branches"][0]["branches"][0]["product"].take();
    raw["product_tree"]["branches"][0]["branches"][0]["branches"][0] = json!({
        "category": "product_version", "name": "1.0",
        "branches": [{ "category": "service_pack", "name": "SP 2", "product": leaf }],
    });
    let found = judge(&device("Acme", "Volumat", "1.0"), &read(&raw).unwrap());
    assert_eq!(found.verdict, Review);
    assert!(found.reasons[0].contains("service_pack SP 2"), "{:?}", found.reasons);
    assert_eq!(verdict(&read(&raw).unwrap(), "1.1"), Clear);
    // A card that is installed in it.
    let mut raw = small();
    raw["product_tree"]["full_product_names"] = json!([{ "name": "Radio Card", "product_id": "P2" }]);
    raw["product_tree"]["relationships"] = json!([{
        "category": "installed_on",
        "full_product_name": { "name": "Volumat 1.0 with Radio Card", "product_id": "P3" },
        "product_reference": "P2",
        "relates_to_product_reference": "P1",
    }]);
    raw["vulnerabilities"][0]["product_status"] = json!({ "known_affected": ["P3"] });
    let found = judge(&device("Acme", "Volumat", "1.0"), &read(&raw).unwrap());
    assert_eq!(found.verdict, Review);
    assert!(found.reasons[0].contains("installed_on: Volumat 1.0 with Radio Card"), "{:?}", found.reasons);
    assert_eq!(verdict(&read(&raw).unwrap(), "1.1"), Clear);
    // A product in words alone.
    let mut raw = small();
    raw["product_tree"] =
        json!({ "full_product_names": [{ "name": "Acme Volumat before 2.0", "product_id": "P1" }] });
    assert_eq!(verdict(&read(&raw).unwrap(), "3.0"), Review);
    // No product but in the title.
    let mut raw = small();
    (raw["product_tree"], raw["vulnerabilities"]) = (Value::Null, json!([]));
    raw["document"]["title"] = json!("Acme Volumat pumps");
    assert_eq!(verdict(&read(&raw).unwrap(), "3.0"), Review);
    assert_eq!(judge(&device("Acme", "Syramat", "3.0"), &read(&raw).unwrap()).verdict, Clear);
    // A product without a version.
    let mut raw = small();
    raw["product_tree"]["branches"][0]["branches"][0] = json!({ "category": "product_name", "name": "Volumat", "product": { "name": "Volumat", "product_id": "P1" } });
    assert_eq!(verdict(&read(&raw).unwrap(), "3.0"), Review);
}

#[test]
fn a_version_that_lost_its_words_on_the_way_into_the_tree_is_not_believed() {
    let mut raw = small();
    let product = "/product_tree/branches/0/branches/0/branches/0/product/name";
    *raw.pointer_mut(product).unwrap() = json!("Volumat: Version 1.0 and prior");
    assert_eq!(verdict(&read(&raw).unwrap(), "0.9"), Review);
    assert_eq!(verdict(&read(&small()).unwrap(), "0.9"), Clear);
}

#[test]
fn only_the_scores_and_the_remedies_of_what_matched_are_told() {
    let mut raw = small();
    let second = json!({ "category": "product_name", "name": "Syramat", "product": { "name": "Syramat", "product_id": "P2" } });
    raw["product_tree"]["branches"][0]["branches"].as_array_mut().unwrap().push(second);
    raw["product_tree"]["product_groups"] = json!([{ "group_id": "G1", "product_ids": ["P1", "P2"] }]);
    raw["vulnerabilities"][0]["product_status"] = json!({ "known_affected": ["P1", "P2"] });
    raw["vulnerabilities"][0]["scores"]
        .as_array_mut()
        .unwrap()
        .push(json!({ "products": ["P2"], "cvss_v3": { "baseScore": 9.8 } }));
    raw["vulnerabilities"][0]["remediations"] = json!([
        { "category": "mitigation", "details": "for both", "group_ids": ["G1"] },
        { "category": "vendor_fix", "details": "for the other", "product_ids": ["P2"] },
    ]);
    let found = judge(&device("Acme", "Volumat", "1.0"), &read(&raw).unwrap());
    assert_eq!(found.cvss.map(|score| score.to_string()).as_deref(), Some("7.5"));
    assert_eq!(
        found.remediations.iter().map(|remedy| remedy.details.as_str()).collect::<Vec<_>>(),
        ["for both"]
    );
}

//! The reader: the seven documents, and documents that are broken or too large.

use serde_json::{Value, json};

use super::super::csaf::{Advisory, MAX_BYTES, Refused, Stage, Status};
use super::{DOCUMENTS, advisory};

/// A whole document about one product, small.
pub(super) fn small() -> Value {
    json!({
        "document": {
            "csaf_version": "2.0",
            "title": "Acme Pump",
            "publisher": { "name": "Acme" },
            "tracking": { "id": "ACME-1", "version": "1", "status": "final" },
        },
        "product_tree": { "branches": [{ "category": "vendor", "name": "Acme", "branches": [{
            "category": "product_name", "name": "Volumat", "branches": [{
                "category": "product_version", "name": "1.0",
                "product": { "name": "Volumat 1.0", "product_id": "P1" },
            }],
        }] }] },
        "vulnerabilities": [{
            "cve": "CVE-2026-1",
            "product_status": { "known_affected": ["P1"] },
            "scores": [{ "products": ["P1"], "cvss_v3": { "baseScore": 7.5 } }],
        }],
    })
}

pub(super) fn read(document: &Value) -> Result<Advisory, Refused> {
    Advisory::read(document.to_string().as_bytes())
}

#[test]
fn the_seven_documents_are_read_whole() {
    // Id, revision, products, vulnerabilities, highest score in tenths: counted by hand.
    let expected = [
        ("ICSMA-17-017-02", "4", 3, 2, 68),
        ("ICSMA-18-144-01", "1", 1, 2, 75),
        ("ICSMA-18-219-01", "1", 2, 2, 49),
        ("ICSMA-19-164-01", "1", 11, 2, 100),
        ("ICSMA-20-170-04", "2", 6, 6, 86),
        ("ICSMA-21-294-01", "1", 5, 5, 90),
        ("ICSMA-22-251-01", "2", 6, 4, 75),
    ];
    for (id, version, products, vulnerabilities, score) in expected {
        let read = advisory(id);
        assert_eq!((read.id.as_str(), read.version.as_str(), read.stage), (id, version, Stage::Final));
        assert_eq!((read.products.len(), read.vulnerabilities.len()), (products, vulnerabilities), "{id}");
        assert_eq!(read.publisher, "CISA");
        let highest =
            read.vulnerabilities.iter().flat_map(|one| &one.scores).map(|(_, score)| score.tenths()).max();
        assert_eq!(highest, Some(score), "{id}");
        for product in &read.products {
            assert!(product.vendor.is_some() && product.name.is_some() && product.version.is_some());
            assert!(product.conditions.is_empty());
        }
        for one in &read.vulnerabilities {
            assert!(one.name.starts_with("CVE-") && !one.remediations.is_empty());
            assert_eq!(one.status.len(), products);
            assert!(one.status.values().flatten().all(|status| *status == Status::KnownAffected));
        }
    }
}

#[test]
fn what_cannot_be_read_is_refused_in_words() {
    assert_eq!(Advisory::read(&vec![b' '; MAX_BYTES + 1]), Err(Refused::TooLarge(MAX_BYTES + 1)));
    for (_, bytes) in DOCUMENTS {
        assert!(matches!(Advisory::read(&bytes[..bytes.len() - 2]), Err(Refused::Shape(_))));
    }
    let level = r#""branches":[{"name":"n","category":"vendor","#;
    let deep = format!("{{\"product_tree\":{{{}", level.repeat(20_000));
    assert!(Advisory::read(deep.as_bytes()).unwrap_err().to_string().contains("recursion limit"));
    let refused = |pointer: &str, value: Value, words: &str| {
        let mut document = small();
        *document.pointer_mut(pointer).expect("a place of the document") = value;
        let said = read(&document).unwrap_err().to_string();
        assert!(said.contains(words), "{pointer}: {said}");
    };
    refused("/document/csaf_version", json!("2.1"), "is CSAF \"2.1\", this program reads 2.0");
    refused("/document/tracking/id", json!("  "), "has a document.tracking.id of 2 bytes");
    refused("/document/title", json!("t".repeat(2_000)), "has a document.title of 2000 bytes");
    refused("/document/tracking/status", json!("gone"), "unknown variant `gone`");
    refused("/vulnerabilities/0/scores/0/cvss_v3/baseScore", json!(11), "has a CVSS base score of 11");
    refused("/vulnerabilities/0/scores/0/cvss_v3/baseScore", json!("high"), "invalid type: string");
    refused("/vulnerabilities/0/product_status/known_affected", json!(["P2"]), "speaks of a product \"P2\"");
    refused("/vulnerabilities", json!(vec![json!({}); 1_025]), "has 1025 vulnerabilities, at most 1024");
    refused("/product_tree/branches/0/name", json!(""), "has a name or an id of 0 bytes");
    let product =
        json!({ "category": "product_name", "name": "n", "product": { "name": "n", "product_id": "P1" } });
    refused("/product_tree/branches", json!([product, product]), "has the product id \"P1\" twice");
}

#[test]
fn a_tree_is_bounded_in_depth_and_in_number() {
    let nested = |levels: usize| {
        (1..levels).fold(
            json!({ "category": "product_name", "name": "n", "product": { "name": "n", "product_id": "P1" } }),
            |below, _| json!({ "category": "product_family", "name": "f", "branches": [below] }),
        )
    };
    let mut document = small();
    document["product_tree"]["branches"] = json!([nested(30)]);
    assert!(read(&document).is_ok());
    document["product_tree"]["branches"] = json!([nested(31)]);
    assert!(read(&document).unwrap_err().to_string().contains("more than 30 levels"));
    // Long names above many products: some 80 KB that would be 17 MB in memory.
    let product = |number: usize| json!({ "name": "n", "product_id": format!("P{number}") });
    let version = |number| json!({ "category": "product_version", "name": "1", "product": product(number) });
    let wide = |products: usize| {
        let first = json!({ "category": "host_name", "name": "n", "branches": (1..=products).map(version).collect::<Vec<_>>() });
        (0..28).fold(
            first,
            |below, _| json!({ "category": "host_name", "name": "n".repeat(1_024), "branches": [below] }),
        )
    };
    document["product_tree"]["branches"] = json!([wide(30)]);
    assert!(read(&document).is_ok());
    document["product_tree"]["branches"] = json!([wide(600)]);
    let refused = read(&document).unwrap_err().to_string();
    assert!(
        refused.contains("more than 1048576 bytes together") && refused.contains("leave it out"),
        "{refused}"
    );
    // Each relationship combines all that the one before did, twice.
    let relations: Vec<Value> = (1..40)
        .map(|at| {
            let before = format!("P{at}");
            json!({
                "category": "installed_on",
                "full_product_name": { "name": "both", "product_id": format!("P{}", at + 1) },
                "product_reference": before,
                "relates_to_product_reference": before,
            })
        })
        .collect();
    let mut document = small();
    document["product_tree"]["relationships"] = json!(relations);
    assert!(read(&document).unwrap_err().to_string().contains("more than 4096 products"));
}

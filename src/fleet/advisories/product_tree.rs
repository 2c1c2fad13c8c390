//! The tree of products of an advisory (CSAF 2.0, 3.2.2), made flat.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::csaf::{MAX_TEXT, cut};

/// The most products of a document; a relationship counts as the products that it combines.
pub const MAX_PRODUCTS: usize = 4_096;
/// The most bytes that its products take when each has the names of all branches above it. The real ones have some
/// ten thousand; a small document with long names above many products would fill the memory of a gateway.
pub(super) const MAX_NAMES: usize = 1 << 20;
/// The deepest branch that is followed.
pub const MAX_DEPTH: usize = 30;

/// The version of a product as the document writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionText {
    /// The text.
    pub text: String,
    /// Whether its branch is a `product_version_range`.
    pub is_range: bool,
}

/// A product.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Product {
    /// Its id within the document.
    pub id: String,
    /// The branch `vendor`.
    pub vendor: Option<String>,
    /// The branch `product_name`, else `product_family`.
    pub name: Option<String>,
    /// The branch `product_version` or `product_version_range`.
    pub version: Option<VersionText>,
    /// The whole name in words.
    pub full_name: String,
    /// What else the document asks of it and an inventory does not know: an architecture, a service pack, that it
    /// is installed on another product.
    pub conditions: Vec<String>,
    /// Whether a relationship combines it with another: then its own id alone need not have a status.
    pub is_combined: bool,
}

impl Product {
    fn bytes(&self) -> usize {
        let names =
            [self.vendor.as_ref(), self.name.as_ref(), self.version.as_ref().map(|version| &version.text)];
        let texts = names.into_iter().flatten().chain([&self.id, &self.full_name]).chain(&self.conditions);
        texts.map(String::len).sum()
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct RawTree {
    branches: Vec<RawBranch>,
    full_product_names: Vec<RawProduct>,
    relationships: Vec<RawRelationship>,
    pub(super) product_groups: Vec<RawGroup>,
}

#[derive(Deserialize)]
struct RawBranch {
    category: String,
    name: String,
    #[serde(default)]
    branches: Vec<RawBranch>,
    product: Option<RawProduct>,
}

#[derive(Deserialize)]
struct RawProduct {
    name: String,
    product_id: String,
}

#[derive(Deserialize)]
struct RawRelationship {
    category: String,
    full_product_name: RawProduct,
    product_reference: String,
    relates_to_product_reference: String,
}

#[derive(Deserialize)]
pub(super) struct RawGroup {
    pub(super) group_id: String,
    pub(super) product_ids: BTreeSet<String>,
}

/// Every product of a tree.
pub(super) fn flatten(tree: RawTree) -> Result<Vec<Product>, String> {
    let mut found = Found::default();
    for branch in tree.branches {
        found.follow(branch, &Product::default(), 1)?;
    }
    for raw in tree.full_product_names {
        found.add(Product::default(), raw)?;
    }
    for raw in tree.relationships {
        found.combine(raw)?;
    }
    Ok(found.products)
}

#[derive(Default)]
struct Found {
    products: Vec<Product>,
    /// What they take, their names alone.
    bytes: usize,
    /// Where in `products` those of an id are.
    places: BTreeMap<String, Vec<usize>>,
}

impl Found {
    fn follow(&mut self, branch: RawBranch, above: &Product, depth: usize) -> Result<(), String> {
        if depth > MAX_DEPTH {
            return Err(format!("has branches of more than {MAX_DEPTH} levels"));
        }
        check(&branch.name)?;
        let mut here = above.clone();
        match branch.category.as_str() {
            "vendor" => here.vendor = Some(branch.name),
            "product_name" => here.name = Some(branch.name),
            "product_family" if here.name.is_none() => here.name = Some(branch.name),
            "product_version" | "product_version_range" if here.version.is_none() => {
                let is_range = branch.category == "product_version_range";
                here.version = Some(VersionText { text: branch.name, is_range });
            }
            other => here.conditions.push(format!("{} {}", cut(other, 32), branch.name)),
        }
        if let Some(product) = branch.product {
            self.add(here.clone(), product)?;
        }
        branch.branches.into_iter().try_for_each(|below| self.follow(below, &here, depth + 1))
    }

    fn add(&mut self, product: Product, raw: RawProduct) -> Result<(), String> {
        if self.places.contains_key(&raw.product_id) {
            return Err(format!("has the product id {:?} twice", cut(&raw.product_id, 64)));
        }
        self.put(Product { id: raw.product_id, full_name: raw.name, ..product })
    }

    fn put(&mut self, product: Product) -> Result<(), String> {
        check(&product.full_name)?;
        check(&product.id)?;
        if self.products.len() >= MAX_PRODUCTS {
            return Err(format!("has more than {MAX_PRODUCTS} products"));
        }
        self.bytes = self.bytes.saturating_add(product.bytes());
        if self.bytes > MAX_NAMES {
            return Err(format!(
                "has products whose names take more than {MAX_NAMES} bytes together, with those of the branches above them: leave \
                 it out of the bundle, and cut it to the products that the ward has"
            ));
        }
        self.places.entry(product.id.clone()).or_default().push(self.products.len());
        self.products.push(product);
        Ok(())
    }

    /// A device can be either side of a relationship, and the advisory means both together.
    fn combine(&mut self, raw: RawRelationship) -> Result<(), String> {
        let RawRelationship { category, full_product_name: whole, .. } = raw;
        if self.places.contains_key(&whole.product_id) {
            return Err(format!("has the product id {:?} twice", cut(&whole.product_id, 64)));
        }
        let sides = [&raw.product_reference, &raw.relates_to_product_reference];
        let condition = format!("{}: {}", cut(&category, 32), cut(&whole.name, MAX_TEXT));
        for side in sides {
            let Some(places) = self.places.get(side).cloned() else {
                return Err(format!("relates a product {:?} that its tree does not have", cut(side, 64)));
            };
            for place in places {
                let Some(part) = self.products.get_mut(place) else { continue };
                part.is_combined = true;
                let mut product = Product { is_combined: false, ..part.clone() };
                product.conditions.push(condition.clone());
                product.id.clone_from(&whole.product_id);
                self.put(product)?;
            }
        }
        Ok(())
    }
}

fn check(text: &str) -> Result<(), String> {
    if text.trim().is_empty() || text.len() > MAX_TEXT {
        return Err(format!(
            "has a name or an id of {} bytes in its product tree: 1 to {MAX_TEXT}",
            text.len()
        ));
    }
    Ok(())
}

//! How a device stands to each product of an advisory.
//!
//! A name that is within the other ("Spectrum" and "Spectrum LVP") is held against the version all the same: where
//! the version is certainly not one of those meant, nothing of it is left. A name that shares a word with the
//! device's is for review, unless the advisory has the device's own name too: then the other is another product.

use super::csaf::{Advisory, Product};
use super::inventory::Device;
use super::names::{self, Makers, Products};
use super::versions::{Expression, Fit, Version};

/// How a device stands to a product of the tree.
#[derive(Clone, Debug)]
pub(super) enum Standing {
    /// It is another product.
    Elsewhere,
    /// It is this product, in another version.
    Outside(String),
    /// It is this product, and older than the one version that is named.
    Older(String),
    /// It is this product, and newer than the one version that is named.
    Newer(String),
    /// Something of its name is the same, no more.
    Alike(String),
    /// It may be this product, or this version.
    Unsure(String),
    /// It is this product in this version.
    Meant(String),
}

/// How a device stands to every product.
pub(super) fn standings<'a>(device: &Device, advisory: &'a Advisory) -> Vec<(&'a Product, Standing)> {
    let compared: Vec<(&Product, Likeness)> = advisory
        .products
        .iter()
        .map(|product| (product, likeness(device, product, &advisory.title)))
        .collect();
    let is_named =
        compared.iter().any(|(_, like)| (like.makers, like.products) == (Makers::Same, Products::Same));
    let stand = |(product, mut like): (&'a Product, Likeness)| {
        if is_named && like.products == Products::Alike {
            like.products = Products::Other;
        }
        (product, stand(device, product, like))
    };
    compared.into_iter().map(stand).collect()
}

/// What of a device is like a product.
struct Likeness {
    makers: Makers,
    products: Products,
    /// Which versions the advisory means.
    expression: Option<Expression>,
    /// Whether the device's model shows the model number that the advisory asks for.
    has_model: bool,
}

fn likeness(device: &Device, product: &Product, title: &str) -> Likeness {
    let (make, vendor) = (known(device.make.as_deref()), known(product.vendor.as_deref()));
    let makers = match (make, vendor) {
        (Some(make), Some(vendor)) => names::compare_makers(make, vendor),
        _ => Makers::Unknown,
    };
    let version = product.version.as_ref();
    let expression =
        version.map(|version| read_expression(&version.text, version.is_range, &product.full_name));
    let Some(model) = known(device.model.as_deref()) else {
        return Likeness { makers, products: Products::Unknown, expression, has_model: false };
    };
    let owner = vendor.or(make).unwrap_or_default();
    let mut ours = names::product(model, owner);
    let asked = expression.as_ref().and_then(Expression::model);
    let has_model = asked.is_some_and(|asked| ours.iter().any(|word| word == asked));
    if has_model && ours.len() > 1 {
        ours.retain(|word| Some(word.as_str()) != asked);
    }
    Likeness { makers, products: compare(&ours, product, owner, title), expression, has_model }
}

fn compare(ours: &[String], product: &Product, owner: &str, title: &str) -> Products {
    if ours.is_empty() {
        // The model says no more than who made it.
        return Products::Unknown;
    }
    let theirs = names::product(product.name.as_deref().unwrap_or(&product.full_name), owner);
    let found = names::compare_products(ours, &theirs);
    match found {
        // The version stands in the name: it cannot be told apart.
        Products::Within if product.name.is_none() => Products::Alike,
        Products::Other | Products::Alike => {
            // A part that is put into the device, or a name that the tree shortens.
            let mut around = names::words(&product.full_name);
            around.extend(names::words(title));
            if names::is_named_in(ours, &around) { Products::Mentioned } else { found }
        }
        Products::Same | Products::Within | Products::Mentioned | Products::Unknown => found,
    }
}

fn stand(device: &Device, product: &Product, like: Likeness) -> Standing {
    let name = &product.full_name;
    let owner = product.vendor.as_deref().unwrap_or("not named");
    let said = format!(
        "device {:?} {:?}",
        device.make.as_deref().unwrap_or("of an unknown maker"),
        device.model.as_deref().unwrap_or("of an unknown model")
    );
    let doubt = match (like.makers, like.products) {
        (_, Products::Other)
        | (Makers::Other, Products::Within | Products::Alike | Products::Mentioned | Products::Unknown) => {
            return Standing::Elsewhere;
        }
        (Makers::Other, Products::Same) => {
            return Standing::Unsure(format!("{said} is named like {name:?}, of another maker: {owner:?}"));
        }
        (Makers::Same | Makers::Alike | Makers::Unknown, Products::Unknown) => {
            return Standing::Unsure(format!("{said} says too little of its model, and may be {name:?}"));
        }
        (Makers::Same | Makers::Alike | Makers::Unknown, Products::Alike) => {
            return Standing::Alike(format!("{said} matches the name {name:?} in part"));
        }
        (Makers::Same | Makers::Alike | Makers::Unknown, Products::Mentioned) => {
            return Standing::Alike(format!("{said} is mentioned beside {name:?}"));
        }
        (Makers::Same | Makers::Alike | Makers::Unknown, Products::Within) => {
            Some(format!("{said} matches the name {name:?} in part"))
        }
        (Makers::Alike | Makers::Unknown, Products::Same) => {
            Some(format!("{said} is {name:?}, if its maker is {owner:?}"))
        }
        (Makers::Same, Products::Same) => None,
    };
    by_version(device, product, like, doubt)
}

/// The name fits. `doubt`: why it may be another product all the same.
fn by_version(device: &Device, product: &Product, like: Likeness, doubt: Option<String>) -> Standing {
    let name = &product.full_name;
    let (Some(expression), Some(text)) = (like.expression, &product.version) else {
        return Standing::Unsure(doubt.unwrap_or_else(|| format!("{name:?} names no version")));
    };
    let firmware = known(device.firmware.as_deref());
    let version = firmware.and_then(Version::read);
    let shown = firmware.map_or_else(|| "unknown".to_owned(), |firmware| format!("{firmware:?}"));
    let vendor = product.vendor.as_deref().unwrap_or_default();
    let alias = device.make.as_deref().and_then(|make| Some((make, names::source(make, vendor)?)));
    let alias = alias.map(|(make, source)| format!("maker {make:?} is {vendor:?} ({source}), "));
    let alias = alias.unwrap_or_default();
    let said = format!("{alias}version {shown} against {:?} of {name:?}", text.text);
    match expression.fit(version.as_ref(), like.has_model) {
        Fit::Outside => match expression.side(version.as_ref()) {
            Some(order) if order.is_lt() => Standing::Older(format!("{said}: it is older")),
            Some(_) => Standing::Newer(format!("{said}: it is newer")),
            None => Standing::Outside(format!("{said}: it is not one of these")),
        },
        Fit::Unclear(why) => Standing::Unsure(format!("{said}: {why}")),
        Fit::Inside => match (doubt, product.conditions.first()) {
            (Some(doubt), _) => Standing::Unsure(format!("{doubt}; {said}: it is one of these")),
            (None, Some(condition)) => Standing::Unsure(format!(
                "{said}: it is one of these; whether {condition} is so is not known"
            )),
            (None, None) => Standing::Meant(format!("{said}: it is one of these")),
        },
    }
}

/// Where the tree has a single version and the name says "and prior", something of it was lost.
fn read_expression(text: &str, is_range: bool, full_name: &str) -> Expression {
    const WIDER: [&str; 12] = [
        "prior", "earlier", "below", "before", "older", "lower", "previous", "later", "newer", "above",
        "through", "all",
    ];
    let expression = Expression::read(text, is_range);
    let is_wider = names::words(full_name).iter().any(|word| WIDER.contains(&word.as_str()));
    if expression.names_versions_only() && is_wider { Expression::Unknown } else { expression }
}

fn known(text: Option<&str>) -> Option<&str> {
    text.map(str::trim).filter(|text| !text.is_empty())
}

//! The names under which makers go. Data: one name a line, each with where it stands.
//!
//! Only makers of the devices that this program reads, and of the advisories that it is tested with.

/// A name of a maker. All names with one group mean the same maker.
pub(super) struct Alias {
    pub(super) group: &'static str,
    pub(super) name: &'static str,
    /// Where the name, or that it belongs to the group, comes from.
    pub(super) source: &'static str,
}

const fn alias(group: &'static str, name: &'static str, source: &'static str) -> Alias {
    Alias { group, name, source }
}

const BD_CAREFUSION: &str = "mddionline.com, BD and CareFusion Complete $12 Billion Merger, 2015-03-16";
const HOSPIRA_ICU: &str =
    "massdevice.com, ICU Medical to pay Pfizer $1B for Hospira infusion pump biz, 2016-10-06";
const COVIDIEN: &str =
    "mddionline.com, BD and CareFusion Complete $12 Billion Merger, 2015-03-16 (Medtronic and Covidien)";

pub(super) const ALIASES: &[Alias] = &[
    alias("bd", "Becton, Dickinson and Company (BD)", "ICSMA-17-017-02, branch vendor"),
    alias("bd", "Becton Dickinson", "ICSMA-17-017-02, branch vendor, shortened"),
    alias("bd", "BD", "ICSMA-17-017-02, document.title"),
    alias("bd", "CareFusion", BD_CAREFUSION),
    alias("bd", "Alaris", "driver alaris-asena; ICSMA-19-164-01, branch product_name"),
    alias("bd", "IVAC", "driver alaris-asena: Alaris / IVAC Asena"),
    alias("baxter", "Baxter", "ICSMA-20-170-04, branch vendor"),
    alias("baxter", "Sigma", "ICSMA-20-170-04, document.title: Baxter Sigma Spectrum"),
    alias("bbraun", "B. Braun Medical", "ICSMA-21-294-01, branch vendor"),
    alias("bbraun", "B. Braun", "ICSMA-21-294-01, document.title"),
    alias("bbraun", "Braun", "ICSMA-21-294-01, document.title, shortened"),
    alias("bbraun", "B. Braun Melsungen", "name of the manufacturing company; from memory, unverified"),
    alias("bbraun", "Braun Melsungen", "name of the manufacturing company; from memory, unverified"),
    alias("medtronic", "Medtronic", "ICSMA-18-219-01, branch vendor"),
    alias("medtronic", "Covidien", COVIDIEN),
    alias("medtronic", "Nellcor", "driver nellcor; that Covidien made it: from memory, unverified"),
    alias(
        "medtronic",
        "Puritan Bennett",
        "driver puritan-bennett-840; that Covidien made it: from memory, unverified",
    ),
    alias("hospira", "Hospira", "driver hospira-plum-aplus"),
    alias("hospira", "Pfizer", HOSPIRA_ICU),
    alias("hospira", "ICU Medical", HOSPIRA_ICU),
    alias("beaconmedaes", "BeaconMedaes", "ICSMA-18-144-01, branch vendor"),
    alias("philips", "Philips", "driver philips-intellivue"),
    alias("philips", "Philips Medical Systems", "name of the manufacturing company; from memory, unverified"),
    alias("draeger", "Dräger", "driver draeger-medibus"),
    alias("draeger", "Draeger", "driver draeger-medibus, without the umlaut"),
    alias("draeger", "Drägerwerk", "name of the company as CSAF documents write it; from memory, unverified"),
    alias("draeger", "Draegerwerk", "the same without the umlaut"),
    alias("maquet", "Maquet", "driver maquet-servo-i"),
    alias("maquet", "Getinge", "driver maquet-servo-i: Maquet / Getinge"),
    alias("fresenius", "Fresenius Vial", "driver fresenius-base-a"),
    alias("fresenius", "Fresenius Kabi", "later name of the maker; from memory, unverified"),
    alias("masimo", "Masimo", "driver masimo-ascii1"),
    alias("nonin", "Nonin", "driver nonin"),
];

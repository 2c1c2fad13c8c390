use std::collections::BTreeSet;

use super::*;
use crate::host::status::sample::{device, snapshot as full};

/// The names of all families.
fn families(page: &str) -> Vec<&str> {
    page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect()
}

#[test]
fn durations_are_in_seconds_sizes_in_bytes_and_flags_are_ones() {
    let page = render(Some(&full()), Format::OpenMetrics);
    for line in [
        "wardline_daemon_up 1",
        "wardline_uptime_seconds 61.005",
        "# UNIT wardline_uptime_seconds seconds",
        "wardline_clock_max_error_seconds 0.001234",
        "wardline_store_bytes 1099511627776",
        "wardline_certificate_days_left -3",
        "wardline_certificate_alarm 3",
        "wardline_certificate_renewal_failing 1",
        "wardline_fleet_bundle 7",
        "wardline_fleet_trouble 1",
        "wardline_device_link_age_seconds{device=\"pump-2\",driver=\"alaris-asena\"} 1.500",
        "wardline_device_refused_total{device=\"pump-1\",driver=\"alaris-asena\",kind=\"mismatch\"} 2",
        "wardline_spool_oldest_age_seconds{lane=\"alarm\"} 0.001",
        "# TYPE wardline_uplink_acknowledged_records counter",
    ] {
        assert!(page.lines().any(|found| found == line), "{line}\nis not in\n{page}");
    }
}

#[test]
fn a_family_is_told_once_with_all_its_samples_and_the_formats_have_the_same_samples() {
    let samples = |page: &str| -> Vec<String> {
        page.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
    };
    let (open, text) = (render(Some(&full()), Format::OpenMetrics), render(Some(&full()), Format::Textfile));
    assert_eq!(samples(&open), samples(&text));
    for page in [&open, &text] {
        let names = families(page);
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "{names:?}");
    }
    assert!(text.contains("# TYPE wardline_spool_durable_records_total counter\n"), "{text}");
    assert!(!text.contains("UNIT") && !text.contains("EOF") && !text.contains(" info\n"), "{text}");
}

#[test]
fn what_is_not_known_has_no_sample_and_a_daemon_that_is_away_has_none_at_all() {
    let page = render(Some(&Snapshot::default()), Format::OpenMetrics);
    for absent in ["certificate", "fleet", "spool", "radio", "device_"] {
        assert!(!page.contains(&format!("wardline_{absent}")), "{absent}: {page}");
    }
    let away = render(None, Format::OpenMetrics);
    assert!(away.contains("wardline_daemon_up 0\n") && families(&away).len() == 1, "{away}");
}

#[test]
fn what_a_label_holds_cannot_break_the_line() {
    let mut snapshot = full();
    snapshot.devices = vec![device("a\"b\\c\nd\u{1b}")];
    let page = render(Some(&snapshot), Format::OpenMetrics);
    assert!(page.contains("device=\"a\\\"b\\\\c\\nd\u{FFFD}\""), "{page}");
}

/// Nothing that a device said of itself, and no reason in words, is on the page.
#[test]
fn what_devices_and_people_said_is_not_on_the_page() {
    let mut snapshot = full();
    let canary = || Some("CANARY".to_owned());
    let one = &mut snapshot.devices[0];
    one.stated =
        Some(crate::host::status::Identity { serial: canary(), maker: canary(), ..Default::default() });
    (one.quarantine, one.link_reason) = (canary(), canary());
    snapshot.warnings = canary().into_iter().collect();
    snapshot.uplink.last_error = canary();
    snapshot.store.last_error = canary();
    snapshot.radios[0].down = canary();
    snapshot.fleet.as_mut().unwrap().detail = "CANARY".to_owned();
    for format in [Format::OpenMetrics, Format::Textfile] {
        assert!(!render(Some(&snapshot), format).contains("CANARY"));
    }
}

/// What is shipped for Prometheus and Grafana asks for families that there are, and leaves none of a device unseen.
#[test]
fn the_rules_and_the_dashboard_ask_for_what_there_is() {
    let page = render(Some(&full()), Format::Textfile);
    let known: BTreeSet<&str> = families(&page).into_iter().collect();
    for text in [
        include_str!("../../../../configs/prometheus/wardline.rules.yml"),
        include_str!("../../../../configs/grafana/wardline.json"),
    ] {
        let mut asked = BTreeSet::new();
        for (at, _) in text.match_indices("wardline_") {
            let rest = &text[at..];
            let end = rest.find(|c: char| c != '_' && !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
            asked.insert(&rest[..end]);
        }
        assert!(asked.len() > 8, "{asked:?}");
        let unknown: Vec<_> = asked.difference(&known).collect();
        assert!(unknown.is_empty(), "{unknown:?}");
    }
}

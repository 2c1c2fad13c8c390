//! `adapters` and `bluetoothd`: what the BLE devices of the allowlist need.

use super::{Says, Unseen};

/// An adapter as BlueZ tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adapter {
    /// `hci0`.
    pub name: String,
    /// Its address.
    pub address: String,
    /// Whether it is switched on.
    pub powered: bool,
}

/// What D-Bus and the files say.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The adapters that devices of the configuration name, by name or address.
    pub wanted: Vec<String>,
    /// The adapters; none: BlueZ does not run. Unseen: the bus did not answer.
    pub adapters: Result<Option<Vec<Adapter>>, Unseen>,
    /// The version of the installed package, where the package manager keeps one.
    pub version: Option<String>,
    /// The text of `/etc/bluetooth/main.conf`, if there is one.
    pub main_conf: Option<String>,
}

/// The BlueZ that everything was tried with: Debian 12's.
const OLDEST: (u32, u32) = (5, 66);

/// Whether a version, as Debian writes it (`5.66-1+rpt1`), is older than that; one that cannot be read is not.
fn is_older(version: &str) -> bool {
    let number =
        |text: &str| text.split(|c: char| !c.is_ascii_digit()).next().and_then(|text| text.parse().ok());
    let found = version.split_once('.').and_then(|(major, minor)| Some((number(major)?, number(minor)?)));
    found.is_some_and(|found: (u32, u32)| found < OLDEST)
}

/// Nothing here is for a gateway that reads no BLE device.
fn is_needed(facts: &Facts) -> Option<Says> {
    facts.wanted.is_empty().then(|| Says::default().ok("not needed: no device is read over BLE"))
}

/// Says which adapters are missing or off.
pub fn judge_adapters(facts: &Facts) -> Says {
    if let Some(says) = is_needed(facts) {
        return says;
    }
    let adapters = match &facts.adapters {
        Ok(Some(adapters)) => adapters,
        Ok(None) => {
            return Says::default().unseen(&Unseen::with("BlueZ does not run", "see bluetoothd"));
        }
        Err(unseen) => return Says::default().unseen(unseen),
    };
    facts.wanted.iter().fold(Says::default(), |says, wanted| {
        let found = adapters
            .iter()
            .find(|adapter| adapter.name == *wanted || adapter.address.eq_ignore_ascii_case(wanted));
        match found {
            None => says.wrong(
                format!("there is no adapter {wanted}"),
                "bluetoothctl list; rfkill list bluetooth; is it plugged in, and on a Pi not switched off \
                 (dtoverlay=disable-bt)?",
            ),
            Some(adapter) if !adapter.powered => says.wrong(
                format!("adapter {wanted} is off"),
                "rfkill unblock bluetooth; bluetoothctl power on (the daemon switches it on by itself when it may)",
            ),
            Some(adapter) => says.ok(format!("{} is there and on", adapter.name)),
        }
    })
}

/// Says whether BlueZ runs and what in its settings hurts.
pub fn judge_bluetoothd(facts: &Facts) -> Says {
    if let Some(says) = is_needed(facts) {
        return says;
    }
    let version = facts.version.as_deref().unwrap_or("of unknown version");
    let says = match &facts.adapters {
        Ok(Some(_)) if is_older(version) => Says::default().note(
            format!("BlueZ {version} runs; the oldest that was tried is {}.{}", OLDEST.0, OLDEST.1),
            "Debian 12 or newer has it",
        ),
        Ok(Some(_)) => Says::default().ok(format!("BlueZ {version} runs")),
        Ok(None) => Says::default().wrong(
            "BlueZ does not run: nothing owns org.bluez on the system bus",
            "systemctl enable --now bluetooth; journalctl -u bluetooth",
        ),
        Err(unseen) => return Says::default().unseen(unseen),
    };
    says.and(judge_settings(facts.main_conf.as_deref().unwrap_or_default()))
}

/// BlueZ, `src/main.conf`: what each setting does and its default.
fn judge_settings(text: &str) -> Says {
    let is = |section: &str, key: &str, value: &str| {
        setting(text, section, key).is_some_and(|found| found.eq_ignore_ascii_case(value))
    };
    let file = "/etc/bluetooth/main.conf";
    let remove = |key: &str| format!("remove {key} from {file}; systemctl restart bluetooth");
    let mut says = Says::default();
    if is("General", "ControllerMode", "bredr") {
        let text = "ControllerMode = bredr: the adapter does not speak Low Energy";
        says = says.wrong(text, remove("ControllerMode"));
    }
    if is("General", "JustWorksRepairing", "always") {
        let text =
            "JustWorksRepairing = always: a stranger can take the place of a bonded device without a person";
        says = says.wrong(text, remove("JustWorksRepairing"));
    }
    if is("General", "AlwaysPairable", "true") {
        let text =
            "AlwaysPairable = true: the gateway can be paired with by anybody when no agent refuses it";
        says = says.wrong(text, remove("AlwaysPairable"));
    }
    for key in ["Experimental", "KernelExperimental"] {
        if setting(text, "General", key).is_some_and(|value| !value.eq_ignore_ascii_case("false")) {
            let text = format!("{key} is on: interfaces that BlueZ does not stand by yet");
            says = says.note(text, remove(key));
        }
    }
    if is("Policy", "AutoEnable", "false") {
        let text = "AutoEnable = false: after a start the adapter stays off until the daemon switches it on";
        says = says.note(text, remove("AutoEnable"));
    }
    says
}

/// The value of a key in a section of a key file; the last one counts.
fn setting<'a>(text: &'a str, section: &str, key: &str) -> Option<&'a str> {
    let (mut is_in, mut found) = (false, None);
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            is_in = name == section;
        } else if let Some((name, value)) =
            line.split_once('=').filter(|(name, _)| is_in && name.trim() == key)
        {
            debug_assert_eq!(name.trim(), key);
            found = Some(value.trim());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    fn facts() -> Facts {
        let adapter = Adapter { name: "hci0".into(), address: "C0:DE:00:00:00:01".into(), powered: true };
        Facts {
            wanted: vec!["hci0".into()],
            adapters: Ok(Some(vec![adapter])),
            version: Some("5.66-1".into()),
            main_conf: Some("[General]\n#Experimental = true\n[Policy]\nAutoEnable=true\n".into()),
        }
    }

    fn with(change: impl FnOnce(&mut Facts)) -> [Verdict; 2] {
        let mut facts = facts();
        change(&mut facts);
        [judge_adapters(&facts).verdict(), judge_bluetoothd(&facts).verdict()]
    }

    #[test]
    fn adapters_and_bluez_are_judged_apart() {
        use Verdict::{Note, Ok as Good, Unchecked, Wrong};
        let conf = |text: &str| with(|facts| facts.main_conf = Some(text.to_owned()));
        for (place, (found, wanted)) in [
            (with(|_| {}), [Good, Good]),
            (with(|facts| facts.wanted = vec!["c0:de:00:00:00:01".into()]), [Good, Good]),
            (with(|facts| facts.wanted = vec!["hci1".into()]), [Wrong, Good]),
            (with(|facts| facts.adapters = Ok(Some(vec![]))), [Wrong, Good]),
            (with(|facts| facts.adapters = Ok(None)), [Unchecked, Wrong]),
            (with(|facts| facts.adapters = Err(Unseen::new("hangs"))), [Unchecked, Unchecked]),
            (with(|facts| facts.main_conf = None), [Good, Good]),
            (with(|facts| facts.version = Some("5.55-3.1+rpt2".into())), [Good, Note]),
            (with(|facts| facts.version = Some("5.9-1".into())), [Good, Note]),
            (with(|facts| facts.version = Some("5.82-1.1".into())), [Good, Good]),
            (with(|facts| facts.version = Some("6.0".into())), [Good, Good]),
            (with(|facts| facts.version = Some("of my own".into())), [Good, Good]),
            (with(|facts| facts.version = None), [Good, Good]),
            (conf("[General]\nControllerMode = bredr"), [Good, Wrong]),
            (conf("[General]\nJustWorksRepairing=always"), [Good, Wrong]),
            (conf("[General]\nAlwaysPairable=true"), [Good, Wrong]),
            (conf("[General]\nExperimental=true"), [Good, Note]),
            (conf("[Other]\nExperimental=true"), [Good, Good]),
            (conf("[Policy]\nAutoEnable = false"), [Good, Note]),
        ]
        .into_iter()
        .enumerate()
        {
            assert_eq!(found, wanted, "row {place}");
        }
        let off = with(|facts| {
            if let Ok(Some(adapters)) = &mut facts.adapters {
                adapters[0].powered = false;
            }
        });
        assert_eq!(off, [Wrong, Good]);
        let unneeded = with(|facts| {
            facts.wanted.clear();
            facts.adapters = Ok(None);
        });
        assert_eq!(unneeded, [Good, Good]);
    }
}

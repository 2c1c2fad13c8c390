use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> Result<TokenKey, UriError> {
    TokenKey::parse(text, |name| (name == "pin").then(|| PathBuf::from("/run/credentials/x/pin")))
}

const FULL: &str = "pkcs11:token=ward%207;serial=0a;manufacturer=Acme;model=M1;object=wardline-kek;id=%01%ff;\
                    type=secret-key?module-path=/usr/lib/p11.so&pin-source=file:/etc/pin";

#[test]
fn every_part_is_read() {
    let key = parse(FULL).unwrap();
    assert_eq!(key.module, PathBuf::from("/usr/lib/p11.so"));
    assert_eq!(key.token.label.as_deref(), Some("ward 7"));
    assert_eq!(key.token.serial.as_deref(), Some("0a"));
    assert_eq!(key.token.manufacturer.as_deref(), Some("Acme"));
    assert_eq!(key.token.model.as_deref(), Some("M1"));
    assert_eq!((key.object.as_deref(), key.id), (Some("wardline-kek"), Some(vec![1, 255])));
    assert_eq!(key.pin, Some(PathBuf::from("/etc/pin")));
}

#[test]
fn the_pin_comes_from_a_file_or_a_credential() {
    let pin = |source: &str| {
        parse(&format!("pkcs11:token=t;object=o?module-path=/m.so&pin-source={source}")).map(|key| key.pin)
    };
    assert_eq!(pin("file:///etc/pin").unwrap(), Some(PathBuf::from("/etc/pin")));
    assert_eq!(pin("credential:pin").unwrap(), Some(PathBuf::from("/run/credentials/x/pin")));
    for refused in ["credential:../x", "file:etc/pin", "/etc/pin", "%7C/bin/sh", "1234"] {
        assert_eq!(pin(refused).unwrap_err().part, "pin-source", "{refused}");
    }
}

#[test]
fn what_is_wrong_is_named_by_its_part() {
    let end = "?module-path=/m.so";
    for (text, part, word) in [
        (format!("pkcs11:object=o{end}"), "token", "missing"),
        (format!("pkcs11:token=t{end}"), "object", "missing"),
        ("pkcs11:token=t;object=o".to_owned(), "module-path", "missing"),
        ("pkcs11:token=t;object=o?module-path=m.so".to_owned(), "module-path", "absolute"),
        (format!("pkcs11:token=t;object=o{end}&pin-value=1234"), "pin-value", "secret"),
        (format!("pkcs11:token=t;object=o;pin-value=1234{end}"), "pin-value", "secret"),
        (format!("pkcs11:token=t;object=o;slot-id=1{end}"), "slot-id", "not known"),
        (format!("pkcs11:token=t;object=o{end}&module-name=p11"), "module-name", "not known"),
        (format!("pkcs11:token=t;object=o;module-path=/m.so{end}"), "module-path", "not known"),
        (format!("pkcs11:token=t;token=u;object=o{end}"), "token", "twice"),
        (format!("pkcs11:token=;object=o{end}"), "token", "empty"),
        (format!("pkcs11:token;object=o{end}"), "token", "no value"),
        (format!("pkcs11:token=a b;object=o{end}"), "token", "%20"),
        (format!("pkcs11:token=%4;object=o{end}"), "token", "hex"),
        (format!("pkcs11:token=%ff;object=o{end}"), "token", "UTF-8"),
        (format!("pkcs11:token=%0a;object=o{end}"), "token", "control"),
        (format!("pkcs11:token={};object=o{end}", "t".repeat(33)), "token", "33 bytes"),
        (format!("pkcs11:token=t;object=o;type=private{end}"), "type", "secret-key"),
        (format!("pkcs11:token=t;object={}{end}", "o".repeat(2_000)), "scheme", "bytes"),
        ("pkcs12:token=t".to_owned(), "scheme", "pkcs11:"),
    ] {
        let error = parse(&text).unwrap_err();
        assert!(error.part == part && error.reason.contains(word), "{text}: {error}");
        assert!(!error.to_string().contains("1234"), "the PIN is not repeated: {error}");
    }
}

#[test]
fn one_key_is_the_same_with_another_pin() {
    let one = parse(FULL).unwrap();
    assert!(one.is_same(&TokenKey { pin: None, ..one.clone() }));
    let token = TokenName { serial: Some("0b".to_owned()), ..one.token.clone() };
    for other in [
        TokenKey { id: None, ..one.clone() },
        TokenKey { object: None, ..one.clone() },
        TokenKey { module: PathBuf::from("/m.so"), ..one.clone() },
        TokenKey { token, ..one.clone() },
    ] {
        assert!(!one.is_same(&other), "{other:?}");
    }
}

#[test]
fn a_part_is_as_long_as_a_token_has_room_for() {
    for (part, most) in [("token", 32), ("manufacturer", 32), ("serial", 16), ("model", 16), ("object", 255)]
    {
        let of = |length: usize| {
            let rest = if part == "token" { "" } else { ";token=t" };
            let rest = if part == "object" { rest.to_owned() } else { format!("{rest};object=o") };
            parse(&format!("pkcs11:{part}={}{rest}?module-path=/m.so", "x".repeat(length)))
        };
        assert!(of(most).is_ok(), "{part}");
        assert_eq!(of(most + 1).unwrap_err().part, part);
    }
}

#[test]
fn a_token_may_be_told_by_its_serial_number_and_a_key_by_its_id_alone() {
    let key = parse("pkcs11:serial=0a;id=%01?module-path=/m.so").unwrap();
    assert_eq!((key.token.serial.as_deref(), key.id.as_deref()), (Some("0a"), Some(&[1][..])));
    assert_eq!(parse("pkcs11:manufacturer=Acme;id=%01?module-path=/m.so").unwrap_err().part, "token");
}

#[test]
fn a_name_that_holds_the_signs_of_a_uri_comes_back_whole() {
    let odd = Some("100%;a=b?c&d e".to_owned());
    let token = TokenName { label: odd.clone(), ..TokenName::default() };
    let key = TokenKey { token, object: odd, ..TokenKey::default() };
    assert_eq!(TokenKey::named(&key.name()), Ok(key));
}

#[test]
fn a_pin_is_the_configurations_not_the_names() {
    let base = parse(FULL).unwrap();
    let kept =
        TokenKey { pin: Some(PathBuf::from("/elsewhere")), module: PathBuf::from("/x.so"), ..base.clone() };
    assert_eq!(kept.reached_as(&base), base);
    let pinless = TokenKey { pin: None, ..base.clone() };
    assert_eq!(kept.reached_as(&pinless), pinless);
}

#[test]
fn a_client_key_is_kept_by_its_name_alone_and_reached_as_the_configuration_says() {
    let of = |text: &str| TokenKey::parse_for(Purpose::Client, text, |_| None);
    let text = "pkcs11:token=ward%207;object=a%3Bb;type=private?module-path=/m.so&pin-source=file:/pin";
    let base = of(text).unwrap();
    let key = TokenKey { id: Some(vec![0, 0x3b, 255]), ..base.clone() };
    assert_eq!(key.name(), "pkcs11:token=ward%207;object=a%3Bb;id=%00%3B%FF");
    let kept = TokenKey::named(&key.name()).unwrap();
    assert!(kept.module.as_os_str().is_empty() && kept.pin.is_none());
    assert_eq!(kept.reached_as(&base), key);
    assert_eq!(TokenKey::named(text).unwrap_err().part, "query");
    let secret = text.replace("private", "secret-key");
    let error = of(&secret).unwrap_err();
    assert!(error.part == "type" && error.reason.contains("`private`"), "{error}");
    assert_eq!(of("pkcs11:token=t;object=o").unwrap_err().part, "module-path");
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "pkcs11:.{0,80}") {
        let _ = parse(&text);
    }

    #[test]
    fn any_name_comes_back_from_its_written_form(name in "[a-zA-Z0-9 ;?&%=äé-]{1,12}") {
        let written = hex(name.as_bytes());
        let written: String = written.as_bytes().chunks(2).flat_map(|two| [b'%', two[0], two[1]]).map(char::from).collect();
        let key = parse(&format!("pkcs11:token={written};object={written}?module-path=/m.so")).unwrap();
        prop_assert_eq!(key.token.label.as_deref(), Some(name.as_str()));
        prop_assert_eq!(key.object.as_deref(), Some(name.as_str()));
    }
}

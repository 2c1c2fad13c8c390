//! Keys in a PKCS#11 token: this file and what is below it alone name the PKCS#11 library.
//!
//! In: a [`TokenKey`]. Out: 32 bytes that only this key gives: `C_Sign` with `CKM_SHA256_HMAC` over
//! [`LABEL`]. What can go wrong: [`Trouble`]. What never happens: a PIN is tried twice, or at all when
//! it is the last try; a key that can be read is taken; a session, or the module, stays open when the
//! answer is there.
//!
//! Tokens that have AES alone are not served: an answer of 32 bytes would take two CMACs and a scheme of
//! our own to put them together, and every token and HSM of the last ten years has HMAC.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "the library's error enums are long and grow; what is not named here is said in their words"
)]

mod client;

use std::io::Read;
use std::path::{Path, PathBuf};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::{Slot, TokenInfo};
use cryptoki::types::RawAuthPin;
use zeroize::Zeroizing;

pub(super) use client::{destroy, make_pair, sign};

use super::{KeyBytes, KeyError, TokenKey, TokenTrouble as Trouble, open_secret};

/// What the token is asked to authenticate. Another label would be another KEK.
const LABEL: &[u8] = b"wardline kek v1";
/// The bytes of a key that is made, and the least of one that is taken.
const KEY_BYTES: u8 = 32;
/// No PIN is longer.
const MAX_PIN: usize = 256;

/// The modules that are set up. Each is set up once and ended when this is dropped: a process may not
/// set up one twice at a time.
#[derive(Default)]
pub(super) struct Modules(Vec<Module>);

impl Modules {
    /// Asks a token for the bytes that its key gives.
    pub(super) fn load(&mut self, key: &TokenKey) -> Result<KeyBytes, KeyError> {
        self.open(&key.module).and_then(|module| module.load(key)).map_err(|trouble| of(key, trouble))
    }

    /// Makes a key in a token, and gives the bytes that it gives.
    pub(super) fn make(&mut self, key: &TokenKey) -> Result<KeyBytes, KeyError> {
        self.open(&key.module).and_then(|module| module.make(key)).map_err(|trouble| of(key, trouble))
    }

    fn open(&mut self, path: &Path) -> Result<&Module, Trouble> {
        if !self.0.iter().any(|module| module.path == path) {
            self.0.push(Module::open(path)?);
        }
        let module = self.0.iter().find(|module| module.path == path);
        module.ok_or_else(|| Trouble::Module("it is not there".to_owned()))
    }
}

fn of(key: &TokenKey, trouble: Trouble) -> KeyError {
    KeyError::Token { key: key.to_string(), trouble }
}

/// One module that is set up.
struct Module {
    path: PathBuf,
    context: Pkcs11,
}

impl Module {
    fn open(path: &Path) -> Result<Self, Trouble> {
        let context = Pkcs11::new(path).map_err(|error| Trouble::Module(words(&error)))?;
        // It is asked from one thread and needs none of its own: a thread that nobody joins would be
        // left when the module goes.
        let alone = CInitializeFlags::OS_LOCKING_OK | CInitializeFlags::LIBRARY_CANT_CREATE_OS_THREADS;
        match context.initialize(CInitializeArgs::new(alone)) {
            Err(Error::Pkcs11(RvError::NeedToCreateThreads, _)) => {
                context.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))
            }
            other => other,
        }
        .map_err(|error| Trouble::Module(format!("it does not start: {}", words(&error))))?;
        Ok(Self { path: path.to_owned(), context })
    }

    fn load(&self, key: &TokenKey) -> Result<KeyBytes, Trouble> {
        let (slot, token) = self.token(key)?;
        let session = self.context.open_ro_session(slot).map_err(failed("opening a session"))?;
        log_in(&session, &token, key)?;
        self.answer(slot, &session, the_key(&session, key)?)
    }

    fn make(&self, key: &TokenKey) -> Result<KeyBytes, Trouble> {
        let (slot, token) = self.token(key)?;
        let session = self.context.open_rw_session(slot).map_err(failed("opening a session"))?;
        log_in(&session, &token, key)?;
        if !named(&session, key)?.is_empty() {
            return Err(Trouble::Exists);
        }
        self.can(slot, MechanismType::GENERIC_SECRET_KEY_GEN, "CKM_GENERIC_SECRET_KEY_GEN")?;
        self.can(slot, MechanismType::SHA256_HMAC, "CKM_SHA256_HMAC")?;
        let made = session
            .generate_key(&Mechanism::GenericSecretKeyGen, &template(key))
            .map_err(failed("making the key"))?;
        // A token may take a template and not keep to it.
        check(&session, made).and_then(|()| self.answer(slot, &session, made)).inspect_err(|_| {
            // Nothing was ever kept under it; what is left of it says `Exists` at the next try.
            let _ = session.destroy_object(made);
        })
    }

    /// The one token of that name.
    fn token(&self, key: &TokenKey) -> Result<(Slot, TokenInfo), Trouble> {
        let slots = self.context.get_slots_with_token().map_err(failed("looking for tokens"))?;
        // A token that goes while it is looked at is one that is not there.
        let tokens = slots
            .into_iter()
            .filter_map(|slot| self.context.get_token_info(slot).ok().map(|token| (slot, token)))
            .filter(|(_, token)| token.token_initialized());
        let is = |wanted: &Option<String>, found: &str| wanted.as_ref().is_none_or(|wanted| wanted == found);
        let name = &key.token;
        let (mut found, others): (Vec<_>, Vec<_>) = tokens.partition(|(_, token)| {
            is(&name.label, token.label())
                && is(&name.serial, token.serial_number())
                && is(&name.manufacturer, token.manufacturer_id())
                && is(&name.model, token.model())
        });
        let count = found.len();
        match found.pop() {
            Some(token) if count == 1 => Ok(token),
            Some(_) => Err(Trouble::ManyTokens(count)),
            None => Err(Trouble::NoToken { present: present(&others) }),
        }
    }

    fn can(&self, slot: Slot, wanted: MechanismType, name: &'static str) -> Result<(), Trouble> {
        let all = self.context.get_mechanism_list(slot).map_err(failed("asking what the token can do"))?;
        if all.contains(&wanted) { Ok(()) } else { Err(Trouble::Mechanism(name)) }
    }

    fn answer(&self, slot: Slot, session: &Session, object: ObjectHandle) -> Result<KeyBytes, Trouble> {
        self.can(slot, MechanismType::SHA256_HMAC, "CKM_SHA256_HMAC")?;
        let step = "asking the token for the KEK";
        let answer = session.sign(&Mechanism::Sha256Hmac, object, LABEL).map_err(failed(step))?;
        let answer = Zeroizing::new(answer);
        let bytes = <&[u8; 32]>::try_from(answer.as_slice())
            .map_err(|_| Trouble::Failed { step, reason: format!("it has {} bytes", answer.len()) })?;
        // A module that answers without a key in it answers like this.
        if bytes.iter().all(|byte| Some(byte) == bytes.first()) {
            return Err(Trouble::Failed { step, reason: "all its bytes are the same".to_owned() });
        }
        Ok(Zeroizing::new(*bytes))
    }
}

impl Drop for Module {
    fn drop(&mut self) {
        // Every session is closed. What the module says of its own end changes nothing.
        let _ = self.context.clone().finalize();
    }
}

/// What is there, for somebody who looks for something else.
fn present(tokens: &[(Slot, TokenInfo)]) -> String {
    let names: Vec<String> = tokens
        .iter()
        .take(8)
        .map(|(_, token)| format!("{:?} with serial number {:?}", token.label(), token.serial_number()))
        .collect();
    if names.is_empty() { "is none".to_owned() } else { format!("is {}", names.join(", ")) }
}

/// Logs in, once.
fn log_in(session: &Session, token: &TokenInfo, key: &TokenKey) -> Result<(), Trouble> {
    let Some(source) = &key.pin else {
        return if token.login_required() { Err(Trouble::NoPin) } else { Ok(()) };
    };
    if token.user_pin_locked() {
        return Err(Trouble::PinLocked);
    }
    if token.user_pin_final_try() {
        return Err(Trouble::LastTry);
    }
    let pin = read_pin(source)?;
    let answer = session.login_with_raw(UserType::User, &pin);
    // By another session of this process: the token knows one user at a time.
    if matches!(answer, Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _))) {
        return Ok(());
    }
    answer.map_err(|error| match error {
        Error::Pkcs11(RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange, _) => {
            Trouble::PinRefused
        }
        Error::Pkcs11(RvError::PinLocked, _) => Trouble::PinLocked,
        Error::Pkcs11(RvError::PinExpired, _) => Trouble::PinNotReady("the PIN has expired"),
        Error::Pkcs11(RvError::UserPinNotInitialized, _) => Trouble::PinNotReady("no PIN was ever set"),
        Error::Pkcs11(
            RvError::DeviceRemoved
            | RvError::TokenNotPresent
            | RvError::TokenNotRecognized
            | RvError::SessionClosed
            | RvError::SessionHandleInvalid,
            _,
        ) => failed("logging in")(error),
        // Some modules have no better word for a wrong PIN: another try might be one too many.
        other => Trouble::LoginFailed(words(&other)),
    })
}

/// The first line of a file that only the daemon's user can read. Never copied: the token's library
/// wipes it.
fn read_pin(path: &Path) -> Result<RawAuthPin, Trouble> {
    let unusable = |reason: String| Trouble::PinFile(reason);
    let unreadable = |error: std::io::Error| unusable(format!("{}: {error}", path.display()));
    let file = open_secret(path).map_err(|error| match error {
        KeyError::Unreadable { reason, .. } => unreadable(reason),
        other => unusable(other.to_string()),
    })?;
    let mut pin = Zeroizing::new(Vec::with_capacity(MAX_PIN + 1));
    let most = u64::try_from(MAX_PIN).unwrap_or(u64::MAX);
    file.take(most.saturating_add(1)).read_to_end(&mut pin).map_err(unreadable)?;
    if pin.last() == Some(&b'\n') {
        pin.pop();
    }
    if pin.is_empty() || pin.len() > MAX_PIN || pin.contains(&b'\n') {
        return Err(unusable(format!("{} must hold one line of at most {MAX_PIN} bytes", path.display())));
    }
    // The token would take it for a part of the PIN, and a wrong PIN costs a try.
    let is_blank = |byte: Option<&u8>| byte == Some(&b' ');
    if pin.iter().any(u8::is_ascii_control) || is_blank(pin.first()) || is_blank(pin.last()) {
        return Err(unusable(format!(
            "{} has a blank before or behind the PIN, or a character that cannot be seen, such as the line end of \
             another system: write the PIN alone, as printf %s does",
            path.display()
        )));
    }
    Ok(RawAuthPin::new(Box::new(std::mem::take(&mut *pin))))
}

/// Everything of that name.
fn named(session: &Session, key: &TokenKey) -> Result<Vec<ObjectHandle>, Trouble> {
    let mut wanted = vec![Attribute::Token(true)];
    wanted.extend(key.object.as_ref().map(|label| Attribute::Label(label.clone().into_bytes())));
    wanted.extend(key.id.clone().map(Attribute::Id));
    session.find_objects(&wanted).map_err(failed("looking for the key"))
}

/// The one key of that name, found fit.
fn the_key(session: &Session, key: &TokenKey) -> Result<ObjectHandle, Trouble> {
    let found = named(session, key)?;
    let mut secrets = Vec::new();
    let mut other = None;
    for object in found {
        let class = attributes(session, object, &[AttributeType::Class])?;
        match class.first() {
            Some(Attribute::Class(ObjectClass::SECRET_KEY)) => secrets.push(object),
            Some(Attribute::Class(class)) => other = Some(class.to_string()),
            _ => other = Some("of no class".to_owned()),
        }
    }
    let count = secrets.len();
    match (secrets.pop(), other) {
        (Some(object), _) if count == 1 => check(session, object).map(|()| object),
        (Some(_), _) => Err(Trouble::ManyObjects(count)),
        (None, Some(class)) => Err(Trouble::WrongType(class)),
        (None, None) => Err(Trouble::NoObject),
    }
}

/// Whether a key is one that can be used and cannot be read. What the token does not say of it counts
/// against it.
fn check(session: &Session, object: ObjectHandle) -> Result<(), Trouble> {
    const ASKED: [AttributeType; 5] = [
        AttributeType::KeyType,
        AttributeType::Sensitive,
        AttributeType::Extractable,
        AttributeType::Sign,
        AttributeType::ValueLen,
    ];
    let (mut kind, mut sensitive, mut extractable, mut sign, mut length) = Default::default();
    for attribute in attributes(session, object, &ASKED)? {
        match attribute {
            Attribute::KeyType(found) => kind = Some(found),
            Attribute::Sensitive(is) => sensitive = Some(is),
            Attribute::Extractable(is) => extractable = Some(is),
            Attribute::Sign(is) => sign = Some(is),
            Attribute::ValueLen(bytes) => length = usize::try_from(*bytes).ok(),
            _ => {}
        }
    }
    if ![Some(KeyType::GENERIC_SECRET), Some(KeyType::SHA256_HMAC)].contains(&kind) {
        let kind = kind.map_or("of no type".to_owned(), |kind: KeyType| format!("a key of type {kind}"));
        return Err(Trouble::WrongType(kind));
    }
    let must = |name, found: Option<bool>, wanted: bool, why| {
        if found == Some(wanted) {
            return Ok(());
        }
        let found = found.map_or("unknown".to_owned(), |found| found.to_string());
        let wanted = if wanted { "true" } else { "false" };
        Err(Trouble::Attribute { name, found, wanted, why })
    };
    must("CKA_EXTRACTABLE", extractable, false, "its value could be taken out of the token")?;
    must("CKA_SENSITIVE", sensitive, true, "its value could be read")?;
    must("CKA_SIGN", sign, true, "it cannot be asked for the KEK")?;
    match length {
        Some(bytes) if bytes < usize::from(KEY_BYTES) => Err(Trouble::Attribute {
            name: "CKA_VALUE_LEN",
            found: bytes.to_string(),
            wanted: "at least 32",
            why: "it could be guessed",
        }),
        // A token need not say it of a key that cannot be read.
        Some(_) | None => Ok(()),
    }
}

fn attributes(
    session: &Session,
    object: ObjectHandle,
    asked: &[AttributeType],
) -> Result<Vec<Attribute>, Trouble> {
    session.get_attributes(object, asked).map_err(failed("reading what the key is"))
}

/// A key as it must be: made in the token, never to leave it, good for HMAC alone.
fn template(key: &TokenKey) -> Vec<Attribute> {
    let mut template = vec![
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::GENERIC_SECRET),
        Attribute::ValueLen(std::ffi::c_ulong::from(KEY_BYTES).into()),
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Sign(true),
        Attribute::Verify(false),
        Attribute::Encrypt(false),
        Attribute::Decrypt(false),
        Attribute::Wrap(false),
        Attribute::Unwrap(false),
        Attribute::Derive(false),
    ];
    template.extend(key.object.as_ref().map(|label| Attribute::Label(label.clone().into_bytes())));
    template.extend(key.id.clone().map(Attribute::Id));
    template
}

/// What the module says of a step.
fn failed(step: &'static str) -> impl Fn(Error) -> Trouble {
    failed_with("CKM_SHA256_HMAC", step)
}

/// The same, of a step that needs this mechanism.
fn failed_with(mechanism: &'static str, step: &'static str) -> impl Fn(Error) -> Trouble {
    move |error| match error {
        Error::Pkcs11(RvError::DeviceRemoved | RvError::TokenNotPresent | RvError::TokenNotRecognized, _) => {
            Trouble::Removed
        }
        Error::Pkcs11(RvError::MechanismInvalid | RvError::KeyTypeInconsistent, _) => {
            Trouble::Mechanism(mechanism)
        }
        other => Trouble::Failed { step, reason: words(&other) },
    }
}

/// The library's errors come with whole paragraphs of the standard; their names say as much.
fn words(error: &Error) -> String {
    match error {
        Error::Pkcs11(code, function) => format!("{function:?} says {code:?}"),
        Error::LibraryLoading(error) => error.to_string(),
        other => other.to_string(),
    }
}

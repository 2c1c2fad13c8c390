//! Key pairs for certificates: ECDSA on P-256, the private half in the token for good.
//!
//! In: a [`TokenKey`]. Out: a signature, `r` and `s` as the token gives them (PKCS#11 3.0, section 2.3.1: 32 bytes
//! each), or the public point of a new pair. What can go wrong: [`Trouble`]. What never happens: a private key that
//! could be read is used or made; a PIN that was refused is tried again by this process; what is not named by label
//! and id is destroyed.
//!
//! A session stays open as long as it works: a login for every signature would wear a token, and be one more chance
//! for a PIN that was changed meanwhile. PKCS#11 knows one user and one state of each library in a process, so there
//! is one list of sessions in it, and one thread at a time asks.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "the library's enums are long and grow; what is not named here counts against the key"
)]

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use cryptoki::slot::Slot;
use ring::digest::{SHA256, digest};

use super::super::client::POINT_BYTES;
use super::super::{KeyError, TokenKey, TokenName, TokenTrouble as Trouble};
use super::{Module, attributes, failed, failed_with, log_in, named, of};

/// `secp256r1` as `CKA_EC_PARAMS` has it: the DER of its object identifier (RFC 5480 section 2.1.1.1).
const P256: [u8; 10] = [0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];

/// Signs a message: ECDSA over its SHA-256, which is made here, as not every token has both in one.
pub(in crate::envelope::keys) fn sign(key: &TokenKey, message: &[u8]) -> Result<Vec<u8>, KeyError> {
    let hash = digest(&SHA256, message);
    with(key, |seat| {
        let object = the_private(&seat.session, key)?;
        let failed = failed_with("CKM_ECDSA", "asking the token for a signature");
        seat.session.sign(&Mechanism::Ecdsa, object, hash.as_ref()).map_err(failed)
    })
}

/// Makes a pair, and gives its public point: 65 bytes, uncompressed. Refuses where there is anything of the name.
pub(in crate::envelope::keys) fn make_pair(key: &TokenKey) -> Result<Vec<u8>, KeyError> {
    with(key, |seat| {
        let session = seat.to_write()?;
        if !named(&session, key)?.is_empty() {
            return Err(Trouble::Exists);
        }
        seat.module.can(seat.slot, MechanismType::ECC_KEY_PAIR_GEN, "CKM_EC_KEY_PAIR_GEN")?;
        seat.module.can(seat.slot, MechanismType::ECDSA, "CKM_ECDSA")?;
        let (public, private) = templates(key);
        let made = session.generate_key_pair(&Mechanism::EccKeyPairGen, &public, &private);
        let (public, private) = made.map_err(failed_with("CKM_EC_KEY_PAIR_GEN", "making the key pair"))?;
        // A token may take a template and not keep to it.
        check(&session, private).and_then(|()| point(&session, public)).inspect_err(|_| {
            // Nothing was ever signed with it.
            let _ = (session.destroy_object(private), session.destroy_object(public));
        })
    })
}

/// Destroys the pair of this label and id; well, too, when it is gone already.
pub(in crate::envelope::keys) fn destroy(key: &TokenKey) -> Result<(), KeyError> {
    with(key, |seat| {
        if key.object.is_none() || key.id.is_none() {
            return Err(Trouble::Unnamed("only what has a label and an id is ever destroyed"));
        }
        let session = seat.to_write()?;
        let found = named(&session, key)?;
        for wanted in [ObjectClass::PRIVATE_KEY, ObjectClass::PUBLIC_KEY] {
            for object in &found {
                if class(&session, *object)? == Some(wanted) {
                    session.destroy_object(*object).map_err(failed("destroying the key pair"))?;
                }
            }
        }
        Ok(())
    })
}

/// By which way a token is asked.
#[derive(Clone, PartialEq, Eq)]
struct Door {
    module: PathBuf,
    token: TokenName,
    pin: Option<PathBuf>,
}

/// A token that took its PIN. The session goes before the module.
struct Seat {
    door: Door,
    session: Session,
    slot: Slot,
    module: Arc<Module>,
}

struct Seats {
    open: Vec<Seat>,
    /// Where a PIN was refused.
    shut: Vec<Door>,
}

static SEATS: Mutex<Seats> = Mutex::new(Seats { open: Vec::new(), shut: Vec::new() });

/// Asks a token. A session that does not work any more is opened again, once.
fn with<T>(key: &TokenKey, ask: impl Fn(&Seat) -> Result<T, Trouble>) -> Result<T, KeyError> {
    // A panic while the lock was held leaves whole seats.
    let mut seats = SEATS.lock().unwrap_or_else(PoisonError::into_inner);
    seats.ask(key, ask).map_err(|trouble| of(key, trouble))
}

impl Seats {
    fn ask<T>(&mut self, key: &TokenKey, ask: impl Fn(&Seat) -> Result<T, Trouble>) -> Result<T, Trouble> {
        let door = Door { module: key.module.clone(), token: key.token.clone(), pin: key.pin.clone() };
        if self.shut.contains(&door) {
            return Err(Trouble::PinHeld);
        }
        if let Some(place) = self.open.iter().position(|seat| seat.door == door) {
            let seat = self.open.swap_remove(place);
            match ask(&seat) {
                Err(Trouble::Removed | Trouble::Failed { .. }) => {}
                said => {
                    self.open.push(seat);
                    return said;
                }
            }
        }
        let seat = self.seat(&door, key).inspect_err(|trouble| {
            if trouble.is_about_the_pin() {
                self.shut.push(door.clone());
            }
        })?;
        let said = ask(&seat);
        if !matches!(said, Err(Trouble::Removed | Trouble::Failed { .. })) {
            self.open.push(seat);
        }
        said
    }

    fn seat(&self, door: &Door, key: &TokenKey) -> Result<Seat, Trouble> {
        let set_up = self.open.iter().find(|seat| seat.door.module == door.module);
        let module = match set_up {
            Some(seat) => Arc::clone(&seat.module),
            None => Arc::new(Module::open(&door.module)?),
        };
        let (slot, token) = module.token(key)?;
        let session = module.context.open_ro_session(slot).map_err(failed("opening a session"))?;
        log_in(&session, &token, key)?;
        Ok(Seat { door: door.clone(), session, slot, module })
    }
}

impl Seat {
    /// The login of the first session is one of all.
    fn to_write(&self) -> Result<Session, Trouble> {
        self.module.context.open_rw_session(self.slot).map_err(failed("opening a session to write"))
    }
}

fn class(session: &Session, object: ObjectHandle) -> Result<Option<ObjectClass>, Trouble> {
    let found = attributes(session, object, &[AttributeType::Class])?;
    Ok(found.first().and_then(|class| if let Attribute::Class(class) = class { Some(*class) } else { None }))
}

/// The one private key of that name, found fit.
fn the_private(session: &Session, key: &TokenKey) -> Result<ObjectHandle, Trouble> {
    let mut found = Vec::new();
    for object in named(session, key)? {
        if class(session, object)? == Some(ObjectClass::PRIVATE_KEY) {
            found.push(object);
        }
    }
    let count = found.len();
    match found.pop() {
        Some(object) if count == 1 => check(session, object).map(|()| object),
        Some(_) => Err(Trouble::ManyObjects(count)),
        None => Err(Trouble::NoClientKey),
    }
}

/// Whether a private key is of the one kind that is used, and cannot be read. What the token does not say of it
/// counts against it.
fn check(session: &Session, object: ObjectHandle) -> Result<(), Trouble> {
    const ASKED: [AttributeType; 6] = [
        AttributeType::KeyType,
        AttributeType::EcParams,
        AttributeType::Sensitive,
        AttributeType::Extractable,
        AttributeType::Sign,
        AttributeType::AlwaysAuthenticate,
    ];
    let (mut kind, mut curve, mut asks) = (None, None, false);
    let (mut sensitive, mut extractable, mut signs) = (None, None, None);
    for attribute in attributes(session, object, &ASKED)? {
        match attribute {
            Attribute::KeyType(found) => kind = Some(found),
            Attribute::EcParams(found) => curve = Some(found),
            Attribute::Sensitive(is) => sensitive = Some(is),
            Attribute::Extractable(is) => extractable = Some(is),
            Attribute::Sign(is) => signs = Some(is),
            Attribute::AlwaysAuthenticate(is) => asks = is,
            _ => {}
        }
    }
    let unfit = |is_so: bool, words: &str| {
        if is_so { Err(Trouble::UnfitClientKey(words.to_owned())) } else { Ok(()) }
    };
    unfit(kind != Some(KeyType::EC), "it is no key for ECDSA (CKK_EC)")?;
    unfit(curve.as_deref() != Some(P256.as_slice()), "its curve is not P-256 (secp256r1)")?;
    unfit(
        extractable != Some(false),
        "its CKA_EXTRACTABLE is not false: it could be taken out of the token",
    )?;
    unfit(sensitive != Some(true), "its CKA_SENSITIVE is not true: it could be read")?;
    unfit(signs != Some(true), "its CKA_SIGN is not true: it cannot sign")?;
    unfit(asks, "its CKA_ALWAYS_AUTHENTICATE is true: it wants a person at every signature")
}

/// `CKA_EC_POINT`: the DER of an octet string (PKCS#11 2.40, section 2.3.3); some tokens leave its head out.
fn point(session: &Session, public: ObjectHandle) -> Result<Vec<u8>, Trouble> {
    let found = attributes(session, public, &[AttributeType::EcPoint])?;
    let bytes = found.into_iter().find_map(|found| match found {
        Attribute::EcPoint(bytes) => Some(bytes),
        _ => None,
    });
    let bytes = bytes.unwrap_or_default();
    let bare = bytes.strip_prefix(&[0x04, 0x41]).filter(|bare| bare.len() == POINT_BYTES).unwrap_or(&bytes);
    if bare.len() == POINT_BYTES && bare.first() == Some(&0x04) {
        return Ok(bare.to_vec());
    }
    Err(Trouble::UnfitClientKey(format!("its public point (CKA_EC_POINT) of {} bytes is none", bytes.len())))
}

/// A pair as it must be: made in the token, its private half never to leave it, good for signatures alone.
fn templates(key: &TokenKey) -> (Vec<Attribute>, Vec<Attribute>) {
    let mut name: Vec<Attribute> = Vec::new();
    name.extend(key.object.as_ref().map(|label| Attribute::Label(label.clone().into_bytes())));
    name.extend(key.id.clone().map(Attribute::Id));
    let mut public = vec![
        Attribute::EcParams(P256.to_vec()),
        Attribute::Token(true),
        Attribute::Private(false),
        Attribute::Verify(true),
    ];
    let mut private = vec![
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Sign(true),
        Attribute::Decrypt(false),
        Attribute::Unwrap(false),
        Attribute::Derive(false),
    ];
    public.extend(name.iter().cloned());
    private.extend(name);
    (public, private)
}

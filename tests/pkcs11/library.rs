//! What the tests need done in a token that `wardline` itself never does: keys that must be refused, and
//! the attempt to read one.

use std::ffi::c_ulong;

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass};
use cryptoki::session::{Session, UserType};
use cryptoki::types::AuthPin;

use super::{MODULE, PIN};

/// Does one task in the token `ward`; a task that makes something is the label of what it makes.
pub(crate) fn run(task: &str) -> &'static str {
    let module = Pkcs11::new(MODULE).unwrap();
    module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)).unwrap();
    let is_ward = |slot: &cryptoki::slot::Slot| module.get_token_info(*slot).unwrap().label() == "ward";
    let slot = module.get_slots_with_token().unwrap().into_iter().find(is_ward).unwrap();
    let session = module.open_rw_session(slot).unwrap();
    session.login(UserType::User, Some(&AuthPin::new(PIN.into()))).unwrap();
    if task == "read it" { read(&session) } else { make(&session, task) }
}

fn make(session: &Session, task: &str) -> &'static str {
    let label = Attribute::Label(task.as_bytes().to_vec());
    let key = |bytes: u8, extractable, sensitive, sign| {
        [
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::Token(true),
            Attribute::Private(true),
            Attribute::ValueLen(c_ulong::from(bytes).into()),
            Attribute::Extractable(extractable),
            Attribute::Sensitive(sensitive),
            Attribute::Sign(sign),
            label.clone(),
        ]
    };
    let generic = |key: [Attribute; 8]| session.generate_key(&Mechanism::GenericSecretKeyGen, &key).unwrap();
    let _made = match task {
        "extractable" => generic(key(32, true, true, true)),
        "readable" => generic(key(32, false, false, true)),
        "silent" => generic(key(32, false, true, false)),
        "short" => generic(key(16, false, true, true)),
        "aes" => session.generate_key(&Mechanism::AesKeyGen, &key(32, false, true, true)).unwrap(),
        "twins" => {
            generic(key(32, false, true, true));
            generic(key(32, false, true, true))
        }
        "not-a-key" => {
            let data = [Attribute::Class(ObjectClass::DATA), Attribute::Token(true), label.clone()];
            session.create_object(&data).unwrap()
        }
        other => panic!("no task {other}"),
    };
    "made"
}

/// Tries every way to get the one key out.
fn read(session: &Session) -> &'static str {
    let wanted = [Attribute::Class(ObjectClass::SECRET_KEY), Attribute::KeyType(KeyType::GENERIC_SECRET)];
    let [object] = session.find_objects(&wanted).unwrap()[..] else { panic!("there must be one key") };
    let read = session.get_attributes(object, &[AttributeType::Value]).unwrap();
    let opened = session.update_attributes(object, &[Attribute::Extractable(true)]);
    let wrapper = [Attribute::ValueLen(c_ulong::from(32_u8).into()), Attribute::Wrap(true)];
    let wrapper = session.generate_key(&Mechanism::AesKeyGen, &wrapper).unwrap();
    let taken = session.wrap_key(&Mechanism::AesKeyWrapPad, wrapper, object);
    if read.is_empty() && opened.is_err() && taken.is_err() { "kept" } else { "given away" }
}

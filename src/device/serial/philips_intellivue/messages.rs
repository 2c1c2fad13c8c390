//! The messages within the frames: association control and Data Export.
//!
//! In: the user data of a frame. Out: what it is, by whom it can have been sent, and the lists it
//! holds, not yet read. Sources of the layouts: `VSCaptureMP` `Class2.cs`, mdrepo
//! `intellivue.h` and its `logExtendedLinked.txt` (an annotated capture), mindleaving
//! `Models/*.cs`; the three agree.

use std::time::Duration;

use super::reader::Reader;

/// The command of an event that wants to be confirmed.
const CONFIRMED_EVENT: u16 = 1;

/// The command of an action: a poll.
const CONFIRMED_ACTION: u16 = 7;

const MDS_CREATED: u16 = 0x0D06;
const SINGLE_POLL: u16 = 0x0C16;
const EXTENDED_POLL: u16 = 0xF13B;
const POLL_PROFILE: u16 = 0x0001;
const POLL_PROFILE_EXTENSION: u16 = 0xF001;

/// One message.
#[derive(Debug)]
pub(super) enum Message<'a> {
    /// The association stands.
    Accepted(Accepted),
    /// The monitor does not want one.
    Refused,
    /// The monitor ends it.
    Ended,
    /// The end that was asked for.
    Released,
    /// The monitor says what it is: to be confirmed.
    Created(Created<'a>),
    /// The answer to a poll, or a part of it.
    Polled(Answer<'a>),
    /// The monitor cannot do what was asked.
    Error { invoke: u16, code: u16 },
    /// Something that only a host says: half of a capture of both directions.
    Host,
    /// Well-formed, and nothing that concerns this driver.
    Other,
}

/// What was agreed upon, as far as it can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Accepted {
    /// The shortest period at which the monitor wants to be polled.
    pub(super) period: Option<Duration>,
    /// Whether it offers the extended poll. `None`: not to be read.
    pub(super) is_extended: Option<bool>,
}

/// The MDS-Create event.
#[derive(Debug)]
pub(super) struct Created<'a> {
    pub(super) invoke: u16,
    pub(super) context: u16,
    pub(super) handle: u16,
    /// The monitor's relative time, in eighths of a millisecond.
    pub(super) relative: u32,
    pub(super) attributes: Vec<(u16, &'a [u8])>,
}

/// The answer to a poll.
#[derive(Debug)]
pub(super) struct Answer<'a> {
    pub(super) invoke: u16,
    /// Of an answer in several parts: which.
    pub(super) link: Option<Link>,
    pub(super) poll: u16,
    pub(super) relative: u32,
    pub(super) absolute: &'a [u8],
    /// The class of the objects.
    pub(super) class: u16,
    pub(super) objects: Vec<Object<'a>>,
}

/// The place of a part in an answer. Behind the last part comes an answer without objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) is_first: bool,
    pub(super) is_last: bool,
    /// 1, 2, 3, ...
    pub(super) count: u8,
}

/// One object and its attributes.
#[derive(Debug)]
pub(super) struct Object<'a> {
    pub(super) context: u16,
    pub(super) handle: u16,
    pub(super) attributes: Vec<(u16, &'a [u8])>,
}

/// Reads user data. `None`: it is no message.
pub(super) fn read(user_data: &[u8]) -> Option<Message<'_>> {
    match user_data.first()? {
        0x0E => Some(Message::Accepted(accepted(user_data))),
        0x0C => Some(Message::Refused),
        0x0A => Some(Message::Released),
        0x19 => Some(Message::Ended),
        // A monitor does not ask for an association; a release is asked for by the host.
        0x0D | 0x09 => Some(Message::Host),
        0xE1 => data_export(Reader::new(user_data)),
        _ => None,
    }
}

/// Looks for the user information in an accept. Its presentation header differs between monitors; the
/// information stands behind `BE 80 28 80`, the next 81 and a length in ASN.1.
fn accepted(user_data: &[u8]) -> Accepted {
    let (mut period, mut is_extended) = (None, None);
    if let Some(profile) = poll_profile(user_data) {
        let mut profile = Reader::new(profile);
        let _revision = profile.u32();
        period = profile.u32().map(|eighths| Duration::from_millis(u64::from(eighths / 8)));
        // Sizes of commands both ways, bandwidth, options.
        if profile.take(16).is_some()
            && let Some(packages) = profile.attributes()
        {
            is_extended = Some(packages.iter().any(|(id, _)| *id == POLL_PROFILE_EXTENSION));
        }
    }
    Accepted { period, is_extended }
}

fn poll_profile(user_data: &[u8]) -> Option<&[u8]> {
    const BEFORE: [u8; 4] = [0xBE, 0x80, 0x28, 0x80];
    let at = user_data.windows(BEFORE.len()).position(|window| window == BEFORE)?;
    let behind = user_data.get(at + BEFORE.len()..)?;
    let tag = behind.iter().position(|byte| *byte == 0x81)?;
    let mut reader = Reader::new(behind.get(tag + 1..)?);
    match reader.u8()? {
        0x81 => drop(reader.u8()?),
        0x82 => drop(reader.u16()?),
        _ => {}
    }
    // Versions, functional units, system type, start-up mode.
    reader.take(20)?;
    let _options = reader.attributes()?;
    let profiles = reader.attributes()?;
    profiles.into_iter().find(|(id, _)| *id == POLL_PROFILE).map(|(_, value)| value)
}

fn data_export(mut reader: Reader<'_>) -> Option<Message<'_>> {
    let _session = reader.u16()?;
    let _presentation_context = reader.u16()?;
    let operation = reader.u16()?;
    let mut body = reader.sized()?;
    match operation {
        1 => invoke(&mut body),
        2 => result(&mut body, None),
        3 => Some(Message::Error { invoke: body.u16()?, code: body.u16()? }),
        5 => {
            let (state, count) = (body.u8()?, body.u8()?);
            let link = Link { is_first: state == 1, is_last: state == 3, count };
            result(&mut body, Some(link))
        }
        _ => Some(Message::Other),
    }
}

fn invoke<'a>(body: &mut Reader<'a>) -> Option<Message<'a>> {
    let (invoke, command) = (body.u16()?, body.u16()?);
    let mut event = body.sized()?;
    if command > CONFIRMED_EVENT {
        return Some(Message::Host);
    }
    let _class = event.u16()?;
    let (context, handle) = (event.u16()?, event.u16()?);
    let (relative, kind) = (event.u32()?, event.u16()?);
    if kind != MDS_CREATED {
        return Some(Message::Other);
    }
    let mut info = event.sized()?;
    // The object that was created: the same again.
    info.take(6)?;
    let attributes = info.attributes()?;
    Some(Message::Created(Created { invoke, context, handle, relative, attributes }))
}

fn result<'a>(body: &mut Reader<'a>, link: Option<Link>) -> Option<Message<'a>> {
    let (invoke, command) = (body.u16()?, body.u16()?);
    let mut content = body.sized()?;
    match command {
        // A host confirms an event.
        CONFIRMED_EVENT => return Some(Message::Host),
        CONFIRMED_ACTION => {}
        _ => return Some(Message::Other),
    }
    content.take(6)?;
    let action = content.u16()?;
    let mut reply = content.sized()?;
    let poll = reply.u16()?;
    match action {
        SINGLE_POLL => {}
        EXTENDED_POLL => drop(reply.u16()?),
        _ => return Some(Message::Other),
    }
    let relative = reply.u32()?;
    let absolute = reply.take(8)?;
    let _partition = reply.u16()?;
    let class = reply.u16()?;
    let _group = reply.u16()?;
    let objects = objects(&mut reply)?;
    Some(Message::Polled(Answer { invoke, link, poll, relative, absolute, class, objects }))
}

fn objects<'a>(reply: &mut Reader<'a>) -> Option<Vec<Object<'a>>> {
    let (contexts, mut list) = reply.list()?;
    let mut objects = Vec::new();
    for _ in 0..contexts {
        let context = list.u16()?;
        let (count, mut polled) = list.list()?;
        for _ in 0..count {
            objects.push(Object { context, handle: polled.u16()?, attributes: polled.attributes()? });
        }
        if !polled.is_spent(6) {
            return None;
        }
    }
    list.is_spent(6).then_some(objects)
}

/// What the error of a remote operation means.
pub(super) const fn error_words(code: u16) -> &'static str {
    match code {
        0 => "no such object class",
        1 => "no such object",
        2 => "access denied",
        7 | 8 => "a list could not be read or set",
        9 => "no such action",
        10 => "processing failed",
        15 => "an argument was not accepted",
        16 => "the scope was not accepted",
        17 => "the object was not accepted",
        _ => "an error without a description",
    }
}

#[cfg(test)]
mod tests {
    use super::super::{framing, requests};
    use super::*;

    #[test]
    fn the_user_information_is_found_behind_any_presentation_header() {
        // The request's own is built as the accept's: one second, extended polls.
        let request = requests::REQUESTS[0].bytes;
        let mut user_data = framing::user_data(&request[..request.len() - 1]).unwrap();
        let agreed = Accepted { period: Some(Duration::from_secs(1)), is_extended: Some(true) };
        assert_eq!(accepted(&user_data), agreed);
        // A length in its longer form, as in `aarq_msg_wave_ext_poll2` of `VSCaptureMP`.
        let tag = user_data.windows(2).position(|pair| pair == [0x81, 0x48]).unwrap();
        user_data.splice(tag + 1..tag + 2, [0x82, 0x00, 0x48]);
        assert_eq!(accepted(&user_data), agreed);
        user_data.truncate(tag + 30);
        assert_eq!(accepted(&user_data), Accepted { period: None, is_extended: None });
        assert!(matches!(read(&[0x0E, 0x00]), Some(Message::Accepted(_))));
    }
}

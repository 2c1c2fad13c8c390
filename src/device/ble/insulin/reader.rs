//! The Status Reader Control Point (2B24): what is asked of a pump besides, and its answers.
//!
//! Asked are the basal rate that runs and the insulin on board, which neither the status nor the history
//! gives; each only where the Features say that the pump knows it. In: an indication without counter and
//! checksum. Out: observations, or a [`Fault`]: the pump's refusal, an answer to something else.
//!
//! Op codes and response codes: Insulin Delivery Service 1.0.2. The order of the fields of both answers:
//! ehealthinnovation/AndroidBLEParser (MIT), by an author of the service.

use super::codes;
use super::events::tbr_value;
use super::hamming::{self, word};
use super::protection::ended;
use super::{minutes, number, observed, text};
use crate::device::ble::octets::Octets;
use crate::device::nomenclature as mdc;
use crate::device::observation::{Kind, Observation};
use crate::device::{Fault, FaultKind};

const RESPONSE: u16 = 0x0303;
const BASAL_RATE: u16 = 0x036A;
const ON_BOARD: u16 = 0x03FC;
const SUCCESS: u8 = 0x0F;

/// Reads an indication.
pub(super) fn read(value: &[u8]) -> Result<Vec<Observation>, Fault> {
    const WHAT: &str = "IDD status reader";
    let mut octets = Octets::new(WHAT, value)?;
    let out = match octets.u16("op code")? {
        RESPONSE => response(&mut octets),
        BASAL_RATE => basal_rate(&mut octets),
        ON_BOARD => on_board(&mut octets),
        other => {
            let detail = format!("an answer 0x{other:04X} of the status reader that nobody asked for");
            Err(Fault::new(FaultKind::Unexpected, detail))
        }
    }?;
    ended(WHAT, &octets)?;
    Ok(out)
}

/// A question that the pump did not answer.
fn response(octets: &mut Octets<'_>) -> Result<Vec<Observation>, Fault> {
    let question = octets.u16("request op code")?;
    let code = octets.u8("response code")?;
    let why = match code {
        SUCCESS => "success, without an answer",
        0x70 => "op code not supported",
        0x71 => "invalid operand",
        0x72 => "not completed",
        0x73 => "parameter out of range",
        0x74 => "not applicable now",
        _ => "an unknown reason",
    };
    let detail = format!("the pump does not answer 0x{question:04X}: {why} (0x{code:02X})");
    Err(Fault::new(FaultKind::Refused, detail))
}

fn basal_rate(octets: &mut Octets<'_>) -> Result<Vec<Observation>, Fault> {
    let flags = octets.u8("flags")?;
    let has = |bit: u8| flags >> bit & 1 == 1;
    let profile = octets.u8("profile template number")?;
    let rate = octets.sfloat("basal rate")?;
    let mut out = vec![
        number(&codes::PROFILE, profile),
        observed(&codes::BASAL_PROFILE, rate, &mdc::INTERNATIONAL_UNIT_PER_HOUR, Kind::Setting),
    ];
    if has(0) {
        out.extend(tbr_value(octets)?);
        out.push(minutes(&codes::TBR_TIME_SET, Kind::Setting, octets, "programmed duration")?);
        out.push(minutes(&codes::TBR_LEFT, Kind::Measurement, octets, "remaining duration")?);
    }
    if has(1) {
        out.push(number(&codes::TEMPLATE, octets.u8("template number")?));
    }
    if has(2) {
        out.push(text(&codes::BASAL_CONTEXT, word(octets, "delivery context", hamming::BASAL_CONTEXT)?));
    }
    Ok(out)
}

fn on_board(octets: &mut Octets<'_>) -> Result<Vec<Observation>, Fault> {
    let flags = octets.u8("flags")?;
    let amount = octets.sfloat("insulin on board")?;
    let mut out = vec![observed(&codes::ON_BOARD, amount, &mdc::INTERNATIONAL_UNIT, Kind::Measurement)];
    if flags & 1 == 1 {
        out.push(minutes(&codes::ON_BOARD_LEFT, Kind::Measurement, octets, "remaining duration")?);
    }
    Ok(out)
}

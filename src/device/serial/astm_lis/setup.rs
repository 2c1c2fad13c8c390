//! What can be set, and what it comes to.

use std::time::Duration;

use crate::device::nomenclature as mdc;
use crate::device::nomenclature::Metric;
use crate::device::settings::{Setting, Settings, Values};

/// The rows of the catalogue.
pub(super) const SETTINGS: [Setting; 11] = [
    Setting {
        name: "enq",
        meaning: "whether the analyser begins with ENQ and waits for its answer; `absent` for one that sends frames at once (its host interface manual, \"establishment phase\")",
        values: Values::Word(&["required", "absent"]),
    },
    Setting {
        name: "frame_numbers",
        meaning: "`ignored` for an analyser that does not count its frames 1 to 7, 0, 1 (its host interface manual, \"frame number\")",
        values: Values::Word(&["checked", "ignored"]),
    },
    Setting {
        name: "longest_frame",
        meaning: "the longest text of a frame in bytes; the standard says 240, some analysers put a whole message into one frame",
        values: Values::Number { least: 240, most: 65_536, default: 8_192 },
    },
    Setting {
        name: "hold_seconds",
        meaning: "how long a frame waits for its results to be on durable storage before the analyser is told to send it again; must be less than the analyser's own timer, 15 in the standard",
        values: Values::Number { least: 1, most: 14, default: 10 },
    },
    Setting {
        name: "glucose",
        meaning: "what the analyser's glucose is; `by-name` where it is no blood glucose (urine analysers): then it is told like any other test",
        values: Values::Word(&["generic", "capillary-whole-blood", "capillary-plasma", "by-name"]),
    },
    Setting {
        name: "model_component",
        meaning: "which component of the header's fifth field is the model, 0 for none (the analyser's host interface manual, \"sender name or ID\")",
        values: Values::Number { least: 0, most: 9, default: 1 },
    },
    Setting {
        name: "serial_component",
        meaning: "which component of the header's fifth field is the serial number, 0 for the last one that is not empty",
        values: Values::Number { least: 0, most: 9, default: 0 },
    },
    Setting {
        name: "version_component",
        meaning: "which component of the header's fifth field is the software version, 0 for none",
        values: Values::Number { least: 0, most: 9, default: 0 },
    },
    Setting {
        name: "test_component",
        meaning: "which component of a result's third field names the test, 0 for all of them; choose one where another holds a number of a person's specimen (cross-matching)",
        values: Values::Number { least: 0, most: 9, default: 0 },
    },
    Setting {
        name: "controls",
        meaning: "the action codes of O records (field 12) that mark a control: Q in the standard, with some makers M too",
        values: Values::Word(&["q", "q-and-m"]),
    },
    Setting {
        name: "comments",
        meaning: "`passed` passes the analyser's own remarks on results on; they are free text and have been seen to name people, so by default they are dropped",
        values: Values::Word(&["dropped", "passed"]),
    },
];

/// How the analyser begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begin {
    /// With ENQ, and waits for its answer.
    WithEnq,
    /// With the first frame.
    AtOnce,
}

/// What the numbers of frames are good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Numbers {
    /// A frame out of order is refused.
    Checked,
    /// Nothing.
    Ignored,
}

/// What is set.
#[derive(Clone, Debug)]
pub(super) struct Setup {
    pub(super) begin: Begin,
    pub(super) numbers: Numbers,
    pub(super) longest: usize,
    pub(super) hold: Duration,
    /// The metric of blood glucose; `None`: it is a test like any other.
    pub(super) glucose: Option<&'static Metric>,
    pub(super) model_component: usize,
    pub(super) serial_component: usize,
    pub(super) version_component: usize,
    pub(super) test_component: usize,
    pub(super) is_m_control: bool,
    pub(super) passes_comments: bool,
}

impl Setup {
    /// Of the configuration.
    pub(super) fn of(settings: &Settings) -> Self {
        let number = |name| usize::try_from(settings.number(name)).unwrap_or_default();
        Self {
            begin: if settings.word("enq") == "absent" { Begin::AtOnce } else { Begin::WithEnq },
            numbers: if settings.word("frame_numbers") == "ignored" {
                Numbers::Ignored
            } else {
                Numbers::Checked
            },
            longest: number("longest_frame"),
            hold: Duration::from_secs(u64::try_from(settings.number("hold_seconds")).unwrap_or_default()),
            glucose: match settings.word("glucose") {
                "capillary-whole-blood" => Some(&mdc::CONC_GLU_CAPILLARY_WHOLEBLOOD),
                "capillary-plasma" => Some(&mdc::CONC_GLU_CAPILLARY_PLASMA),
                "by-name" => None,
                _ => Some(&mdc::CONC_GLU_GEN),
            },
            model_component: number("model_component"),
            serial_component: number("serial_component"),
            version_component: number("version_component"),
            test_component: number("test_component"),
            is_m_control: settings.word("controls") == "q-and-m",
            passes_comments: settings.word("comments") == "passed",
        }
    }
}

//! Which of BlueZ's callbacks is accepted. Pure.
//!
//! In: each callback. Out: what to do with it; and a count of everything that was refused, by its kind.
//! Without a window everything is refused; with one, everything but the one question that the method of
//! the one device asks, once.

use super::rule::Method;

/// What BlueZ asks of an agent (`org.bluez.Agent`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// `RequestPasskey`: six digits that the device shows.
    Passkey,
    /// `RequestConfirmation`: whether the device shows these six digits too.
    Confirmation(u32),
    /// `RequestAuthorization`: whether a pairing in which nobody checks anything may go on.
    Authorization,
    /// `RequestPinCode`, `DisplayPinCode`, `DisplayPasskey`: of methods that no rule can name.
    Other,
    /// `AuthorizeService`: whether the device may use a service of this side. There is none.
    Service,
}

/// A callback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Callback {
    /// Whether it came from the owner of `org.bluez`: on the system bus others can call too.
    pub is_from_bluez: bool,
    /// The object path of the device.
    pub device: String,
    /// What is asked.
    pub question: Question,
}

/// What to do with a callback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Have a person type what the device shows.
    AskForPasskey,
    /// Have a person type what the device shows, and see whether it is this.
    AskToCompare(u32),
    /// Accept.
    Accept,
    /// Refuse; it has been counted.
    Refuse(Refused),
}

/// Why a callback was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It did not come from BlueZ.
    Impostor,
    /// No window is open.
    Closed,
    /// It is of another device than that of the window.
    Stranger,
    /// It belongs to another method than that of the window.
    Method,
    /// The question was asked before.
    Again,
    /// It is about a service.
    Service,
}

/// How many callbacks were refused, by their kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refusals {
    /// Not from BlueZ.
    pub impostor: u64,
    /// While no window was open.
    pub closed: u64,
    /// Of another device.
    pub stranger: u64,
    /// Of another method.
    pub method: u64,
    /// A second time.
    pub again: u64,
    /// About a service.
    pub service: u64,
}

impl Refusals {
    /// All together.
    pub const fn total(&self) -> u64 {
        self.impostor + self.closed + self.stranger + self.method + self.again + self.service
    }

    /// Each kind with its word.
    pub const fn by_kind(&self) -> [(&'static str, u64); 6] {
        [
            ("impostor", self.impostor),
            ("closed", self.closed),
            ("stranger", self.stranger),
            ("method", self.method),
            ("again", self.again),
            ("service", self.service),
        ]
    }

    fn count(&mut self, refused: Refused) {
        let counter = match refused {
            Refused::Impostor => &mut self.impostor,
            Refused::Closed => &mut self.closed,
            Refused::Stranger => &mut self.stranger,
            Refused::Method => &mut self.method,
            Refused::Again => &mut self.again,
            Refused::Service => &mut self.service,
        };
        *counter = counter.saturating_add(1);
    }
}

/// Decides. Closed when it is made.
#[derive(Clone, Debug, Default)]
pub struct Gate {
    window: Option<Window>,
    refusals: Refusals,
}

#[derive(Clone, Debug)]
struct Window {
    device: String,
    method: Method,
    was_asked: bool,
}

impl Gate {
    /// Opens the window for one device, by its object path, and one method.
    pub fn open(&mut self, device: &str, method: Method) {
        self.window = Some(Window { device: device.to_owned(), method, was_asked: false });
    }

    /// Closes the window. Gives whether the question of its method was asked.
    pub fn close(&mut self) -> bool {
        self.window.take().is_some_and(|window| window.was_asked)
    }

    /// What was refused so far.
    pub const fn refusals(&self) -> Refusals {
        self.refusals
    }

    /// What to do with a callback.
    pub fn handle_callback(&mut self, callback: &Callback) -> Decision {
        let decision = self.decide(callback);
        if let Decision::Refuse(refused) = decision {
            self.refusals.count(refused);
        }
        decision
    }

    fn decide(&mut self, callback: &Callback) -> Decision {
        if !callback.is_from_bluez {
            return Decision::Refuse(Refused::Impostor);
        }
        if callback.question == Question::Service {
            return Decision::Refuse(Refused::Service);
        }
        let Some(window) = &mut self.window else { return Decision::Refuse(Refused::Closed) };
        if callback.device != window.device {
            return Decision::Refuse(Refused::Stranger);
        }
        let accepted = match (window.method, callback.question) {
            (Method::Passkey, Question::Passkey) => Decision::AskForPasskey,
            (Method::Numeric, Question::Confirmation(number)) => Decision::AskToCompare(number),
            (Method::JustWorks, Question::Authorization) => Decision::Accept,
            _ => return Decision::Refuse(Refused::Method),
        };
        if std::mem::replace(&mut window.was_asked, true) {
            return Decision::Refuse(Refused::Again);
        }
        accepted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEVICE: &str = "/org/bluez/hci0/dev_F1_00_00_00_00_01";
    const OTHER: &str = "/org/bluez/hci0/dev_F9_00_00_00_00_09";
    const METHODS: [Method; 3] = [Method::Passkey, Method::Numeric, Method::JustWorks];
    const QUESTIONS: [Question; 5] = [
        Question::Passkey,
        Question::Confirmation(123_456),
        Question::Authorization,
        Question::Other,
        Question::Service,
    ];

    fn callback(device: &str, question: Question) -> Callback {
        Callback { is_from_bluez: true, device: device.to_owned(), question }
    }

    #[test]
    fn each_method_has_one_question_and_all_others_are_refused() {
        for method in METHODS {
            for question in QUESTIONS {
                let mut gate = Gate::default();
                gate.open(DEVICE, method);
                let expected = match (method, question) {
                    (Method::Passkey, Question::Passkey) => Decision::AskForPasskey,
                    (Method::Numeric, Question::Confirmation(_)) => Decision::AskToCompare(123_456),
                    (Method::JustWorks, Question::Authorization) => Decision::Accept,
                    (_, Question::Service) => Decision::Refuse(Refused::Service),
                    _ => Decision::Refuse(Refused::Method),
                };
                assert_eq!(gate.handle_callback(&callback(DEVICE, question)), expected);
                let is_refused = matches!(expected, Decision::Refuse(_));
                assert_eq!(gate.refusals().total(), u64::from(is_refused), "{method:?} {question:?}");
                assert_eq!(gate.close(), !is_refused, "{method:?} {question:?}");
            }
        }
    }

    #[test]
    fn a_closed_gate_refuses_everything_and_counts_it() {
        let mut gate = Gate::default();
        for question in QUESTIONS {
            assert!(matches!(gate.handle_callback(&callback(DEVICE, question)), Decision::Refuse(_)));
        }
        assert_eq!((gate.refusals().closed, gate.refusals().service), (4, 1));
        gate.open(DEVICE, Method::Passkey);
        assert!(!gate.close());
        let decision = gate.handle_callback(&callback(DEVICE, Question::Passkey));
        assert_eq!(decision, Decision::Refuse(Refused::Closed));
        assert_eq!(gate.refusals().total(), 6);
    }

    #[test]
    fn a_stranger_is_refused_and_does_not_use_up_the_window() {
        let mut gate = Gate::default();
        gate.open(DEVICE, Method::Passkey);
        let decision = gate.handle_callback(&callback(OTHER, Question::Passkey));
        assert_eq!(decision, Decision::Refuse(Refused::Stranger));
        let decision = gate.handle_callback(&callback(DEVICE, Question::Passkey));
        assert_eq!(decision, Decision::AskForPasskey);
        assert_eq!(gate.refusals(), Refusals { stranger: 1, ..Refusals::default() });
    }

    #[test]
    fn a_question_is_answered_once() {
        let mut gate = Gate::default();
        gate.open(DEVICE, Method::Numeric);
        assert_eq!(
            gate.handle_callback(&callback(DEVICE, Question::Confirmation(1))),
            Decision::AskToCompare(1)
        );
        let again = gate.handle_callback(&callback(DEVICE, Question::Confirmation(2)));
        assert_eq!(again, Decision::Refuse(Refused::Again));
        assert!(gate.close());
    }

    #[test]
    fn whoever_is_not_bluez_is_refused_whatever_it_asks() {
        let mut gate = Gate::default();
        gate.open(DEVICE, Method::Passkey);
        for question in QUESTIONS {
            let impostor = Callback { is_from_bluez: false, ..callback(DEVICE, question) };
            assert_eq!(gate.handle_callback(&impostor), Decision::Refuse(Refused::Impostor));
        }
        assert_eq!(gate.refusals(), Refusals { impostor: 5, ..Refusals::default() });
        let by_kind: u64 = gate.refusals().by_kind().iter().map(|(_, count)| count).sum();
        assert_eq!(by_kind, gate.refusals().total());
    }
}

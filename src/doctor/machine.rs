//! `pi` and `memory`: what the board and the kernel do to the daemon.

use super::Says;

/// Power and heat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pi {
    /// Another board, by its name.
    No(String),
    /// The bits of `get_throttled` (Raspberry Pi firmware, `vcgencmd get_throttled`).
    Throttled(u32),
    /// The alarm of the kernel's `rpi_volt` sensor, since the start of the kernel.
    UnderVoltage(bool),
    /// A Pi that says neither.
    Silent,
}

/// Says what is wrong with power and heat.
pub fn judge_pi(pi: &Pi) -> Says {
    let supply = "a supply of 5.1 V with enough current for this model, and a short cable; then restart";
    let cooling = "a heat sink or a fan, and air around the box";
    match pi {
        Pi::No(name) => Says::default().ok(format!("not a Raspberry Pi ({name})")),
        Pi::Silent => Says::default()
            .note("a Raspberry Pi whose kernel says nothing of its supply", "vcgencmd get_throttled"),
        Pi::UnderVoltage(true) => {
            Says::default().wrong("the supply voltage was too low: cards and stores break of that", supply)
        }
        Pi::UnderVoltage(false) | Pi::Throttled(0) => Says::default().ok("supply and heat are well"),
        Pi::Throttled(bits) => {
            let is = |bit: u32| bits >> bit & 1 == 1;
            let mut says = Says::default();
            if is(0) || is(16) {
                let when = if is(0) { "is" } else { "was, since the start," };
                says = says.wrong(
                    format!("the supply voltage {when} too low: cards and stores break of that"),
                    supply,
                );
            }
            if is(1) || is(2) || is(3) {
                says = says.wrong("the processor is slowed down, by heat or by its supply", cooling);
            } else if is(17) || is(18) || is(19) {
                says = says.note("the processor was slowed down since the start", cooling);
            }
            if says == Says::default() { says.note(format!("unknown bits: {bits:x}"), supply) } else { says }
        }
    }
}

/// What the kernel says of memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Why memory of the daemon may be written to swap, in the daemon's own words.
    pub swap: Option<String>,
    /// Whether that is of the running daemon; otherwise of the unit's file.
    pub is_of_daemon: bool,
    /// The most bytes of a core dump of the running daemon; `unlimited` or a number.
    pub core_limit: Option<String>,
}

/// Says whether memory can reach a disk.
pub fn judge_memory(memory: &Memory) -> Says {
    let mut says = Says::default();
    if let Some(swap) = &memory.swap {
        says = says.wrong(swap, "swapoff -a; on Raspberry Pi OS: systemctl disable --now dphys-swapfile");
    }
    if let Some(limit) = memory.core_limit.as_ref().filter(|limit| *limit != "0") {
        says = says.wrong(
            format!("the running daemon may leave a core dump ({limit} bytes)"),
            "systemctl restart wardline; see unit: LimitCORE=0",
        );
    }
    let who = if memory.is_of_daemon { "the running daemon" } else { "the unit" };
    if says == Says::default() {
        says.ok(format!("nothing of {who} can be swapped out or dumped"))
    } else {
        says
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn each_bit_of_a_pi_has_its_words() {
        for (pi, verdict, words) in [
            (Pi::No("NUC8".into()), Verdict::Ok, "not a Raspberry Pi (NUC8)"),
            (Pi::Silent, Verdict::Note, "says nothing"),
            (Pi::Throttled(0), Verdict::Ok, "well"),
            (Pi::Throttled(0x5_0005), Verdict::Wrong, "is too low"),
            (Pi::Throttled(0x1_0000), Verdict::Wrong, "was, since the start, too low"),
            (Pi::Throttled(0x8), Verdict::Wrong, "is slowed down"),
            (Pi::Throttled(0x8_0000), Verdict::Note, "was slowed down"),
            (Pi::Throttled(0x100), Verdict::Note, "unknown bits: 100"),
            (Pi::UnderVoltage(true), Verdict::Wrong, "too low"),
            (Pi::UnderVoltage(false), Verdict::Ok, "well"),
        ] {
            let says = judge_pi(&pi);
            assert_eq!(says.verdict(), verdict, "{pi:?}");
            assert!(says.iter().any(|said| said.text.contains(words)), "{words}: {says:?}");
        }
    }

    #[test]
    fn swap_and_core_dumps_are_wrong() {
        let of = |swap: Option<&str>, limit: Option<&str>| {
            let memory = Memory {
                swap: swap.map(str::to_owned),
                is_of_daemon: true,
                core_limit: limit.map(str::to_owned),
            };
            judge_memory(&memory).verdict()
        };
        assert_eq!(of(None, None), Verdict::Ok);
        assert_eq!(of(None, Some("0")), Verdict::Ok);
        assert_eq!(of(None, Some("unlimited")), Verdict::Wrong);
        assert_eq!(of(Some("swap is on"), Some("0")), Verdict::Wrong);
    }
}

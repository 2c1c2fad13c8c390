//! `serial`: each port of the allowlist, looked at without being opened: opening one moves its control lines, which
//! some devices take for a restart.

use super::Says;

/// Who may open a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rights {
    /// The node's mode.
    pub mode: u32,
    /// Whose it is.
    pub owner: u32,
    /// Its group.
    pub group: u32,
}

/// A user and every group it is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Its name.
    pub name: String,
    /// Its number.
    pub id: u32,
    /// The groups' numbers.
    pub groups: Vec<u32>,
}

impl User {
    /// Whether it may read and write what has these rights, by its class alone as the kernel does.
    pub fn may_open(&self, rights: Rights) -> bool {
        let shift = match rights {
            _ if self.id == 0 => return true,
            Rights { owner, .. } if owner == self.id => 6,
            Rights { group, .. } if self.groups.contains(&group) => 3,
            Rights { .. } => 0,
        };
        rights.mode >> shift & 0o6 == 0o6
    }
}

/// A process that has a port open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its number.
    pub process: u32,
    /// The name of its program.
    pub program: String,
    /// It has the other end of this pseudo-terminal too: it made it.
    pub is_other_end: bool,
}

/// What stands at a port's path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// Nothing.
    Absent,
    /// Something else than a character device.
    Other,
    /// A character device: its number, and its rights.
    Device(u64, Rights),
}

/// One port.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The path of the configuration.
    pub port: String,
    /// The id of the device on it.
    pub device: String,
    /// What is there.
    pub node: Node,
    /// The user that the daemon runs as.
    pub user: User,
    /// The name of the port's group, where it has one.
    pub group: Option<String>,
    /// Who has it open, as far as this user may see.
    pub holders: Vec<Holder>,
}

/// The folders whose names stay when adapters change places.
const STABLE: [&str; 2] = ["/dev/serial/by-path/", "/dev/serial/by-id/"];
/// Ports of the board itself do not move.
const FIXED: [&str; 4] = ["/dev/ttyAMA", "/dev/ttyS", "/dev/serial0", "/dev/serial1"];
const OWN: &str = "wardline";

/// Says what is wrong with each.
pub fn judge(ports: &[Facts]) -> Says {
    if ports.is_empty() {
        return Says::default().ok("not needed: no device is read over a serial line");
    }
    ports.iter().fold(Says::default(), |says, port| says.and(judge_one(port, ports)))
}

fn judge_one(facts: &Facts, all: &[Facts]) -> Says {
    let Facts { port, device, node, user, .. } = facts;
    let says = Says::default();
    let (number, rights) = match node {
        Node::Absent => {
            return says.wrong(
                format!("{port} of {device} is not there"),
                "ls -l /dev/serial/by-path: is the adapter plugged in, in the same socket as before?",
            );
        }
        Node::Other => {
            let text = format!("{port} of {device} is no serial port (not a character device)");
            return says.wrong(text, "correct `port` of that device");
        }
        Node::Device(number, rights) => (*number, *rights),
    };
    let mut says = judge_holders(facts);
    if !user.may_open(rights) {
        let (name, group) = (&user.name, facts.group.clone().unwrap_or_else(|| rights.group.to_string()));
        says = says.wrong(
            format!(
                "{port} of {device} may not be opened by user {name} (mode {:04o}, group {group})",
                rights.mode
            ),
            format!("usermod -aG {group} {name}; systemctl restart wardline"),
        );
    }
    if let Some(other) = all.iter().find(|other| *other.port < **port && is_same(&other.node, number)) {
        says = says.wrong(
            format!("{port} of {device} and {} of {} are one port", other.port, other.device),
            "name both ports below /dev/serial/by-path: names below by-id are not unique where adapters have no serial \
             number",
        );
    }
    let is_stable = STABLE.iter().chain(&FIXED).any(|start| port.starts_with(start));
    if !is_stable {
        says = says.note(
            format!("{port} of {device} may be another adapter after the next start"),
            "name it below /dev/serial/by-path",
        );
    }
    if says == Says::default() { says.ok(format!("{port} of {device}")) } else { says }
}

fn is_same(node: &Node, number: u64) -> bool {
    matches!(node, Node::Device(other, _) if *other == number)
}

fn judge_holders(facts: &Facts) -> Says {
    let strangers = facts.holders.iter().filter(|holder| holder.program != OWN);
    strangers.fold(Says::default(), |says, holder| {
        let Holder { process, program, is_other_end } = holder;
        if *is_other_end {
            let text = format!("{} of {} is no port but made by {program}: a simulated device", facts.port, facts.device);
            return says.note(text, "put a real device in its place before anybody relies on it");
        }
        says.wrong(
            format!("{} of {} is held open by {program} (process {process})", facts.port, facts.device),
            "end that program; ModemManager is told by a udev rule with ENV{ID_MM_DEVICE_IGNORE}=\"1\", a login by \
             systemctl disable serial-getty@",
        )
    })
}

/// A user by the texts of `/etc/passwd` and `/etc/group` (passwd(5), group(5)).
pub fn user_of(name: &str, users: &str, groups: &str) -> Option<User> {
    let row = users.lines().find(|line| line.split(':').next() == Some(name))?;
    let mut fields = row.split(':').skip(2);
    let (id, first) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    let others = groups.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let is_member = fields.get(3)?.split(',').any(|member| member == name);
        is_member.then(|| fields.get(2)?.parse().ok()).flatten()
    });
    Some(User { name: name.to_owned(), id, groups: std::iter::once(first).chain(others).collect() })
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    fn facts() -> Facts {
        Facts {
            port: "/dev/serial/by-path/usb-1".into(),
            device: "pump".into(),
            node: Node::Device(48128, Rights { mode: 0o660, owner: 0, group: 20 }),
            user: User { name: "wardline".into(), id: 990, groups: vec![990, 20] },
            group: Some("dialout".into()),
            holders: vec![Holder { process: 7, program: "wardline".into(), is_other_end: false }],
        }
    }

    #[test]
    fn each_fault_of_a_port_has_its_words() {
        let of = |change: &dyn Fn(&mut Facts)| {
            let mut facts = facts();
            change(&mut facts);
            facts
        };
        for (facts, verdict, words) in [
            (facts(), Verdict::Ok, "usb-1 of pump"),
            (of(&|facts| facts.node = Node::Absent), Verdict::Wrong, "is not there"),
            (of(&|facts| facts.node = Node::Other), Verdict::Wrong, "no serial port"),
            (
                of(&|facts| facts.user.groups = vec![990]),
                Verdict::Wrong,
                "user wardline (mode 0660, group dialout)",
            ),
            (of(&|facts| facts.holders[0].program = "ModemManager".into()), Verdict::Wrong, "ModemManager"),
            (
                of(&|facts| {
                    facts.holders[0] =
                        Holder { process: 8, program: "wardline-lab".into(), is_other_end: true };
                }),
                Verdict::Note,
                "made by wardline-lab: a simulated device",
            ),
            (of(&|facts| facts.port = "/dev/ttyUSB0".into()), Verdict::Note, "another adapter"),
            (of(&|facts| facts.port = "/dev/ttyAMA0".into()), Verdict::Ok, "ttyAMA0"),
        ] {
            let says = judge(&[facts]);
            assert_eq!(says.verdict(), verdict, "{says:?}");
            assert!(says.iter().any(|said| said.text.contains(words)), "{words}: {says:?}");
        }
        let twin = of(&|facts| facts.port = "/dev/serial/by-id/usb-2".into());
        let says = judge(&[facts(), twin]);
        let twins: Vec<_> = says.iter().filter(|said| said.text.contains("are one port")).collect();
        assert_eq!((says.verdict(), twins.len()), (Verdict::Wrong, 1), "{says:?}");
        assert_eq!(judge(&[]).verdict(), Verdict::Ok);
    }

    #[test]
    fn rights_are_those_of_the_class_and_of_no_other() {
        let user = |id, groups: &[u32]| User { name: "x".into(), id, groups: groups.to_vec() };
        let node = |mode| Rights { mode, owner: 1, group: 20 };
        assert!(user(0, &[]).may_open(node(0)));
        assert!(user(1, &[]).may_open(node(0o600)) && !user(1, &[20]).may_open(node(0o066)));
        assert!(user(2, &[20]).may_open(node(0o060)) && !user(2, &[20]).may_open(node(0o606)));
        assert!(user(2, &[]).may_open(node(0o006)) && !user(2, &[]).may_open(node(0o664)));
        let (users, groups) =
            ("root:x:0:0:::\nwardline:x:990:991::/:\n", "dialout:x:20:anna,wardline\nbad\nt:x:5:w\n");
        assert_eq!(
            user_of("wardline", users, groups).unwrap(),
            User { name: "wardline".into(), id: 990, groups: vec![991, 20] }
        );
        assert_eq!(user_of("nobody", users, groups), None);
    }
}

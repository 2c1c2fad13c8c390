//! Whatever the other end says, it hears nothing but requests.

use std::path::PathBuf;
use std::time::Duration;

use wardline::device::catalogue::serial_models;
use wardline::device::settings::Settings;
use wardline::device::{Action, Part, Ticket};
use wardline::link::serial::SerialLink;
use wardline::link::{Link, LinkCommand, LinkError, LinkEvent};
use wardline::time::Now;

use crate::vectors::vectors;

/// A generator of numbers that is the same on every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }
}

/// What a stranger on the other end says next: noise, torn vectors, whole vectors.
fn babble(dice: &mut Dice, captures: &[Vec<u8>]) -> Vec<u8> {
    let count = usize::try_from(dice.roll(200)).unwrap();
    match dice.roll(4) {
        0 => (0..count).map(|_| u8::try_from(dice.roll(256)).unwrap()).collect(),
        1 => (0..count)
            .map(|_| b"!|^\r\n\x1BINFALM0123456789 SN=/:"[usize::try_from(dice.roll(28)).unwrap()])
            .collect(),
        other => {
            let capture = &captures[usize::try_from(dice.roll(captures.len() as u64)).unwrap()];
            let from =
                if other == 2 { 0 } else { usize::try_from(dice.roll(capture.len() as u64 + 1)).unwrap() };
            capture[from..].to_vec()
        }
    }
}

#[tokio::test]
async fn whatever_the_other_end_says_it_hears_nothing_but_requests() {
    for model in serial_models() {
        let mut dice = Dice(20_161_122);
        let captures: Vec<Vec<u8>> =
            vectors(model.name).into_iter().map(|(_, vector)| vector.bytes()).collect();
        let (stranger, path) = raw_pty();
        let mut link = SerialLink::new(path, model.line, model.requests);
        let mut driver = (model.driver)(&Settings::defaults(model.settings));
        let mut now = Now::default();
        let (mut heard, mut allowed) = (Vec::new(), Vec::new());
        let mut is_open = false;
        let (mut requests, mut ticket) = (0, Ticket::default());
        for _ in 0..4_000 {
            if !is_open {
                link.open().await.unwrap();
                driver.handle_event(&LinkEvent::Up, now);
                is_open = true;
            }
            let words = babble(&mut dice, &captures);
            let mut rest = words.as_slice();
            while !rest.is_empty() {
                let (piece, later) =
                    rest.split_at(usize::try_from(dice.roll(rest.len() as u64)).unwrap() + 1);
                rustix::io::write(&stranger, piece).unwrap();
                rest = later;
                let event = tokio::time::timeout(Duration::from_secs(5), link.next()).await.unwrap();
                driver.handle_event(&event, now);
            }
            now.mono = now.mono + Duration::from_millis(dice.roll(3_000));
            if driver.poll_timeout().is_some_and(|due| due <= now.mono) {
                driver.handle_timeout(now);
            }
            while let Some(action) = driver.poll_action() {
                if let Action::Command(LinkCommand::HangUp) = action {
                    is_open = false;
                } else if let Action::Command(command) = action {
                    link.perform(command).await.unwrap();
                    allowed.extend_from_slice(&model.requests.frame(command).unwrap());
                    requests += 1;
                } else if let Action::Observe(Part::WHOLE, _) = action {
                    ticket.0 += 1;
                    driver.handle_ticket(ticket);
                    driver.handle_durable(ticket, now);
                }
            }
            // Before the port is closed: that throws away what nobody has read.
            hear(&stranger, &mut heard, allowed.len()).await;
            if !is_open || dice.roll(200) == 0 {
                driver.handle_event(&LinkEvent::Down(LinkError::HungUp), now);
                while driver.poll_action().is_some() {}
                link.close().await;
                is_open = false;
            }
        }
        assert!(heard == allowed, "{}: it heard something else than its requests", model.name);
        let expects_requests = !model.requests.requests().is_empty();
        assert_eq!(requests > 100, expects_requests, "{}: {requests} requests", model.name);
        assert_eq!(heard.is_empty(), !expects_requests, "{}", model.name);
    }
}

/// A pty of which this side is the other end, raw and without any pace.
pub(crate) fn raw_pty() -> (std::os::fd::OwnedFd, PathBuf) {
    use rustix::pty::OpenptFlags;
    let stranger = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    rustix::pty::grantpt(&stranger).unwrap();
    rustix::pty::unlockpt(&stranger).unwrap();
    let name = rustix::pty::ptsname(&stranger, Vec::new()).unwrap();
    rustix::io::ioctl_fionbio(&stranger, true).unwrap();
    (stranger, PathBuf::from(name.into_string().unwrap()))
}

/// Hears what was said, at least so many bytes in all: what a pty was given is not at its other end at once, and
/// opening the line again throws it away.
async fn hear(stranger: &std::os::fd::OwnedFd, heard: &mut Vec<u8>, least: usize) {
    let mut buffer = [0; 4096];
    for _ in 0..1_000 {
        while let Ok(count @ 1..) = rustix::io::read(stranger, &mut buffer) {
            heard.extend_from_slice(&buffer[..count]);
        }
        if heard.len() >= least {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

//! What can be made to happen to the double's adapters, and visits of its devices.

use std::time::Duration;

use super::{Bluez, BluezError, Cure, Visit, now};

impl Bluez {
    /// The radio hears nothing more, without a word, until it is cured. Connections stay.
    pub fn go_deaf(&self, until: Cure) {
        self.shared.world().go_deaf(until);
    }

    /// The adapter is pulled out.
    pub fn unplug(&self) {
        self.shared.world().unplug();
    }

    /// The adapter is put in again and named, for instance, `hci1`.
    pub fn plug_in(&self, name: &str) {
        self.shared.world().plug_in(name);
    }

    /// Pulls out an adapter that was put in beside the one that hears.
    pub fn unplug_other(&self, name: &str) {
        self.shared.world().unplug_other(name);
    }

    /// Puts in another adapter, which is not the one that hears the devices.
    pub fn add_deaf_adapter(&self, name: &str, address: &str) {
        self.shared.world().add_deaf_adapter(name, address);
    }

    /// Devices advertise this often, and are heard while they are connected too: as many signals as there
    /// can be.
    pub fn be_noisy(&self, period: Duration) {
        self.shared.world().be_noisy(period);
    }

    /// Lets connecting to a device that is out of range wait for it, and fail after this long, as a
    /// controller does with a device on its list.
    pub fn let_absent_hang(&self, by: Duration) {
        self.shared.world().let_absent_hang(by);
    }

    /// Lets devices come and go. Each is out of range until it comes.
    pub fn plan(&self, visits: Vec<Visit>) {
        self.shared.world().plan(visits, now());
    }

    /// Forgets the calls so far: the log of a long run would be taken for the program's memory.
    pub fn forget_calls(&self) {
        self.shared.world().forget_calls();
    }

    /// Waits until something outside of the double is so: looked at in each of the double's turns.
    pub async fn tick(&self, what: &str, is_so: impl FnMut() -> bool) -> Result<(), BluezError> {
        let mut is_so = is_so;
        let mut turns = self.shared.turns.subscribe();
        let wait = async { while !is_so() && turns.changed().await.is_ok() {} };
        match tokio::time::timeout(super::PATIENCE, wait).await {
            Ok(()) => Ok(()),
            Err(_) => Err(self.in_vain(what)),
        }
    }

    /// Waits for so many turns of the double, which has one each two milliseconds or more often.
    pub async fn turns(&self, turns: usize) {
        let mut seen = self.shared.turns.subscribe();
        for _ in 0..turns {
            if seen.changed().await.is_err() {
                return;
            }
        }
    }
}

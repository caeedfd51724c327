use core::net::IpAddr;
use std::collections::BTreeMap;
use std::time::Duration;

use thiserror::Error;

use super::{ADDRESS_BLOCKS_MAX, ADDRESS_BLOCKS_SWEEP_INTERVAL, Bucket, Limits, Rate};
use crate::now::Now;

/// What a refused token takes out of a bucket that is filled per second: the rate is per minute.
const UNITS_PER_REFUSED_TOKEN: u32 = 60;

/// Why someone does not come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum AdmissionError {
    /// The address block begins connections too fast.
    #[error("too many connections from this address in a short time; wait a moment")]
    Handshakes,
    /// There are as many sessions as there can be.
    #[error("the relay has as many sessions as it can hold; try again later")]
    Sessions,
    /// The process has little memory left.
    #[error("the relay is busy: it has no memory for another session; try again later")]
    Memory,
    /// The address block has as many TCP connections as it may have.
    #[error("there are as many TCP connections from this address as it may have; close one of them first")]
    ConnectionsOfAddress,
    /// The address block has as many sessions as it may have.
    #[error("there are as many sessions from this address as it may have; end one of them first")]
    SessionsOfAddress,
}

/// Who may begin a connection and a session, by where they come from.
///
/// Only addresses that have been proved (by a Retry, a handshake or TCP) may be given to the functions that change it:
/// otherwise whoever forges addresses could fill it, or use up what others may do.
#[derive(Debug)]
pub struct Admission {
    limits: Limits,
    blocks: BTreeMap<Block, Visits>,
    sessions: u32,
    /// As many as there were when memory became short, while it is.
    sessions_in_memory_max: Option<u32>,
    swept_at: Duration,
}

/// What belongs to one household or office, as providers give addresses out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Block {
    V4([u8; 3]),
    V6([u8; 7]),
}

/// What has come from one block.
#[derive(Debug, Default)]
struct Visits {
    sessions: u32,
    /// TCP connections that are no sessions yet.
    connections: u32,
    handshakes: Bucket,
    refused_tokens: Bucket,
}

impl Block {
    fn of(address: IpAddr) -> Self {
        // A socket for both families names IPv4 addresses as IPv6 ones.
        match address.to_canonical() {
            IpAddr::V4(address) => {
                let [a, b, c, _] = address.octets();
                Self::V4([a, b, c])
            }
            IpAddr::V6(address) => {
                let [a, b, c, d, e, f, g, ..] = address.octets();
                Self::V6([a, b, c, d, e, f, g])
            }
        }
    }
}

impl Visits {
    fn is_forgettable(&self, now: Now) -> bool {
        self.sessions == 0 && self.connections == 0 && self.handshakes.is_full(now) && self.refused_tokens.is_full(now)
    }
}

impl Admission {
    /// Nobody is in yet.
    pub fn new(limits: Limits) -> Self {
        Self { limits, blocks: BTreeMap::new(), sessions: 0, sessions_in_memory_max: None, swept_at: Duration::ZERO }
    }

    /// Whether a connection from there may begin, for an address that has not been proved: nothing is noted.
    ///
    /// # Errors
    /// [`AdmissionError::Handshakes`].
    pub fn may_begin(&self, now: Now, address: IpAddr) -> Result<(), AdmissionError> {
        let visits = self.blocks.get(&Block::of(address));
        let may = visits.is_none_or(|visits| visits.handshakes.has(now, self.handshakes(), 1));
        if may { Ok(()) } else { Err(AdmissionError::Handshakes) }
    }

    /// Notes the beginning of a connection.
    ///
    /// # Errors
    /// [`AdmissionError::Handshakes`]: it is one too many.
    pub fn begin(&mut self, now: Now, address: IpAddr) -> Result<(), AdmissionError> {
        let rate = self.handshakes();
        let visits = self.visits(now, address).ok_or(AdmissionError::Handshakes)?;
        if visits.handshakes.take(now, rate, 1) { Ok(()) } else { Err(AdmissionError::Handshakes) }
    }

    /// Notes the beginning of a TCP connection, and takes a place for it. [`Admission::disconnect`] gives it back.
    ///
    /// # Errors
    /// [`AdmissionError::ConnectionsOfAddress`] or [`AdmissionError::Handshakes`].
    pub fn connect(&mut self, now: Now, address: IpAddr) -> Result<(), AdmissionError> {
        let connections_max = self.limits.tcp_connections_per_address;
        let here = self.blocks.get(&Block::of(address)).map_or(0, |visits| visits.connections);
        if here >= connections_max {
            return Err(AdmissionError::ConnectionsOfAddress);
        }
        self.begin(now, address)?;
        self.visits(now, address).ok_or(AdmissionError::Handshakes)?.connections += 1;
        Ok(())
    }

    /// Gives back the place of a TCP connection.
    pub fn disconnect(&mut self, now: Now, address: IpAddr) {
        let block = Block::of(address);
        let Some(visits) = self.blocks.get_mut(&block).filter(|visits| visits.connections > 0) else {
            return;
        };
        visits.connections -= 1;
        if visits.is_forgettable(now) {
            self.blocks.remove(&block);
        }
    }

    /// Whether there is a place for one more session from there: nothing is noted.
    ///
    /// # Errors
    /// [`AdmissionError::Sessions`], [`AdmissionError::Memory`] or [`AdmissionError::SessionsOfAddress`].
    pub fn may_enter(&self, address: IpAddr) -> Result<(), AdmissionError> {
        let here = self.blocks.get(&Block::of(address)).map_or(0, |visits| visits.sessions);
        if self.sessions >= self.limits.sessions {
            return Err(AdmissionError::Sessions);
        }
        if self.sessions_in_memory_max.is_some_and(|max| self.sessions >= max) {
            return Err(AdmissionError::Memory);
        }
        if here >= self.limits.sessions_per_address {
            return Err(AdmissionError::SessionsOfAddress);
        }
        Ok(())
    }

    /// Notes whether memory is short: then there are no more sessions than at that moment. Whoever leaves makes place for someone
    /// else, for allocators keep for the next what the last one gave back.
    pub fn note_memory(&mut self, is_short: bool) {
        self.sessions_in_memory_max = is_short.then(|| self.sessions_in_memory_max.unwrap_or(self.sessions));
    }

    /// Takes a place for a session. [`Admission::leave`] gives it back.
    ///
    /// # Errors
    /// As [`Admission::may_enter`].
    pub fn enter(&mut self, now: Now, address: IpAddr) -> Result<(), AdmissionError> {
        self.may_enter(address)?;
        self.visits(now, address).ok_or(AdmissionError::Sessions)?.sessions += 1;
        self.sessions += 1;
        Ok(())
    }

    /// Gives back the place of a session.
    pub fn leave(&mut self, now: Now, address: IpAddr) {
        let block = Block::of(address);
        let Some(visits) = self.blocks.get_mut(&block).filter(|visits| visits.sessions > 0) else {
            return;
        };
        visits.sessions -= 1;
        self.sessions -= 1;
        if visits.is_forgettable(now) {
            self.blocks.remove(&block);
        }
    }

    /// Notes that a token from there was refused.
    pub fn token_refused(&mut self, now: Now, address: IpAddr) {
        let rate = self.refused_tokens();
        if let Some(visits) = self.visits(now, address) {
            visits.refused_tokens.take(now, rate, UNITS_PER_REFUSED_TOKEN);
        }
    }

    /// Whether a token from there is looked at.
    pub fn may_present_token(&self, now: Now, address: IpAddr) -> bool {
        let visits = self.blocks.get(&Block::of(address));
        visits.is_none_or(|visits| visits.refused_tokens.has(now, self.refused_tokens(), UNITS_PER_REFUSED_TOKEN))
    }

    fn handshakes(&self) -> Rate {
        let Limits { handshakes_per_second_per_address, handshakes_burst_per_address, .. } = self.limits;
        Rate { per_second: handshakes_per_second_per_address, burst: handshakes_burst_per_address }
    }

    fn refused_tokens(&self) -> Rate {
        let per_minute = self.limits.refused_tokens_per_minute_per_address;
        Rate { per_second: per_minute, burst: per_minute.saturating_mul(UNITS_PER_REFUSED_TOKEN) }
    }

    /// What is known of a block. `None`: there are as many blocks as can be remembered.
    fn visits(&mut self, now: Now, address: IpAddr) -> Option<&mut Visits> {
        let block = Block::of(address);
        if self.blocks.len() >= ADDRESS_BLOCKS_MAX && !self.blocks.contains_key(&block) {
            self.sweep(now);
            if self.blocks.len() >= ADDRESS_BLOCKS_MAX {
                return None;
            }
        }
        Some(self.blocks.entry(block).or_default())
    }

    fn sweep(&mut self, now: Now) {
        if now.since_start < self.swept_at + ADDRESS_BLOCKS_SWEEP_INTERVAL {
            return;
        }
        self.swept_at = now.since_start;
        self.blocks.retain(|_, visits| !visits.is_forgettable(now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: f64) -> Now {
        Now::after(Duration::from_secs_f64(seconds))
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn admission() -> Admission {
        Admission::new(Limits {
            sessions: 5,
            sessions_per_address: 2,
            handshakes_per_second_per_address: 10,
            handshakes_burst_per_address: 3,
            tcp_connections_per_address: 2,
            refused_tokens_per_minute_per_address: 2,
            ..Limits::default()
        })
    }

    #[test]
    fn neighbours_share_a_block_and_others_do_not() {
        for (one, other, same) in [
            ("192.0.2.1", "192.0.2.254", true),
            ("192.0.2.1", "192.0.3.1", false),
            ("192.0.2.1", "::ffff:192.0.2.9", true),
            ("2001:db8:1:2200::1", "2001:db8:1:22ff::9", true),
            ("2001:db8:1:2200::1", "2001:db8:1:2300::1", false),
        ] {
            assert_eq!(Block::of(address(one)) == Block::of(address(other)), same, "{one} and {other}");
        }
    }

    #[test]
    fn connections_begin_in_a_burst_and_then_at_the_rate() {
        let mut admission = admission();
        let here = address("192.0.2.1");
        let mut begun = |seconds| (0..10).filter(|_| admission.begin(at(seconds), here).is_ok()).count();
        assert_eq!([begun(0.0), begun(0.09), begun(0.1), begun(10.0)], [3, 0, 1, 3]);
        assert_eq!(admission.may_begin(at(10.0), here), Err(AdmissionError::Handshakes));
        assert_eq!(admission.begin(at(10.0), address("198.51.100.1")), Ok(()), "another block is not held up");
    }

    #[test]
    fn tcp_connections_are_counted_until_they_end_and_as_beginnings() {
        let mut admission = admission();
        let [here, there] = ["192.0.2.1", "198.51.100.1"].map(address);
        let full = Err(AdmissionError::ConnectionsOfAddress);
        assert_eq!(
            [here, here, here, there].map(|from| admission.connect(at(0.0), from)),
            [Ok(()), Ok(()), full, Ok(())]
        );
        admission.disconnect(at(0.0), here);
        assert_eq!(admission.connect(at(0.0), here), Ok(()), "the last of the burst");
        admission.disconnect(at(0.0), here);
        assert_eq!(admission.connect(at(0.0), here), Err(AdmissionError::Handshakes));
        for _ in 0..3 {
            admission.disconnect(at(5.0), here);
            admission.disconnect(at(5.0), there);
        }
        assert!(admission.blocks.is_empty());
    }

    #[test]
    fn sessions_are_counted_in_all_and_per_block_and_places_come_back() {
        let mut admission = admission();
        let [a, b, c] = ["192.0.2.1", "198.51.100.1", "203.0.113.1"].map(address);
        let full = Err(AdmissionError::SessionsOfAddress);
        assert_eq!([a, a, a, b, b].map(|from| admission.enter(at(0.0), from)), [Ok(()), Ok(()), full, Ok(()), Ok(())]);
        assert_eq!(admission.enter(at(0.0), c), Ok(()));
        assert_eq!(admission.enter(at(0.0), c), Err(AdmissionError::Sessions));
        admission.leave(at(0.0), a);
        assert_eq!(admission.enter(at(0.0), c), Ok(()));
        assert_eq!(admission.enter(at(0.0), a), Err(AdmissionError::Sessions));
    }

    #[test]
    fn while_memory_is_short_one_comes_when_another_leaves() {
        let mut admission = Admission::new(Limits::default());
        let here = address("192.0.2.1");
        let mut enter_after = |is_short, leave| {
            admission.note_memory(is_short);
            if leave {
                admission.leave(at(0.0), here);
            }
            admission.enter(at(0.0), here)
        };
        let full = Err(AdmissionError::Memory);
        assert_eq!([enter_after(false, false), enter_after(false, false)], [Ok(()), Ok(())]);
        assert_eq!([enter_after(true, false), enter_after(true, false)], [full, full]);
        assert_eq!([enter_after(true, true), enter_after(true, false)], [Ok(()), full]);
        assert_eq!(enter_after(false, false), Ok(()));
        assert_eq!(enter_after(true, false), full, "and now there may be three");
    }

    #[test]
    fn refused_tokens_are_counted_per_minute() {
        let mut admission = admission();
        let here = address("192.0.2.1");
        let mut may_after_a_refusal = |seconds| {
            admission.token_refused(at(seconds), here);
            admission.may_present_token(at(seconds), here)
        };
        assert_eq!([0.0, 0.0, 1.0].map(&mut may_after_a_refusal), [true, false, false]);
        assert_eq!([29.9, 30.0].map(|seconds| admission.may_present_token(at(seconds), here)), [false, true]);
        assert!(admission.may_present_token(at(0.0), address("198.51.100.1")));
    }

    #[test]
    fn looking_remembers_nothing_and_who_has_left_is_forgotten() {
        let mut admission = admission();
        let here = address("192.0.2.1");
        let _ =
            (admission.may_begin(at(0.0), here), admission.may_enter(here), admission.may_present_token(at(0.0), here));
        assert!(admission.blocks.is_empty());
        admission.begin(at(0.0), here).unwrap();
        admission.enter(at(0.0), here).unwrap();
        admission.leave(at(5.0), here);
        assert!(admission.blocks.is_empty());
        admission.leave(at(5.0), here);
        assert_eq!(admission.sessions, 0, "leaving twice is leaving once");
    }

    #[test]
    fn blocks_are_bounded_and_forgotten_when_nothing_is_left_to_remember() {
        let mut admission = Admission::new(Limits { sessions: 1, ..Limits::default() });
        let staying = address("2001:db8::1");
        admission.enter(at(0.0), staying).unwrap();
        let many = |number: u32| IpAddr::from((number << 8).to_be_bytes());
        let begun = (0..70_000).filter(|number| admission.begin(at(1.5), many(*number)).is_ok()).count();
        assert_eq!((begun, admission.blocks.len()), (ADDRESS_BLOCKS_MAX - 1, ADDRESS_BLOCKS_MAX));
        assert_eq!(admission.begin(at(3.0), many(70_000)), Ok(()));
        assert_eq!(admission.blocks.len(), 2, "the one with a session and the newest");
    }
}

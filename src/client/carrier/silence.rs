//! Whether anything comes over UDP at all, by what a connection tells. Pure: what is looked at comes in.

use std::time::Duration;

use super::uplink::Signs;

/// Where something should come and nothing has for so long, the relay is given something to acknowledge: in a room where nobody has
/// anything to say nothing comes either.
const DOUBT_TIME: Duration = Duration::from_millis(500);

/// Whatever the relay was given has been acknowledged after so long, or after two round trips, on a path that carries anything.
const ANSWER_TIME: Duration = Duration::from_millis(500);

/// Nothing for so long is more than a path that loses now and then.
const SILENCE_TIME: Duration = Duration::from_secs(1);

/// A look that comes so late says that this machine slept or was busy, and what came meanwhile is read next.
const LATE_TIME: Duration = Duration::from_secs(1);

/// Who has sent so many bytes since something came expects acknowledgements: less than a second of a voice, more than pings.
const SENT_BYTES: u64 = 1000;

/// What is known of the way back.
#[derive(Debug)]
pub struct Silence {
    last: Signs,
    looked_at: Duration,
    heard_at: Duration,
    /// Bytes that had been sent by then.
    sent_then: u64,
    /// Since when the relay has something to acknowledge, and nothing came.
    asked_at: Option<Duration>,
}

/// What a look says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hearing {
    /// Something comes, or nothing has to.
    Fine,
    /// The relay is to be given something to acknowledge.
    Doubtful,
    /// Nothing comes that should. The relay is to be given more: what comes then ends the silence.
    Silent,
}

impl Silence {
    /// That of a connection which tells this at the beginning.
    pub fn new(signs: Signs) -> Self {
        let (looked_at, heard_at) = (Duration::ZERO, Duration::ZERO);
        Self { last: signs, looked_at, heard_at, sent_then: signs.bytes_sent, asked_at: None }
    }

    /// Looks at the connection; `now` counts from the beginning. `is_media_usual`: whether media comes as a rule.
    pub fn look(&mut self, now: Duration, signs: Signs, is_media_usual: bool) -> Hearing {
        let last = std::mem::replace(&mut self.last, signs);
        let is_late = now - std::mem::replace(&mut self.looked_at, now) > LATE_TIME;
        if signs.packets != last.packets || is_late {
            (self.heard_at, self.sent_then, self.asked_at) = (now, signs.bytes_sent, None);
            return Hearing::Fine;
        }
        let nothing_for = now - self.heard_at;
        let answer_time = ANSWER_TIME.max(2 * signs.round_trip);
        if nothing_for >= SILENCE_TIME && self.asked_at.is_some_and(|asked_at| now - asked_at >= answer_time) {
            return Hearing::Silent;
        }
        let is_expected = is_media_usual || signs.bytes_sent - self.sent_then >= SENT_BYTES;
        if self.asked_at.is_none() && !(is_expected && nothing_for >= DOUBT_TIME) {
            return Hearing::Fine;
        }
        self.asked(now);
        Hearing::Doubtful
    }

    /// The relay was given something to acknowledge.
    pub fn asked(&mut self, now: Duration) {
        self.asked_at.get_or_insert(now);
    }
}

#[cfg(test)]
mod tests {
    use super::super::uplink::LOOK_INTERVAL;
    use super::*;

    /// Looks at a connection on which something comes at each look, or does not.
    struct Watch {
        silence: Silence,
        now: Duration,
        signs: Signs,
        is_media_usual: bool,
    }

    impl Watch {
        fn new(round_trip_ms: u64, is_media_usual: bool) -> Self {
            let signs = Signs { round_trip: Duration::from_millis(round_trip_ms), ..Signs::default() };
            let mut watch = Self { silence: Silence::new(signs), now: Duration::ZERO, signs, is_media_usual };
            assert_eq!(watch.look(LOOK_INTERVAL, 1, 0), Hearing::Fine);
            watch
        }

        fn look(&mut self, after: Duration, packets: u64, bytes_sent: u64) -> Hearing {
            self.now += after;
            self.signs.packets += packets;
            self.signs.bytes_sent += bytes_sent;
            self.silence.look(self.now, self.signs, self.is_media_usual)
        }

        /// After how many milliseconds of nothing it is doubted and known, when so many bytes are sent at each look.
        fn nothing_comes(&mut self, bytes_sent: u64) -> [Option<u128>; 2] {
            let began = self.now;
            let mut after = [None; 2];
            for _ in 0..40 {
                let hearing = self.look(LOOK_INTERVAL, 0, bytes_sent);
                let since = (self.now - began).as_millis();
                match hearing {
                    Hearing::Fine => {}
                    Hearing::Doubtful => drop(after[0].get_or_insert(since)),
                    Hearing::Silent => drop(after[1].get_or_insert(since)),
                }
            }
            after
        }
    }

    #[test]
    fn where_media_came_its_end_is_doubted_and_known_after_a_second() {
        assert_eq!(Watch::new(50, true).nothing_comes(0), [Some(500), Some(1000)]);
    }

    #[test]
    fn so_is_the_end_of_acknowledgements_where_media_is_sent() {
        assert_eq!(Watch::new(50, false).nothing_comes(1000), [Some(500), Some(1000)]);
        assert_eq!(Watch::new(50, false).nothing_comes(100), [Some(2500), Some(3000)]);
    }

    #[test]
    fn a_long_way_has_time_for_an_answer() {
        assert_eq!(Watch::new(600, true).nothing_comes(0), [Some(500), Some(1750)]);
    }

    #[test]
    fn a_silent_room_is_none_until_what_was_asked_has_no_answer() {
        let mut watch = Watch::new(50, false);
        assert_eq!(watch.nothing_comes(0), [None, None]);
        watch.silence.asked(watch.now);
        assert_eq!(watch.nothing_comes(0)[1], Some(500));
    }

    #[test]
    fn whatever_comes_ends_it() {
        let mut watch = Watch::new(50, true);
        watch.nothing_comes(0);
        assert_eq!(watch.look(LOOK_INTERVAL, 1, 0), Hearing::Fine);
        assert_eq!(watch.nothing_comes(0), [Some(500), Some(1000)]);
    }

    #[test]
    fn a_machine_that_slept_listens_before_it_judges() {
        let mut watch = Watch::new(50, true);
        watch.look(LOOK_INTERVAL, 0, 0);
        watch.look(LOOK_INTERVAL, 0, 0);
        for slept in [2, 3600] {
            assert_eq!(watch.look(Duration::from_secs(slept), 0, 0), Hearing::Fine);
            assert_eq!(watch.nothing_comes(0), [Some(500), Some(1000)]);
        }
    }
}

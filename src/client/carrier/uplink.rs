//! Whether packets still reach the relay, by what comes from it. Pure: what is looked at comes in.

use std::time::Duration;

/// How often it is made sure that packets reach the relay.
const PING_INTERVAL: Duration = Duration::from_secs(2);

/// How often it is looked whether they do.
pub const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// A ping that was not acknowledged for so long, or for two round trips, gives reason to doubt.
const DOUBT_TIME: Duration = Duration::from_millis(500);

/// Whoever is still heard so long after that does not hear what is sent. Relays say something every
/// [`KEEP_ALIVE_INTERVAL`](crate::limits::KEEP_ALIVE_INTERVAL): twice that time after the last packet that reached the relay it is
/// known.
const DEAF_TIME: Duration = Duration::from_millis(1500);

/// Bytes a second, below which next to nothing comes: less than relays send that have media to send and hear nothing.
const TRICKLE_RATE: f64 = 1000.0;

/// Bytes a second that usually come where there is media: less than a voice has.
const MEDIA_RATE: f64 = 4000.0;

/// Over how many looks in a row it is reckoned what is usual, the one with most left out: media is known after a second, and what comes at once
/// when a session begins, or is sent again after a pause, is none.
const STEADY_LOOKS: usize = 4;

/// Over how many looks that is forgotten: not while hardly anything comes for a minute.
const FALLING_LOOKS: f64 = 256.0;

/// What is known of the way to the relay.
#[derive(Debug)]
pub struct Uplink {
    last: Signs,
    acknowledged_at: Duration,
    pinged_at: Option<Duration>,
    /// Since when something is heard that acknowledges nothing, and how many bytes had come by then.
    deaf_since: Option<(Duration, u64)>,
    /// Bytes a second that came until the last looks.
    rates: [f64; STEADY_LOOKS],
    /// Bytes a second that usually come while there is no doubt.
    usual_rate: f64,
}

/// What a connection tells.
#[derive(Debug, Clone, Copy, Default)]
pub struct Signs {
    /// Every acknowledgement of something new measures it; old ones are sent again, so their number does not tell.
    pub round_trip: Duration,
    /// Packets that came.
    pub packets: u64,
    /// What they had, in bytes.
    pub bytes: u64,
    /// Bytes that were sent.
    pub bytes_sent: u64,
}

/// What a look says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// There is nothing to do.
    Fine,
    /// The relay is to be given something to acknowledge.
    Ping,
    /// The relay does not hear what is sent.
    Deaf,
}

impl Uplink {
    /// That of a connection which tells this at the beginning. On the one before it, so many bytes a second were usual.
    pub fn new(signs: Signs, usual_rate: f64) -> Self {
        let rates = [0.0; STEADY_LOOKS];
        Self { last: signs, acknowledged_at: Duration::ZERO, pinged_at: None, deaf_since: None, rates, usual_rate }
    }

    /// Bytes a second that usually come.
    pub fn usual_rate(&self) -> f64 {
        self.usual_rate
    }

    /// Whether media comes as a rule.
    pub fn is_media_usual(&self) -> bool {
        self.usual_rate >= MEDIA_RATE
    }

    /// Looks at the connection, every [`LOOK_INTERVAL`]; `now` counts from the beginning.
    pub fn look(&mut self, now: Duration, signs: Signs) -> Verdict {
        let last = std::mem::replace(&mut self.last, signs);
        if self.pinged_at.is_none() {
            self.note_rate((signs.bytes - last.bytes) as f64 / LOOK_INTERVAL.as_secs_f64());
        }
        if signs.round_trip != last.round_trip {
            (self.acknowledged_at, self.pinged_at, self.deaf_since) = (now, None, None);
        } else if signs.packets > last.packets
            && self.pinged_at.is_some_and(|at| now - at > DOUBT_TIME.max(2 * signs.round_trip))
        {
            self.deaf_since.get_or_insert((now, signs.bytes));
        }
        if self.is_deaf(now) {
            return Verdict::Deaf;
        }
        if self.pinged_at.is_none() && now - self.acknowledged_at < PING_INTERVAL {
            return Verdict::Fine;
        }
        self.pinged_at.get_or_insert(now);
        Verdict::Ping
    }

    fn note_rate(&mut self, rate: f64) {
        self.rates.rotate_left(1);
        self.rates[STEADY_LOOKS - 1] = rate;
        if rate < self.usual_rate {
            self.usual_rate += (rate - self.usual_rate) / FALLING_LOOKS;
        }
        let most = self.rates.into_iter().fold(0.0, f64::max);
        let steady = (self.rates.into_iter().sum::<f64>() - most) / (STEADY_LOOKS - 1) as f64;
        self.usual_rate = self.usual_rate.max(steady);
    }

    /// Where much less comes than usual, the way back is what has failed, and acknowledgements are lost or late like everything
    /// else on it.
    fn is_deaf(&self, now: Duration) -> bool {
        let Some((since, before)) = self.deaf_since.filter(|(since, _)| now - *since >= DEAF_TIME) else {
            return false;
        };
        let rate = (self.last.bytes - before) as f64 / (now - since).as_secs_f64();
        rate >= TRICKLE_RATE || !self.is_media_usual()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks for so long at a relay that says so much at each, and acknowledges or not: when the first verdict of a kind came.
    struct Watch {
        uplink: Uplink,
        now: Duration,
        signs: Signs,
    }

    impl Watch {
        fn new() -> Self {
            Self::after(0.0)
        }

        /// Where so much was usual on the connection before.
        fn after(usual_rate: f64) -> Self {
            let signs = Signs { round_trip: Duration::from_millis(50), ..Signs::default() };
            Self { uplink: Uplink::new(signs, usual_rate), now: Duration::ZERO, signs }
        }

        /// After how many seconds of these the relay is taken to be deaf.
        fn deaf_after(&mut self, seconds: u64, bytes: u64, acknowledges: bool) -> Option<f64> {
            let began = self.now;
            while self.now < began + Duration::from_secs(seconds) {
                self.now += LOOK_INTERVAL;
                self.signs.packets += u64::from(bytes > 0);
                self.signs.bytes += bytes;
                if acknowledges {
                    self.signs.round_trip += Duration::from_micros(1);
                }
                if self.uplink.look(self.now, self.signs) == Verdict::Deaf {
                    return Some((self.now - began).as_secs_f64());
                }
            }
            None
        }
    }

    #[test]
    fn a_relay_that_goes_on_and_acknowledges_nothing_is_deaf() {
        let mut watch = Watch::new();
        assert_eq!(watch.deaf_after(20, 25_000, true), None);
        let after = watch.deaf_after(20, 2000, false);
        assert!(after.is_some_and(|after| (3.5..5.0).contains(&after)), "{after:?}");
    }

    #[test]
    fn so_is_one_that_never_had_much_to_say() {
        let mut watch = Watch::new();
        assert_eq!(watch.deaf_after(20, 10, true), None);
        assert!(watch.deaf_after(20, 10, false).is_some_and(|after| after < 5.0));
    }

    #[test]
    fn one_of_which_hardly_anything_comes_any_more_may_hear_all() {
        let mut watch = Watch::new();
        watch.deaf_after(20, 25_000, true);
        for _ in 0..10 {
            assert_eq!(watch.deaf_after(3, 125, false), None);
            assert_eq!(watch.deaf_after(1, 125, true), None);
        }
        watch.deaf_after(1, 25_000, true);
        assert!(watch.deaf_after(20, 2000, false).is_some());
    }

    #[test]
    fn a_second_of_media_is_enough_to_miss_it() {
        let mut watch = Watch::new();
        assert_eq!(watch.deaf_after(1, 2500, true), None);
        assert_eq!(watch.deaf_after(30, 125, false), None);
    }

    #[test]
    fn what_comes_at_once_is_not_what_usually_comes() {
        let mut watch = Watch::new();
        watch.now += LOOK_INTERVAL;
        watch.signs.bytes += 25_000;
        watch.signs.packets += 1;
        watch.signs.round_trip += Duration::from_micros(1);
        assert_eq!(watch.uplink.look(watch.now, watch.signs), Verdict::Fine);
        assert_eq!(watch.deaf_after(2, 125, true), None);
        assert!(watch.deaf_after(30, 125, false).is_some_and(|after| after < 5.0));
    }

    #[test]
    fn a_connection_that_begins_where_hardly_anything_comes_misses_what_came_on_the_one_before() {
        let mut watch = Watch::new();
        watch.deaf_after(20, 25_000, true);
        let mut next = Watch::after(watch.uplink.usual_rate());
        assert_eq!(next.deaf_after(30, 125, false), None);
        assert!(Watch::new().deaf_after(30, 125, false).is_some(), "nothing is known before the first");
    }

    #[test]
    fn nothing_at_all_is_another_matter() {
        let mut watch = Watch::new();
        watch.deaf_after(20, 25_000, true);
        assert_eq!(watch.deaf_after(20, 0, false), None);
    }

    #[test]
    fn what_has_nothing_to_acknowledge_is_given_it() {
        let signs = Signs::default();
        let mut uplink = Uplink::new(signs, 0.0);
        let at = |milliseconds| Duration::from_millis(milliseconds);
        assert_eq!([1000, 1999, 2000, 2250].map(|now| uplink.look(at(now), signs)), {
            use Verdict::{Fine, Ping};
            [Fine, Fine, Ping, Ping]
        });
    }
}

use std::time::Duration;

/// How long the least round-trip time is believed: routes change.
const LEAST_RTT_AGE_MAX: Duration = Duration::from_secs(10);

/// The same while another flow keeps the queue full.
const LEAST_RTT_KEPT_MAX: Duration = Duration::from_secs(60);

/// What is looked at to find the queue that stands, and the shortest round: two frames of video, and twice what an
/// acknowledgement may be late (RFC 9000, section 18.2).
const STANDING_TIME: Duration = Duration::from_millis(50);

/// The least round-trip time of the last 10 to 20 seconds: that of the path without a queue, if it was ever empty.
#[derive(Debug, Clone, Copy, Default)]
pub struct LeastRtt {
    value: Option<Duration>,
    /// The least of the present period, which takes the place of `value` at its end.
    present: Option<Duration>,
    period_began: Duration,
}

/// The last 50 to 100 ms: the least round-trip time, which is that of the queue that stands, and how much arrived. A burst,
/// such as a large frame, makes a queue that comes and goes. A measurement that is alone in this time may be of a packet whose
/// acknowledgement was lost, and which a later one answered: then the one before it counts as well, however old.
#[derive(Debug, Clone, Copy, Default)]
pub struct Standing {
    began: Duration,
    present: Option<Duration>,
    before: Option<Duration>,
    last: Option<Duration>,
    present_bytes: u64,
    before_bytes: u64,
    before_time: Duration,
}

/// A round: from now until something that is sent from now on is acknowledged.
#[derive(Debug, Clone, Copy)]
pub struct Round {
    began: Duration,
    /// The most that was in flight.
    pub used_bytes: u64,
    /// The longest round-trip time: that of the end of a burst.
    pub longest_rtt: Duration,
    /// Acknowledged bytes.
    pub acked_bytes: u64,
    /// Bytes that were lost.
    pub lost_bytes: u64,
}

impl LeastRtt {
    /// Notes a measurement.
    ///
    /// While `is_kept`, the present value is not forgotten: another flow hides what it would be.
    pub fn note(&mut self, now: Duration, rtt: Duration, is_kept: bool) {
        let age_max = if is_kept { LEAST_RTT_KEPT_MAX } else { LEAST_RTT_AGE_MAX };
        if now.saturating_sub(self.period_began) >= age_max {
            self.value = self.present.take();
            self.period_began = now;
        }
        self.present = Some(self.present.map_or(rtt, |least| least.min(rtt)));
        self.value = Some(self.value.map_or(rtt, |least| least.min(rtt)));
    }

    /// The least, zero before the first measurement.
    pub fn get(&self) -> Duration {
        self.value.unwrap_or_default()
    }

    /// Whether the value will be forgotten within a second, and only longer ones were measured since.
    pub fn is_stale(&self, now: Duration, tolerance: Duration) -> bool {
        let soon = now.saturating_sub(self.period_began) + Duration::from_secs(1) >= LEAST_RTT_AGE_MAX;
        soon && self.present.is_some_and(|present| present > self.get() + tolerance)
    }
}

impl Standing {
    /// Notes a measurement and what arrived with it, and gives the least.
    pub fn note(&mut self, now: Duration, rtt: Duration, bytes: u64) -> Duration {
        let age = now.saturating_sub(self.began);
        if age >= STANDING_TIME {
            self.before = self.present.take().filter(|_| age < STANDING_TIME * 2);
            (self.before_bytes, self.before_time) = (self.present_bytes, age);
            (self.began, self.present_bytes) = (now, 0);
        }
        self.present_bytes += bytes;
        let last = self.last.replace(rtt).filter(|_| self.present.or(self.before).is_none());
        let present = self.present.map_or(rtt, |least| least.min(rtt));
        self.present = Some(present);
        self.before.or(last).map_or(present, |before| before.min(present))
    }

    /// The last that was noted was no longer than this.
    pub fn amend(&mut self, rtt: Duration) {
        self.last = self.last.map(|last| last.min(rtt));
        self.present = self.present.map(|least| least.min(rtt));
    }

    /// Bytes a second that arrived.
    pub fn rate(&self) -> f64 {
        self.before_bytes as f64 / self.before_time.max(STANDING_TIME).as_secs_f64()
    }
}

impl Round {
    /// One that begins with so many bytes in flight.
    pub fn new(now: Duration, in_flight: u64) -> Self {
        let longest_rtt = Duration::ZERO;
        Self { began: now, used_bytes: in_flight, longest_rtt, acked_bytes: 0, lost_bytes: 0 }
    }

    /// Notes a round trip that was measured then, unless that ended the round before.
    pub fn note_longest(&mut self, at: Duration, rtt: Duration) {
        if at > self.began {
            self.longest_rtt = self.longest_rtt.max(rtt);
        }
    }

    /// Whether it is over with the acknowledgement of what was sent then.
    pub fn is_over(&self, now: Duration, sent: Duration) -> bool {
        sent >= self.began && now.saturating_sub(self.began) >= STANDING_TIME
    }

    /// Bytes a second that left the flight, whether they arrived or not.
    pub fn rate(&self, now: Duration) -> f64 {
        let seconds = now.saturating_sub(self.began).max(Duration::from_millis(1)).as_secs_f64();
        (self.acked_bytes + self.lost_bytes) as f64 / seconds
    }

    /// The share of bytes that were lost.
    pub fn loss_share(&self) -> f64 {
        self.lost_bytes as f64 / (self.acked_bytes + self.lost_bytes).max(1) as f64
    }
}

use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, Instant};

use quinn::congestion::{Controller, ControllerFactory, ControllerMetrics};
use quinn_proto::RttEstimator;

/// How long nothing has to be acknowledged until packets leave beyond the window, and again after that.
pub const PROBE_INTERVAL: Duration = Duration::from_millis(250);

/// What may leave then, in packets: with one of them, two at least, since quinn keeps room for a whole one.
const PROBE_PACKETS: u64 = 3;

/// Packets with so many bytes at most are taken for acknowledgements, which are not in flight.
const ACKNOWLEDGEMENT_BYTES_MAX: u64 = 64;

/// A smoothed round trip above this, and four times as long as the last one that was measured, is that of before.
const STALE_RTT: Duration = Duration::from_millis(500);
const STALE_FACTOR: u32 = 4;

/// What the window is then stretched to at most, in bytes: 170 kbit/s at three seconds.
const STRETCHED_BYTES_MAX: u64 = 64 * 1024;

/// For so many bytes that have arrived, one may leave beyond the window: a voice's 76 kbit/s where 300 pass.
pub const VOICE_SHARE: u64 = 4;

/// What may leave so at once, in bytes: a quarter of a second of a voice.
pub const VOICE_BYTES_MAX: i64 = 2400;

/// Makes [`Probing`]s.
pub struct ProbingFactory {
    /// Makes what is in them.
    pub inner: Arc<dyn ControllerFactory + Send + Sync>,
}

impl ControllerFactory for ProbingFactory {
    fn build(self: Arc<Self>, now: Instant, current_mtu: u16) -> Box<dyn Controller> {
        let inner = self.inner.clone().build(now, current_mtu);
        Box::new(Probing::new(inner, current_mtu))
    }
}

/// Another controller, beyond whose window a few packets leave while nothing is acknowledged.
///
/// A path that takes nothing leaves the window full of packets that never arrive. quinn sends two more when its probe timeout
/// is over, which doubles each time and is some round trips long (RFC 9002, section 6.2): where the last ones that came had waited in
/// a queue for seconds, a path that is back stays unused for ten. Here two leave every 250 ms, as much as a voice sends. They are
/// new ones, so that the first acknowledgement tells that those before them are lost, which makes room in the window.
///
/// A window that is full keeps a voice waiting, although it takes so little that the queue drains as well with it: after bandwidth has
/// fallen, for as long as the packets of before stand in the queue. So while acknowledgements come, a part of what they say has
/// arrived may leave beyond the window. What it is used for decides who hands packets to quinn.
///
/// quinn paces by the window and the smoothed round trip. That has seconds when such a path is back, and forgets an eighth of them
/// with each acknowledgement, of which there are few at such a pace. So the window is larger then by as much as it is too long.
pub struct Probing {
    inner: Box<dyn Controller>,
    packet_bytes: u64,
    /// In bytes, as far as controllers are told of it.
    in_flight: u64,
    least_rtt: Duration,
    smoothed_rtt: Duration,
    latest_rtt: Duration,
    /// When the newest packet was sent of those that were just acknowledged.
    newest_sent: Option<Instant>,
    /// Since when nothing was acknowledged of what is in flight, or since the last probe.
    silent_since: Option<Instant>,
    /// What may leave beyond the window, in bytes; less than nothing after a packet that was larger.
    voice_bytes: i64,
}

impl Probing {
    fn new(inner: Box<dyn Controller>, mtu: u16) -> Self {
        Self {
            inner,
            packet_bytes: mtu.into(),
            in_flight: 0,
            least_rtt: Duration::ZERO,
            smoothed_rtt: Duration::ZERO,
            latest_rtt: Duration::ZERO,
            newest_sent: None,
            silent_since: None,
            voice_bytes: 0,
        }
    }

    /// What is in flight, in bytes.
    pub fn in_flight(&self) -> u64 {
        self.in_flight
    }

    /// What decides otherwise.
    pub fn into_inner(self) -> Box<dyn Controller> {
        self.inner
    }

    /// What may be in flight, if it is so late.
    fn window_at(&self, now: impl FnOnce() -> Instant) -> u64 {
        let window = self.stretched(self.inner.window());
        let with_voice = self.in_flight + self.packet_bytes + 1;
        let window = if self.voice_bytes > 0 { window.max(with_voice) } else { window };
        let with_probe = self.in_flight + PROBE_PACKETS * self.packet_bytes;
        // The time is asked for only if it matters.
        if with_probe > window && self.is_probe_due(now()) { with_probe } else { window }
    }

    /// The window with which quinn's pace is right although its round trip is that of before.
    fn stretched(&self, window: u64) -> u64 {
        if self.smoothed_rtt < STALE_RTT.max(self.latest_rtt * STALE_FACTOR) {
            return window;
        }
        let [smoothed, latest] = [self.smoothed_rtt, self.latest_rtt].map(|rtt| rtt.as_micros().max(1000) as u64);
        window.max((window.saturating_mul(smoothed) / latest).min(STRETCHED_BYTES_MAX))
    }

    /// So much has arrived, and a part of it may leave beyond the window.
    fn arrived(&mut self, bytes: u64) {
        self.voice_bytes = (self.voice_bytes + (bytes / VOICE_SHARE) as i64).min(VOICE_BYTES_MAX);
    }

    /// Acknowledgements cannot come sooner than a round trip.
    fn is_probe_due(&self, now: Instant) -> bool {
        let interval = PROBE_INTERVAL.max(self.least_rtt * 2);
        self.silent_since.is_some_and(|since| now.saturating_duration_since(since) >= interval)
    }
}

impl Controller for Probing {
    fn on_sent(&mut self, now: Instant, bytes: u64, last_packet_number: u64) {
        self.inner.on_sent(now, bytes, last_packet_number);
        if bytes <= ACKNOWLEDGEMENT_BYTES_MAX {
            return;
        }
        if self.silent_since.is_none() || self.is_probe_due(now) {
            self.silent_since = Some(now);
        }
        let is_beyond = self.in_flight + self.packet_bytes >= self.stretched(self.inner.window());
        self.in_flight += bytes;
        if is_beyond {
            self.voice_bytes = (self.voice_bytes - bytes as i64).max(-VOICE_BYTES_MAX);
        }
    }

    fn on_ack(&mut self, now: Instant, sent: Instant, bytes: u64, app_limited: bool, rtt: &RttEstimator) {
        self.inner.on_ack(now, sent, bytes, app_limited, rtt);
        self.arrived(bytes);
        self.least_rtt = rtt.min();
        self.smoothed_rtt = rtt.get();
        self.newest_sent = self.newest_sent.max(Some(sent));
    }

    fn on_end_acks(&mut self, now: Instant, in_flight: u64, app_limited: bool, largest_packet_num_acked: Option<u64>) {
        self.inner.on_end_acks(now, in_flight, app_limited, largest_packet_num_acked);
        self.in_flight = in_flight;
        if let Some(sent) = self.newest_sent.take() {
            self.latest_rtt = now.saturating_duration_since(sent);
        }
        self.silent_since = (in_flight > 0).then_some(now);
    }

    fn on_congestion_event(&mut self, now: Instant, sent: Instant, is_persistent_congestion: bool, lost_bytes: u64) {
        self.inner.on_congestion_event(now, sent, is_persistent_congestion, lost_bytes);
        self.in_flight = self.in_flight.saturating_sub(lost_bytes);
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.inner.on_mtu_update(new_mtu);
        self.packet_bytes = new_mtu.into();
    }

    fn window(&self) -> u64 {
        self.window_at(Instant::now)
    }

    fn metrics(&self) -> ControllerMetrics {
        self.inner.metrics()
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(Self { inner: self.inner.clone_box(), ..*self })
    }

    fn initial_window(&self) -> u64 {
        self.inner.initial_window()
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::INITIAL_WINDOW_BYTES;
    use crate::transport::Congestion;

    const MTU: u16 = 1200;
    const PACKET: u64 = MTU as u64;

    /// A window that is full since then.
    fn full(control: Congestion) -> (Box<dyn Controller>, Probing, Instant) {
        let now = Instant::now();
        let mut probing = Probing::new(control.inner_factory().build(now, MTU), MTU);
        probing.on_sent(now, INITIAL_WINDOW_BYTES, 20);
        (control.inner_factory().build(now, MTU), probing, now)
    }

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn packets_leave_beyond_every_window_while_nothing_is_acknowledged() {
        for control in Congestion::ALL {
            let (alone, mut probing, began) = full(control);
            let mut sent = INITIAL_WINDOW_BYTES;
            for probe in 1..=20 {
                let due = began + PROBE_INTERVAL * probe;
                assert_eq!(probing.window_at(|| due - ms(1)), alone.window(), "{control:?}");
                assert_eq!(probing.window_at(|| due), sent + PROBE_PACKETS * PACKET, "{control:?}");
                probing.on_sent(due, 2 * PACKET, 0);
                sent += 2 * PACKET;
                assert_eq!(probing.window_at(|| due), alone.window(), "{control:?}: that was it");
            }
        }
    }

    #[test]
    fn none_leave_while_there_is_no_silence() {
        let (alone, mut probing, began) = full(Congestion::Tertulia);
        for step in 1..20 {
            let now = began + ms(step * 100);
            assert_eq!(probing.window_at(|| now), alone.window(), "something was acknowledged lately");
            probing.on_end_acks(now, INITIAL_WINDOW_BYTES, false, None);
        }
        probing.on_end_acks(began + ms(2000), 0, false, None);
        let now = began + ms(10_000);
        assert_eq!(probing.window_at(|| now), alone.window(), "nothing is to be acknowledged");
        probing.on_sent(now, PACKET, 21);
        assert_eq!(probing.window_at(|| now + PROBE_INTERVAL), alone.window(), "there is room for a probe");
    }

    #[test]
    fn a_voice_passes_a_full_window_while_acknowledgements_come() {
        let (_, mut probing, began) = full(Congestion::Tertulia);
        let window = probing.inner.window();
        assert_eq!(probing.window_at(|| began), window, "nothing has arrived");
        let mut passed = 0;
        for step in 1..=50 {
            let now = began + ms(step * 20);
            // 62 kB/s arrive, and as many were on their way behind them.
            probing.arrived(1250);
            probing.in_flight = probing.inner.window() + 20_000;
            if probing.window_at(|| now) > probing.in_flight + PACKET {
                probing.on_sent(now, 190, step);
                passed += 190;
            }
        }
        assert_eq!(passed, 50 * 190, "a packet of a voice every 20 ms");
        while probing.window_at(|| began) > probing.in_flight + PACKET {
            probing.on_sent(began, PACKET, 100);
            passed += PACKET;
        }
        assert!(passed <= 50 * 1250 / VOICE_SHARE + PACKET, "{passed}: a quarter of what has arrived");
        probing.voice_bytes = VOICE_BYTES_MAX;
        probing.in_flight = 0;
        probing.on_sent(began, PACKET, 101);
        assert_eq!(probing.voice_bytes, VOICE_BYTES_MAX, "what fits into the window costs nothing");
    }

    #[test]
    fn acknowledgements_that_are_sent_are_none_and_losses_make_room() {
        let (alone, mut probing, began) = full(Congestion::Bbr);
        let due = began + PROBE_INTERVAL;
        probing.on_sent(due, ACKNOWLEDGEMENT_BYTES_MAX, 22);
        assert_eq!(probing.window_at(|| due), INITIAL_WINDOW_BYTES + PROBE_PACKETS * PACKET);
        probing.on_congestion_event(due, began, false, INITIAL_WINDOW_BYTES / 2);
        assert_eq!(
            probing.window_at(|| due),
            probing.inner.window().max(INITIAL_WINDOW_BYTES / 2 + PROBE_PACKETS * PACKET)
        );
        assert!(probing.window_at(|| due) <= alone.window());
    }

    #[test]
    fn a_round_trip_of_before_slows_nothing_down() {
        let (_, mut probing, now) = full(Congestion::Tertulia);
        let window = 3 * PACKET;
        for (smoothed, latest, stretched) in [
            (30, 30, window),
            (400, 20, window),
            (3000, 1000, window),
            (600, 100, 6 * window),
            (3000, 20, STRETCHED_BYTES_MAX),
        ] {
            (probing.smoothed_rtt, probing.newest_sent) = (ms(smoothed), Some(now));
            probing.on_end_acks(now + ms(latest), 0, false, None);
            assert_eq!(probing.stretched(window), stretched, "{smoothed} ms, {latest} ms");
            assert_eq!(probing.stretched(STRETCHED_BYTES_MAX * 2), STRETCHED_BYTES_MAX * 2);
        }
    }

    #[test]
    fn a_long_round_trip_is_no_silence() {
        let (alone, mut probing, began) = full(Congestion::Cubic);
        probing.least_rtt = ms(600);
        assert_eq!(probing.window_at(|| began + ms(1199)), alone.window());
        assert!(probing.window_at(|| began + ms(1200)) > alone.window());
    }
}

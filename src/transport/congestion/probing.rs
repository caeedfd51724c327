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
pub struct Probing {
    inner: Box<dyn Controller>,
    packet_bytes: u64,
    /// In bytes, as far as controllers are told of it.
    in_flight: u64,
    least_rtt: Duration,
    /// Since when nothing was acknowledged of what is in flight, or since the last probe.
    silent_since: Option<Instant>,
}

impl Probing {
    fn new(inner: Box<dyn Controller>, mtu: u16) -> Self {
        Self { inner, packet_bytes: mtu.into(), in_flight: 0, least_rtt: Duration::ZERO, silent_since: None }
    }

    /// What may be in flight, if it is so late.
    fn window_at(&self, now: impl FnOnce() -> Instant) -> u64 {
        let window = self.inner.window();
        let with_probe = self.in_flight + PROBE_PACKETS * self.packet_bytes;
        // The time is asked for only if it matters.
        if with_probe > window && self.is_probe_due(now()) { with_probe } else { window }
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
        self.in_flight += bytes;
    }

    fn on_ack(&mut self, now: Instant, sent: Instant, bytes: u64, app_limited: bool, rtt: &RttEstimator) {
        self.inner.on_ack(now, sent, bytes, app_limited, rtt);
        self.least_rtt = rtt.min();
    }

    fn on_end_acks(&mut self, now: Instant, in_flight: u64, app_limited: bool, largest_packet_num_acked: Option<u64>) {
        self.inner.on_end_acks(now, in_flight, app_limited, largest_packet_num_acked);
        self.in_flight = in_flight;
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
    fn a_long_round_trip_is_no_silence() {
        let (alone, mut probing, began) = full(Congestion::Cubic);
        probing.least_rtt = ms(600);
        assert_eq!(probing.window_at(|| began + ms(1199)), alone.window());
        assert!(probing.window_at(|| began + ms(1200)) > alone.window());
    }
}

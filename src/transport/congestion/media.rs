use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, Instant};

use quinn::congestion::{Controller, ControllerFactory, ControllerMetrics};
use quinn_proto::RttEstimator;

use super::window::Window;

/// Makes [`Media`]s.
#[derive(Debug, Clone, Copy)]
pub struct MediaFactory {
    /// The first window, in bytes.
    pub initial_window_bytes: u64,
}

impl ControllerFactory for MediaFactory {
    fn build(self: Arc<Self>, now: Instant, current_mtu: u16) -> Box<dyn Controller> {
        let window = Window::new(self.initial_window_bytes, current_mtu.into());
        Box::new(Media { start: now, initial_window_bytes: self.initial_window_bytes, window })
    }
}

/// Tertulia's control: a window that pure rules move, with a clock.
///
/// Its [`metrics`](Controller::metrics) tell what the path is taken to carry, as pacing rate.
#[derive(Debug, Clone)]
pub struct Media {
    start: Instant,
    initial_window_bytes: u64,
    window: Window,
}

impl Media {
    fn since_start(&self, at: Instant) -> Duration {
        at.saturating_duration_since(self.start)
    }
}

impl Controller for Media {
    fn on_sent(&mut self, _now: Instant, bytes: u64, _last_packet_number: u64) {
        self.window.sent(bytes);
    }

    fn on_ack(&mut self, _now: Instant, sent: Instant, bytes: u64, _app_limited: bool, _rtt: &RttEstimator) {
        self.window.acked(self.since_start(sent), bytes);
    }

    fn on_end_acks(&mut self, now: Instant, in_flight: u64, _app_limited: bool, _largest: Option<u64>) {
        self.window.acked_all(self.since_start(now), in_flight);
    }

    fn on_congestion_event(&mut self, _now: Instant, _sent: Instant, is_persistent_congestion: bool, lost_bytes: u64) {
        match lost_bytes {
            // It is a mark (ECN).
            0 => self.window.marked(),
            _ => self.window.lost(lost_bytes),
        }
        if is_persistent_congestion {
            self.window.interrupted();
        }
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.window.set_packet_bytes(new_mtu.into());
    }

    fn window(&self) -> u64 {
        self.window.bytes()
    }

    fn metrics(&self) -> ControllerMetrics {
        let mut metrics = ControllerMetrics::default();
        metrics.congestion_window = self.window.bytes();
        metrics.pacing_rate = self.window.rate().map(|bytes| bytes * 8);
        metrics
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(self.clone())
    }

    fn initial_window(&self) -> u64 {
        self.initial_window_bytes
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

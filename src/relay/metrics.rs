mod spread;
mod waits;

use std::fmt::Write;
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Metric, Registry};

pub(super) use spread::Spread;
use waits::Waits;

use super::samples::Samples;
use crate::media::{Class, LeftOut};
use crate::room::PassedOver;
use crate::transport::{Carrier, Refusal};
use crate::wire::{CloseReason, DropReason, RefuseReason};

type Labels = [(&'static str, &'static str); 1];
type Counters = Family<Labels, Counter>;

/// What the relay counts. Every label has a fixed set of values, so the number of series is fixed.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Rooms with someone in them.
    pub(super) rooms: Gauge,
    /// Participants by carrier, in the order of [`Carrier::ALL`].
    participants: Vec<Gauge>,
    /// Sessions that ended, in the order of [`CloseReason::ALL`].
    closed: Vec<Counter>,
    /// Datagrams not forwarded, in the order of [`DropReason::ALL`].
    dropped: Vec<Counter>,
    /// Media frames left out for a subscriber, by the number of their class.
    left_out: Vec<Counter>,
    /// Those of which a part had left.
    frames_cut: Counter,
    /// How long media that had to wait and was sent did so.
    media_wait: Waits,
    /// Connections and sessions turned away at the gate, in the order of [`Refusal::ALL`].
    refused: Vec<Counter>,
    /// Requests and chat messages that were refused, in the order of [`RefuseReason::ALL`].
    requests_refused: Vec<Counter>,
    /// What was sent too fast and has no answer, in the order of [`PassedOver::ALL`].
    passed_over: [Counter; PassedOver::ALL.len()],
    /// Streams with chat or media that the relay stopped because a message came too slowly, and streams on which nothing came.
    streams_stopped: [Counter; 2],
    /// Times that a plain WebSocket client was not read on for a while, because it said more than chat takes.
    pub(super) plain_waits: Counter,
    /// Whether memory is short, so that nobody new comes in.
    pub(super) memory_short: Gauge,
    /// UDP packets that the kernel dropped because they were not read fast enough.
    pub(super) udp_dropped: Counter,
    /// Media datagrams that arrived.
    pub(super) datagrams_received: Counter<u64, Spread>,
    /// Media datagrams that were passed to a subscriber's connection.
    pub(super) datagrams_sent: Counter<u64, Spread>,
    /// Media datagrams that waited for others to share a packet with.
    pub(super) datagrams_gathered: Counter,
    /// Times that a new subscriber of a video got a recent picture at once, and times that a keyframe had to be made.
    pictures: [Counter; 2],
    pub(super) samples: Samples,
    /// Streams with media that came: most carry one large frame.
    pub(super) media_streams_received: Counter,
    /// Streams with a large frame that were opened to subscribers.
    pub(super) media_streams_sent: Counter,
    /// Media datagrams that subscribers asked for and that were there to be sent once more.
    pub(super) datagrams_repeated: Counter,
    /// Requests to publishers for datagrams once more.
    pub(super) repeats_requested: Counter,
    /// Chat messages that were kept.
    pub(super) chat_messages: Counter,
    /// Times that chat could not be kept.
    pub(super) chat_failures: Counter,
    pub(super) chat_fell_behind: Counter,
    /// Kept messages that were found to be damaged.
    pub(super) chat_lost: Counter,
    /// Handshakes that were asked to prove their address.
    pub(super) handshakes_retried: Counter,
    /// Handshakes that were passed over.
    pub(super) handshakes_ignored: Counter,
    /// Connections of which no session came.
    pub(super) sessions_failed: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("tertulia");
        let all = &mut registry;
        let participants: Family<Labels, Gauge> = register(all, "participants", "Participants by carrier");
        let closed: Counters = register(all, "sessions_closed", "Sessions that ended, by reason");
        let dropped: Counters = register(all, "datagrams_dropped", "Media datagrams not forwarded, by reason");
        let left_out: Counters = register(all, "frames_left_out", "Media frames left out for a subscriber, by class");
        let refused: Counters = register(all, "refused", "Connections and sessions turned away, by reason");
        let requests_refused: Counters = register(all, "requests_refused", "Requests and messages refused, by reason");
        let passed_over: Counters = register(all, "passed_over", "Messages without an answer that came too fast");
        let streams_stopped: Counters = register(all, "streams_stopped", "Streams that the relay stopped, by reason");
        let pictures: Counters = register(all, "pictures", "New subscribers of a video, by what they begin with");
        let media_wait = Waits::default();
        let help = "How long media waited for a subscriber's path until it was sent, by class";
        all.register("media_wait_seconds", help, media_wait.clone());
        let samples = Samples::register(all);
        let of = |labels: &[&'static str], key| -> Vec<Labels> { labels.iter().map(|label| [(key, *label)]).collect() };
        let carriers = of(&Carrier::ALL.map(Carrier::label), "carrier");
        let closes = of(&CloseReason::ALL.iter().map(|reason| reason.label()).collect::<Vec<_>>(), "reason");
        let drops = of(&DropReason::ALL.iter().map(|reason| reason.label()).collect::<Vec<_>>(), "reason");
        let classes = of(&Class::LABELS, "class");
        let requests = of(&RefuseReason::ALL.iter().map(|reason| reason.label()).collect::<Vec<_>>(), "reason");
        let refusals = of(&Refusal::ALL.map(Refusal::label), "reason");
        Self {
            participants: carriers.iter().map(|labels| participants.get_or_create_owned(labels)).collect(),
            closed: closes.iter().map(|labels| closed.get_or_create_owned(labels)).collect(),
            dropped: drops.iter().map(|labels| dropped.get_or_create_owned(labels)).collect(),
            left_out: classes.iter().map(|labels| left_out.get_or_create_owned(labels)).collect(),
            media_wait,
            frames_cut: register(all, "frames_cut", "Media frames of which a subscriber was sent a part only"),
            refused: refusals.iter().map(|labels| refused.get_or_create_owned(labels)).collect(),
            requests_refused: requests.iter().map(|labels| requests_refused.get_or_create_owned(labels)).collect(),
            passed_over: PassedOver::ALL.map(|what| passed_over.get_or_create_owned(&[("kind", what.label())])),
            streams_stopped: ["slow", "silent"].map(|why| streams_stopped.get_or_create_owned(&[("reason", why)])),
            plain_waits: register(all, "plain_waits", "Times that a plain client had to wait before it was read on"),
            pictures: ["recent", "keyframe"].map(|begin| pictures.get_or_create_owned(&[("begin", begin)])),
            samples,
            memory_short: register(all, "memory_short", "Whether nobody new comes in because memory is short"),
            udp_dropped: register(all, "udp_dropped", "UDP packets that the kernel dropped, not read in time"),
            datagrams_gathered: register(all, "datagrams_gathered", "Media datagrams that waited for others"),
            rooms: register(all, "rooms", "Rooms with someone in them"),
            datagrams_received: register(all, "datagrams_received", "Media datagrams that arrived"),
            datagrams_sent: register(all, "datagrams_sent", "Media datagrams passed to a subscriber's connection"),
            media_streams_received: register(all, "media_streams_received", "Streams with media that came"),
            media_streams_sent: register(all, "media_streams_sent", "Streams with media opened to subscribers"),
            datagrams_repeated: register(all, "datagrams_repeated", "Media datagrams sent once more to subscribers"),
            repeats_requested: register(all, "repeats_requested", "Requests to publishers for media once more"),
            chat_messages: register(all, "chat_messages", "Chat messages that were kept"),
            chat_failures: register(all, "chat_failures", "Times that chat could not be kept"),
            chat_fell_behind: register(
                all,
                "chat_fell_behind",
                "Times that a participant took chat more slowly than it came",
            ),
            chat_lost: register(all, "chat_lost", "Kept messages that were found to be damaged"),
            handshakes_retried: register(all, "handshakes_retried", "Handshakes asked to prove their address"),
            handshakes_ignored: register(all, "handshakes_ignored", "Handshakes that were passed over"),
            sessions_failed: register(all, "sessions_failed", "Connections of which no session came"),
            registry,
        }
    }
}

fn register<M: Metric + Clone + Default>(registry: &mut Registry, name: &str, help: &str) -> M {
    let metric = M::default();
    registry.register(name, help, metric.clone());
    metric
}

impl Metrics {
    /// All of it, as Prometheus reads it.
    pub fn text(&self) -> String {
        let mut text = String::new();
        if encode(&mut text, &self.registry).is_err() {
            // Writing into a string fails only if a value cannot be written, and ours are numbers.
            text.clear();
            let _ = writeln!(text, "# the metrics could not be written");
        }
        text
    }

    /// How many datagrams were not forwarded for this reason.
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.dropped[usize::from(reason.code())].get()
    }

    /// How many media datagrams waited for others to share a packet with.
    pub fn datagrams_gathered(&self) -> u64 {
        self.datagrams_gathered.get()
    }

    /// How many media frames of a class were left out, for all subscribers together.
    pub fn frames_left_out(&self, class: Class) -> u64 {
        self.left_out[class.number()].get()
    }

    /// How many media frames a subscriber was sent a part of only.
    pub fn frames_cut(&self) -> u64 {
        self.frames_cut.get()
    }

    /// How many sessions ended for this reason.
    pub fn closed(&self, reason: CloseReason) -> u64 {
        self.closed[usize::from(reason.code())].get()
    }

    /// How many connections and sessions were turned away at the gate for this reason.
    pub fn refused(&self, reason: Refusal) -> u64 {
        self.refused[reason as usize].get()
    }

    /// How many requests and chat messages were refused for this reason.
    pub fn requests_refused(&self, reason: RefuseReason) -> u64 {
        self.requests_refused[usize::from(reason.code())].get()
    }

    /// How many QUIC handshakes were asked to prove their address.
    pub fn handshakes_retried(&self) -> u64 {
        self.handshakes_retried.get()
    }

    /// How many QUIC connections there were of which no session came.
    pub fn sessions_failed(&self) -> u64 {
        self.sessions_failed.get()
    }

    /// How many participants there are on this carrier.
    pub fn participants(&self, carrier: Carrier) -> i64 {
        self.participants[carrier as usize].get()
    }

    /// How many new subscribers of a video got a recent picture at once.
    pub fn pictures_recent(&self) -> u64 {
        self.pictures[0].get()
    }

    pub(super) fn note_picture(&self, is_recent: bool) {
        self.pictures[usize::from(!is_recent)].inc();
    }

    pub(super) fn drop_datagrams(&self, reason: DropReason, count: u64) {
        self.dropped[usize::from(reason.code())].inc_by(count);
    }

    pub(super) fn leave_out_frames(&self, left_out: &LeftOut) {
        if left_out.is_nothing() {
            return;
        }
        self.frames_cut.inc_by(left_out.cut());
        for (counter, count) in self.left_out.iter().zip(left_out.frames()) {
            counter.inc_by(count);
        }
    }

    pub(super) fn media_waited(&self, class: Class, time: Duration) {
        self.media_wait.observe(class, time);
    }

    pub(crate) fn refuse(&self, reason: Refusal) {
        self.refused[reason as usize].inc();
    }

    pub(super) fn refuse_request(&self, reason: RefuseReason) {
        self.requests_refused[usize::from(reason.code())].inc();
    }

    pub(super) fn stop_slow_stream(&self) {
        self.streams_stopped[0].inc();
    }

    pub(super) fn stop_silent_stream(&self) {
        self.streams_stopped[1].inc();
    }

    pub(super) fn pass_over(&self, what: PassedOver) {
        self.passed_over[what as usize].inc();
    }

    pub(super) fn session_closed(&self, reason: CloseReason) {
        self.closed[usize::from(reason.code())].inc();
    }

    pub(super) fn participant_joined(&self, carrier: Carrier) {
        self.participants[carrier as usize].inc();
    }

    pub(super) fn participant_left(&self, carrier: Carrier) {
        self.participants[carrier as usize].dec();
    }
}

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::sleep;

use super::Carrier;
use super::chat::{Answer, Inbox, Outbox, Words};
use super::event::{Ending, Event, RequestError};
use super::options::{Options, Reconnect};
use super::publication::Publications;
use super::queue::Queue;
use super::receive::{Due, Receive};
use super::roster::Roster;
use super::session::Session;
use crate::now::Now;
use crate::wire::{
    ChatPosition, ClientMessage, CloseReason, Datagram, ParticipantId, StreamKind, TrackId, TrackInfo, TrackReport,
    Welcome, encode,
};

/// Events that wait to be taken.
const EVENTS_MAX: usize = 16_384;

/// The same in bytes.
const EVENT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Chat messages of one's own that wait for their answers; who wants to say more waits for a place. With the longest
/// messages these are 8 MiB.
const OUTBOX_MESSAGES_MAX: usize = 256;

/// Tracks that one report is about: what fits a message of 64 KiB even if every number is large.
const REPORT_TRACKS_MAX: usize = 2000;

/// What outlives the sessions of a room: what is known of it, what was published and subscribed, what was said and heard,
/// and who waits for what. All handles of a room share it.
///
/// Where several locks are held, they are taken in this order: state, events, receive.
#[derive(Debug)]
pub(super) struct Seat {
    pub events: Queue<Event>,
    /// Places in the outbox.
    pub chat_places: Arc<Semaphore>,
    /// Whoever has it is the next to get a place: wherever the others run, they speak in the order in which they came.
    pub chat_turn: tokio::sync::Mutex<()>,
    /// Tells the session's sender that it should look into the outbox.
    pub chat_changed: watch::Sender<()>,
    presence: watch::Sender<Presence>,
    state: Mutex<State>,
    receive: Mutex<Receive>,
    receive_changed: Notify,
    reconnect: Reconnect,
    /// Whether what is lost is repaired.
    pub repair: bool,
    is_leaving: AtomicBool,
    /// Bytes a second that usually come over QUIC: what one session has learnt, the next one knows.
    usual_rate: AtomicU64,
    started: Instant,
}

/// Whether there is a session. Changes only while the state is locked.
#[derive(Debug, Clone)]
pub(super) enum Presence {
    Away,
    Here(Arc<Session>),
    Closed(Ending),
}

#[derive(Debug, Default)]
pub(super) struct State {
    /// The last seat that the relay gave; there is one before anyone has a handle.
    pub welcome: Option<Arc<Welcome>>,
    /// By what the last session travelled.
    pub carrier: Option<Carrier>,
    pub participants: Roster,
    pub locked: bool,
    pub auto_subscribe: bool,
    /// Whose cameras everyone is sent; `None`: everybody's.
    pub on_stage: Option<Vec<ParticipantId>>,
    pub publications: Publications,
    pub inbox: Inbox,
    pub outbox: Outbox,
    /// Whether the relay asked to wait with what is said.
    pub hasty: bool,
    /// Whether the history that was asked for has not come yet, by whichever session.
    pub awaits_history: bool,
}

impl State {
    /// What a track of someone else carries.
    pub fn track(&self, track: TrackId) -> Option<(ParticipantId, &TrackInfo)> {
        let mut all = self.participants.values().flat_map(|info| info.tracks.iter().map(|its| (info.participant, its)));
        all.find(|(_, its)| its.track == track).map(|(participant, its)| (participant, &its.info))
    }

    /// What the next session asks for: what came after the last message, or what the first session was told to ask for.
    pub fn chat_after(&self, history: Option<ChatPosition>) -> Option<ChatPosition> {
        self.inbox.position().or(history)
    }
}

impl Seat {
    pub fn new(options: &Options) -> Arc<Self> {
        let Options { auto_subscribe, reconnect, repair, ref history, .. } = *options;
        let awaits_history = history.is_some();
        Arc::new(Self {
            events: Queue::new(EVENTS_MAX, EVENT_BYTES_MAX),
            chat_places: Arc::new(Semaphore::new(OUTBOX_MESSAGES_MAX)),
            chat_turn: tokio::sync::Mutex::default(),
            chat_changed: watch::Sender::new(()),
            presence: watch::Sender::new(Presence::Away),
            state: Mutex::new(State { auto_subscribe, awaits_history, ..State::default() }),
            receive: Mutex::default(),
            receive_changed: Notify::new(),
            reconnect,
            repair,
            is_leaving: AtomicBool::new(false),
            usual_rate: AtomicU64::new(0),
            started: Instant::now(),
        })
    }

    pub fn now(&self) -> Now {
        let unix_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
        Now { since_start: self.started.elapsed(), unix_ms }
    }

    /// Bytes a second that usually come over QUIC, as far as a session has noted it.
    pub fn usual_rate(&self) -> f64 {
        self.usual_rate.load(Ordering::Relaxed) as f64
    }

    pub fn note_usual_rate(&self, bytes_per_second: f64) {
        self.usual_rate.store(bytes_per_second as u64, Ordering::Relaxed);
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds the state")
    }

    pub fn receive_state(&self) -> MutexGuard<'_, Receive> {
        self.receive.lock().expect("nothing panics while it holds the tracks")
    }

    /// By what the session travels, or the last one did.
    pub fn carrier(&self) -> Carrier {
        self.state().carrier.expect("handles are given out when the first seat was given")
    }

    /// The last seat that the relay gave.
    pub fn welcome(&self) -> Arc<Welcome> {
        self.state().welcome.clone().expect("handles are given out when the first seat was given")
    }

    pub fn emit(&self, event: Event) {
        let bytes = event.cost_bytes();
        self.events.push(event, bytes);
    }

    /// Whether this session speaks for the seat.
    pub fn is_held_by(&self, session: &Session) -> bool {
        matches!(&*self.presence.borrow(), Presence::Here(holder) if std::ptr::eq(&**holder, session))
    }

    /// Gives the seat to a session, under the lock of the state. Says whether it is open to one.
    pub fn hold(&self, session: &Arc<Session>) -> bool {
        self.presence.send_if_modified(|presence| {
            let is_open = !matches!(presence, Presence::Closed(_));
            if is_open {
                *presence = Presence::Here(session.clone());
            }
            is_open
        })
    }

    /// The session, if there is one at the moment.
    pub fn present(&self) -> Option<Arc<Session>> {
        match &*self.presence.borrow() {
            Presence::Here(session) => Some(session.clone()),
            Presence::Away | Presence::Closed(_) => None,
        }
    }

    /// The session; waits for the next one while there is none.
    pub async fn session(&self) -> Result<Arc<Session>, RequestError> {
        let mut presence = self.presence.subscribe();
        let found = presence.wait_for(|presence| !matches!(presence, Presence::Away)).await;
        let found = found.map(|presence| presence.clone());
        match found {
            Ok(Presence::Here(session)) => Ok(session),
            _ => Err(self.ending().into()),
        }
    }

    /// A session has ended; another one may come.
    pub fn session_ended(&self, session: &Session) {
        let _state = self.state();
        if self.is_held_by(session) {
            self.presence.send_replace(Presence::Away);
        }
    }

    /// Whether the room is lost when a session ends for this reason.
    pub fn ends_with(&self, reason: CloseReason) -> bool {
        reason.is_final() || self.reconnect == Reconnect::Never || self.is_leaving.load(Ordering::Relaxed)
    }

    /// From now on the end of the session is the end of the room.
    pub fn begin_leaving(&self) {
        self.is_leaving.store(true, Ordering::Relaxed);
    }

    /// Whether the room goes on, with a session or without one at the moment.
    pub fn check_open(&self) -> Result<(), Ending> {
        match &*self.presence.borrow() {
            Presence::Closed(ending) => Err(ending.clone()),
            Presence::Away | Presence::Here(_) => Ok(()),
        }
    }

    /// How the room ended.
    pub fn ending(&self) -> Ending {
        self.check_open().err().unwrap_or_else(|| Ending::from(CloseReason::ConnectionLost))
    }

    /// Ends the room: everyone who waits for something learns why. Only the first call counts.
    pub fn close(&self, ending: Ending) {
        let mut state = self.state();
        if self.check_open().is_err() {
            return;
        }
        let before = self.presence.send_replace(Presence::Closed(ending.clone()));
        // Their other halves learn it from `presence`.
        state.outbox.clear();
        let publications = state.publications.all();
        drop(state);
        self.chat_places.close();
        if let Presence::Here(session) = before {
            session.end(ending.reason, ending.message.clone());
        }
        self.emit(Event::Closed { reason: ending.reason, message: ending.message });
        self.events.close();
        self.receive_state().end();
        publications.iter().for_each(|publication| publication.end());
    }

    /// Takes a message of one's own to be sent.
    pub fn say(&self, words: Words, answer: Answer, place: OwnedSemaphorePermit) -> Result<(), Ending> {
        let mut state = self.state();
        self.check_open()?;
        state.outbox.push(words, answer, place);
        drop(state);
        self.chat_changed.send_replace(());
        Ok(())
    }

    /// Takes media of others.
    pub fn receive_media(&self, datagrams: impl Iterator<Item = Datagram>) {
        let now = self.now();
        let mut receive = self.receive_state();
        let due_before = receive.next_timeout();
        datagrams.for_each(|datagram| receive.push(now, datagram));
        let due = receive.next_timeout();
        drop(receive);
        if due.is_some_and(|due| due_before.is_none_or(|before| due < before)) {
            self.receive_changed.notify_one();
        }
    }

    /// A track was subscribed or unpublished: there may be something due earlier.
    pub fn note_receive_changed(&self) {
        self.receive_changed.notify_one();
    }

    /// Gives up frames that are late, asks for what is missing and for keyframes, ends tracks, reports; for ever.
    pub async fn keep_time(&self) {
        loop {
            let session = self.present();
            let round_trip = session.as_ref().filter(|_| self.repair).and_then(|session| session.link.round_trip());
            let (Due { keyframes, repeats, reports }, due) = {
                let mut receive = self.receive_state();
                (receive.timeout(self.now(), round_trip), receive.next_timeout())
            };
            if let Some(session) = session {
                repeats.iter().for_each(|request| session.link.try_send_datagram(request.encode()));
                let keyframe = |(track, spatial_layer)| ClientMessage::RequestKeyframe { track, spatial_layer };
                let report = |tracks: &[TrackReport]| ClientMessage::Report { tracks: tracks.to_vec() };
                let reports = reports.chunks(REPORT_TRACKS_MAX).map(report);
                for message in keyframes.into_iter().map(keyframe).chain(reports) {
                    session.link.try_send(StreamKind::Control, &encode(&message));
                }
            }
            let wait = due.map(|due| due.saturating_sub(self.started.elapsed()).max(Duration::from_millis(1)));
            tokio::select! {
                () = sleep(wait.unwrap_or(Duration::MAX)), if wait.is_some() => {}
                () = self.receive_changed.notified() => {}
            }
        }
    }
}

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, Weak};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tokio::sync::{Notify, oneshot, watch};
use tokio::time::sleep;

use super::carrier::Link;
use super::event::{ChatError, Ending, Event, RequestError};
use super::queue::Queue;
use super::receive::Receive;
use crate::now::Now;
use crate::wire::{
    ClientMessage, CloseReason, Datagram, MessageId, ParticipantId, ParticipantInfo, StreamKind, TrackId, TrackInfo,
    Welcome, decode, encode,
};

/// Events that wait to be taken.
const EVENTS_MAX: usize = 16_384;

/// The same in bytes.
const EVENT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What all handles of a room share: what is known of the room, and who waits for what.
#[derive(Debug)]
pub(super) struct Session {
    pub link: Link,
    pub events: Queue<Event>,
    pub(super) state: Mutex<State>,
    pub(super) receive: Mutex<Receive>,
    welcome: OnceLock<Welcome>,
    ending: watch::Sender<Option<Ending>>,
    receive_changed: Notify,
    started: Instant,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub participants: BTreeMap<ParticipantId, ParticipantInfo>,
    pub auto_subscribe: bool,
    /// Participants who were there before, and are not told yet.
    pub roster_missing: u32,
    /// Resolves when `Welcome` and all of the roster have come.
    pub joined: Option<oneshot::Sender<()>>,
    pub requests: BTreeMap<u32, oneshot::Sender<Result<Option<TrackId>, RequestError>>>,
    /// What the requests to switch `auto_subscribe` ask for.
    pub auto_subscribe_requests: BTreeMap<u32, bool>,
    pub pings: BTreeMap<u64, oneshot::Sender<()>>,
    pub echoes: BTreeMap<u32, oneshot::Sender<()>>,
    pub acknowledgements: HashMap<MessageId, oneshot::Sender<Result<u64, ChatError>>>,
    /// Those who want to know that a keyframe of a track of one's own is wanted.
    pub keyframe_wanted: BTreeMap<TrackId, Weak<Notify>>,
    numbers: u32,
}

impl State {
    /// A number that was not used before.
    pub fn next_number(&mut self) -> u32 {
        self.numbers = self.numbers.wrapping_add(1);
        self.numbers
    }

    /// What a track of someone else carries.
    pub fn track(&self, track: TrackId) -> Option<(ParticipantId, &TrackInfo)> {
        let mut all = self.participants.values().flat_map(|info| info.tracks.iter().map(|its| (info.participant, its)));
        all.find(|(_, its)| its.track == track).map(|(participant, its)| (participant, &its.info))
    }
}

impl Session {
    /// A session before its `Join`; the receiver resolves when the room is known.
    pub fn new(link: Link, auto_subscribe: bool) -> (Self, oneshot::Receiver<()>) {
        let (joined, when_joined) = oneshot::channel();
        let session = Self {
            link,
            events: Queue::new(EVENTS_MAX, EVENT_BYTES_MAX),
            state: Mutex::new(State { auto_subscribe, joined: Some(joined), ..State::default() }),
            receive: Mutex::default(),
            welcome: OnceLock::new(),
            ending: watch::Sender::new(None),
            receive_changed: Notify::new(),
            started: Instant::now(),
        };
        (session, when_joined)
    }

    pub fn now(&self) -> Now {
        let unix_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
        Now { since_start: self.started.elapsed(), unix_ms }
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds the state")
    }

    pub fn receive_state(&self) -> MutexGuard<'_, Receive> {
        self.receive.lock().expect("nothing panics while it holds the tracks")
    }

    /// The seat, once it was given.
    pub fn welcome(&self) -> Option<&Welcome> {
        self.welcome.get()
    }

    /// Keeps the seat. Says whether it is the first one.
    pub(super) fn set_welcome(&self, welcome: Welcome) -> bool {
        self.welcome.set(welcome).is_ok()
    }

    pub(super) fn emit(&self, event: Event) {
        let bytes = event.cost_bytes();
        self.events.push(event, bytes);
    }

    /// Sends a message on the control stream.
    pub async fn tell(&self, message: &ClientMessage) -> Result<(), RequestError> {
        let sent = self.link.send(StreamKind::Control, &encode(message)).await;
        sent.map_err(|_| self.ending().into())
    }

    /// Sends a message with a number on the control stream and waits for its answer.
    pub async fn request(&self, message: impl FnOnce(u32) -> ClientMessage) -> Result<Option<TrackId>, RequestError> {
        let (answer, answered) = oneshot::channel();
        let number = {
            let mut state = self.state();
            self.check_open()?;
            let number = state.next_number();
            state.requests.insert(number, answer);
            number
        };
        self.tell(&message(number)).await?;
        answered.await.unwrap_or_else(|_| Err(self.ending().into()))
    }

    pub fn await_acknowledgement(
        &self,
        message_id: MessageId,
    ) -> Result<oneshot::Receiver<Result<u64, ChatError>>, Ending> {
        let (answer, answered) = oneshot::channel();
        let mut state = self.state();
        self.check_open()?;
        state.acknowledgements.insert(message_id, answer);
        Ok(answered)
    }

    /// Asks for an echo of a datagram, and resolves when it comes.
    pub async fn echo(&self) -> Result<(), Ending> {
        let (answer, answered) = oneshot::channel();
        let number = {
            let mut state = self.state();
            self.check_open()?;
            let number = state.next_number();
            state.echoes.insert(number, answer);
            number
        };
        let frame = crate::media::Frame { number, ..crate::media::Frame::default() };
        let datagrams = frame.datagrams(TrackId::ECHO).expect("one byte is a frame");
        for datagram in datagrams {
            self.link.send_datagram(datagram.bytes).await.map_err(|_| self.ending())?;
        }
        answered.await.map_err(|_| self.ending())
    }

    /// Takes a message from a stream.
    pub fn receive(self: &Arc<Self>, kind: StreamKind, message: &[u8]) {
        let result = match kind {
            StreamKind::Control => decode(message).map(|message| self.receive_control(message)),
            StreamKind::Chat => decode(message).map(|message| self.receive_chat(message)),
        };
        if let Err(error) = result {
            self.fail(CloseReason::Malformed, format!("the relay sent a message that is none: {error}"));
        }
    }

    /// Takes what arrived as datagrams; what is none is passed over.
    pub fn receive_datagrams(&self, datagrams: impl IntoIterator<Item = Bytes>) {
        let now = self.now();
        let mut receive = self.receive_state();
        let due_before = receive.next_timeout();
        for datagram in datagrams.into_iter().filter_map(|bytes| Datagram::decode(bytes).ok()) {
            if datagram.header.track != TrackId::ECHO {
                receive.push(now, datagram);
            } else if let Some(waiting) = self.state().echoes.remove(&datagram.header.frame) {
                let _ = waiting.send(());
            }
        }
        let due = receive.next_timeout();
        drop(receive);
        if due.is_some_and(|due| due_before.is_none_or(|before| due < before)) {
            self.receive_changed.notify_one();
        }
    }

    /// A track was subscribed or unpublished: there may be something due earlier.
    pub(super) fn note_receive_changed(&self) {
        self.receive_changed.notify_one();
    }

    /// Gives up frames that are late, asks for keyframes, ends tracks; until the session ends.
    pub async fn keep_time(&self) {
        loop {
            let (keyframes, due) = {
                let mut receive = self.receive_state();
                (receive.timeout(self.now()), receive.next_timeout())
            };
            for track in keyframes {
                self.link.try_send(StreamKind::Control, &encode(&ClientMessage::RequestKeyframe { track }));
            }
            let wait = due.map(|due| due.saturating_sub(self.started.elapsed()).max(Duration::from_millis(1)));
            tokio::select! {
                () = sleep(wait.unwrap_or(Duration::MAX)), if wait.is_some() => {}
                () = self.receive_changed.notified() => {}
            }
        }
    }

    /// Ends the session: everyone who waits for something learns why. Only the first call counts.
    pub fn fail(&self, reason: CloseReason, message: String) {
        let ending = Ending { reason, message };
        let is_first = self.ending.send_if_modified(|known| {
            let is_first = known.is_none();
            known.get_or_insert_with(|| ending.clone());
            is_first
        });
        if !is_first {
            return;
        }
        self.link.close(ending.reason);
        self.emit(Event::Closed { reason: ending.reason, message: ending.message });
        self.events.close();
        self.receive_state().end();
        let mut state = self.state();
        // Their other halves learn it from `ending`.
        state.requests.clear();
        state.pings.clear();
        state.echoes.clear();
        state.acknowledgements.clear();
        state.joined = None;
        let publishers = std::mem::take(&mut state.keyframe_wanted);
        publishers.values().filter_map(Weak::upgrade).for_each(|wanted| wanted.notify_one());
    }

    /// How the session ended. One whose writer is gone has, even if its reader has not said why yet.
    pub fn ending(&self) -> Ending {
        let lost = || Ending { reason: CloseReason::ConnectionLost, message: CloseReason::ConnectionLost.to_string() };
        self.ending.borrow().clone().unwrap_or_else(lost)
    }

    /// Resolves when the session has ended.
    pub async fn ended(&self) -> Ending {
        let mut ending = self.ending.subscribe();
        let _ = ending.wait_for(Option::is_some).await;
        self.ending()
    }

    /// Whether the session goes on.
    pub fn check_open(&self) -> Result<(), Ending> {
        match &*self.ending.borrow() {
            Some(ending) => Err(ending.clone()),
            None => Ok(()),
        }
    }
}

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use bytes::Bytes;
use tertulia::auth::TicketKey;
use tertulia::limits::{Limits, SameIdentity};
use tertulia::media::{Publisher, Slot};
use tertulia::now::Now;
use tertulia::room::{Input, SessionKey};
use tertulia::wire::{
    ClientChat, ClientMessage, CloseReason, Identity, MessageId, ParticipantId, RoomName, ServerChat, ServerMessage,
    TrackId,
};

use crate::client::Client;
use crate::dice::{Dice, Trace};
use crate::history::History;
use crate::model::Roster;
use crate::relay::LiveRoom;

pub const ROOMS: usize = 4;
const CLIENTS: usize = 28;

pub const SECOND: u64 = 1_000_000;
pub const MINUTE: u64 = 60 * SECOND;

/// Small enough that each bound is reached now and then.
pub const LIMITS: Limits = Limits {
    participants_per_room: 6,
    tracks_per_participant: 2,
    subscriptions_per_participant: 1000,
    tcp_connections_per_address: 0,
    chat_bytes: 64,
    chat_per_second: 5,
    chat_burst: 8,
    requests_per_second: 10,
    requests_burst: 20,
    messages_per_second: 500,
    messages_burst: 5000,
    media_datagrams_per_second: 50,
    media_bits_per_second: 100_000,
    loudest_audio: 2,
    last_videos: 2,
    audio_deadline_ms: 200,
    video_deadline_ms: 400,
    seat_seconds: 30,
    removed_minutes: 2,
    same_identity: SameIdentity::Replace,
    // What the core does not look at.
    sessions: 0,
    sessions_per_address: 0,
    handshakes_per_second_per_address: 0,
    handshakes_burst_per_address: 0,
    refused_tokens_per_minute_per_address: 0,
    rooms: 0,
    history_messages: 0,
    history_bytes: 0,
    history_rooms: 0,
    history_days: 0,
    outbox_bytes: 0,
    outbox_messages: 0,
    memory_megabytes: 0,
};

/// For how long someone who was removed is kept out.
pub const REMOVED_MS: u64 = LIMITS.removed_minutes as u64 * 60_000;

/// What happens next, and where.
#[derive(Debug)]
pub enum Event {
    /// A client does something, or nothing.
    Think(usize),
    /// A client connects.
    Connect(usize),
    ToRelay(SessionKey, Up),
    ToClient(SessionKey, Down),
    MediaToRelay(SessionKey, Bytes),
    MediaToClient(SessionKey, Bytes, TrackId),
    /// The path to a client is too slow, and will be so many times more.
    Pressed(usize, u64),
    /// A client speaks, and will at so many looks more.
    Speaking(usize, u64),
    /// The relay's end of a session ends.
    RelayEnds(SessionKey, CloseReason),
    /// The client's end of a session ends.
    ClientEnds(SessionKey),
    /// The relay reads a page of history for a session.
    Page(SessionKey),
    /// A room hears what became of chat on its way to a session.
    Told(usize, SessionKey, Input),
    /// The history writes what waits.
    Commit,
    /// The history tells a room what came of its messages, unless the relay was killed since.
    Outcome(u64, usize, Input),
    /// A room's timeout may be due.
    Timer(usize),
    /// The relay is killed, and started again a little later.
    Crash,
}

/// What travels to the relay on reliable streams.
#[derive(Debug)]
pub enum Up {
    Join,
    Control(ClientMessage),
    Chat(ClientChat),
}

/// What travels to the client on reliable streams.
#[derive(Debug)]
pub enum Down {
    Control(ServerMessage),
    Chat(ServerChat),
}

/// A connection, as both ends see it.
pub struct Session {
    pub client: usize,
    pub room: usize,
    /// Nothing arrives any more, in either direction.
    pub cut: bool,
    /// When what was sent last on a stream arrives: what is sent later does not overtake it.
    pub up_at: u64,
    pub down_at: u64,
    pub seat: Option<Seat>,
    /// It was told to end: it speaks for nobody any more.
    pub ending: bool,
    pub relay_done: bool,
    pub client_done: bool,
    /// The part of the history that is to be sent.
    pub replay: Option<(u64, u64)>,
    /// The last message that it was sent, if it did not take the next.
    pub fell_behind_at: Option<u64>,
    /// What it was told so far, at the relay's end.
    pub told: Roster,
    /// What it was told that somebody takes of its tracks.
    pub wanted: BTreeMap<TrackId, [u8; 2]>,
}

pub struct Seat {
    pub participant: ParticipantId,
    pub slot: Slot,
    pub publisher: Publisher,
    /// Which of the rooms of that name it is in.
    pub opening: u64,
}

pub struct World {
    pub now_us: u64,
    queue: BTreeMap<(u64, u64), Event>,
    scheduled: u64,
    pub dice: Dice,
    pub trace: Trace,
    pub steps: u64,
    pub tally: BTreeMap<&'static str, u64>,
    /// Nobody does anything new: what is under way comes to its end.
    pub calm: bool,
    /// Nobody comes back any more.
    pub gone: bool,

    /// Until when nobody comes into which room.
    pub nights: [u64; ROOMS],
    pub rooms: BTreeMap<usize, LiveRoom>,
    pub openings: u64,
    pub history: History,
    pub commit_due: bool,
    pub outcomes_at: u64,
    pub crashes: u64,
    pub down_until: u64,
    pub bad_disk_until: u64,
    pub tickets: TicketKey,
    pub sessions: BTreeMap<SessionKey, Session>,
    pub sessions_ever: u64,
    pub clients: Vec<Client>,
    /// Whose id it is, by room and epoch.
    pub holders: BTreeMap<(usize, u64, ParticipantId), usize>,
    /// Who was removed and must not be seen in a room before this time, in milliseconds since 1970.
    pub kept_out: BTreeMap<(usize, Identity), u64>,
    /// What was acknowledged, by room.
    pub acknowledged: BTreeMap<(usize, MessageId), u64>,
}

impl World {
    pub fn new(seed: u64) -> Self {
        let mut world = Self {
            now_us: SECOND,
            queue: BTreeMap::new(),
            scheduled: 0,
            dice: Dice::new(seed),
            trace: Trace::default(),
            steps: 0,
            tally: BTreeMap::new(),
            calm: false,
            gone: false,
            nights: [0; ROOMS],
            rooms: BTreeMap::new(),
            openings: 0,
            history: History::default(),
            commit_due: false,
            outcomes_at: 0,
            crashes: 0,
            down_until: 0,
            bad_disk_until: 0,
            tickets: TicketKey::new(&[7; 32]),
            sessions: BTreeMap::new(),
            sessions_ever: 0,
            clients: Vec::new(),
            holders: BTreeMap::new(),
            kept_out: BTreeMap::new(),
            acknowledged: BTreeMap::new(),
        };
        for number in 0..CLIENTS {
            let client = Client::new(number, &mut world.dice);
            world.clients.push(client);
            let soon = world.dice.within(0..20 * SECOND);
            world.after(soon, Event::Connect(number));
            world.after(soon, Event::Think(number));
        }
        world.after(2 * MINUTE, Event::Crash);
        world
    }

    pub fn now(&self) -> Now {
        Now::after(Duration::from_micros(self.now_us))
    }

    pub fn count(&mut self, what: &'static str) {
        *self.tally.entry(what).or_default() += 1;
    }

    pub fn after(&mut self, delay_us: u64, event: Event) {
        self.at(self.now_us + delay_us, event);
    }

    pub fn at(&mut self, at_us: u64, event: Event) {
        self.scheduled += 1;
        self.queue.insert((at_us, self.scheduled), event);
    }

    /// Lets everything happen up to a moment.
    pub fn run_until(&mut self, end_us: u64) {
        while let Some(entry) = self.queue.first_entry() {
            if entry.key().0 > end_us {
                break;
            }
            let ((at_us, _), event) = entry.remove_entry();
            self.now_us = at_us;
            self.steps += 1;
            write!(self.trace, "{at_us}").expect("a hash takes everything");
            self.happen(event);
        }
        self.now_us = end_us;
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Think(client) => self.think(client),
            Event::Connect(client) => self.connect(client),
            Event::ToRelay(key, up) => {
                if self.sessions.get(&key).is_some_and(|session| !session.cut && !session.relay_done) {
                    self.relay_hears(key, up);
                }
            }
            Event::ToClient(key, down) => {
                if self.sessions.get(&key).is_some_and(|session| !session.cut && !session.client_done) {
                    self.client_hears(key, down);
                }
            }
            Event::MediaToRelay(key, datagram) => self.forward(key, &datagram),
            Event::MediaToClient(key, datagram, track) => self.client_sees(key, &datagram, track),
            Event::Pressed(client, times) => self.press(client, times),
            Event::Speaking(client, times) => self.speak(client, times),
            Event::RelayEnds(key, reason) => self.end_session(key, reason),
            Event::ClientEnds(key) => self.client_ends(key),
            Event::Page(key) => self.send_page(key),
            Event::Told(room, key, input) => {
                if self.is_in_its_room(key) {
                    self.handle(room, input);
                }
            }
            Event::Commit => self.commit(),
            Event::Outcome(crashes, room, input) => {
                if crashes == self.crashes {
                    self.handle(room, input);
                }
            }
            Event::Timer(room) => self.timer(room),
            Event::Crash => self.crash(),
        }
    }

    pub fn open_session(&mut self, client: usize, room: usize) -> SessionKey {
        self.sessions_ever += 1;
        let key = SessionKey(self.sessions_ever);
        let session = Session {
            client,
            room,
            cut: false,
            up_at: self.now_us,
            down_at: self.now_us,
            seat: None,
            ending: false,
            relay_done: false,
            client_done: false,
            replay: None,
            fell_behind_at: None,
            told: Roster::new(),
            wanted: BTreeMap::new(),
        };
        self.sessions.insert(key, session);
        key
    }

    /// When something reliable arrives that is sent now: in order, a little later, sometimes much later.
    fn arrival(&mut self, last: u64) -> u64 {
        let delay = if self.dice.happens(3) { 3 * SECOND } else { 80_000 };
        last.max(self.now_us + self.dice.within(5_000..5_000 + delay))
    }

    pub fn send_up(&mut self, key: SessionKey, up: Up) {
        let Some(last) = self.sessions.get(&key).map(|session| session.up_at) else {
            return;
        };
        let at = self.arrival(last);
        self.sessions.entry(key).and_modify(|session| session.up_at = at);
        self.at(at, Event::ToRelay(key, up));
    }

    pub fn send_down(&mut self, key: SessionKey, down: Down) {
        let Some(last) = self.sessions.get(&key).map(|session| session.down_at) else {
            return;
        };
        let at = self.arrival(last);
        self.sessions.entry(key).and_modify(|session| session.down_at = at);
        self.at(at, Event::ToClient(key, down));
    }

    /// A datagram is lost, doubled, late, and overtaken.
    pub fn send_datagram(&mut self, event: impl Fn() -> Event) {
        let copies = match self.dice.within(0..100) {
            0..5 => 0,
            5..7 => 2,
            _ => 1,
        };
        for _ in 0..copies {
            let delay = if self.dice.happens(10) { 20 * SECOND } else { 100_000 };
            let delay = self.dice.within(5_000..5_000 + delay);
            self.after(delay, event());
        }
    }

    /// Breaks a connection: each end learns it in its own time.
    pub fn cut(&mut self, key: SessionKey) {
        let Some(session) = self.sessions.get_mut(&key) else {
            return;
        };
        session.cut = true;
        self.count("cuts");
        let (client, relay) = (self.dice.within(0..3 * SECOND), self.dice.within(0..10 * SECOND));
        self.after(client, Event::ClientEnds(key));
        let reasons = [CloseReason::ConnectionLost, CloseReason::IdleTimeout, CloseReason::SlowConsumer];
        let reason = self.dice.pick(&reasons).expect("there are some");
        self.after(relay, Event::RelayEnds(key, reason));
    }

    /// Forgets a session that nobody knows of any more.
    pub fn forget_if_done(&mut self, key: SessionKey) {
        if self.sessions.get(&key).is_some_and(|session| session.relay_done && session.client_done) {
            self.sessions.remove(&key);
        }
    }
}

pub fn room_name(room: usize) -> RoomName {
    RoomName::parse(&format!("room-{room}")).expect("letters and digits")
}

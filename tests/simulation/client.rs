use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;
use tertulia::auth::{Grant, Sources};
use tertulia::room::SessionKey;
use tertulia::wire::{
    ChatMessage, ChatPosition, ClientChat, CloseReason, Identity, MessageId, ParticipantId, RefuseReason, ServerChat,
    ServerMessage, TrackId, TrackSource, Welcome,
};

use crate::dice::Dice;
use crate::model::{Roster, hear};
use crate::world::{Down, Event, MINUTE, ROOMS, SECOND, Up, World, room_name};

/// A client that keeps to PROTOCOL.md, and checks what it is told.
pub struct Client {
    pub number: usize,
    pub room: usize,
    pub plain: bool,
    pub identity: Option<Identity>,
    pub admin: bool,
    pub session: Option<SessionKey>,
    pub me: Option<ParticipantId>,
    pub ticket: Option<Vec<u8>>,
    pub wish: Option<Wish>,
    pub roster: Roster,
    /// Its own tracks, and those that it had before.
    pub tracks: Vec<TrackId>,
    pub old_tracks: VecDeque<TrackId>,
    pub unacknowledged: VecDeque<Unacknowledged>,
    pub messages_ever: u64,
    pub closing: Option<CloseReason>,
    hidden: bool,
    expires_at_ms: u64,
    /// The last chat message that it has.
    position: Option<ChatPosition>,
    /// It has all of the history that it asked for.
    live: bool,
    unkept: BTreeSet<MessageId>,
}

/// What a client asks for with a session.
#[derive(Clone)]
pub struct Wish {
    pub grant: Grant,
    pub ticket: Option<Vec<u8>>,
    pub auto_subscribe: bool,
    pub chat_after: Option<ChatPosition>,
}

#[derive(Clone)]
pub struct Unacknowledged {
    pub message_id: MessageId,
    pub to: Option<ParticipantId>,
    pub body: String,
}

impl Client {
    pub fn new(number: usize, dice: &mut Dice) -> Self {
        let (room, row) = (number % ROOMS, number / ROOMS);
        // In the first rooms nobody has a token, as in an open relay.
        let has_token = room >= ROOMS / 2;
        Self {
            number,
            room,
            plain: row == 6 && !has_token,
            identity: has_token.then(|| Identity::parse(&format!("client-{number}")).expect("letters and digits")),
            admin: has_token && row < 2,
            session: None,
            me: None,
            ticket: None,
            wish: None,
            roster: Roster::new(),
            tracks: Vec::new(),
            old_tracks: VecDeque::new(),
            unacknowledged: VecDeque::new(),
            messages_ever: 0,
            closing: None,
            hidden: has_token && row == 5,
            expires_at_ms: 0,
            position: dice.happens(700).then_some(ChatPosition::START),
            live: false,
            unkept: BTreeSet::new(),
        }
    }

    pub fn is_welcome(&self) -> bool {
        self.session.is_some() && self.me.is_some()
    }

    pub fn next_message_id(&mut self) -> MessageId {
        self.messages_ever += 1;
        let mut id = [0; 16];
        id[..8].copy_from_slice(&(self.number as u64).to_be_bytes());
        id[8..].copy_from_slice(&self.messages_ever.to_be_bytes());
        MessageId(id)
    }

    fn is_own(&self, message_id: MessageId) -> bool {
        message_id.0[..8] == (self.number as u64).to_be_bytes()
    }
}

impl World {
    pub fn connect(&mut self, number: usize) {
        if self.clients[number].session.is_some() || self.gone {
            return;
        }
        let night = self.nights[self.clients[number].room];
        if night > self.now_us && !self.calm {
            return self.at(night, Event::Connect(number));
        }
        let ticket = match self.dice.within(0..100) {
            _ if self.calm => self.clients[number].ticket.clone(),
            0..3 => self.foreign_ticket(number),
            3..8 => None,
            _ => self.clients[number].ticket.clone(),
        };
        self.begin_session(number, ticket);
    }

    /// A ticket that must not bring this client to a seat.
    fn foreign_ticket(&mut self, number: usize) -> Option<Vec<u8>> {
        let room = self.clients[number].room;
        let has_token = self.clients[number].identity.is_some();
        let foreign = |other: &&Client| other.number != number && (other.room != room || has_token);
        let tickets: Vec<_> = self.clients.iter().filter(foreign).filter_map(|other| other.ticket.as_ref()).collect();
        let ticket = self.dice.pick(&tickets)?;
        Some(ticket.clone())
    }

    pub fn begin_session(&mut self, number: usize, ticket: Option<Vec<u8>>) {
        let unix_ms = self.now().unix_ms;
        let key = self.open_session(number, self.clients[number].room);
        let lives_ms = self.dice.within(2 * 60_000..60 * 60_000);
        let [flips, lesser, deaf, auto] = [20, 50, 30, 850].map(|chance| self.dice.happens(chance));
        let client = &mut self.clients[number];
        client.hidden ^= flips && !self.calm && client.identity.is_some() && number / ROOMS >= 5;
        // Nobody is sent away by an old token in the middle of the last checks.
        let (needed_ms, lives_ms) = if self.calm { (1_200_000, 3_600_000) } else { (10_000, lives_ms) };
        if client.expires_at_ms < unix_ms + needed_ms {
            client.expires_at_ms = unix_ms + lives_ms;
        }
        let mut grant = Grant::everyone(room_name(client.room));
        if let Some(identity) = &client.identity {
            grant.identity = Some(identity.clone());
            grant.expires_at_ms = Some(client.expires_at_ms);
            (grant.hidden, grant.admin) = (client.hidden, client.admin);
            grant.publish = if lesser { Sources::only(&[TrackSource::Camera]) } else { Sources::ALL };
            grant.subscribe = !deaf;
        }
        let chat_after = client.position.filter(|_| !client.plain);
        client.wish = Some(Wish { grant, ticket: ticket.filter(|_| !client.plain), auto_subscribe: auto, chat_after });
        client.session = Some(key);
        (client.me, client.closing) = (None, None);
        self.send_up(key, Up::Join);
    }

    pub fn client_ends(&mut self, key: SessionKey) {
        let Some(session) = self.sessions.get_mut(&key) else {
            return;
        };
        session.client_done = true;
        let number = session.client;
        self.forget_if_done(key);
        if self.clients[number].session != Some(key) {
            return;
        }
        self.clients[number].session = None;
        let pause = match self.clients[number].closing {
            _ if self.calm => 0..5 * SECOND,
            Some(CloseReason::Removed) => 5 * SECOND..4 * MINUTE,
            Some(CloseReason::RoomFull | CloseReason::RoomLocked) => 10 * SECOND..MINUTE,
            Some(CloseReason::Left) => 5 * SECOND..5 * MINUTE,
            Some(CloseReason::MeetingEnded) => SECOND..MINUTE,
            _ if self.dice.happens(150) => 20 * SECOND..90 * SECOND,
            _ => 0..3 * SECOND,
        };
        if self.clients[number].closing == Some(CloseReason::Left) {
            self.clients[number].unacknowledged.clear();
        }
        let pause = self.dice.within(pause);
        self.after(pause, Event::Connect(number));
    }

    /// A client hears a reliable message, unless it has gone on with another session.
    pub fn client_hears(&mut self, key: SessionKey, down: Down) {
        let number = self.sessions[&key].client;
        if self.clients[number].session != Some(key) {
            return;
        }
        match down {
            Down::Control(ServerMessage::Welcome(welcome)) => self.welcomed(number, welcome),
            Down::Control(message) => {
                let client = &mut self.clients[number];
                match &message {
                    ServerMessage::Closing { reason, .. } => client.closing = Some(*reason),
                    ServerMessage::Published { track, .. } => client.tracks.push(*track),
                    ServerMessage::KeyframeRequested { track, .. } => {
                        let known = client.tracks.contains(track) || client.old_tracks.contains(track);
                        assert!(known, "client {number} is asked for a keyframe of {track}");
                    }
                    _ => {}
                }
                if !client.plain {
                    hear(&mut client.roster, client.me, &message);
                }
            }
            Down::Chat(message) => self.chatted(number, message),
        }
    }

    fn welcomed(&mut self, number: usize, welcome: Welcome) {
        let eager = self.dice.happens(500);
        let client = &mut self.clients[number];
        client.me = Some(welcome.participant);
        client.ticket = Some(welcome.ticket);
        client.roster.clear();
        let tracks = welcome.tracks.iter().map(|track| track.track).collect();
        client.old_tracks.extend(std::mem::replace(&mut client.tracks, tracks));
        let excess = client.old_tracks.len().saturating_sub(8);
        client.old_tracks.drain(..excess);
        let asked = client.wish.as_ref().and_then(|wish| wish.chat_after);
        client.live = asked.is_none();
        client.position = match asked {
            Some(position) if position.epoch == welcome.chat.epoch => Some(position),
            Some(_) => Some(ChatPosition { epoch: welcome.chat.epoch, sequence: 0 }),
            None => Some(welcome.chat),
        };
        if eager || client.live {
            self.send_again(number);
        }
    }

    /// Repeats what was not acknowledged yet.
    pub fn send_again(&mut self, number: usize) {
        let Some(key) = self.clients[number].session else {
            return;
        };
        for Unacknowledged { message_id, to, body } in self.clients[number].unacknowledged.clone() {
            self.send_up(key, Up::Chat(ClientChat::Send { message_id, to, body }));
        }
    }

    fn chatted(&mut self, number: usize, message: ServerChat) {
        let client = &self.clients[number];
        // What was on its way when the room was closed and forgotten can no longer be looked up.
        if client.position.is_some_and(|position| position.epoch != self.history.epoch(client.room)) {
            return;
        }
        match message {
            ServerChat::Accepted { message_id, sequence, .. } => {
                self.acknowledge(number, message_id, sequence);
                let client = &self.clients[number];
                if client.live && client.position.is_some_and(|position| sequence > position.sequence) {
                    self.advance(number, sequence);
                }
            }
            ServerChat::NotKept { message_id, .. } => self.answered(number, message_id),
            ServerChat::Refused { message_id, reason, .. } => {
                if !matches!(reason, RefuseReason::ChatTooFast | RefuseReason::ChatBusy) {
                    self.answered(number, message_id);
                }
            }
            ServerChat::Message(message) => self.read(number, &message),
            ServerChat::CaughtUp { position, .. } => {
                assert!(!self.clients[number].live, "client {number} had caught up already");
                self.check_nothing_missed(&self.clients[number], position.sequence + 1);
                let client = &mut self.clients[number];
                (client.live, client.position) = (true, Some(position));
                self.send_again(number);
            }
            ServerChat::Typing { participant, .. } => {
                let client = &self.clients[number];
                assert!(client.roster.contains_key(&participant), "{participant} writes, whom nobody knows");
            }
        }
    }

    fn read(&mut self, number: usize, message: &ChatMessage) {
        let (is_own, plain) = (self.clients[number].is_own(message.message_id), self.clients[number].plain);
        let me = self.clients[number].me.expect("it was welcomed");
        assert!(message.concerns(me), "client {number} gets what is not meant for it: {message:?}");
        // Whoever is sent history finds the own messages there.
        assert!(!(is_own && plain), "client {number} gets its own message back");
        if message.sequence == 0 {
            let first = self.clients[number].unkept.insert(message.message_id);
            return assert!(first, "client {number} gets {:?} twice", message.message_id);
        }
        let kept = &self.history.kept(self.clients[number].room)[message.sequence as usize - 1];
        assert_eq!(**kept, *message, "what is delivered is what is kept");
        if is_own {
            self.acknowledge(number, message.message_id, message.sequence);
        }
        self.advance(number, message.sequence);
    }

    /// The next message is there: none before it is missing, and none comes twice.
    fn advance(&mut self, number: usize, sequence: u64) {
        self.check_nothing_missed(&self.clients[number], sequence);
        if let Some(position) = &mut self.clients[number].position {
            assert!(sequence > position.sequence, "client {number} gets number {sequence} after {position:?}");
            position.sequence = sequence;
        }
        self.count("chat read");
    }

    /// No message before `end` that a client has not got yet is meant for it.
    pub fn check_nothing_missed(&self, client: &Client, end: u64) {
        let (Some(position), Some(me)) = (client.position, client.me) else {
            return;
        };
        let kept = self.history.kept(client.room);
        let start = (position.sequence as usize).min(kept.len());
        for message in &kept[start..(end as usize - 1).clamp(start, kept.len())] {
            // A plain client does not hear of its own.
            let is_expected = message.concerns(me) && !(client.plain && message.from == me);
            assert!(!is_expected, "client {} missed {message:?}, it has {position:?}", client.number);
        }
    }

    fn acknowledge(&mut self, number: usize, message_id: MessageId, sequence: u64) {
        let room = self.clients[number].room;
        assert!(self.clients[number].is_own(message_id), "client {number} did not say that");
        let kept = self.history.kept(room).get(sequence as usize - 1);
        assert_eq!(kept.map(|kept| kept.message_id), Some(message_id), "what is acknowledged is kept");
        let before = self.acknowledged.insert((room, message_id), sequence);
        assert!(before.is_none_or(|before| before == sequence), "{message_id:?} is {before:?} and {sequence}");
        self.answered(number, message_id);
    }

    fn answered(&mut self, number: usize, message_id: MessageId) {
        self.clients[number].unacknowledged.retain(|message| message.message_id != message_id);
    }

    /// A client gets a datagram.
    pub fn client_sees(&mut self, key: SessionKey, datagram: &Bytes, track: TrackId) {
        let Some(session) = self.sessions.get(&key).filter(|session| !session.client_done) else {
            return;
        };
        let canary = &datagram[datagram.len() - 5..];
        assert_eq!(usize::from(canary[0]), session.room, "a datagram of another room");
        assert_eq!(canary[1..], track.0.to_be_bytes(), "a datagram of another track");
        self.count("datagrams seen");
    }

    /// Everyone connects anew and asks for all there is.
    pub fn ask_for_everything(&mut self) {
        for number in 0..self.clients.len() {
            if self.clients[number].plain {
                continue;
            }
            if let Some(key) = self.clients[number].session.take() {
                self.cut(key);
            }
            self.clients[number].position = Some(ChatPosition::START);
            self.after(0, Event::Connect(number));
        }
    }
}

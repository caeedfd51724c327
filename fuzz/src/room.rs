use std::collections::BTreeMap;
use std::time::Duration;

use tertulia::auth::{Grant, SeatClaim, Sources};
use tertulia::limits::{CHAT_PENDING_MAX, Limits, SameIdentity};
use tertulia::now::Now;
use tertulia::room::{
    Audience, Ids, Input, JoinRequest, Output, Pressure, RemovedIdentity, Room, RoomNotes, SessionKey,
};
use tertulia::wire::{
    ChatPosition, ClientChat, ClientMessage, CloseReason, Identity, Join, MessageId, ParticipantId, ParticipantKind,
    Rational, RoomName, ServerMessage, TrackId, TrackInfo, TrackMedia, TrackReport, TrackSource, VERSION,
};

const EPOCH: u64 = 7;

/// A room's life, made of bytes: each input takes some of them, and what is missing is 0.
pub fn try_out(bytes: &[u8]) {
    let mut bytes = Source(bytes);
    let limits = Limits {
        participants_per_room: 4,
        tracks_per_participant: 2,
        last_videos: 1,
        chat_bytes: 8,
        seat_seconds: 3 * u32::from(bytes.is_odd()),
        same_identity: if bytes.is_odd() { SameIdentity::Replace } else { SameIdentity::Refuse },
        ..Limits::default()
    };
    let position = ChatPosition { epoch: EPOCH, sequence: 40 };
    let mut room = Room::new(name(), limits, position, bytes.notes());
    room.reserve_ids();
    let mut seen = Seen { position: 40, ..Seen::default() };
    let mut now = Duration::from_secs(1);
    while !bytes.0.is_empty() {
        now += Duration::from_millis(u64::from(bytes.next()) * 8);
        let input = bytes.input();
        let outputs = room.handle(Now::after(now), input.clone());
        seen.note(&input, &outputs);
        seen.check(&room, limits);
        if matches!(input, Input::Timeout) {
            assert!(room.next_timeout().is_none_or(|due| due > now), "a timeout that was handled is due again");
        }
    }
}

fn name() -> RoomName {
    RoomName::parse("team").expect("it is a name")
}

/// What the outputs say about who is there.
#[derive(Default)]
struct Seen {
    /// With a seat: by which session it is reached, and whether it is hidden.
    people: BTreeMap<ParticipantId, (Option<SessionKey>, bool)>,
    pending: usize,
    position: u64,
}

impl Seen {
    fn note(&mut self, input: &Input, outputs: &[Output]) {
        let answers = outputs.iter().filter(|output| matches!(output, Output::Admitted(_) | Output::Refused { .. }));
        assert_eq!(answers.count(), usize::from(matches!(input, Input::Join { .. })));
        for output in outputs {
            match output {
                Output::Admitted(admitted) => {
                    let seat = (Some(admitted.session), admitted.permissions.hidden);
                    let before = self.people.insert(admitted.participant, seat);
                    assert_eq!(before.map(|(session, _)| session), admitted.resumed.then_some(None));
                }
                Output::Away { participant } => {
                    let (session, _) = self.people.get_mut(participant).expect("who goes away was there");
                    assert!(session.take().is_some(), "{participant} goes away twice");
                }
                Output::Left { participant, .. } => {
                    assert!(self.people.remove(participant).is_some(), "{participant} left without a seat");
                }
                Output::Close { participant, .. } => assert!(self.is_here(participant), "{participant} is closed"),
                Output::Tell { message, to } => self.check_told(*to, message),
                Output::Deliver { to, message } => {
                    self.pending -= 1;
                    assert!(to.iter().all(|id| self.is_here(id) && message.concerns(*id)), "{to:?} get {message:?}");
                    if message.sequence > 0 {
                        assert_eq!(message.sequence, self.position + 1, "numbers come one after the other");
                        self.position = message.sequence;
                    }
                }
                Output::Store(_) => self.pending += 1,
                _ => {}
            }
        }
    }

    fn is_here(&self, id: &ParticipantId) -> bool {
        self.people.get(id).is_some_and(|(session, _)| session.is_some())
    }

    /// Nobody else hears of one who is hidden.
    fn check_told(&self, to: Audience, message: &ServerMessage) {
        let about = match message {
            ServerMessage::ParticipantJoined(info) => info.participant,
            ServerMessage::TrackPublished { participant, .. } => *participant,
            _ => return,
        };
        let hidden = self.people.get(&about).is_some_and(|(_, hidden)| *hidden);
        assert!(!hidden && to != Audience::One(about), "{to:?} are told of {about}");
    }

    fn check(&self, room: &Room, limits: Limits) {
        assert_eq!(room.participant_count(), self.people.len());
        assert!(self.people.len() <= limits.participants_per_room as usize);
        assert!(self.pending <= CHAT_PENDING_MAX);
        assert_eq!(room.is_empty(), self.people.is_empty() && self.pending == 0);
        assert_eq!(room.chat_position(), ChatPosition { epoch: EPOCH, sequence: self.position });
    }
}

/// The kinds of inputs by their numbers, as often as they are to come.
const INPUTS: [u8; 23] = [0, 0, 0, 0, 1, 2, 2, 2, 2, 2, 3, 3, 4, 5, 6, 7, 8, 9, 9, 10, 11, 12, 13];

/// Whoever adds a kind of input finds here that [`Source::input`] does not make it.
fn input_number(input: &Input) -> u8 {
    match input {
        Input::Join { .. } => 0,
        Input::Ended { .. } => 1,
        Input::Message { .. } => 2,
        Input::Chat { .. } => 3,
        Input::Stored { .. } => 4,
        Input::NotStored { .. } => 5,
        Input::Replayed { .. } => 6,
        Input::PictureMissing { .. } => 7,
        Input::KeyframeWanted { .. } => 8,
        Input::Pressed { .. } => 9,
        Input::PlaceWanted => 10,
        Input::Speaking { .. } => 11,
        Input::Timeout => 12,
        Input::FellBehind { .. } => 13,
    }
}

/// The same of messages.
const MESSAGES: [u8; 21] = [0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 12, 13, 14, 15, 16, 17];

/// The same as [`input_number`], of [`Source::message`].
fn message_number(message: &ClientMessage) -> u8 {
    match message {
        ClientMessage::Publish { .. } => 0,
        ClientMessage::Unpublish { .. } => 1,
        ClientMessage::SetMuted { .. } => 2,
        ClientMessage::Subscribe { .. } => 3,
        ClientMessage::Unsubscribe { .. } => 4,
        ClientMessage::RequestKeyframe { .. } => 5,
        ClientMessage::SetAutoSubscribe { .. } => 6,
        ClientMessage::RemoveParticipant { .. } => 7,
        ClientMessage::MuteTrack { .. } => 8,
        ClientMessage::SetLayers { .. } => 9,
        ClientMessage::Report { .. } => 10,
        ClientMessage::EndMeeting { .. } => 11,
        ClientMessage::SetLocked { .. } => 12,
        ClientMessage::Ping { .. } => 13,
        ClientMessage::Leave => 14,
        ClientMessage::MeasurementsWanted { .. } => 15,
        ClientMessage::Join(_) => 16,
        ClientMessage::SetPinned { .. } => 17,
    }
}

/// Values out of bytes.
struct Source<'a>(&'a [u8]);

impl Source<'_> {
    fn next(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *first
    }

    fn is_odd(&mut self) -> bool {
        self.next() % 2 == 1
    }

    /// Mostly one of the first few.
    fn number(&mut self) -> u32 {
        match self.next() {
            255 => u32::MAX,
            byte => u32::from(byte % 16),
        }
    }

    fn participant(&mut self) -> ParticipantId {
        ParticipantId(self.number())
    }

    fn position(&mut self) -> Option<ChatPosition> {
        let epoch = if self.is_odd() { EPOCH } else { 0 };
        self.is_odd().then(|| ChatPosition { epoch, sequence: u64::from(self.next()) })
    }

    fn identity(&mut self) -> Option<Identity> {
        let number = self.next() % 4;
        (number > 0).then(|| Identity::parse(&format!("person-{number}")).expect("it is one"))
    }

    /// What a room is told that was there before, mostly nothing.
    fn notes(&mut self) -> RoomNotes {
        if self.next() % 4 != 3 {
            return RoomNotes::default();
        }
        let ids = Ids { participants: self.number(), tracks: self.number() };
        let until_unix_ms = 1_700_000_000_000 + u64::from(self.next()) * 100;
        let removed = self.identity().map(|identity| identity.as_str().to_owned());
        let removed = removed.map(|identity| RemovedIdentity { identity, until_unix_ms }).into_iter().collect();
        RoomNotes { ids, locked: self.is_odd(), removed }
    }

    fn input(&mut self) -> Input {
        let number = INPUTS[usize::from(self.next()) % INPUTS.len()];
        let input = match number {
            0 => Input::Join { session: SessionKey(self.number().into()), request: self.request() },
            1 => {
                let (participant, session) = (self.participant(), SessionKey(self.number().into()));
                let code = usize::from(self.next()) % CloseReason::ALL.len();
                Input::Ended { participant, session, reason: CloseReason::ALL[code] }
            }
            2 => Input::Message { from: self.participant(), message: self.message() },
            3 => Input::Chat { from: self.participant(), message: self.chat() },
            4 => Input::Stored { through: 40 + u64::from(self.next()) },
            5 => Input::NotStored { from: 40 + u64::from(self.next()) },
            6 => {
                let (participant, session) = (self.participant(), SessionKey(self.number().into()));
                Input::Replayed { participant, session, through: 30 + u64::from(self.next()) }
            }
            7 => {
                let (track, spatial_layer) = (TrackId(self.number()), self.next() % 4);
                let keyframe_at = self.is_odd().then(|| Duration::from_millis(u64::from(self.next()) * 8));
                Input::PictureMissing { track, spatial_layer, keyframe_at }
            }
            8 => {
                let (participant, track) = (self.participant(), TrackId(self.number()));
                Input::KeyframeWanted { participant, track, spatial_layer: self.next() % 4 }
            }
            9 => {
                let pressure = if self.is_odd() { Pressure::High } else { Pressure::Low };
                Input::Pressed { participant: self.participant(), pressure }
            }
            10 => Input::PlaceWanted,
            11 => Input::Speaking { participants: vec![self.participant(), self.participant()] },
            13 => {
                let (participant, session) = (self.participant(), SessionKey(self.number().into()));
                Input::FellBehind { participant, session, after: 30 + u64::from(self.next()) }
            }
            _ => Input::Timeout,
        };
        assert_eq!(input_number(&input), number);
        input
    }

    fn request(&mut self) -> JoinRequest {
        let flags = self.next();
        let is = |bit: u8| flags >> bit & 1 == 1;
        let identity = self.identity();
        let claim = SeatClaim { epoch: EPOCH, participant: self.participant(), identity: identity.clone() };
        let grant = Grant {
            identity,
            publish: if is(0) { Sources::ALL } else { Sources::only(&[TrackSource::Camera]) },
            subscribe: is(1),
            chat: is(2),
            hidden: is(3) && is(4),
            admin: is(5),
            expires_at_ms: is(6).then(|| 1_700_000_000_000 + u64::from(self.next()) * 100),
            ..Grant::everyone(name())
        };
        let kind = if self.next() % 4 == 3 { ParticipantKind::Plain } else { ParticipantKind::Meeting };
        let seat = self.is_odd().then_some(claim);
        JoinRequest { name: None, kind, grant, seat, auto_subscribe: is(7), chat_after: self.position() }
    }

    fn message(&mut self) -> ClientMessage {
        let request = u32::from(self.next());
        let track = TrackId(self.number());
        let number = MESSAGES[usize::from(self.next()) % MESSAGES.len()];
        let message = match number {
            0 => ClientMessage::Publish { request, track: self.track() },
            1 => ClientMessage::Unpublish { request, track },
            2 => ClientMessage::SetMuted { request, track, muted: self.is_odd() },
            3 => ClientMessage::Subscribe { request, track },
            4 => ClientMessage::Unsubscribe { request, track },
            5 => ClientMessage::RequestKeyframe { track, spatial_layer: self.next() % 4 },
            6 => ClientMessage::SetAutoSubscribe { request, enabled: self.is_odd() },
            7 => ClientMessage::RemoveParticipant { request, participant: self.participant() },
            8 => ClientMessage::MuteTrack { request, track },
            9 => {
                let (spatial_layer, temporal_layer) = (self.next() % 4, self.next());
                ClientMessage::SetLayers { request, track, spatial_layer, temporal_layer }
            }
            10 => ClientMessage::Report { tracks: vec![self.report(track); usize::from(self.next() % 3)] },
            11 => ClientMessage::EndMeeting { request },
            12 => ClientMessage::SetLocked { request, locked: self.is_odd() },
            13 => ClientMessage::Ping { token: request.into() },
            14 => ClientMessage::Leave,
            15 => ClientMessage::MeasurementsWanted { request },
            16 => ClientMessage::Join(self.second_join()),
            _ => ClientMessage::SetPinned { request, track, pinned: self.is_odd() },
        };
        assert_eq!(message_number(&message), number);
        message
    }

    /// The session that has a seat already asks for one.
    fn second_join(&mut self) -> Join {
        Join {
            version: VERSION,
            room: name().as_str().into(),
            name: "again".into(),
            token: None,
            ticket: None,
            chat_after: self.position(),
            auto_subscribe: self.is_odd(),
        }
    }

    fn report(&mut self, track: TrackId) -> TrackReport {
        let (received, lost) = (self.number(), self.number());
        TrackReport { track, received, lost, jitter_ms: self.next().into(), delay_ms: self.next().into() }
    }

    fn track(&mut self) -> TrackInfo {
        let (number, source) = (self.next(), TrackSource::ALL[usize::from(self.next()) % 5]);
        let frame_rate = Rational { numerator: 30, denominator: 1 };
        let (temporal_layers, spatial_layers) = (1 + number % 3, 1 + number / 3 % 3);
        let video = TrackMedia::Video { width: number.into(), height: 1, frame_rate, temporal_layers, spatial_layers };
        let media = if number < 128 { video } else { TrackMedia::Audio { sample_rate: 48_000, channels: 1 } };
        TrackInfo { source, codec: "any".into(), media, description: vec![] }
    }

    fn chat(&mut self) -> ClientChat {
        if self.next() % 8 == 7 {
            return ClientChat::Typing { active: self.is_odd() };
        }
        let message_id = MessageId([self.next(); 16]);
        let to = self.is_odd().then(|| self.participant());
        ClientChat::Send { message_id, to, body: "x".repeat(usize::from(self.next()) % 10) }
    }
}

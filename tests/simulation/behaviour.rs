use tertulia::media::Frame;
use tertulia::room::SessionKey;
use tertulia::wire::{
    AudioLevel, ClientChat, ClientMessage, CloseReason, ParticipantId, Rational, TrackId, TrackInfo, TrackMedia,
    TrackReport, TrackSource,
};

use crate::client::Unacknowledged;
use crate::world::{Event, MINUTE, SECOND, Up, World};

impl World {
    /// What people do in a meeting, now and then.
    pub fn think(&mut self, number: usize) {
        let pause = self.dice.within(SECOND / 2..8 * SECOND);
        self.after(pause, Event::Think(number));
        let Some(key) = self.clients[number].session.filter(|_| self.clients[number].is_welcome()) else {
            return;
        };
        if self.calm {
            return self.send_again(number);
        }
        match self.dice.within(0..1000) {
            0..250 => self.talk(number, key),
            250..290 => {
                let active = self.dice.happens(500);
                self.send_up(key, Up::Chat(ClientChat::Typing { active }));
            }
            290..500 => self.request(number, key),
            500..850 => self.stream(number, key),
            850..880 => self.cut(key),
            880..890 => self.double(number),
            890..900 => self.send_up(key, Up::Control(ClientMessage::Leave)),
            900..915 => self.moderate(number, key),
            915..925 => {
                let stall = self.dice.within(0..12 * SECOND);
                self.sessions.entry(key).and_modify(|session| session.down_at += stall);
            }
            925..930 => self.end_session(key, CloseReason::Malformed),
            930..932 => self.go_home(number),
            932..960 => self.send_again(number),
            960..972 => {
                let times = self.dice.within(0..20);
                self.press(number, times);
            }
            972..990 => {
                let times = self.dice.within(0..30);
                self.speak(number, times);
            }
            990..1000 => self.lose_something(number),
            _ => {}
        }
    }

    fn talk(&mut self, number: usize, key: SessionKey) {
        // Some want to say too much at once.
        let count = if self.dice.happens(20) { 15 } else { 1 };
        for _ in 0..count {
            let others: Vec<_> = self.clients[number].roster.keys().copied().collect();
            let to = if self.dice.happens(200) { self.dice.pick(&others) } else { None };
            let body = "x".repeat(self.dice.within(0..66) as usize);
            let client = &mut self.clients[number];
            let message_id = client.next_message_id();
            if !client.plain && client.unacknowledged.len() < 50 {
                client.unacknowledged.push_back(Unacknowledged { message_id, to, body: body.clone() });
            }
            self.send_up(key, Up::Chat(ClientChat::Send { message_id, to, body }));
        }
    }

    fn request(&mut self, number: usize, key: SessionKey) {
        let theirs: Vec<_> = self.clients[number].roster.values().flat_map(|tracks| tracks.keys().copied()).collect();
        let own = self.clients[number].tracks.clone();
        let enabled = self.dice.happens(700);
        let kind = self.dice.within(0..14);
        // Now and then the track is one that it must not touch.
        let track = if (kind < 6) ^ self.dice.happens(50) { self.dice.pick(&own) } else { self.dice.pick(&theirs) };
        let track = track.unwrap_or(TrackId(99));
        let message = match kind {
            0..3 => ClientMessage::Publish { request: 1, track: self.any_track() },
            3 => ClientMessage::Unpublish { request: 2, track },
            4..6 => ClientMessage::SetMuted { request: 3, track, muted: enabled },
            6 => ClientMessage::Subscribe { request: 4, track },
            7 => ClientMessage::Unsubscribe { request: 5, track },
            8 => ClientMessage::RequestKeyframe { track, spatial_layer: self.layer() },
            9 | 10 => {
                let (spatial_layer, temporal_layer) = (self.layer(), self.layer());
                ClientMessage::SetLayers { request: 11, track, spatial_layer, temporal_layer }
            }
            11 => ClientMessage::Report { tracks: vec![self.report(track)] },
            12 => ClientMessage::SetPinned { request: 12, track, pinned: enabled },
            _ => ClientMessage::SetAutoSubscribe { request: 6, enabled },
        };
        if kind == 3 {
            self.clients[number].tracks.retain(|own| *own != track);
            self.clients[number].old_tracks.push_back(track);
        }
        self.send_up(key, Up::Control(message));
    }

    /// Mostly one that there is.
    fn layer(&mut self) -> u8 {
        if self.dice.happens(20) { 255 } else { self.dice.within(0..3) as u8 }
    }

    fn report(&mut self, track: TrackId) -> TrackReport {
        let (received, lost) = (self.dice.within(0..300) as u32, self.dice.within(0..30) as u32);
        TrackReport { track, received, lost, jitter_ms: 1, delay_ms: self.dice.within(0..100) as u16 }
    }

    fn any_track(&mut self) -> TrackInfo {
        let frame_rate = Rational { numerator: 30, denominator: 1 };
        let video = TrackMedia::Video { width: 640, height: 360, frame_rate, temporal_layers: 2, spatial_layers: 2 };
        let audio = TrackMedia::Audio { sample_rate: 48_000, channels: 1 };
        let (source, media) = match self.dice.within(0..20) {
            0..10 => (TrackSource::Camera, video),
            10 => (TrackSource::Screen, video),
            _ => (TrackSource::Microphone, audio),
        };
        TrackInfo { source, codec: "any".into(), media, description: vec![] }
    }

    /// Sends media, sometimes of a track that is not its own, or not any more.
    fn stream(&mut self, number: usize, key: SessionKey) {
        let client = &self.clients[number];
        let theirs = client.roster.values().flat_map(|tracks| tracks.keys().copied());
        let other: Vec<_> = theirs.chain(client.old_tracks.iter().copied()).collect();
        let (own, room) = (client.tracks.clone(), client.room as u8);
        for _ in 0..self.dice.within(1..8) {
            let forged = self.dice.happens(100);
            let Some(track) = self.dice.pick(if forged { &other } else { &own }) else {
                continue;
            };
            // In one fragment, or in two.
            let canary =
                [&[room][..], &track.0.to_be_bytes()].concat().repeat(if self.dice.happens(200) { 240 } else { 1 });
            let audio_level = AudioLevel::new(self.dice.within(0..128) as u8);
            let keyframe = self.dice.happens(300);
            let (spatial_layer, temporal_layer) = (self.dice.within(0..2) as u8, self.dice.within(0..2) as u8);
            let number = (self.now_us / 1000) as u32;
            let frame = Frame {
                number,
                data: canary.into(),
                keyframe,
                spatial_layer,
                temporal_layer,
                audio_level,
                ..Frame::default()
            };
            for datagram in frame.datagrams(track).expect("it is small") {
                self.send_datagram(|| Event::MediaToRelay(key, datagram.bytes.clone()));
            }
        }
    }

    fn lose_something(&mut self, number: usize) {
        let theirs: Vec<_> = self.clients[number].roster.values().flat_map(|tracks| tracks.keys().copied()).collect();
        let (track, layer) = (self.dice.pick(&theirs).unwrap_or(TrackId(99)), self.layer());
        self.lose(number, track, layer);
    }

    /// Joins a second time while the first session lives.
    fn double(&mut self, number: usize) {
        let ticket = self.clients[number].ticket.clone();
        let with_identity = self.clients[number].identity.is_some() && self.dice.happens(300);
        if self.clients[number].plain {
            return;
        }
        self.count("doubled");
        self.begin_session(number, ticket.filter(|_| !with_identity));
    }

    /// All leave, and nobody comes for a while.
    fn go_home(&mut self, number: usize) {
        let room = self.clients[number].room;
        // Longer than a seat is kept.
        self.nights[room] = self.now_us + self.dice.within(45 * SECOND..2 * MINUTE);
        let sessions = self.clients.iter().filter(|client| client.room == room).filter_map(|client| client.session);
        for key in sessions.collect::<Vec<_>>() {
            self.send_up(key, Up::Control(ClientMessage::Leave));
        }
    }

    fn moderate(&mut self, number: usize, key: SessionKey) {
        let people: Vec<_> = self.clients[number].roster.keys().copied().collect();
        let tracks: Vec<_> = self.clients[number].roster.values().flat_map(|tracks| tracks.keys().copied()).collect();
        let participant = self.dice.pick(&people).unwrap_or(ParticipantId(99));
        let track = self.dice.pick(&tracks).unwrap_or(TrackId(99));
        let message = match self.dice.within(0..20) {
            0..6 => ClientMessage::RemoveParticipant { request: 7, participant },
            6..14 => ClientMessage::MuteTrack { request: 8, track },
            14..16 => ClientMessage::SetLocked { request: 9, locked: true },
            16..19 => ClientMessage::SetLocked { request: 9, locked: false },
            _ => ClientMessage::EndMeeting { request: 10 },
        };
        self.send_up(key, Up::Control(message));
    }
}

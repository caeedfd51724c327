use std::collections::BTreeMap;
use std::time::Duration;

use tertulia::limits::KEYFRAME_INTERVAL;
use tertulia::room::{Audience, Input, Output, Pressure};
use tertulia::wire::{Layers, ParticipantId, ServerMessage, TrackId};

use crate::model::rank;
use crate::world::{Event, LIMITS, World};

/// How long a microphone keeps its place of which nothing comes.
const ABSENT_TIME: Duration = Duration::from_millis(500);

/// What of which track is sent to whom.
pub type Sent = BTreeMap<(TrackId, ParticipantId), Option<Layers>>;

/// What is sent of what was asked for: as much as a path carries, and as the stage allows.
impl World {
    /// The path to somebody is too slow, now and so many times more.
    pub fn press(&mut self, client: usize, times: u64) {
        let Some((room, participant)) = self.clients[client].session.and_then(|key| self.speaks_for(key)) else {
            return;
        };
        let pressure = if self.dice.happens(500) { Pressure::High } else { Pressure::Low };
        self.handle(room, Input::Pressed { participant, pressure });
        self.count("pressed");
        if times > 0 && !self.calm {
            let pause = self.dice.within(100_000..900_000);
            self.after(pause, Event::Pressed(client, times - 1));
        }
    }

    /// Somebody speaks, at this look and at so many more.
    pub fn speak(&mut self, client: usize, times: u64) {
        let Some((room, participant)) = self.clients[client].session.and_then(|key| self.speaks_for(key)) else {
            return;
        };
        // Often somebody else does too.
        let others: Vec<_> = self.rooms[&room].members.keys().copied().filter(|id| *id != participant).collect();
        let other = self.dice.pick(&others).filter(|_| self.dice.happens(300));
        let participants: Vec<_> = [participant].into_iter().chain(other).collect();
        let before = self.rooms[&room].model.on_stage.clone();
        self.handle(room, Input::Speaking { participants: participants.clone() });
        if let Some(live) = self.rooms.get(&room) {
            let stays = |id: &&ParticipantId| participants.contains(id) || !before.contains(id);
            assert!(before.iter().filter(stays).all(|id| live.model.on_stage.contains(id)), "who speaks stays on it");
        }
        if times > 0 && !self.calm {
            self.after(250_000, Event::Speaking(client, times - 1));
        }
    }

    /// Something was left out on the way to somebody, who needs a keyframe.
    pub fn lose(&mut self, client: usize, track: TrackId, spatial_layer: u8) {
        if let Some((room, participant)) = self.clients[client].session.and_then(|key| self.speaks_for(key)) {
            self.handle(room, Input::KeyframeWanted { participant, track, spatial_layer });
            self.count("keyframes for one who lost something");
        }
    }

    pub fn sent(&self, room: usize) -> Sent {
        let tracks = self.rooms[&room].model.tracks.iter();
        tracks.flat_map(|(id, track)| track.subscribers.iter().map(|(who, its)| ((*id, *who), its.allowed))).collect()
    }

    /// Brings the model to what the room said that is sent.
    pub fn follow_sending(&mut self, room: usize, output: &Output) {
        let since_start = self.now().since_start;
        let model = &mut self.rooms.get_mut(&room).expect("it decided this").model;
        match output {
            // A way is opened anew: who is sent it is said after this.
            Output::RouteOpened { track, .. } => {
                model.track(*track).subscribers.values_mut().for_each(|its| its.allowed = None);
            }
            Output::Subscribed { track, subscriber, layers } => model.track(*track).begin(*subscriber, *layers),
            Output::LayersSet { track, subscriber, layers } => model.track(*track).allow(*subscriber, *layers),
            Output::Unsubscribed { track, subscriber } => model.track(*track).end(since_start, *subscriber),
            Output::Tell { to, message: ServerMessage::KeyframeRequested { track, spatial_layer } } => {
                let its = model.track(*track);
                assert_eq!(*to, Audience::One(its.publisher));
                assert!(its.is_video && *spatial_layer <= its.highest.spatial, "there is no such keyframe: {output:?}");
                let before = its.keyframe_asked_at.insert(*spatial_layer, since_start);
                let is_seldom = before.is_none_or(|before| before + KEYFRAME_INTERVAL <= since_start);
                assert!(is_seldom, "{before:?} {since_start:?}");
            }
            Output::Tell { to, message: ServerMessage::OnStage { participants } } => {
                if *to == Audience::Everyone {
                    model.on_stage.clone_from(participants);
                    self.count("on stage");
                } else {
                    assert_eq!(*participants, model.on_stage, "a newcomer is told what is so");
                }
            }
            _ => {}
        }
    }

    /// A slow path takes from its own participant alone, and time gives back in steps.
    pub fn check_steps(&mut self, room: usize, input: &Input, outputs: &[Output], before: &Sent) {
        // What changes for other reasons is another matter.
        let is_other =
            |output: &Output| matches!(output, Output::RouteHeld { .. } | Output::Away { .. } | Output::Left { .. });
        let changes: Vec<_> = self.sent(room).into_iter().filter(|(who, now)| before.get(who) != Some(now)).collect();
        match input {
            Input::Pressed { participant, .. } => {
                self.rooms.entry(room).and_modify(|live| {
                    live.model.people.entry(*participant).and_modify(|person| person.pressed = true);
                });
                for ((track, who), now) in changes {
                    assert_eq!(who, *participant, "it is the path of another one");
                    assert!(rank(now) < rank(before[&(track, who)]), "{who} is sent more of track {track}: {now:?}");
                }
            }
            Input::Timeout if !outputs.iter().any(is_other) => {
                for ((track, who), now) in changes {
                    let was = before[&(track, who)];
                    assert!(rank(now) > rank(was), "{who} is sent less of track {track}: {was:?}, {now:?}");
                    let (was, now) =
                        (was.map_or(-1, |was| i32::from(was.spatial)), now.map_or(-1, |now| i32::from(now.spatial)));
                    assert!(now <= was + 1, "{who} gets from rendition {was} of track {track} to {now} at once");
                    self.count("stepped up");
                }
            }
            _ => {}
        }
    }

    /// What is sent is what was asked for, but for what a path does not carry and who is not on the stage.
    pub fn check_sending(&self, room: usize) {
        let live = &self.rooms[&room];
        let model = &live.model;
        let places = LIMITS.last_videos as usize;
        let seen = model.seen();
        assert!(
            model.on_stage.len() <= places && model.on_stage.iter().all(|id| seen.contains(id)),
            "{:?}",
            model.on_stage
        );
        assert_eq!(model.on_stage.len(), places.min(seen.len()), "there are places");
        for (id, track) in &model.tracks {
            for (who, its) in &track.subscribers {
                assert!(its.asked, "{who} is subscribed to track {id} and did not ask for it");
                let person = &model.people[who];
                if person.here.is_none() {
                    assert_eq!(its.allowed, None, "{who} is away");
                    continue;
                }
                assert_eq!(live.room.sent_layers(*who, *id), its.allowed, "{who}, track {id}");
                assert!(
                    rank(its.allowed) <= rank(Some(its.wish)),
                    "{who} is sent more of {id} than it asked for: {its:?}"
                );
                if model.is_held(track, places, its) {
                    assert_eq!(its.allowed, None, "{who} is sent track {id}, whose publisher is not on the stage");
                } else if !track.is_video || !person.pressed {
                    assert_eq!(its.allowed, Some(its.wish), "{who} is kept from track {id}");
                }
            }
        }
    }

    /// Nobody is kept from anything by a path that has been good for a while.
    pub fn check_recovered(&self, room: usize) {
        let model = &self.rooms[&room].model;
        for (id, track) in &model.tracks {
            for (who, its) in track.subscribers.iter().filter(|(who, _)| model.people[who].here.is_some()) {
                let is_all = its.allowed == Some(its.wish) || model.is_held(track, LIMITS.last_videos as usize, its);
                assert!(is_all, "{who} is sent {:?} of track {id} and wishes {:?}", its.allowed, its.wish);
            }
        }
    }

    /// Notes that something of a track was passed on.
    pub fn note_passed_on(&mut self, room: usize, id: TrackId) {
        let now = self.now().since_start;
        let live = self.rooms.get_mut(&room).expect("it passed it on");
        live.model.tracks.get_mut(&id).expect("a track that is forwarded is there").passed_on_at = Some(now);
    }

    /// Somebody is not heard, or not seen: only because others are.
    pub fn check_not_selected(&mut self, room: usize, id: TrackId) {
        self.count("not selected");
        let now = self.now().since_start;
        let model = &self.rooms[&room].model;
        let track = &model.tracks[&id];
        if track.is_video {
            let places = LIMITS.last_videos as usize;
            let is_held = model.on_stage.len() == places && !model.on_stage.contains(&track.publisher);
            return assert!(is_held && track.is_staged(), "track {id} is left out, and there is a place");
        }
        let is_heard = |passed_on_at: Duration| passed_on_at + ABSENT_TIME > now;
        let others = model.tracks.iter().filter(|(other, _)| **other != id);
        let heard = others.filter(|(_, other)| !other.is_video && other.passed_on_at.is_some_and(is_heard)).count();
        assert!(heard >= LIMITS.loudest_audio as usize, "{id} is not heard, and there is a place: {heard} are");
    }
}

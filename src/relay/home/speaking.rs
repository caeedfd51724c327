//! Who speaks, as everyone in the room is told.

use std::rc::Rc;

use super::Home;
use crate::media::Speaking;
use crate::relay::post::ShardId;
use crate::relay::shard::Shard;
use crate::room::{Audience, Input, Output};
use crate::wire::ServerMessage;

impl Home {
    /// Somebody begins to speak.
    pub fn note_voice(&mut self, shard: &Rc<Shard>) {
        self.speakers.begin(shard.now());
        self.arm_timer(shard);
    }

    /// These speak on another shard now.
    pub fn note_voices(&mut self, shard: &Rc<Shard>, from: ShardId, speaking: Vec<Speaking>) {
        // What a part says whose last session has ended meanwhile is said by nobody.
        if self.span.shards().any(|on| on == from) {
            self.voices.insert(from, speaking);
            self.note_voice(shard);
        }
    }

    /// Tells everyone who speaks, if it is time and news.
    pub(super) fn tell_speakers(&mut self, shard: &Rc<Shard>) {
        let now = shard.now();
        if self.speakers.next_timeout().is_none_or(|due| due > now.since_start) {
            return;
        }
        let here = self.part.iter().flat_map(|part| part.borrow().speaking(now));
        let mut all: Vec<_> = here.chain(self.voices.values().flatten().copied()).collect();
        all.sort_by(|one, other| one.db.total_cmp(&other.db));
        let mut speaking = Vec::new();
        for participant in all.into_iter().filter_map(|voice| self.room.publisher(voice.track)) {
            // Somebody may have two microphones.
            if !speaking.contains(&participant) {
                speaking.push(participant);
            }
        }
        self.decide(shard, Input::Speaking { participants: speaking.clone() });
        if let Some(told) = self.speakers.look(now, speaking) {
            let message = ServerMessage::ActiveSpeakers { participants: told.to_vec() };
            self.carry_out(shard, Output::Tell { to: Audience::Everyone, message });
        }
    }
}

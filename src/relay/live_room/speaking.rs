//! Who speaks, as everyone in the room is told.

use std::rc::Rc;

use super::LiveRoom;
use crate::relay::outlet::Encoded;
use crate::relay::shard::Shard;
use crate::room::{Audience, Input};
use crate::wire::ServerMessage;

impl LiveRoom {
    /// Tells everyone who speaks, if it is time and news.
    pub(super) fn tell_speakers(&mut self, shard: &Rc<Shard>) {
        let now = shard.now();
        if self.speakers.next_timeout().is_none_or(|due| due > now.since_start) {
            return;
        }
        let mut speaking = Vec::new();
        for participant in self.routes.speaking(now).into_iter().filter_map(|track| self.room.publisher(track)) {
            // Somebody may have two microphones.
            if !speaking.contains(&participant) {
                speaking.push(participant);
            }
        }
        for output in self.room.handle(now, Input::Speaking { participants: speaking.clone() }) {
            self.apply(shard, output);
        }
        if let Some(told) = self.speakers.look(now, speaking) {
            let message = ServerMessage::ActiveSpeakers { participants: told.to_vec() };
            self.send(Audience::Everyone, &Encoded::control(&message));
        }
    }
}

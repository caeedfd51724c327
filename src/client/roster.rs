//! What the relay would have said of the others while nobody listened. Pure.

use std::collections::BTreeMap;

use crate::wire::{CloseReason, ParticipantId, ParticipantInfo, PublishedTrack, ServerMessage};

/// Everyone else in a room.
pub(super) type Roster = BTreeMap<ParticipantId, ParticipantInfo>;

/// What changed from one roster to the next, as messages: who and what is gone first. Why someone left is not known; it
/// counts as [`CloseReason::Left`].
///
/// Where ids do not mean the same in both (`same_ids`), everyone left and everyone joined.
pub(super) fn missed(before: &Roster, after: &Roster, same_ids: bool) -> Vec<ServerMessage> {
    let stayed = |(id, info): (&ParticipantId, &ParticipantInfo)| {
        let now = after.get(id).filter(|now| same_ids && is_same(info, now));
        (*id, now)
    };
    let mut gone = Vec::new();
    let mut come = Vec::new();
    for (participant, now) in before.iter().map(stayed) {
        match now {
            None => gone.push(ServerMessage::ParticipantLeft { participant, reason: CloseReason::Left }),
            Some(now) => compare_tracks(participant, &before[&participant].tracks, &now.tracks, &mut gone, &mut come),
        }
    }
    let is_new =
        |now: &&ParticipantInfo| !same_ids || before.get(&now.participant).is_none_or(|before| !is_same(before, now));
    let joined = after.values().filter(is_new).cloned().map(ServerMessage::ParticipantJoined);
    gone.into_iter().chain(joined).chain(come).collect()
}

fn is_same(before: &ParticipantInfo, after: &ParticipantInfo) -> bool {
    let who = |info: &ParticipantInfo| (info.name.clone(), info.identity.clone(), info.metadata.clone(), info.kind);
    who(before) == who(after)
}

fn compare_tracks(
    participant: ParticipantId,
    before: &[PublishedTrack],
    after: &[PublishedTrack],
    gone: &mut Vec<ServerMessage>,
    come: &mut Vec<ServerMessage>,
) {
    let find = |all: &[PublishedTrack], track| all.iter().position(|published| published.track == track);
    for PublishedTrack { track, .. } in before {
        if find(after, *track).is_none() {
            gone.push(ServerMessage::TrackUnpublished { participant, track: *track });
        }
    }
    for now in after {
        match find(before, now.track).map(|index| &before[index]) {
            None => come.push(ServerMessage::TrackPublished { participant, track: now.clone() }),
            Some(then) if then.muted != now.muted => {
                come.push(ServerMessage::TrackMuted { track: now.track, muted: now.muted });
            }
            Some(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{ParticipantKind, TrackId, TrackInfo, TrackMedia, TrackSource};

    fn track(id: u32, muted: bool) -> PublishedTrack {
        let media = TrackMedia::Audio { sample_rate: 48_000, channels: 1 };
        let info =
            TrackInfo { source: TrackSource::Microphone, codec: "opus".to_owned(), media, description: Vec::new() };
        PublishedTrack { track: TrackId(id), info, muted }
    }

    fn participant(id: u32, name: &str, tracks: Vec<PublishedTrack>) -> ParticipantInfo {
        ParticipantInfo {
            participant: ParticipantId(id),
            name: name.to_owned(),
            identity: None,
            metadata: String::new(),
            kind: ParticipantKind::Meeting,
            tracks,
        }
    }

    fn roster(all: impl IntoIterator<Item = ParticipantInfo>) -> Roster {
        all.into_iter().map(|info| (info.participant, info)).collect()
    }

    #[test]
    fn nothing_changed_is_nothing_to_tell() {
        let room = roster([participant(1, "Ana", vec![track(1, true)]), participant(2, "Bo", vec![])]);
        assert_eq!(missed(&room, &room, true), []);
    }

    #[test]
    fn what_changed_is_told_and_nothing_else() {
        let before = roster([
            participant(1, "Ana", vec![track(1, false), track(2, false), track(3, false)]),
            participant(2, "Bo", vec![track(4, false)]),
        ]);
        let cleo = participant(3, "Cleo", vec![track(6, false)]);
        let ana = participant(1, "Ana", vec![track(1, false), track(3, true), track(5, false)]);
        assert_eq!(
            missed(&before, &roster([ana, cleo.clone()]), true),
            [
                ServerMessage::TrackUnpublished { participant: ParticipantId(1), track: TrackId(2) },
                ServerMessage::ParticipantLeft { participant: ParticipantId(2), reason: CloseReason::Left },
                ServerMessage::ParticipantJoined(cleo),
                ServerMessage::TrackMuted { track: TrackId(3), muted: true },
                ServerMessage::TrackPublished { participant: ParticipantId(1), track: track(5, false) },
            ]
        );
    }

    #[test]
    fn who_is_called_otherwise_now_left_and_came_back() {
        let (ana, anna) = (participant(1, "Ana", vec![]), participant(1, "Anna", vec![]));
        let left = ServerMessage::ParticipantLeft { participant: ParticipantId(1), reason: CloseReason::Left };
        let expected = [left, ServerMessage::ParticipantJoined(anna.clone())];
        assert_eq!(missed(&roster([ana]), &roster([anna]), true), expected);
    }

    #[test]
    fn where_ids_mean_something_else_everyone_is_new() {
        let room = roster([participant(1, "Ana", vec![track(1, false)])]);
        assert_eq!(missed(&room, &room, false).len(), 2);
    }
}

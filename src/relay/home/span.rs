use std::collections::{BTreeMap, BTreeSet};

use crate::relay::part::Order;
use crate::relay::post::ShardId;
use crate::room::{Audience, Output, SessionKey};
use crate::wire::{ParticipantId, TrackId};

/// Which shards have a part in a room, and what each of them has to be told of what the room decides.
#[derive(Debug, Default)]
pub(super) struct Span {
    /// The shards of sessions that have not ended.
    sessions: BTreeMap<SessionKey, ShardId>,
    /// How many there are on each shard, of which there is at least one.
    shards: BTreeMap<ShardId, usize>,
    /// Where those are who can be reached.
    places: BTreeMap<ParticipantId, ShardId>,
    routes: BTreeMap<TrackId, Route>,
}

/// A way that is open, from its publisher's shard to those of its subscribers.
#[derive(Debug)]
struct Route {
    from: ShardId,
    opened: Output,
    muted: bool,
    held: bool,
    subscribers: BTreeMap<ShardId, BTreeSet<ParticipantId>>,
}

impl Span {
    /// A participant has come in by a session on this shard. Says whether that is the first one there.
    pub fn enter(&mut self, session: SessionKey, participant: ParticipantId, shard: ShardId) -> bool {
        self.sessions.insert(session, shard);
        self.places.insert(participant, shard);
        let sessions = self.shards.entry(shard).or_default();
        *sessions += 1;
        *sessions == 1
    }

    /// A session has ended. Gives its shard if it was the last one there.
    pub fn end(&mut self, session: SessionKey) -> Option<ShardId> {
        let shard = self.sessions.remove(&session)?;
        let sessions = self.shards.get_mut(&shard)?;
        *sessions -= 1;
        if *sessions > 0 {
            return None;
        }
        self.shards.remove(&shard);
        Some(shard)
    }

    /// The shards that have a part in it.
    pub fn shards(&self) -> impl Iterator<Item = ShardId> {
        self.shards.keys().copied()
    }

    /// What a part has to be told that begins now.
    pub fn routes(&self) -> Vec<Output> {
        let states = self.routes.iter().flat_map(|(track, route)| {
            let muted = route.muted.then_some(Output::RouteMuted { track: *track, muted: true });
            let held = route.held.then_some(Output::RouteHeld { track: *track, held: true });
            [Some(route.opened.clone()), muted, held]
        });
        states.flatten().collect()
    }

    /// Who is to carry out what the room has decided, and what that means there. What the home carries out by itself is for no part.
    pub fn spread(&mut self, output: Output) -> Vec<(ShardId, Order)> {
        match output {
            Output::Tell { to, .. } | Output::Chat { to, .. } => match to {
                Audience::One(participant) => self.to_place(participant, output),
                Audience::Everyone | Audience::EveryoneBut(_) => self.to_all(&output),
            },
            Output::Deliver { to, message } => {
                let deliver = |(shard, to)| (shard, Output::Deliver { to, message: message.clone() }.into());
                self.by_shard(to).into_iter().map(deliver).collect()
            }
            Output::Away { participant } | Output::Left { participant, .. } => {
                let shard = self.places.remove(&participant);
                shard.map(|shard| (shard, output.into())).into_iter().collect()
            }
            Output::RouteOpened { track, publisher, .. } => self.open(track, publisher, output),
            Output::RouteClosed { track } => {
                self.routes.remove(&track);
                self.to_all(&output)
            }
            Output::RouteMuted { track, muted } => {
                self.routes.entry(track).and_modify(|route| route.muted = muted);
                self.to_all(&output)
            }
            Output::RouteHeld { track, held } => {
                self.routes.entry(track).and_modify(|route| route.held = held);
                self.to_all(&output)
            }
            Output::Subscribed { track, subscriber, .. } => self.subscribe(track, subscriber, output),
            Output::Unsubscribed { track, subscriber } => self.unsubscribe(track, subscriber, output),
            Output::Replay { participant, .. }
            | Output::CaughtUp { participant, .. }
            | Output::MeasurementsWanted { participant, .. }
            | Output::Close { participant, .. }
            | Output::PictureWanted { subscriber: participant, .. }
            | Output::LayersSet { subscriber: participant, .. } => self.to_place(participant, output),
            Output::Admitted(_)
            | Output::Refused { .. }
            | Output::Store(_)
            | Output::Note(_)
            | Output::PassedOver(_) => Vec::new(),
        }
    }

    fn to_place(&self, participant: ParticipantId, output: Output) -> Vec<(ShardId, Order)> {
        self.places.get(&participant).map(|shard| (*shard, output.into())).into_iter().collect()
    }

    fn to_all(&self, output: &Output) -> Vec<(ShardId, Order)> {
        self.shards().map(|shard| (shard, output.clone().into())).collect()
    }

    fn by_shard(&self, participants: Vec<ParticipantId>) -> BTreeMap<ShardId, Vec<ParticipantId>> {
        let mut by_shard = BTreeMap::<_, Vec<_>>::new();
        for participant in participants {
            if let Some(shard) = self.places.get(&participant) {
                by_shard.entry(*shard).or_default().push(participant);
            }
        }
        by_shard
    }

    fn open(&mut self, track: TrackId, publisher: ParticipantId, output: Output) -> Vec<(ShardId, Order)> {
        let Some(from) = self.places.get(&publisher).copied() else {
            return Vec::new();
        };
        let orders = self.to_all(&output);
        let route = Route { from, opened: output, muted: false, held: false, subscribers: BTreeMap::new() };
        self.routes.insert(track, route);
        orders
    }

    /// The first subscriber on another shard than the publisher's opens the way there: what is kept of the track comes first.
    fn subscribe(&mut self, track: TrackId, subscriber: ParticipantId, output: Output) -> Vec<(ShardId, Order)> {
        let (Some(shard), Some(route)) = (self.places.get(&subscriber).copied(), self.routes.get_mut(&track)) else {
            return Vec::new();
        };
        let subscribers = route.subscribers.entry(shard).or_default();
        let is_first = subscribers.is_empty() && shard != route.from;
        subscribers.insert(subscriber);
        let subscribed = (shard, output.into());
        if !is_first {
            return vec![subscribed];
        }
        vec![(shard, Order::AwaitKept { track }), (route.from, Order::Link { track, to: shard }), subscribed]
    }

    fn unsubscribe(&mut self, track: TrackId, subscriber: ParticipantId, output: Output) -> Vec<(ShardId, Order)> {
        let mut orders = self.to_place(subscriber, output);
        let (Some((shard, _)), Some(route)) = (orders.first(), self.routes.get_mut(&track)) else {
            return orders;
        };
        let shard = *shard;
        if let Some(subscribers) = route.subscribers.get_mut(&shard) {
            subscribers.remove(&subscriber);
            if subscribers.is_empty() {
                route.subscribers.remove(&shard);
                orders.extend((shard != route.from).then_some((route.from, Order::Unlink { track, to: shard })));
            }
        }
        orders
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Layers, ServerMessage, TrackSource};

    const TRACK: TrackId = TrackId(7);
    const LAYERS: Layers = Layers { spatial: 0, temporal: 0 };

    /// Participants 1 and 2 are on shard 0, 3 and 4 on shard 1; 1 publishes.
    fn span() -> Span {
        let mut span = Span::default();
        for (number, shard) in [(1, 0), (2, 0), (3, 1), (4, 1)] {
            let is_first = span.enter(SessionKey(number), ParticipantId(number as u32), ShardId(shard));
            assert_eq!(is_first, number % 2 == 1);
        }
        span.spread(opened());
        span
    }

    fn opened() -> Output {
        let (publisher, source) = (ParticipantId(1), TrackSource::Camera);
        Output::RouteOpened { track: TRACK, publisher, highest: LAYERS, is_video: true, source }
    }

    fn subscribed(subscriber: u32) -> Output {
        Output::Subscribed { track: TRACK, subscriber: ParticipantId(subscriber), layers: LAYERS }
    }

    fn unsubscribed(subscriber: u32) -> Output {
        Output::Unsubscribed { track: TRACK, subscriber: ParticipantId(subscriber) }
    }

    fn told(to: Audience) -> Output {
        Output::Tell { to, message: ServerMessage::Done { request: 1 } }
    }

    fn on(shard: usize, output: Output) -> (ShardId, Order) {
        (ShardId(shard), output.into())
    }

    #[test]
    fn one_is_told_where_it_is_and_all_everywhere() {
        let mut span = span();
        let one = told(Audience::One(ParticipantId(3)));
        assert_eq!(span.spread(one.clone()), [on(1, one.clone())]);
        let all = told(Audience::EveryoneBut(ParticipantId(3)));
        assert_eq!(span.spread(all.clone()), [on(0, all.clone()), on(1, all)]);
        let away = Output::Away { participant: ParticipantId(3) };
        assert_eq!(span.spread(away.clone()), [on(1, away)]);
        assert_eq!(span.spread(one), []);
    }

    #[test]
    fn the_first_subscriber_on_another_shard_opens_the_way_and_the_last_one_closes_it() {
        let mut span = span();
        assert_eq!(span.spread(subscribed(2)), [on(0, subscribed(2))], "the publisher's own shard needs no way");
        let link = (ShardId(0), Order::Link { track: TRACK, to: ShardId(1) });
        let awaited = (ShardId(1), Order::AwaitKept { track: TRACK });
        assert_eq!(span.spread(subscribed(3)), [awaited, link, on(1, subscribed(3))]);
        assert_eq!(span.spread(subscribed(4)), [on(1, subscribed(4))]);
        assert_eq!(span.spread(unsubscribed(3)), [on(1, unsubscribed(3))]);
        let unlink = (ShardId(0), Order::Unlink { track: TRACK, to: ShardId(1) });
        assert_eq!(span.spread(unsubscribed(4)), [on(1, unsubscribed(4)), unlink]);
        assert_eq!(span.spread(unsubscribed(2)), [on(0, unsubscribed(2))]);
    }

    #[test]
    fn a_part_that_begins_later_is_told_of_the_routes_as_they_are() {
        let mut span = span();
        span.spread(Output::RouteMuted { track: TRACK, muted: true });
        assert_eq!(span.routes(), [opened(), Output::RouteMuted { track: TRACK, muted: true }]);
        span.spread(Output::RouteClosed { track: TRACK });
        assert_eq!(span.routes(), []);
    }

    #[test]
    fn a_shard_is_part_of_it_until_its_last_session_has_ended() {
        let mut span = span();
        assert_eq!([1, 1, 3, 4].map(|session| span.end(SessionKey(session))), [None, None, None, Some(ShardId(1))]);
        assert_eq!(span.shards().collect::<Vec<_>>(), [ShardId(0)]);
    }
}

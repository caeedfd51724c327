use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::time::Duration;

use super::patience::Patience;
use crate::limits::{KEYFRAME_ABOVE_INTERVAL, LAYERS_MAX, REPORT_LIFETIME};
use crate::now::Now;
use crate::wire::{Layers, ParticipantId, TrackReport};

/// Who is subscribed to a track, and what of it they take.
#[derive(Debug, Default)]
pub(super) struct Subscribers {
    all: BTreeMap<ParticipantId, Subscription>,
    /// How many of those who are here take each rendition.
    by_spatial: [u32; LAYERS_MAX as usize],
    /// How many of those who are here take temporal layers up to each.
    by_temporal: [u32; LAYERS_MAX as usize],
}

#[derive(Debug)]
struct Subscription {
    /// What it chose.
    wished: Layers,
    /// What of that its path carries; `None`: nothing.
    sent: Option<Layers>,
    /// Whether it wants it in any case, and not only when everyone gets it.
    chosen: bool,
    /// Whether it can be reached: others keep their choice and take nothing.
    is_here: bool,
    /// With its requests for keyframes of the rendition that it is sent; and with its changes from one to another, each of which
    /// needs one, and may need one of the rendition that goes on meanwhile.
    asking: Patience,
    changing: Patience,
    /// When it last asked for a keyframe of a rendition above what it is sent.
    asked_above: Option<Duration>,
    /// What it said last, and when.
    report: Option<(Duration, TrackReport)>,
}

/// What of a track somebody takes. The default is nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Bit i stands for rendition i.
    pub spatial_layers: u8,
    /// The highest that anybody takes.
    pub temporal_layer: u8,
}

impl Subscription {
    /// Of one that is sent all that it chose.
    fn new(wished: Layers, is_here: bool) -> Self {
        let (asking, changing) = (Patience::default(), Patience::default());
        Self { wished, sent: Some(wished), chosen: false, is_here, asking, changing, asked_above: None, report: None }
    }
}

impl Subscribers {
    /// One more, that chose and is sent all of these layers.
    pub fn insert(&mut self, id: ParticipantId, wished: Layers, is_here: bool) {
        self.remove(id);
        self.all.insert(id, Subscription::new(wished, is_here));
        self.count(Some(wished), is_here, 1);
    }

    /// Says whether it was one.
    pub fn remove(&mut self, id: ParticipantId) -> bool {
        let Some(gone) = self.all.remove(&id) else {
            return false;
        };
        self.count(gone.sent, gone.is_here, -1);
        true
    }

    pub fn contains(&self, id: ParticipantId) -> bool {
        self.all.contains_key(&id)
    }

    /// What it chose.
    pub fn wished(&self, id: ParticipantId) -> Option<Layers> {
        self.all.get(&id).map(|subscription| subscription.wished)
    }

    /// Whether it wants it in any case.
    pub fn is_chosen(&self, id: ParticipantId) -> bool {
        self.all.get(&id).is_some_and(|subscription| subscription.chosen)
    }

    /// Whether one that is subscribed wants it in any case.
    pub fn set_chosen(&mut self, id: ParticipantId, chosen: bool) {
        if let Some(subscription) = self.all.get_mut(&id) {
            subscription.chosen = chosen;
        }
    }

    /// What it is sent.
    pub fn sent(&self, id: ParticipantId) -> Option<Layers> {
        self.all.get(&id).and_then(|subscription| subscription.sent)
    }

    /// Of which rendition a keyframe is asked for when a subscriber asks for one of this rendition, if it does not do so too often.
    pub fn asks_for(&mut self, now: Now, id: ParticipantId, spatial_layer: u8) -> Option<u8> {
        let subscription = self.all.get_mut(&id)?;
        let may_ask = match spatial_layer.cmp(&subscription.sent?.spatial) {
            Ordering::Less => subscription.changing.take(now),
            Ordering::Equal => subscription.asking.take(now),
            Ordering::Greater => true,
        };
        if may_ask { self.needs(now, id, spatial_layer) } else { None }
    }

    /// Whether a keyframe is asked for because a subscriber has chosen another rendition: not if it does so too often. It asks for one
    /// then as long as it waits.
    pub fn may_change(&mut self, now: Now, id: ParticipantId) -> bool {
        self.all.get_mut(&id).is_some_and(|subscription| subscription.changing.take(now))
    }

    /// Of which rendition a keyframe is asked for when a subscriber needs one of this rendition. One that is above what it is sent was
    /// chosen and does not come, or stands for whatever does.
    pub fn needs(&mut self, now: Now, id: ParticipantId, spatial_layer: u8) -> Option<u8> {
        let subscription = self.all.get_mut(&id)?;
        let sent = subscription.sent?.spatial;
        if spatial_layer <= sent {
            return Some(spatial_layer);
        }
        let is_late = subscription.asked_above.is_none_or(|asked| asked + KEYFRAME_ABOVE_INTERVAL <= now.since_start);
        is_late.then(|| {
            subscription.asked_above = Some(now.since_start);
            sent
        })
    }

    pub fn ids(&self) -> impl Iterator<Item = ParticipantId> {
        self.all.keys().copied()
    }

    /// Those who can be reached.
    pub fn ids_here(&self) -> impl Iterator<Item = ParticipantId> {
        self.all.iter().filter(|(_, subscription)| subscription.is_here).map(|(id, _)| *id)
    }

    /// Those who can be reached and are sent something, and what.
    pub fn here(&self) -> impl Iterator<Item = (ParticipantId, Layers)> {
        let here = self.all.iter().filter(|(_, subscription)| subscription.is_here);
        here.filter_map(|(id, its)| Some((*id, its.sent?)))
    }

    /// Chooses, for one that is subscribed. What it is sent is another matter.
    pub fn set_wished(&mut self, id: ParticipantId, layers: Layers) {
        if let Some(subscription) = self.all.get_mut(&id) {
            subscription.wished = layers;
        }
    }

    /// What one that is subscribed is sent.
    pub fn set_sent(&mut self, id: ParticipantId, layers: Option<Layers>) {
        if let Some(subscription) = self.all.get_mut(&id) {
            let (before, is_here) = (std::mem::replace(&mut subscription.sent, layers), subscription.is_here);
            self.count(before, is_here, -1);
            self.count(layers, is_here, 1);
        }
    }

    /// A subscriber can be reached from now on, or cannot. Its reports are old then in either case, and what its path carries is
    /// not known.
    pub fn set_here(&mut self, id: ParticipantId, is_here: bool) {
        if let Some(subscription) = self.all.get_mut(&id) {
            let Subscription { wished, sent, chosen, is_here: was_here, .. } = *subscription;
            *subscription = Subscription { chosen, ..Subscription::new(wished, is_here) };
            self.count(sent, was_here, -1);
            self.count(Some(wished), is_here, 1);
        }
    }

    pub fn wanted(&self) -> Wanted {
        let spatial = (0..).zip(self.by_spatial).filter(|(_, count)| *count > 0);
        let temporal_layer = self.by_temporal.iter().rposition(|count| *count > 0).unwrap_or(0) as u8;
        Wanted { spatial_layers: spatial.fold(0, |bits, (layer, _)| bits | 1 << layer), temporal_layer }
    }

    /// Keeps what a subscriber says. Says whether it is one.
    pub fn note_report(&mut self, now: Now, id: ParticipantId, report: TrackReport) -> bool {
        let subscription = self.all.get_mut(&id).filter(|subscription| subscription.is_here);
        subscription.map(|subscription| subscription.report = Some((now.since_start, report))).is_some()
    }

    /// What the subscribers said lately.
    pub fn reports(&self, now: Now) -> impl Iterator<Item = TrackReport> {
        let reports = self.all.values().filter_map(|subscription| subscription.report);
        reports.filter(move |(at, _)| *at + REPORT_LIFETIME > now.since_start).map(|(_, report)| report)
    }

    fn count(&mut self, layers: Option<Layers>, is_here: bool, change: i32) {
        if let Some(layers) = layers.filter(|_| is_here) {
            for count in
                [&mut self.by_spatial[usize::from(layers.spatial)], &mut self.by_temporal[usize::from(layers.temporal)]]
            {
                *count = count.wrapping_add_signed(change);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn layers(spatial: u8, temporal: u8) -> Layers {
        Layers { spatial, temporal }
    }

    fn wanted(subscribers: &Subscribers) -> (u8, u8) {
        let Wanted { spatial_layers, temporal_layer } = subscribers.wanted();
        (spatial_layers, temporal_layer)
    }

    #[test]
    fn what_is_wanted_is_what_those_who_are_here_take() {
        let [ana, ben] = [1, 2].map(ParticipantId);
        let mut subscribers = Subscribers::default();
        assert_eq!(wanted(&subscribers), (0, 0));
        subscribers.insert(ana, layers(2, 1), true);
        subscribers.insert(ben, layers(0, 2), false);
        assert_eq!(wanted(&subscribers), (0b100, 1));
        subscribers.set_here(ben, true);
        subscribers.set_here(ben, true);
        assert_eq!(wanted(&subscribers), (0b101, 2));
        subscribers.set_wished(ben, layers(1, 0));
        assert_eq!(wanted(&subscribers), (0b101, 2), "it is not sent that yet");
        subscribers.set_sent(ben, Some(layers(1, 0)));
        assert_eq!(wanted(&subscribers), (0b110, 1));
        subscribers.set_here(ana, false);
        assert_eq!(wanted(&subscribers), (0b010, 0));
        subscribers.set_sent(ana, Some(layers(2, 2)));
        assert_eq!(wanted(&subscribers), (0b010, 0), "she is away");
        subscribers.set_sent(ben, None);
        assert_eq!(wanted(&subscribers), (0, 0), "what is paused is not wanted");
        assert!(subscribers.remove(ben) && !subscribers.remove(ben) && subscribers.remove(ana));
        assert_eq!(wanted(&subscribers), (0, 0));
    }
}

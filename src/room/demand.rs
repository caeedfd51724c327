use std::time::Duration;

use super::subscribers::Wanted;
use crate::limits::{LAYER_HOLD_TIME, LAYERS_MAX};
use crate::now::Now;

/// What of a track its publisher is to send: the layers that somebody takes, and for a while those that somebody took.
///
/// Whoever changes to another rendition is sent the one before until a keyframe of the other begins, and what is not sent to
/// anybody now may be a moment later. So layers open at once, and close when nobody has taken them for [`LAYER_HOLD_TIME`]: however
/// often subscribers choose, an encoder begins anew once in that time at the most.
#[derive(Debug, Default)]
pub(super) struct Demand {
    /// Bit i stands for rendition i.
    spatial: Held,
    /// Those of all renditions, with all below them.
    temporal: Held,
    /// What the publisher believes.
    told: Wanted,
}

/// A set of layers as bits, in which those that are taken out stay for a while.
#[derive(Debug, Default)]
struct Held {
    taken: u8,
    /// Of those that are not taken any more.
    until: [Option<Duration>; LAYERS_MAX as usize],
}

impl Demand {
    /// This is taken now.
    pub fn note(&mut self, now: Now, taken: Wanted) {
        self.spatial.note(now, taken.spatial_layers);
        self.temporal.note(now, temporal_layers(taken));
    }

    /// What the publisher is to be told now, if it is news.
    pub fn take_news(&mut self) -> Option<Wanted> {
        let wanted = self.wanted();
        (std::mem::replace(&mut self.told, wanted) != wanted).then_some(wanted)
    }

    /// Begins anew with this: nothing has reached anybody for a while. The publisher is told.
    pub fn begin_again(&mut self, now: Now, taken: Wanted) {
        *self = Self { told: taken, ..Self::default() };
        self.note(now, taken);
    }

    /// When [`Demand::note`] is due although nothing else has changed.
    pub fn next_timeout(&self) -> Option<Duration> {
        [&self.spatial, &self.temporal].into_iter().flat_map(|held| held.until.iter().flatten()).min().copied()
    }

    fn wanted(&self) -> Wanted {
        let temporal_layer = self.temporal.bits().checked_ilog2().unwrap_or(0) as u8;
        Wanted { spatial_layers: self.spatial.bits(), temporal_layer }
    }
}

impl Held {
    fn note(&mut self, now: Now, taken: u8) {
        for (layer, until) in self.until.iter_mut().enumerate() {
            let is_in = |bits: u8| bits & 1 << layer != 0;
            match (is_in(self.taken), is_in(taken)) {
                (_, true) => *until = None,
                (true, false) => *until = Some(now.since_start + LAYER_HOLD_TIME),
                (false, false) => *until = until.filter(|until| *until > now.since_start),
            }
        }
        self.taken = taken;
    }

    fn bits(&self) -> u8 {
        let held = (0..).zip(&self.until).filter(|(_, until)| until.is_some());
        held.fold(self.taken, |bits, (layer, _)| bits | 1 << layer)
    }
}

fn temporal_layers(taken: Wanted) -> u8 {
    let above = LAYERS_MAX - 1 - taken.temporal_layer.min(LAYERS_MAX - 1);
    if taken.spatial_layers == 0 { 0 } else { u8::MAX >> above }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Now {
        Now::after(Duration::from_millis(ms))
    }

    /// What is told when this is taken at a time.
    fn news(demand: &mut Demand, ms: u64, spatial_layers: u8, temporal_layer: u8) -> Option<(u8, u8)> {
        demand.note(at(ms), Wanted { spatial_layers, temporal_layer });
        demand.take_news().map(|wanted| (wanted.spatial_layers, wanted.temporal_layer))
    }

    #[test]
    fn layers_open_at_once_and_close_when_nobody_has_taken_them_for_a_while() {
        let mut demand = Demand::default();
        for (ms, taken, told, due_ms) in [
            (0, (0, 0), None, None),
            (0, (0b100, 2), Some((0b100, 2)), None),
            (100, (0b010, 2), Some((0b110, 2)), Some(2100)),
            (1000, (0b010, 0), None, Some(2100)),
            (2099, (0b010, 0), None, Some(2100)),
            (2100, (0b010, 0), Some((0b010, 2)), Some(3000)),
            (3000, (0b010, 0), Some((0b010, 0)), None),
            (4000, (0b010, 7), Some((0b010, 7)), None),
            (5000, (0, 0), None, Some(7000)),
            (7000, (0, 0), Some((0, 0)), None),
        ] {
            assert_eq!(news(&mut demand, ms, taken.0, taken.1), told, "{taken:?} at {ms} ms");
            assert_eq!(demand.next_timeout().map(|due| due.as_millis()), due_ms, "{taken:?} at {ms} ms");
        }
    }

    #[test]
    fn whoever_chooses_again_and_again_opens_and_closes_nothing() {
        let mut demand = Demand::default();
        let told = (0..30_000).step_by(20).filter_map(|ms| {
            let (spatial_layers, temporal_layer) = if ms / 20 % 2 == 0 { (0b01, 0) } else { (0b10, 2) };
            news(&mut demand, ms, spatial_layers, temporal_layer)
        });
        assert_eq!(told.collect::<Vec<_>>(), [(0b01, 0), (0b11, 2)]);
    }

    #[test]
    fn a_publisher_that_was_away_begins_with_what_is_taken() {
        let mut demand = Demand::default();
        news(&mut demand, 0, 0b100, 2);
        demand.begin_again(at(100), Wanted { spatial_layers: 0b001, temporal_layer: 1 });
        assert_eq!((demand.next_timeout(), news(&mut demand, 100, 0b001, 1)), (None, None));
        assert_eq!(news(&mut demand, 200, 0b010, 1), Some((0b011, 1)));
    }
}

use std::cell::{Cell, RefCell};

use super::Slot;
use super::arrivals::Progress;
use super::copies::Copies;
use super::recent_pictures::RecentPictures;
use crate::limits::LAYERS_MAX;

/// Who gets one rendition of a track.
///
/// Those who take more temporal layers stand before those who take fewer, so that each temporal layer goes to a front part of
/// one list, and two layers that the same subscribers take go to the same part.
#[derive(Debug, Default)]
pub(super) struct Rendition {
    takers: Vec<Slot>,
    /// For each temporal layer, how many of `takers` get it.
    counts: [usize; LAYERS_MAX as usize],
    /// Who changes to this rendition when a keyframe of it begins, and up to which temporal layer.
    awaiting: Vec<(Slot, u8)>,
    /// Of what is kept. These are in cells, because those who get a datagram stay borrowed while the next one is looked at.
    pub copies: RefCell<Copies>,
    /// Of video.
    pub pictures: Option<RefCell<RecentPictures>>,
    /// How far it has come.
    pub progress: Cell<Progress>,
}

impl Rendition {
    /// Who gets a temporal layer.
    pub fn takers(&self, temporal_layer: u8) -> &[Slot] {
        &self.takers[..self.counts[index(temporal_layer)]]
    }

    /// Whether somebody changes to this rendition when a keyframe of it begins.
    pub fn is_awaited(&self) -> bool {
        !self.awaiting.is_empty()
    }

    /// The highest temporal layer that `slot` gets of it, if it gets any.
    pub fn highest(&self, slot: Slot) -> Option<u8> {
        let position = self.takers.iter().position(|taker| *taker == slot)?;
        self.counts.iter().rposition(|count| *count > position).map(|layer| layer as u8)
    }

    /// `slot` gets it from now on.
    pub fn add(&mut self, slot: Slot, temporal_layer: u8) {
        let highest = index(temporal_layer);
        self.takers.insert(self.counts[highest], slot);
        self.counts[..=highest].iter_mut().for_each(|count| *count += 1);
    }

    /// `slot` gets all of it from now on, and stands before those that are [added](Self::add).
    pub fn add_first(&mut self, slot: Slot) {
        self.takers.insert(0, slot);
        self.counts.iter_mut().for_each(|count| *count += 1);
    }

    /// `slot` gets it no longer. Says whether it did.
    pub fn remove(&mut self, slot: Slot) -> bool {
        let Some(position) = self.takers.iter().position(|taker| *taker == slot) else {
            return false;
        };
        self.takers.remove(position);
        self.counts.iter_mut().filter(|count| **count > position).for_each(|count| *count -= 1);
        true
    }

    /// `slot` changes to it when a keyframe begins.
    pub fn await_keyframe(&mut self, slot: Slot, temporal_layer: u8) {
        self.awaiting.push((slot, temporal_layer));
    }

    /// `slot` does not change to it.
    pub fn forget(&mut self, slot: Slot) {
        self.awaiting.retain(|(other, _)| *other != slot);
    }

    /// Those who change to it now: a keyframe begins.
    pub fn take_awaiting(&mut self) -> Vec<(Slot, u8)> {
        std::mem::take(&mut self.awaiting)
    }
}

fn index(temporal_layer: u8) -> usize {
    usize::from(temporal_layer.min(LAYERS_MAX - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendition(takers: &[(u32, u8)]) -> Rendition {
        let mut rendition = Rendition::default();
        takers.iter().for_each(|(slot, temporal_layer)| rendition.add(Slot(*slot), *temporal_layer));
        rendition
    }

    fn takers(rendition: &Rendition) -> [Vec<u32>; 3] {
        [0, 1, 2].map(|layer| rendition.takers(layer).iter().map(|slot| slot.0).collect())
    }

    #[test]
    fn each_temporal_layer_goes_to_those_who_take_it() {
        let mut rendition = rendition(&[(1, 0), (2, 2), (3, 1), (4, 2), (5, 0)]);
        assert_eq!(takers(&rendition), [vec![2, 4, 3, 1, 5], vec![2, 4, 3], vec![2, 4]]);
        assert!(rendition.remove(Slot(2)) && !rendition.remove(Slot(2)));
        assert_eq!(takers(&rendition), [vec![4, 3, 1, 5], vec![4, 3], vec![4]]);
        assert!(rendition.remove(Slot(1)));
        assert_eq!(takers(&rendition), [vec![4, 3, 5], vec![4, 3], vec![4]]);
    }

    #[test]
    fn who_is_to_stand_first_does() {
        let mut rendition = rendition(&[(1, 7), (2, 0)]);
        rendition.add_first(Slot(3));
        rendition.add(Slot(4), 7);
        assert_eq!(takers(&rendition), [vec![3, 1, 4, 2], vec![3, 1, 4], vec![3, 1, 4]]);
        assert_eq!((rendition.highest(Slot(3)), rendition.remove(Slot(3))), (Some(7), true));
        assert_eq!(takers(&rendition), [vec![1, 4, 2], vec![1, 4], vec![1, 4]]);
    }

    #[test]
    fn layers_that_the_same_subscribers_take_go_to_one_list() {
        let rendition = rendition(&[(1, 2), (2, 2)]);
        assert!(std::ptr::eq(rendition.takers(0), rendition.takers(2)));
    }

    #[test]
    fn a_layer_beyond_the_highest_is_the_highest() {
        assert_eq!(rendition(&[(1, u8::MAX)]).takers(LAYERS_MAX - 1), [Slot(1)]);
        assert_eq!(rendition(&[(1, 7)]).takers(u8::MAX), [Slot(1)]);
    }
}

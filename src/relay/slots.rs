use std::mem::replace;

use crate::media::Slot;

/// Numbers for what is looked up on the media path, given again only when nothing can come under them any more.
///
/// Two hold a number, each until it lets go of it, in either order: what is [there](Self::vacate), to which ways of media lead, and the
/// [session](Self::free) that sends under it. Where a room's home is on another shard, a session has ended before the ways to it
/// are closed.
#[derive(Debug)]
pub(super) struct Slots<T>(Vec<State<T>>);

#[derive(Debug)]
enum State<T> {
    Free,
    Taken(T),
    /// Nothing is there any more, but something may still come under this number.
    Vacant,
    /// Nothing comes under this number any more, but ways still lead to what is there.
    Ended(T),
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Slots<T> {
    pub fn take(&mut self, value: T) -> Slot {
        let free = self.0.iter().position(|state| matches!(state, State::Free)).unwrap_or_else(|| {
            self.0.push(State::Free);
            self.0.len() - 1
        });
        self.0[free] = State::Taken(value);
        Slot(u32::try_from(free).expect("a room has far fewer than 2^32 sessions"))
    }

    pub fn get(&self, slot: Slot) -> Option<&T> {
        match self.0.get(slot.0 as usize) {
            Some(State::Taken(value) | State::Ended(value)) => Some(value),
            _ => None,
        }
    }

    /// No way leads there any more.
    pub fn vacate(&mut self, slot: Slot) {
        self.change(slot, |state| match state {
            State::Taken(_) => State::Vacant,
            State::Ended(_) => State::Free,
            other => other,
        });
    }

    /// Its session has ended.
    pub fn free(&mut self, slot: Slot) {
        self.change(slot, |state| match state {
            State::Taken(value) => State::Ended(value),
            State::Vacant => State::Free,
            other => other,
        });
    }

    fn change(&mut self, slot: Slot, change: impl FnOnce(State<T>) -> State<T>) {
        let state = &mut self.0[slot.0 as usize];
        *state = change(replace(state, State::Free));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_given_again_when_both_have_let_go_of_it_and_not_before() {
        let mut slots = Slots::default();
        assert_eq!([slots.take('a'), slots.take('b')], [Slot(0), Slot(1)]);
        slots.vacate(Slot(0));
        assert_eq!((slots.get(Slot(0)), slots.get(Slot(1)), slots.get(Slot(9))), (None, Some(&'b'), None));
        assert_eq!(slots.take('c'), Slot(2));
        slots.free(Slot(0));
        assert_eq!((slots.take('d'), slots.get(Slot(0))), (Slot(0), Some(&'d')));
    }

    #[test]
    fn who_comes_after_a_session_has_ended_does_not_get_the_number_while_ways_lead_to_it() {
        let mut slots = Slots::default();
        let ana = slots.take('a');
        slots.free(ana);
        assert_eq!(slots.get(ana), Some(&'a'), "ways lead there");
        let ben = slots.take('b');
        slots.vacate(ana);
        assert_eq!((slots.get(ana), slots.get(ben)), (None, Some(&'b')), "what is there of another is as it was");
    }

    #[test]
    fn who_comes_and_goes_leaves_no_number_behind_in_either_order() {
        let mut slots = Slots::default();
        slots.take('a');
        for let_go in [[Slots::free, Slots::vacate], [Slots::vacate, Slots::free]] {
            for _ in 0..3 {
                let [one, other] = ['b', 'c'].map(|guest| slots.take(guest));
                assert_eq!([one, other], [Slot(1), Slot(2)]);
                [one, other].iter().for_each(|slot| let_go.iter().for_each(|let_go| let_go(&mut slots, *slot)));
            }
        }
    }
}

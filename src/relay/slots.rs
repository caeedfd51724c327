use crate::media::Slot;

/// Numbers for what is looked up on the media path, given again only when nothing can come under them any more.
#[derive(Debug)]
pub(super) struct Slots<T>(Vec<State<T>>);

#[derive(Debug)]
enum State<T> {
    Free,
    Taken(T),
    /// Nothing is there any more, but something may still come under this number.
    Vacant,
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
            Some(State::Taken(value)) => Some(value),
            _ => None,
        }
    }

    pub fn vacate(&mut self, slot: Slot) {
        self.0[slot.0 as usize] = State::Vacant;
    }

    pub fn free(&mut self, slot: Slot) {
        self.0[slot.0 as usize] = State::Free;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_given_again_when_it_is_free_and_not_before() {
        let mut slots = Slots::default();
        assert_eq!([slots.take('a'), slots.take('b')], [Slot(0), Slot(1)]);
        slots.vacate(Slot(0));
        assert_eq!((slots.get(Slot(0)), slots.get(Slot(1)), slots.get(Slot(9))), (None, Some(&'b'), None));
        assert_eq!(slots.take('c'), Slot(2));
        slots.free(Slot(0));
        assert_eq!((slots.take('d'), slots.get(Slot(0))), (Slot(0), Some(&'d')));
    }
}

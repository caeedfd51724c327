use std::ops::RangeInclusive;

/// Looks for the largest size that holds: twice as large each time until one does not, then between the two.
#[derive(Debug, Clone)]
pub struct Search {
    smallest: u32,
    largest: u32,
    /// The largest that held.
    held: Option<u32>,
    /// The smallest that did not.
    failed: Option<u32>,
}

impl Search {
    /// The last size that is tried is no further from one that failed than this part of it.
    const PRECISION: u32 = 16;

    /// Looks among these sizes, beginning with the smallest.
    pub fn among(sizes: RangeInclusive<u32>) -> Self {
        Self { smallest: *sizes.start(), largest: *sizes.end(), held: None, failed: None }
    }

    /// The size to try next; `None`: [`Search::found`] has the answer.
    pub fn next_size(&self) -> Option<u32> {
        match (self.held, self.failed) {
            (None, None) => Some(self.smallest),
            // The smallest one does not hold.
            (None, Some(_)) => None,
            (Some(held), None) => Some(held.saturating_mul(2).min(self.largest)).filter(|next| *next > held),
            (Some(held), Some(failed)) => {
                let gap = failed - held;
                (gap > 1 && gap > held / Self::PRECISION).then_some(held + gap / 2)
            }
        }
    }

    /// Notes whether a size holds.
    pub fn note(&mut self, size: u32, holds: bool) {
        if holds {
            self.held = self.held.max(Some(size));
        } else {
            self.failed = Some(self.failed.map_or(size, |failed| failed.min(size)));
        }
    }

    /// The largest size that held.
    pub fn found(&self) -> Option<u32> {
        self.held
    }

    /// Whether a larger one was tried and did not hold: otherwise the bounds ended the search.
    pub fn is_limit(&self) -> bool {
        self.failed.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sizes that are tried where everything up to `limit` holds, and what is found.
    fn tried(sizes: RangeInclusive<u32>, limit: u32) -> (Vec<u32>, Option<u32>) {
        let mut search = Search::among(sizes);
        let mut tried = Vec::new();
        while let Some(size) = search.next_size() {
            tried.push(size);
            search.note(size, size <= limit);
        }
        (tried, search.found())
    }

    #[test]
    fn it_doubles_and_then_halves() {
        assert_eq!(tried(10..=1000, 100), (vec![10, 20, 40, 80, 160, 120, 100, 110, 105], Some(100)));
        assert_eq!(tried(1..=1000, 1), (vec![1, 2], Some(1)));
        assert_eq!(tried(1..=1000, 5), (vec![1, 2, 4, 8, 6, 5], Some(5)));
    }

    #[test]
    fn bounds_end_it() {
        assert_eq!(tried(10..=1000, 9), (vec![10], None));
        assert_eq!(tried(10..=30, 1000), (vec![10, 20, 30], Some(30)));
        assert_eq!(tried(10..=10, 1000), (vec![10], Some(10)));
    }

    #[test]
    fn what_is_found_is_near_what_fails_and_soon_found() {
        for limit in 1..=5000 {
            let (tried, found) = tried(1..=5000, limit);
            let found = found.unwrap();
            assert!(found <= limit && limit - found <= found / Search::PRECISION, "{limit}: {found}");
            assert!(tried.len() < 20, "{limit}: {tried:?}");
        }
    }
}

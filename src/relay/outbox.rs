use std::cell::RefCell;
use std::collections::VecDeque;

use tokio::sync::Notify;

/// For how many items there is room while nothing waits. A newcomer's roster is long, and comes once.
const ITEMS_KEPT: usize = 16;

/// What waits to be sent on one stream, bounded in bytes and count.
///
/// It belongs to one participant: when it is full, that participant is too slow, and nobody else waits.
#[derive(Debug)]
pub(super) struct Outbox<T> {
    queue: RefCell<Queue<T>>,
    ready: Notify,
    /// The last item has been taken out, or the last one that is not counted.
    emptied: Notify,
    bytes_max: usize,
    items_max: usize,
}

#[derive(Debug)]
struct Queue<T> {
    items: VecDeque<Item<T>>,
    /// Bytes and count of the items that are bounded.
    bytes: usize,
    count: usize,
    /// Bytes of the others.
    uncounted_bytes: usize,
    closed: bool,
}

#[derive(Debug)]
struct Item<T> {
    value: T,
    bytes: usize,
    /// Whether it counts against the bound.
    is_counted: bool,
}

/// The outbox took no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full;

impl<T> Outbox<T> {
    pub fn new(bytes_max: usize, items_max: usize) -> Self {
        let queue = Queue { items: VecDeque::new(), bytes: 0, count: 0, uncounted_bytes: 0, closed: false };
        Self { queue: RefCell::new(queue), ready: Notify::new(), emptied: Notify::new(), bytes_max, items_max }
    }

    pub fn push(&self, value: T, bytes: usize) -> Result<(), Full> {
        let mut queue = self.queue.borrow_mut();
        // The session has said goodbye.
        if queue.closed {
            return Ok(());
        }
        if queue.bytes + bytes > self.bytes_max || queue.count >= self.items_max {
            return Err(Full);
        }
        queue.bytes += bytes;
        queue.count += 1;
        queue.items.push_back(Item { value, bytes, is_counted: true });
        self.ready.notify_one();
        Ok(())
    }

    /// Adds what is bounded elsewhere, such as the roster: it must not make a newcomer a slow consumer.
    pub fn push_uncounted(&self, value: T, bytes: usize) {
        let mut queue = self.queue.borrow_mut();
        queue.uncounted_bytes += bytes;
        queue.items.push_back(Item { value, bytes, is_counted: false });
        self.ready.notify_one();
    }

    /// What waits and is not counted, in bytes.
    pub fn uncounted_bytes(&self) -> usize {
        self.queue.borrow().uncounted_bytes
    }

    /// Waits until nothing is left that is not counted.
    pub async fn uncounted_taken(&self) {
        while self.uncounted_bytes() > 0 {
            self.emptied.notified().await;
        }
    }

    /// Throws away what is not counted.
    pub fn forget_uncounted(&self) {
        let mut queue = self.queue.borrow_mut();
        queue.items.retain(|item| item.is_counted);
        queue.uncounted_bytes = 0;
        self.emptied.notify_waiters();
    }

    /// Lets [`Outbox::wait`] end once everything is out.
    pub fn close(&self) {
        self.queue.borrow_mut().closed = true;
        self.ready.notify_one();
    }

    /// Takes the next one, if there is any.
    pub fn take(&self) -> Option<T> {
        let mut queue = self.queue.borrow_mut();
        let item = queue.items.pop_front()?;
        if item.is_counted {
            queue.bytes -= item.bytes;
            queue.count -= 1;
        } else {
            queue.uncounted_bytes -= item.bytes;
            if queue.uncounted_bytes == 0 {
                self.emptied.notify_waiters();
            }
        }
        if queue.items.is_empty() {
            queue.items.shrink_to(ITEMS_KEPT);
            self.emptied.notify_waiters();
        }
        Some(item.value)
    }

    /// Waits until the last item has been taken out.
    pub async fn drained(&self) {
        while !self.queue.borrow().items.is_empty() {
            self.emptied.notified().await;
        }
    }

    /// Waits for something to send. `false`: nothing will come any more.
    pub async fn wait(&self) -> bool {
        loop {
            {
                let queue = self.queue.borrow();
                if !queue.items.is_empty() {
                    return true;
                }
                if queue.closed {
                    return false;
                }
            }
            self.ready.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_count_are_bounded_and_what_leaves_makes_room() {
        let outbox = Outbox::new(10, 3);
        assert_eq!([outbox.push('a', 6), outbox.push('b', 5), outbox.push('c', 4)], [Ok(()), Err(Full), Ok(())]);
        assert_eq!(outbox.take(), Some('a'));
        assert_eq!([outbox.push('d', 1), outbox.push('e', 1), outbox.push('f', 1)], [Ok(()), Ok(()), Err(Full)]);
    }

    #[tokio::test]
    async fn what_was_empty_before_is_not_drained_now() {
        let outbox = Outbox::new(10, 10);
        assert_eq!(outbox.push('a', 1), Ok(()));
        assert_eq!(outbox.take(), Some('a'));
        assert_eq!(outbox.push('b', 1), Ok(()));
        let drained = async {
            outbox.drained().await;
            outbox.take()
        };
        let take = async {
            tokio::task::yield_now().await;
            outbox.take()
        };
        assert_eq!(tokio::join!(drained, take), (None, Some('b')));
    }

    #[test]
    fn room_for_many_is_given_back_when_nothing_waits() {
        let outbox = Outbox::new(1000, 1000);
        (0..500).for_each(|number| outbox.push_uncounted(number, 1));
        while outbox.take().is_some() {}
        assert!(outbox.queue.borrow().items.capacity() <= ITEMS_KEPT);
    }

    #[test]
    fn what_is_not_counted_takes_no_room() {
        let outbox = Outbox::new(1, 1);
        outbox.push_uncounted('a', 7);
        assert_eq!((outbox.push('b', 1), outbox.uncounted_bytes()), (Ok(()), 7));
        assert_eq!([outbox.take(), outbox.take(), outbox.take()], [Some('a'), Some('b'), None]);
        assert_eq!(outbox.uncounted_bytes(), 0);
        outbox.push_uncounted('c', 7);
        assert_eq!(outbox.push('d', 1), Ok(()));
        outbox.forget_uncounted();
        assert_eq!((outbox.uncounted_bytes(), outbox.take(), outbox.take()), (0, Some('d'), None));
    }
}

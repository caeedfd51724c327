use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;

/// For how many items there is room while nothing waits. A newcomer's roster is long, and comes once.
const ITEMS_KEPT: usize = 16;

/// How often it is looked whether something has been taken, in the time that is waited for it. With one look, what is taken at
/// its beginning would double that time.
const PATIENCE_LOOKS: u32 = 5;

/// What waits to be sent on one stream, bounded in bytes and count.
///
/// It belongs to one participant: when it is full, that participant is too slow, and nobody else waits.
#[derive(Debug)]
pub(super) struct Outbox<T> {
    queue: RefCell<Queue<T>>,
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
    /// How many items have been taken out.
    taken: u64,
    closed: bool,
    /// The one that waits for something to send.
    waiting: Option<Waker>,
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
        let queue = Queue {
            items: VecDeque::new(),
            bytes: 0,
            count: 0,
            uncounted_bytes: 0,
            taken: 0,
            closed: false,
            waiting: None,
        };
        Self { queue: RefCell::new(queue), emptied: Notify::new(), bytes_max, items_max }
    }

    pub fn push(&self, value: T, bytes: usize) -> Result<(), Full> {
        self.push_up_to(value, bytes, (self.bytes_max, self.items_max))
    }

    /// Adds what can be had later as well: half of the place is for what cannot.
    pub fn offer(&self, value: T, bytes: usize) -> Result<(), Full> {
        self.push_up_to(value, bytes, (self.bytes_max / 2, self.items_max / 2))
    }

    fn push_up_to(&self, value: T, bytes: usize, (bytes_max, items_max): (usize, usize)) -> Result<(), Full> {
        let mut queue = self.queue.borrow_mut();
        // The session has said goodbye.
        if queue.closed {
            return Ok(());
        }
        if queue.bytes + bytes > bytes_max || queue.count >= items_max {
            return Err(Full);
        }
        queue.bytes += bytes;
        queue.count += 1;
        queue.add(Item { value, bytes, is_counted: true });
        Ok(())
    }

    /// Adds what is bounded elsewhere, such as the roster: it must not make a newcomer a slow consumer.
    pub fn push_uncounted(&self, value: T, bytes: usize) {
        let mut queue = self.queue.borrow_mut();
        queue.uncounted_bytes += bytes;
        queue.add(Item { value, bytes, is_counted: false });
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
        let mut queue = self.queue.borrow_mut();
        queue.closed = true;
        queue.wake();
    }

    /// Takes the next one, if there is any.
    pub fn take(&self) -> Option<T> {
        let mut queue = self.queue.borrow_mut();
        let item = queue.items.pop_front()?;
        queue.taken += 1;
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

    /// The same, or until nothing has been taken out for so long, give or take one look: then it says `false`.
    pub async fn drained_with(&self, patience: Duration) -> bool {
        let (mut taken, mut looks_in_vain) = (self.queue.borrow().taken, 0);
        while looks_in_vain < PATIENCE_LOOKS {
            if timeout(patience / PATIENCE_LOOKS, self.drained()).await.is_ok() {
                return true;
            }
            let before = std::mem::replace(&mut taken, self.queue.borrow().taken);
            looks_in_vain = if taken == before { looks_in_vain + 1 } else { 0 };
        }
        false
    }

    /// Waits for something to send; one may wait at a time. `false`: nothing will come any more.
    pub async fn wait(&self) -> bool {
        poll_fn(|context| self.queue.borrow_mut().poll_ready(context)).await
    }
}

impl<T> Queue<T> {
    fn add(&mut self, item: Item<T>) {
        self.items.push_back(item);
        // The others find it awake.
        if self.items.len() == 1 {
            self.wake();
        }
    }

    fn wake(&self) {
        if let Some(waker) = &self.waiting {
            waker.wake_by_ref();
        }
    }

    fn poll_ready(&mut self, context: &Context<'_>) -> Poll<bool> {
        if !self.items.is_empty() {
            return Poll::Ready(true);
        }
        if self.closed {
            return Poll::Ready(false);
        }
        let waker = context.waker();
        if !self.waiting.as_ref().is_some_and(|waiting| waiting.will_wake(waker)) {
            self.waiting = Some(waker.clone());
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::join;
    use tokio::time::{Instant, sleep};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(1);

    #[test]
    fn bytes_and_count_are_bounded_and_what_leaves_makes_room() {
        let outbox = Outbox::new(10, 3);
        assert_eq!([outbox.push('a', 6), outbox.push('b', 5), outbox.push('c', 4)], [Ok(()), Err(Full), Ok(())]);
        assert_eq!(outbox.take(), Some('a'));
        assert_eq!([outbox.push('d', 1), outbox.push('e', 1), outbox.push('f', 1)], [Ok(()), Ok(()), Err(Full)]);
    }

    #[test]
    fn what_can_be_had_later_takes_half_of_the_place() {
        let outbox = Outbox::new(10, 4);
        assert_eq!([outbox.offer('a', 3), outbox.offer('b', 3), outbox.push('c', 3)], [Ok(()), Err(Full), Ok(())]);
        assert_eq!([outbox.offer('d', 0), outbox.push('e', 4)], [Err(Full), Ok(())]);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_takes_something_now_and_then_is_waited_for() {
        let outbox = Outbox::new(10, 10);
        assert_eq!([outbox.push('a', 1), outbox.push('b', 1), outbox.push('c', 1)], [Ok(()); 3]);
        let takes = async {
            for _ in 0..3 {
                sleep(PATIENCE * 4 / 5).await;
                outbox.take();
            }
        };
        assert!(join(takes, outbox.drained_with(PATIENCE)).await.1);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_takes_something_at_first_is_not_waited_for_twice() {
        let outbox = Outbox::new(10, 10);
        assert_eq!([outbox.push('a', 1), outbox.push('b', 1)], [Ok(()); 2]);
        let begin = Instant::now();
        let takes = async {
            sleep(Duration::from_millis(1)).await;
            outbox.take();
        };
        assert!(!join(takes, outbox.drained_with(PATIENCE)).await.1);
        assert!((PATIENCE..=PATIENCE * 6 / 5).contains(&begin.elapsed()), "{:?}", begin.elapsed());
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

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};

use tokio::sync::Notify;

/// A bounded queue that never makes its producer wait: when it is full, the oldest go.
#[derive(Debug)]
pub(super) struct Queue<T> {
    inner: Mutex<Inner<T>>,
    changed: Notify,
    items_max: usize,
    bytes_max: usize,
}

#[derive(Debug)]
struct Inner<T> {
    items: VecDeque<(T, usize)>,
    bytes: usize,
    dropped: u64,
    closed: bool,
}

impl<T> Queue<T> {
    /// An empty one that holds at most `items_max` items of `bytes_max` bytes together.
    pub fn new(items_max: usize, bytes_max: usize) -> Self {
        let inner = Inner { items: VecDeque::new(), bytes: 0, dropped: 0, closed: false };
        Self { inner: Mutex::new(inner), changed: Notify::new(), items_max, bytes_max }
    }

    /// Appends an item that counts for `bytes`, and says whether older ones had to go.
    pub fn push(&self, item: T, bytes: usize) -> bool {
        let mut inner = self.lock();
        if inner.closed {
            return false;
        }
        inner.items.push_back((item, bytes));
        inner.bytes += bytes;
        let mut overflowed = false;
        while inner.items.len() > self.items_max || (inner.bytes > self.bytes_max && inner.items.len() > 1) {
            inner.drop_oldest();
            overflowed = true;
        }
        drop(inner);
        self.changed.notify_one();
        overflowed
    }

    /// Drops the oldest items up to the first that `wanted` holds for, and says whether there is one.
    pub fn drop_until(&self, wanted: impl Fn(&T) -> bool) -> bool {
        let mut inner = self.lock();
        while let Some((item, _)) = inner.items.front() {
            if wanted(item) {
                return true;
            }
            inner.drop_oldest();
        }
        false
    }

    /// The oldest item; `None` once the queue is closed and empty.
    pub async fn pop(&self) -> Option<T> {
        loop {
            if let Some(answer) = self.try_pop() {
                return answer;
            }
            self.changed.notified().await;
        }
    }

    /// `Some(None)`: there will be nothing any more. `None`: not now.
    fn try_pop(&self) -> Option<Option<T>> {
        let mut inner = self.lock();
        if let Some((item, bytes)) = inner.items.pop_front() {
            inner.bytes -= bytes;
            return Some(Some(item));
        }
        if inner.closed {
            // Whoever else waits has to learn it too.
            self.changed.notify_one();
            return Some(None);
        }
        None
    }

    /// What is in the queue can still be taken, nothing more comes in.
    pub fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_one();
    }

    /// How many items had to go so far.
    pub fn dropped(&self) -> u64 {
        self.lock().dropped
    }

    fn lock(&self) -> MutexGuard<'_, Inner<T>> {
        self.inner.lock().expect("nothing panics while it holds the queue")
    }
}

impl<T> Inner<T> {
    fn drop_oldest(&mut self) {
        if let Some((_, bytes)) = self.items.pop_front() {
            self.bytes -= bytes;
            self.dropped += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_oldest_go_when_it_is_full_and_the_end_comes_last() {
        let queue = Queue::new(2, 100);
        assert!(!queue.push(1, 10));
        assert!(!queue.push(2, 10));
        assert!(queue.push(3, 10));
        assert_eq!((queue.pop().await, queue.dropped()), (Some(2), 1));
        assert!(queue.push(4, 95));
        queue.close();
        assert!(!queue.push(5, 1));
        assert_eq!((queue.pop().await, queue.pop().await, queue.pop().await), (Some(4), None, None));
    }

    #[test]
    fn what_is_not_wanted_is_dropped_up_to_what_is() {
        let queue = Queue::new(9, 9);
        for item in 0..5 {
            queue.push(item, 0);
        }
        assert!(queue.drop_until(|item| *item == 3));
        assert!(!queue.drop_until(|item| *item == 9));
    }
}

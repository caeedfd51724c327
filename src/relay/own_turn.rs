use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;

/// Polls a part of a task only when that part was woken, and not whenever another part of the task was: to look whether there
/// is something to read costs a tenth of what it costs to write a message to a client.
pub(super) async fn own_turn<F: Future>(mut part: Pin<&mut F>) -> F::Output {
    let turn = Arc::new(Turn { is_due: AtomicBool::new(true), task: AtomicWaker::new() });
    let waker = Waker::from(turn.clone());
    poll_fn(|context| {
        turn.task.register(context.waker());
        if turn.is_due.swap(false, Ordering::AcqRel) {
            part.as_mut().poll(&mut Context::from_waker(&waker))
        } else {
            Poll::Pending
        }
    })
    .await
}

/// What wakes the part, and the task with it.
struct Turn {
    is_due: AtomicBool,
    task: AtomicWaker,
}

impl Wake for Turn {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.is_due.store(true, Ordering::Release);
        self.task.wake();
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::pin::pin;

    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn a_part_is_polled_when_it_was_woken_and_not_when_another_was() {
        let (own, other, polled) = (Notify::new(), Notify::new(), Cell::new(0));
        let mut notified = pin!(own.notified());
        let mut part = pin!(poll_fn(|context| {
            polled.set(polled.get() + 1);
            notified.as_mut().poll(context)
        }));
        let others = async {
            for _ in 0..5 {
                other.notify_one();
                other.notified().await;
                tokio::task::yield_now().await;
            }
            assert_eq!(polled.get(), 1);
            own.notify_one();
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = own_turn(part.as_mut()) => {}
            () = others => {}
        }
        assert_eq!(polled.get(), 2);
    }
}

use std::rc::Rc;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::post::{Letter, Letters, Posted};
use super::shard::Shard;
use crate::history::Outcome;
use crate::limits::LETTERS_AT_ONCE;

/// What comes for a shard: letters from the others, and on the first one what came of chat.
#[derive(Debug)]
pub(super) struct Mail {
    letters: Letters,
    outcomes: Option<mpsc::UnboundedReceiver<Outcome>>,
}

impl Mail {
    pub fn new(letters: Letters, outcomes: Option<mpsc::UnboundedReceiver<Outcome>>) -> Self {
        Self { letters, outcomes }
    }

    /// Waits until something comes.
    pub async fn next(&mut self) -> Posted {
        let Self { letters, outcomes } = self;
        let outcome = async {
            match outcomes {
                Some(outcomes) => outcomes.recv().await,
                None => None,
            }
        };
        tokio::select! {
            Some(outcome) = outcome => Posted::uncounted(Letter::Outcome(outcome)),
            Some(letter) = letters.recv() => letter,
            else => std::future::pending().await,
        }
    }

    /// Has a letter carried out, and those that have come after it, up to a bound: sessions have a turn then.
    pub fn carry_out(&mut self, shard: &Rc<Shard>, first: Posted, tasks: &mut JoinSet<()>) {
        let mut next = Some(first);
        for _ in 0..LETTERS_AT_ONCE {
            // It counts as waiting until it is carried out.
            let Some(Posted { letter, _waiting }) = next.take().or_else(|| self.letters.try_recv().ok()) else {
                return;
            };
            shard.guard("letter", || shard.take_letter(letter, tasks));
        }
    }

    /// Has all of it carried out that has come.
    pub fn carry_out_rest(&mut self, shard: &Rc<Shard>, tasks: &mut JoinSet<()>) {
        while let Ok(letter) = self.letters.try_recv() {
            self.carry_out(shard, letter, tasks);
        }
    }
}

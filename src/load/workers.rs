use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use tokio::sync::Semaphore;
use tokio::task::{JoinSet, spawn_blocking};

use super::link::endpoint;
use super::participant::Participant;
use super::plan::Part;
use super::run::Run;
use crate::limits::{LOAD_CONNECTING_MAX, LOAD_SESSIONS_PER_SOCKET};

/// The threads that sessions are on.
pub struct Workers(Vec<JoinHandle<()>>);

impl Workers {
    /// Starts the sessions of a run, in groups that share a socket, spread over the threads.
    pub fn start(run: &Arc<Run>) -> io::Result<Self> {
        let parts = run.plan.parts();
        let groups: Vec<_> = parts.chunks(LOAD_SESSIONS_PER_SOCKET as usize).map(<[Part]>::to_vec).collect();
        let threads = run.target.threads.clamp(1, groups.len().max(1));
        let thread = |number| {
            let groups = groups.iter().skip(number).step_by(threads).cloned().collect();
            let run = run.clone();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            thread::Builder::new().name(format!("load-{number}")).spawn(move || runtime.block_on(work(run, groups)))
        };
        Ok(Self((0..threads).map(thread).collect::<io::Result<_>>()?))
    }

    /// Waits until everyone has left. They were told to.
    pub async fn stop(&mut self) {
        for thread in self.0.drain(..) {
            // A thread that panicked has said so.
            let _ = spawn_blocking(|| thread.join()).await;
        }
    }
}

async fn work(run: Arc<Run>, groups: Vec<Vec<Part>>) {
    let places = Arc::new(Semaphore::new(LOAD_CONNECTING_MAX));
    let mut participants = JoinSet::new();
    for group in groups {
        match endpoint(&run.found) {
            Ok(endpoint) => {
                for part in group {
                    let (run, endpoint, places) = (run.clone(), endpoint.clone(), places.clone());
                    participants.spawn(Participant { run, part, endpoint, places }.take_part());
                }
            }
            Err(error) => group.iter().for_each(|_| run.tally.fail(&error.to_string())),
        }
    }
    while participants.join_next().await.is_some() {}
}

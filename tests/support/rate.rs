//! What a limit of one connection a second may let in.

use std::time::Instant;

use super::quic::soon;

/// So many at first, and one more each second, however long each of them takes.
pub struct Rate {
    begun: Instant,
    burst: u64,
    let_in: u64,
}

impl Rate {
    /// From now on; nobody has come yet.
    pub fn begin(burst: u32) -> Self {
        Self { begun: Instant::now(), burst: burst.into(), let_in: 0 }
    }

    /// So many have been let in, and no more of all than the limit allows.
    pub fn let_in(&mut self, count: usize) {
        self.let_in += count as u64;
        let most = self.burst + self.begun.elapsed().as_secs() + 1;
        assert!(self.let_in <= most, "{} were let in, and {most} may be", self.let_in);
    }

    /// Tries until someone is refused, and gives what that one is told. A second that ends lets one more in meanwhile.
    pub async fn refused<T>(&mut self, what: &str, attempt: impl AsyncFn() -> Result<(), T>) -> T {
        let tries = async {
            loop {
                match attempt().await {
                    Err(told) => return told,
                    Ok(()) => self.let_in(1),
                }
            }
        };
        soon(what, tries).await
    }
}

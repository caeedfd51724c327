use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::link::Kind;
use super::network::{Direction, Network, Parcel};

/// What one packet of TCP carries, in bytes.
const SEGMENT_BYTES_MAX: usize = 1400;

/// Segments of one connection in one direction that were read and not written yet: whoever reads slowly slows the other down.
const SEGMENTS_MAX: usize = 200;

/// Passes TCP connections on to the relay. The handshake is the kernel's, and takes no time.
pub async fn carry(listener: TcpListener, relay: SocketAddr, network: Arc<Network>) {
    let mut connections = JoinSet::new();
    for number in (0..).step_by(2) {
        let Ok((near, _)) = listener.accept().await else {
            // Too many files are open.
            sleep(Duration::from_millis(10)).await;
            continue;
        };
        while connections.try_join_next().is_some() {}
        connections.spawn(pass(near, relay, network.clone(), number));
    }
}

async fn pass(mut near: TcpStream, relay: SocketAddr, network: Arc<Network>, number: u64) {
    let Some(mut far) = TcpStream::connect(relay).await.ok().filter(|_| !network.cuts_tcp()) else {
        let _ = near.set_zero_linger();
        return;
    };
    for stream in [&near, &far] {
        let _ = stream.set_nodelay(true);
    }
    let ended = {
        let ((near_in, near_out), (far_in, far_out)) = (near.split(), far.split());
        let up = pass_on(near_in, far_out, &network, Direction::Up, number);
        let down = pass_on(far_in, near_out, &network, Direction::Down, number + 1);
        tokio::select! {
            ended = async { tokio::try_join!(up, down) } => ended.is_ok(),
            () = network.cut() => false,
        }
    };
    if !ended {
        // Both sides are reset.
        let _ = (near.set_zero_linger(), far.set_zero_linger());
    }
}

async fn pass_on(
    from: ReadHalf<'_>,
    to: WriteHalf<'_>,
    network: &Network,
    direction: Direction,
    number: u64,
) -> io::Result<()> {
    let (sender, receiver) = mpsc::unbounded_channel();
    let places = Semaphore::new(SEGMENTS_MAX);
    tokio::try_join!(take(from, sender, &places, network, direction, number), give(to, receiver, &places))?;
    Ok(())
}

/// What was read travels; the last that does is nothing, which says that there is no more.
async fn take(
    mut from: ReadHalf<'_>,
    to: mpsc::UnboundedSender<Vec<u8>>,
    places: &Semaphore,
    network: &Network,
    direction: Direction,
    number: u64,
) -> io::Result<()> {
    let mut segment = [0; SEGMENT_BYTES_MAX];
    loop {
        places.acquire().await.expect("nobody closes it").forget();
        let length = from.read(&mut segment).await?;
        network.room(direction, length).await;
        let parcel = Parcel::Tcp { to: to.clone(), bytes: segment[..length].to_vec() };
        network.push(direction, Kind::Segment(number), parcel);
        if length == 0 {
            return Ok(());
        }
    }
}

async fn give(mut to: WriteHalf<'_>, mut from: mpsc::UnboundedReceiver<Vec<u8>>, places: &Semaphore) -> io::Result<()> {
    while let Some(bytes) = from.recv().await.filter(|bytes| !bytes.is_empty()) {
        to.write_all(&bytes).await?;
        places.add_permits(1);
    }
    to.shutdown().await
}

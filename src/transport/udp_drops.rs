use std::fs;
use std::net::UdpSocket;

/// Tables in which Linux lists its UDP sockets, with what it had to drop because nobody read fast enough.
const TABLES: [&str; 2] = ["/proc/net/udp", "/proc/net/udp6"];

/// The packets that the kernel dropped on one UDP socket. Nothing on systems without such a table.
#[derive(Debug, Clone, Copy)]
pub struct UdpDrops {
    inode: Option<u64>,
}

impl UdpDrops {
    /// Those of this socket.
    pub fn of(socket: &UdpSocket) -> Self {
        Self { inode: inode(socket) }
    }

    /// How many there have been since the socket was made.
    pub fn count(&self) -> u64 {
        let Some(inode) = self.inode else {
            return 0;
        };
        let tables = TABLES.iter().filter_map(|table| fs::read_to_string(table).ok());
        tables.filter_map(|table| drops(&table, inode)).sum()
    }
}

#[cfg(target_os = "linux")]
fn inode(socket: &UdpSocket) -> Option<u64> {
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::MetadataExt;
    let metadata = fs::metadata(format!("/proc/self/fd/{}", socket.as_raw_fd())).ok()?;
    Some(metadata.ino())
}

#[cfg(not(target_os = "linux"))]
fn inode(_: &UdpSocket) -> Option<u64> {
    None
}

/// What the last column says in the row of a socket; the tenth is its inode (proc_pid_net(5)).
fn drops(table: &str, inode: u64) -> Option<u64> {
    let rows = table.lines().skip(1).map(|row| row.split_ascii_whitespace().collect::<Vec<_>>());
    let mut ours = rows.filter(|row| row.get(9).and_then(|field| field.parse().ok()) == Some(inode));
    ours.next()?.last()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_row_of_a_socket_is_found_by_its_inode() {
        let table = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n\
             \u{20}1: 0100007F:1151 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 111 2 0000000000000000 5\n\
             \u{20}2: 0100007F:1152 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 222 2 0000000000000000 71\n";
        assert_eq!([111, 222, 333].map(|inode| drops(table, inode)), [Some(5), Some(71), None]);
        assert_eq!(drops("", 111), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn h19_what_overflows_a_socket_is_counted() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let drops = UdpDrops::of(&socket);
        assert_eq!(drops.count(), 0);
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        // The buffer takes a few hundred kilobytes.
        for _ in 0..10_000 {
            sender.send_to(&[0; 1200], socket.local_addr().unwrap()).unwrap();
        }
        assert!(drops.count() > 5000, "{}", drops.count());
    }
}

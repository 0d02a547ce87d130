//! The other end of a connection.

use std::{io, os::fd::OwnedFd, sync::Arc, time::Duration};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    net::sockopt::set_tcp_user_timeout,
};
use tokio::net::TcpStream;

/// How long a client may take nothing of an answer. Without a bound, those that never read would fill all places.
const ANSWER_TIMEOUT_MS: u32 = 30_000;
/// Between two looks at a client.
const GLANCE: Duration = Duration::from_millis(250);

/// The client at the other end of a connection.
///
/// Hyper notices that a client has gone by reading, and does not read while it holds bytes of the next request. A
/// client that sent one would keep its program running after it left.
#[derive(Clone, Debug)]
pub(crate) struct Peer(Arc<OwnedFd>);

impl Peer {
    /// # Errors
    /// The connection is broken already, or there is no descriptor left.
    pub(crate) fn of(stream: &TcpStream) -> io::Result<Self> {
        // An answer is one small message; waiting for more of it only delays it.
        drop(stream.set_nodelay(true));
        // Since Linux 5.11 this holds for a full window too.
        set_tcp_user_timeout(stream, ANSWER_TIMEOUT_MS)?;
        Ok(Self(Arc::new(rustix::io::dup(stream)?)))
    }

    /// Ends when the client has closed its end of the connection; never when there is no connection to look at.
    pub(crate) async fn gone(peer: Option<Self>) {
        let Some(peer) = peer else { return std::future::pending().await };
        while !peer.has_gone() {
            tokio::time::sleep(GLANCE).await;
        }
    }

    fn has_gone(&self) -> bool {
        let mut looked_at = [PollFd::new(&self.0, PollFlags::RDHUP)];
        poll(&mut looked_at, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok_and(|found| found > 0)
    }
}

#[cfg(test)]
mod tests {
    use tokio::{io::AsyncWriteExt as _, net::TcpListener};

    use super::*;

    #[tokio::test]
    async fn a_client_has_gone_when_it_has_closed_whatever_it_sent() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (accepted, _) = listener.accept().await.unwrap();
        let peer = Peer::of(&accepted).unwrap();
        client.write_all(b"unread").await.unwrap();
        assert!(tokio::time::timeout(GLANCE * 2, Peer::gone(Some(peer.clone()))).await.is_err());
        drop(client);
        tokio::time::timeout(GLANCE * 20, Peer::gone(Some(peer))).await.unwrap();
    }
}

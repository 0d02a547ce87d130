//! The other end of a connection.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    net::sockopt::set_tcp_user_timeout,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// How long a client may take nothing of an answer. Without a bound, those that never read would fill all places.
const ANSWER_TIMEOUT_MS: u32 = 30_000;
/// Between two looks at a client.
const GLANCE: Duration = Duration::from_millis(250);

/// The client at the other end of a connection.
///
/// Hyper notices that a client has gone by reading, and does not read while it holds bytes of the next request. A
/// client that sent one would keep its program running after it left.
#[derive(Clone, Debug)]
pub(crate) struct Peer(Arc<TcpStream>);

impl Peer {
    /// # Errors
    /// The connection is broken already.
    pub(crate) fn of(stream: TcpStream) -> io::Result<Self> {
        // An answer is one small message; waiting for more of it only delays it.
        drop(stream.set_nodelay(true));
        // Since Linux 5.11 this holds for a full window too.
        set_tcp_user_timeout(&stream, ANSWER_TIMEOUT_MS)?;
        Ok(Self(Arc::new(stream)))
    }

    /// To read from and to write to. There must be no other, or one does not hear of what the other waits for.
    pub(crate) fn stream(&self) -> PeerStream {
        PeerStream(Arc::clone(&self.0))
    }

    /// Ends when the client has closed its end of the connection; never when there is no connection to look at.
    pub(crate) async fn gone(peer: Option<Self>) {
        let Some(peer) = peer else { return std::future::pending().await };
        while !peer.has_gone() {
            tokio::time::sleep(GLANCE).await;
        }
    }

    fn has_gone(&self) -> bool {
        let mut looked_at = [PollFd::new(&*self.0, PollFlags::RDHUP)];
        poll(&mut looked_at, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok_and(|found| found > 0)
    }
}

/// What goes to and fro, on the one descriptor that a connection takes.
#[derive(Debug)]
pub(crate) struct PeerStream(Arc<TcpStream>);

impl AsyncRead for PeerStream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.0.poll_read_ready(context))?;
            match self.0.try_read_buf(buffer) {
                Ok(_) => return Poll::Ready(Ok(())),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for PeerStream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[io::IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.0.poll_write_ready(context))?;
            match self.0.try_write_vectored(pieces) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => return Poll::Ready(written),
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(rustix::net::shutdown(&*self.0, rustix::net::Shutdown::Write).map_err(io::Error::from))
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
        let peer = Peer::of(accepted).unwrap();
        client.write_all(b"unread").await.unwrap();
        assert!(tokio::time::timeout(GLANCE * 2, Peer::gone(Some(peer.clone()))).await.is_err());
        drop(client);
        tokio::time::timeout(GLANCE * 20, Peer::gone(Some(peer))).await.unwrap();
    }
}

//! A connection of a browser, which has to end: every user of the machine reaches the loopback, and may be slow on purpose.
//!
//! What never happens: a connection on which nothing could be answered for [`PATIENCE`] stays open, whether its request
//! does not come to its end, is not there, or its answer is not read.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Sleep, sleep};

/// Three times as long as a page that is looked at hears nothing (`server::ALIVE`).
const PATIENCE: Duration = Duration::from_secs(15);

/// One connection, with its place among them all.
pub(super) struct Guest<S> {
    stream: S,
    patience: Duration,
    deadline: Pin<Box<Sleep>>,
    _place: OwnedSemaphorePermit,
}

impl<S> Guest<S> {
    pub(super) fn new(stream: S, place: OwnedSemaphorePermit) -> Self {
        Self { stream, patience: PATIENCE, deadline: Box::pin(sleep(PATIENCE)), _place: place }
    }

    /// What is still waited for has waited for too long.
    fn late<T>(&mut self, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        ready!(self.deadline.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guest<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // First, so that a byte now and then wins no time.
        if let Poll::Ready(late) = self.late(context) {
            return Poll::Ready(late);
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guest<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.stream).poll_write(context, bytes) {
            Poll::Ready(written) => {
                let patience = self.patience;
                self.deadline.set(sleep(patience));
                Poll::Ready(written)
            }
            Poll::Pending => self.late(context),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::sync::Semaphore;

    use super::*;

    const SHORT: Duration = Duration::from_millis(200);

    fn guest(places: &Arc<Semaphore>) -> (Guest<DuplexStream>, DuplexStream) {
        let (ours, theirs) = duplex(16);
        let place = Arc::clone(places).try_acquire_owned().unwrap();
        (Guest { patience: SHORT, deadline: Box::pin(sleep(SHORT)), ..Guest::new(ours, place) }, theirs)
    }

    #[tokio::test]
    async fn a_request_that_comes_byte_by_byte_is_waited_for_no_longer_than_one_that_does_not_come() {
        let places = Arc::new(Semaphore::new(1));
        let (mut guest, mut theirs) = guest(&places);
        let slow = async {
            while theirs.write_all(b"x").await.is_ok() {
                sleep(SHORT / 10).await;
            }
        };
        let mut request = Vec::new();
        let ended = tokio::select! {
            ended = guest.read_to_end(&mut request) => ended,
            () = slow => unreachable!("it is read"),
        };
        assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(places.available_permits(), 0);
        drop(guest);
        assert_eq!(places.available_permits(), 1);
    }

    #[tokio::test]
    async fn an_answer_that_is_not_read_is_given_up_and_one_that_is_goes_on() {
        let places = Arc::new(Semaphore::new(1));
        let (mut guest, mut theirs) = guest(&places);
        for _ in 0..4 {
            sleep(SHORT / 2).await;
            guest.write_all(b"alive").await.unwrap();
            theirs.read_exact(&mut [0; 5]).await.unwrap();
        }
        let ended = guest.write_all(&[0; 64]).await;
        assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}

//! A caller's socket, as hyper sees it. Two things that hyper leaves undone are done here:
//!
//! - What hyper refuses by itself (a head that is no HTTP, or too large), it refuses with an empty body. Such an
//!   answer is replaced by a problem document of the same status.
//! - A socket that is closed with bytes unread resets the connection, and the caller may never see why it was refused.
//!   So after a refusal the socket is closed for writing first, and read for a little longer.
//!
//! What stays without an answer: a head that never ends (the connection is closed), and HTTP/2 without an upgrade.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::http::StatusCode;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

use super::problems::Problem;

/// How long, and for how many bytes, a refused caller is listened to: enough to finish sending what fits in the
/// buffers on the way, too little to be worth an attack.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 1024 * 1024;

/// The socket, plain or through TLS.
pub(super) struct Socket<S> {
    stream: S,
    /// Of our own answer in place of hyper's, what has not been written yet.
    owed: Vec<u8>,
    /// Whether the last answer was a refusal.
    refused: bool,
    linger: Option<Linger>,
    /// How long a caller may take to make room for more of its answer: one that has stopped reading must not keep its
    /// connection, of which there are so many, for ever.
    patience: Duration,
    /// Since an answer could not be written any further.
    stalled: Option<Pin<Box<Sleep>>>,
}

struct Linger {
    over: Pin<Box<Sleep>>,
    bytes_left: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Socket<S> {
    /// Around an accepted connection.
    pub(super) fn new(stream: S, patience: Duration) -> Socket<S> {
        Socket { stream, owed: Vec::new(), refused: false, linger: None, patience, stalled: None }
    }

    /// Passes on how a write stands; it fails when it has not moved for too long.
    fn unless_stalled<T>(&mut self, cx: &mut Context<'_>, wrote: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if wrote.is_ready() {
            self.stalled = None;
            return wrote;
        }
        let patience = self.patience;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(patience)));
        stalled.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }

    fn poll_owed(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.owed.is_empty() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.owed))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.owed.drain(..written);
        }
        Poll::Ready(Ok(()))
    }

    /// Reads and forgets, until the caller closes, or has had its time.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let fresh = || Linger { over: Box::pin(sleep(LINGER)), bytes_left: LINGER_BYTES };
        let linger = self.linger.get_or_insert_with(fresh);
        let mut space = [0; 4096];
        while linger.bytes_left > 0 && linger.over.as_mut().poll(cx).is_pending() {
            let mut read = ReadBuf::new(&mut space);
            match ready!(Pin::new(&mut self.stream).poll_read(cx, &mut read)) {
                Ok(()) if !read.filled().is_empty() => {
                    linger.bytes_left = linger.bytes_left.saturating_sub(read.filled().len());
                }
                Ok(()) | Err(_) => break,
            }
        }
        Poll::Ready(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Socket<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, space: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, space)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Socket<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_owed(cx))?;
        if bytes.starts_with(b"HTTP/1.") {
            self.refused = bytes.get(9) == Some(&b'4');
        }
        if let Some(status) = bare_refusal(bytes) {
            self.owed = with_body(status);
            return Poll::Ready(Ok(bytes.len()));
        }
        let wrote = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.unless_stalled(cx, wrote)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_owed(cx))?;
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.unless_stalled(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.linger.is_none() {
            ready!(self.poll_owed(cx))?;
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
        }
        if self.refused {
            ready!(self.poll_linger(cx));
        }
        Poll::Ready(Ok(()))
    }
}

/// The status of an answer that hyper gave by itself: a whole head of a refusal that announces no body. None of our
/// own does: they all have one.
fn bare_refusal(bytes: &[u8]) -> Option<StatusCode> {
    let text = str::from_utf8(bytes.strip_prefix(b"HTTP/1.")?).ok()?;
    let status = text.get(2..5).filter(|status| status.starts_with('4'))?;
    let head = text.strip_suffix("\r\n\r\n")?;
    let bare = head.contains("\r\ncontent-length: 0\r\n") && !head.contains("\r\n\r\n");
    bare.then(|| status.parse().ok()).flatten()
}

/// The answer in place of a bare one. The connection closes after it.
fn with_body(status: StatusCode) -> Vec<u8> {
    let detail = match status {
        StatusCode::URI_TOO_LONG => "the request target is too long",
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => "the headers are too many, or too large",
        _ => "this is not an HTTP/1.1 request",
    };
    let document = Problem::invalid_request_as(status, detail).render();
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/problem+json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        document.len()
    );
    [head.into_bytes(), document].concat()
}

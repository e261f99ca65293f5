//! Did a byte leave? The answer must be right whatever the other side does.
#![cfg(feature = "http-gateway")]
#![allow(missing_docs, clippy::expect_used, clippy::indexing_slicing, reason = "tests")]

use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use http_body_util::Full;
use hyper::{Request, body::Bytes};
use payonce::gateway::wire::{Exchanged, Origin, Wire};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi";
/// Long enough that no test meets it unless it means to.
const PATIENT: Duration = Duration::from_secs(60);
/// For tests that mean to.
const IMPATIENT: Duration = Duration::from_millis(200);

fn origin(port: u16, secure: bool) -> Origin {
    Origin { secure, host: "127.0.0.1".to_owned(), port }
}

fn request() -> Request<Full<Bytes>> {
    Request::post("/charges").header("host", "x").body(Full::from("{\"amount\":1}")).expect("a request")
}

/// A server of one's own making, on its own thread; and a wire to it.
fn against<T: Send + 'static>(serve: impl FnOnce(TcpListener) -> T + Send + 'static) -> (Wire, JoinHandle<T>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("bound").port();
    (Wire::new(origin(port, false)).expect("a plain origin"), thread::spawn(move || serve(listener)))
}

fn accept(listener: &TcpListener) -> TcpStream {
    listener.accept().expect("a connection").0
}

/// Reads one request, whose body ends in a brace.
fn read_request(stream: &mut TcpStream) {
    let mut seen = Vec::new();
    while !seen.ends_with(b"}") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("a whole request");
        seen.extend(byte);
    }
}

/// How many bytes came until the other side was gone, however it went.
fn read_to_end(stream: &mut TcpStream) -> usize {
    let mut seen = Vec::new();
    let _ = stream.read_to_end(&mut seen);
    seen.len()
}

async fn exchange(wire: &Wire, patience: Duration) -> Exchanged {
    wire.exchange(request, Instant::now() + patience).await
}

/// `replied`, or the failure's kind and code.
fn said(exchanged: &Exchanged) -> (&'static str, &'static str) {
    match exchanged {
        Exchanged::Replied(_) => ("replied", ""),
        Exchanged::NotSent(failure) => ("not sent", failure.code),
        Exchanged::Unknown(failure) => ("unknown", failure.code),
    }
}

#[tokio::test]
async fn a_refused_connection_is_not_sent() {
    // Bound, so that nobody else gets the port; and not listening.
    let taken = tokio::net::TcpSocket::new_v4().expect("a socket");
    taken.bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
    let port = taken.local_addr().expect("bound").port();
    let wire = Wire::new(origin(port, false)).expect("a plain origin");
    assert_eq!(said(&exchange(&wire, PATIENT).await), ("not sent", "unreachable"));
}

#[tokio::test]
async fn a_name_that_does_not_resolve_is_not_sent() {
    let wire = Wire::new(Origin { host: "payonce.invalid".to_owned(), ..origin(80, false) }).expect("an origin");
    assert_eq!(said(&exchange(&wire, PATIENT).await), ("not sent", "unreachable"));
}

#[tokio::test]
async fn a_deadline_in_the_past_connects_to_nothing() {
    let (wire, server) = against(|listener| accept(&listener));
    assert_eq!(said(&exchange(&wire, Duration::ZERO).await), ("not sent", "deadline"));
    assert_eq!(said(&wire.exchange(request, Instant::now()).await), ("not sent", "deadline"));
    assert!(!server.is_finished());
    // Ends the server.
    let _ = exchange(&wire, IMPATIENT).await;
    drop(server.join());
}

#[tokio::test]
async fn a_handshake_that_fails_is_not_sent() {
    let (_, server) = against(|_| ());
    drop(server);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let wire = Wire::new(origin(listener.local_addr().expect("bound").port(), true)).expect("a secure origin");
    let server = thread::spawn(move || {
        let mut stream = accept(&listener);
        let mut hello = [0; 16];
        stream.read_exact(&mut hello).expect("a hello");
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").expect("written");
        hello
    });
    assert_eq!(said(&exchange(&wire, PATIENT).await), ("not sent", "tls"));
    assert!(!server.join().expect("served").starts_with(b"POST"));
}

#[tokio::test]
async fn a_handshake_that_takes_too_long_is_not_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let wire = Wire::new(origin(listener.local_addr().expect("bound").port(), true)).expect("a secure origin");
    assert_eq!(said(&exchange(&wire, IMPATIENT).await), ("not sent", "deadline"));
}

#[tokio::test]
async fn a_connection_that_ends_after_one_byte_is_unknown() {
    let (wire, server) = against(|listener| {
        let mut byte = [0];
        accept(&listener).read_exact(&mut byte).expect("one byte");
    });
    assert_eq!(said(&exchange(&wire, PATIENT).await), ("unknown", "reset"));
    server.join().expect("served");
}

/// Whatever the machine's speed: if any byte was seen, the answer is not "not sent"; and when the answer is there, our
/// side of the connection is gone, with all that the kernel still held of it: reset, not ended.
#[tokio::test]
async fn silence_is_not_sent_only_if_no_byte_was_seen() {
    for patience in [0, 1, 2, 200].map(Duration::from_millis) {
        let (wire, server) = against(|listener| {
            let mut seen = Vec::new();
            let ended = accept(&listener).read_to_end(&mut seen);
            (seen.len(), ended.map_err(|why| why.kind()))
        });
        let outcome = exchange(&wire, patience).await;
        // In case that nothing came so far.
        let _ = TcpStream::connect(("127.0.0.1", port_of(&wire)));
        let (seen, ended) = server.join().expect("the other side is gone");
        match said(&outcome) {
            ("unknown", "timeout") => assert_eq!(ended, Err(ErrorKind::ConnectionReset)),
            ("not sent", "deadline") => assert_eq!(seen, 0),
            other => panic!("{other:?}"),
        }
    }
}

/// As `Debug` shows it.
fn port_of(wire: &Wire) -> u16 {
    let shown = format!("{wire:?}");
    let digits = shown.split("port: ").nth(1).expect("shown");
    digits.chars().take_while(char::is_ascii_digit).collect::<String>().parse().expect("a port")
}

#[tokio::test]
async fn a_reply_that_is_not_whole_is_unknown() {
    let long = format!("HTTP/1.1 200 OK\r\ncontent-length: 70000\r\n\r\n{}", "x".repeat(70_000));
    let chunked =
        format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n11170\r\n{}\r\n0\r\n\r\n", "x".repeat(70_000));
    let cases: [(&[u8], &str); 7] = [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf", "reset"),
        (b"HTTP/1.1 200 OK\r\ncontent-le", "reset"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n", "reset"),
        (b"\x15\x03\x01 what is this\r\n\r\n", "unreadable"),
        (b"HTTP/1.1 2x0 OK\r\n\r\n", "unreadable"),
        (long.as_bytes(), "oversized"),
        (chunked.as_bytes(), "oversized"),
    ];
    for (reply, code) in cases {
        let reply = reply.to_vec();
        let (wire, server) = against(move |listener| {
            let mut stream = accept(&listener);
            read_request(&mut stream);
            let _ = stream.write_all(&reply);
            let _ = stream.shutdown(Shutdown::Write);
            read_to_end(&mut stream)
        });
        assert_eq!(said(&exchange(&wire, PATIENT).await), ("unknown", code));
        server.join().expect("our side was closed");
    }
}

#[tokio::test]
async fn a_body_that_does_not_end_in_time_is_unknown() {
    let (wire, server) = against(|listener| {
        let mut stream = accept(&listener);
        read_request(&mut stream);
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf").expect("written");
        read_to_end(&mut stream)
    });
    let outcome = exchange(&wire, Duration::from_secs(1)).await;
    assert_eq!(said(&outcome), ("unknown", "timeout"));
    server.join().expect("our side was closed");
}

#[tokio::test]
async fn one_connection_serves_many_exchanges() {
    let (wire, server) = against(|listener| {
        let mut stream = accept(&listener);
        for _ in 0..3 {
            read_request(&mut stream);
            stream.write_all(OK).expect("written");
        }
    });
    for _ in 0..3 {
        let Exchanged::Replied(reply) = exchange(&wire, PATIENT).await else { panic!("no reply") };
        assert_eq!((reply.status, &reply.body[..]), (200, &b"hi"[..]));
    }
    server.join().expect("served");
}

/// Nothing of the second request left with the closed connection: so it may go with another, once.
#[tokio::test]
async fn a_kept_connection_closed_by_the_peer_makes_no_doubt() {
    for last_words in [&b""[..], b"HTTP/1.1 408 Request Timeout\r\n\r\n", b"garbage"] {
        let (closed, is_closed) = std::sync::mpsc::channel();
        let (wire, server) = against(move |listener| {
            let mut first = accept(&listener);
            read_request(&mut first);
            first.write_all(OK).expect("written");
            first.write_all(last_words).expect("written");
            first.shutdown(Shutdown::Write).expect("closed");
            closed.send(()).expect("awaited");
            let mut second = accept(&listener);
            read_request(&mut second);
            second.write_all(OK).expect("written");
            read_to_end(&mut first)
        });
        assert_eq!(said(&exchange(&wire, PATIENT).await), ("replied", ""));
        is_closed.recv().expect("it closes");
        assert_eq!(said(&exchange(&wire, PATIENT).await), ("replied", ""));
        assert_eq!(server.join().expect("served"), 0);
    }
}

#[tokio::test]
async fn redirects_are_replies_and_are_not_followed() {
    let (wire, server) = against(|listener| {
        let mut stream = accept(&listener);
        read_request(&mut stream);
        stream.write_all(b"HTTP/1.1 307 Away\r\nlocation: /charges\r\ncontent-length: 0\r\n\r\n").expect("written");
        read_to_end(&mut stream)
    });
    let outcome = exchange(&wire, PATIENT).await;
    drop(wire);
    assert!(matches!(outcome, Exchanged::Replied(reply) if reply.status == 307));
    assert_eq!(server.join().expect("served"), 0);
}

#[tokio::test]
async fn retry_after_is_passed_on_in_seconds() {
    for (value, expected) in [("7", Some(7)), ("999999999", Some(86_400)), ("Fri, 31 Dec 1999 23:59:59 GMT", None)] {
        let (wire, server) = against(move |listener| {
            let mut stream = accept(&listener);
            read_request(&mut stream);
            write!(stream, "HTTP/1.1 429 No\r\nretry-after: {value}\r\ncontent-length: 0\r\n\r\n").expect("written");
        });
        let Exchanged::Replied(reply) = exchange(&wire, PATIENT).await else { panic!("no reply") };
        assert_eq!(reply.retry_after, expected.map(Duration::from_secs), "{value}");
        server.join().expect("served");
    }
}

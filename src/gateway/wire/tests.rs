//! The same promises through TLS, with a certificate of the tests' own for 127.0.0.1.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
    },
    server,
};

use super::*;

/// Self-signed, no authority, valid for a hundred years. Both guard nothing.
const CERTIFICATE: &str = "
    3082019330820139a003020102021463fd9d70acaba3fa3fb9d7b73c5a9d63675607f3300a06082a8648ce3d040302301731153013060355
    04030c0c7061796f6e636520746573743020170d3236313132343034323730335a180f32313236313033313034323730335a301731153013
    06035504030c0c7061796f6e636520746573743059301306072a8648ce3d020106082a8648ce3d030107034200041ed9d9fa481d5aafceae
    eca6fcaa17a97b4b51490edee09f8999a28d2a1f24b8f06d2995f88a7645ec1976f92fba6ce82b09388630c6237dc2a0d5d04645c4c3a361
    305f301d0603551d0e0416041497ff21c031ac592447dca7f507df819585821b47301f0603551d2304183016801497ff21c031ac592447dc
    a7f507df819585821b47300c0603551d130101ff04023000300f0603551d110408300687047f000001300a06082a8648ce3d040302034800
    3045022100aaf6e6f3be0ade2aa8b0380408d6d39a264eea051cf1097ea0c3959bcd107bda0220403c546d0306b711c43ededf3eaf6ad60b
    d84487737db51c5ba80c010e1fb950
";
const KEY: &str = "
    308187020100301306072a8648ce3d020106082a8648ce3d030107046d306b0201010420ff203217b4e4205d7d8a46241acb12e76821fd9e
    1e0ea76c2a3680080f3aa801a144034200041ed9d9fa481d5aafceaeeca6fcaa17a97b4b51490edee09f8999a28d2a1f24b8f06d2995f88a
    7645ec1976f92fba6ce82b09388630c6237dc2a0d5d04645c4c3
";

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u32> = hex.chars().filter_map(|c| c.to_digit(16)).collect();
    digits.chunks(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).expect("two digits")).collect()
}

fn acceptor() -> TlsAcceptor {
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(bytes(KEY)));
    let config = ServerConfig::builder_with_provider(Arc::new(tokio_rustls::rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![CertificateDer::from(bytes(CERTIFICATE))], key)
        .expect("a pair");
    TlsAcceptor::from(Arc::new(config))
}

/// A listener, and a wire to it that trusts the tests' certificate, or only those that everybody trusts.
async fn listener(trusting: bool) -> (TcpListener, Wire) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let origin = Origin { secure: true, host: "127.0.0.1".to_owned(), port };
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(bytes(CERTIFICATE))).expect("a root");
    let wire = if trusting { Wire::trusting(roots, origin) } else { Wire::new(origin) };
    (listener, wire.expect("a name for TLS"))
}

async fn accept(listener: &TcpListener) -> io::Result<server::TlsStream<TcpStream>> {
    acceptor().accept(listener.accept().await?.0).await
}

async fn read_request(stream: &mut server::TlsStream<TcpStream>) {
    while stream.read_u8().await.expect("a whole request") != b'}' {}
}

async fn exchange(wire: &Wire) -> Exchanged {
    let request = || Request::post("/charges").header("host", "x").body(Full::from("{}")).expect("a request");
    wire.exchange(request, Instant::now() + Duration::from_secs(60)).await
}

#[tokio::test]
async fn exchanges_through_tls_are_whole_and_share_a_connection() {
    let (listener, wire) = listener(true).await;
    let server = async {
        let mut stream = accept(&listener).await.expect("a handshake");
        for _ in 0..2 {
            read_request(&mut stream).await;
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi").await.expect("written");
            stream.flush().await.expect("flushed");
        }
        // Kept open until the client is through.
        stream
    };
    let client = async {
        for _ in 0..2 {
            let Exchanged::Replied(reply) = exchange(&wire).await else { panic!("no reply") };
            assert_eq!((reply.status, &reply.body[..]), (200, &b"hi"[..]));
        }
    };
    drop(tokio::join!(server, client));
}

#[tokio::test]
async fn a_certificate_that_is_not_trusted_is_sent_nothing() {
    let (listener, wire) = listener(false).await;
    let (accepted, outcome) = tokio::join!(accept(&listener), exchange(&wire));
    assert!(accepted.is_err());
    assert!(matches!(outcome, Exchanged::NotSent(Failure { code: "tls", .. })), "{outcome:?}");
}

#[tokio::test]
async fn a_byte_through_tls_makes_it_unknown() {
    let (listener, wire) = listener(true).await;
    let server = async { accept(&listener).await.expect("a handshake").read_u8().await.expect("a byte") };
    let (byte, outcome) = tokio::join!(server, exchange(&wire));
    assert_eq!(byte, b'P');
    assert!(matches!(outcome, Exchanged::Unknown(Failure { code: "reset", .. })), "{outcome:?}");
}

/// The promise that a late byte cannot leave does not rest on a timer.
#[tokio::test]
async fn the_gate_lets_no_first_byte_through_after_the_deadline() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let plain = TcpStream::connect(listener.local_addr().expect("bound")).await.expect("a connection");
    let gate = Arc::new(Gate::default());
    let mut gated = Gated { stream: Stream::Plain(plain), gate: Arc::clone(&gate) };
    // Between exchanges it is shut too.
    assert!(gated.write_all(b"early").await.is_err());
    gate.open_until(Instant::now());
    assert!(gated.write_all(b"late").await.is_err());
    assert!(!gate.let_through());
    gate.open_until(Instant::now() + Duration::from_secs(60));
    gated.write_all(b"in time").await.expect("admitted");
    assert!(gate.let_through());
    gate.passage().until = Some(Instant::now());
    gated.write_all(b", and its rest").await.expect("the rest of what has begun");
    drop(gated);
    let mut seen = String::new();
    listener.accept().await.expect("accepted").0.read_to_string(&mut seen).await.expect("text");
    assert_eq!(seen, "in time, and its rest");
}

/// The kernel would take the bytes, and the runtime has not looked since: only asking the kernel shows it.
#[tokio::test]
async fn nothing_is_written_to_a_connection_that_the_other_side_has_left() {
    for last_words in [&b""[..], b"out of turn"] {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let plain = TcpStream::connect(listener.local_addr().expect("bound")).await.expect("a connection");
        let gate = Arc::new(Gate::default());
        let mut gated = Gated { stream: Stream::Plain(plain), gate: Arc::clone(&gate) };
        gate.open_until(Instant::now() + Duration::from_secs(60));
        let mut peer = listener.accept().expect("accepted").0;
        io::Write::write_all(&mut peer, last_words).expect("written");
        drop(peer);
        assert!(gated.write_all(b"too late").await.is_err());
        assert!(!gate.let_through());
    }
}

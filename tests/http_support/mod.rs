//! A server on port 0 with a gateway that does what the order's `source` says, and a client that sends raw bytes.

#[path = "../folder/mod.rs"]
mod folder;

use std::{
    collections::BTreeSet,
    future::ready,
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    sync::{Arc, mpsc},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use payonce::{
    Engine, OpenError, Options,
    gateway::{Answer, Asked, Gateway, Question, Sending},
    http::{Face, serve},
    payment::{Contract, Finality, Identity, Invalid, Lasting, NextAction, Outcome, Reply, Timestamp},
};

pub(crate) use folder::Folder;

/// Far longer than any answer takes: only a hang reaches it.
const HANG: Duration = Duration::from_secs(20);

/// A gateway that does what the source of the order says.
struct BySource(Contract);

impl Gateway for BySource {
    fn contract(&self) -> &Contract {
        &self.0
    }

    fn encode(&self, asked: &Asked<'_>) -> Result<Vec<u8>, Invalid> {
        Ok(asked.order.source.clone().into_bytes())
    }

    fn send(&self, sending: Sending) -> Answer<'_> {
        let reply = Reply::new("approved", "thank you").with_reference("gw_1");
        Box::pin(ready(match sending.request.as_slice() {
            b"acct_terse" => Outcome::Succeeded(Reply::default()),
            b"acct_poor" => Outcome::Declined(Finality::Hard, Reply::new("insufficient_funds", "not enough money")),
            b"acct_refused" => Outcome::Refused(Lasting::ForGood, Reply::new("no_such_account", "who is that?")),
            b"acct_slow" => Outcome::Pending(None, reply),
            b"acct_3ds" => {
                let url = "https://bank.example/3ds".to_owned();
                Outcome::Pending(Some(NextAction { url, expires_at: Some(Timestamp::from_millis(0)) }), reply)
            }
            b"acct_doubt" => Outcome::Unknown(Reply::new("timeout", "no reply within 10 s")),
            b"acct_park" => Outcome::Unknown(Reply::new("park", "")),
            _ => Outcome::Succeeded(reply),
        }))
    }

    fn inquire(&self, _question: Question) -> Answer<'_> {
        Box::pin(ready(Outcome::Unknown(Reply::new("timeout", "no reply"))))
    }
}

/// A running server.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) face: Arc<Face>,
    stop: tokio::sync::oneshot::Sender<()>,
    thread: JoinHandle<()>,
    _data: Option<Folder>,
}

impl Server {
    /// Ready to pay.
    pub(crate) fn start() -> Server {
        Server::with_patience(Duration::from_secs(30), true)
    }

    /// Gives bodies this long to arrive; without an engine if not `open`.
    pub(crate) fn with_patience(patience: Duration, open: bool) -> Server {
        Server::behind(Face::new().with_patience(patience), open)
    }

    /// With this face; without an engine if not `open`.
    pub(crate) fn behind(face: Face, open: bool) -> Server {
        let data = Folder::new("http");
        let identity = Identity { name: "by source".into(), ..Identity::default() };
        let gateway = Arc::new(BySource(Contract::standard(identity)));
        let gateway: Arc<dyn Gateway> = gateway;
        let engine = open.then(|| (Options::new(&*data), gateway));
        Server { _data: Some(data), ..Server::run(face, engine) }
    }

    /// Over a folder and with a gateway that outlive it.
    pub(crate) fn over(options: Options, gateway: Arc<dyn Gateway>) -> Server {
        Server::run(Face::new(), Some((options, gateway)))
    }

    fn run(face: Face, engine: Option<(Options, Arc<dyn Gateway>)>) -> Server {
        let face = Arc::new(face);
        let served = face.clone();
        let (told, hear) = mpsc::channel();
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Runtime::new().expect("a runtime");
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
                let face = served;
                if let Some((options, gateway)) = engine {
                    assert!(face.open(opened(options, gateway).await).is_ok());
                }
                told.send(listener.local_addr().expect("bound")).expect("the test waits");
                // A test that drops its server ends with the process.
                let asked = async {
                    if stopped.await.is_err() {
                        std::future::pending().await
                    }
                };
                serve(listener, face, asked).await;
            });
        });
        Server { address: hear.recv().expect("the server starts"), face, stop, thread, _data: None }
    }

    /// Tells it to stop, and waits until it has. The engine is left as a kill leaves it: no close mark, no last flush.
    pub(crate) fn stop(self) {
        self.stop.send(()).expect("it runs");
        self.thread.join().expect("it returns");
    }

    /// Sends these bytes, and reads one answer.
    pub(crate) fn exchange(&self, request: &[u8]) -> Reaction {
        let mut stream = self.connect();
        // A server that has seen enough may close while we still send.
        let _ = stream.write_all(request);
        Reaction::read(&mut stream)
    }

    /// The same, and says that no more bytes will come.
    pub(crate) fn exchange_and_end(&self, request: &[u8]) -> Reaction {
        let mut stream = self.connect();
        let _ = stream.write_all(request);
        let _ = stream.shutdown(Shutdown::Write);
        Reaction::read(&mut stream)
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("the server listens");
        stream.set_read_timeout(Some(HANG)).expect("settable");
        stream
    }

    /// A well-formed POST.
    pub(crate) fn post(&self, path: &str, key: &str, more: &str, body: &str) -> Reaction {
        self.exchange(&post(path, &format!("Idempotency-Key: {key}\r\n{more}"), body.as_bytes()))
    }

    pub(crate) fn get(&self, target: &str) -> Reaction {
        self.exchange(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes())
    }
}

/// Waits for an engine that was dropped to let go of the folder.
async fn opened(options: Options, gateway: Arc<dyn Gateway>) -> Engine {
    let hang = Instant::now() + HANG;
    loop {
        match Engine::open(options.clone(), gateway.clone()).await {
            Ok(engine) => return engine,
            Err(OpenError::Lock(held)) => assert!(Instant::now() < hang, "{held}"),
            Err(error) => panic!("{error}"),
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// A POST of JSON with these further headers, each ending in CRLF.
pub(crate) fn post(path: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n{headers}Content-Length: {length}\r\n\r\n"
    );
    [head.into_bytes(), body.to_vec()].concat()
}

/// One answer.
#[derive(Debug)]
pub(crate) struct Reaction {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Reaction {
    /// Reads a head, and as much body as it announces.
    pub(crate) fn read(stream: &mut impl Read) -> Reaction {
        let mut bytes = Vec::new();
        let mut byte = [0];
        while !bytes.ends_with(b"\r\n\r\n") {
            match stream.read(&mut byte) {
                Ok(1) => bytes.extend_from_slice(&byte),
                Ok(_) => panic!("closed without an answer after {:?}", String::from_utf8_lossy(&bytes)),
                Err(error) => panic!("no answer: {error}"),
            }
        }
        let head = String::from_utf8(bytes).expect("ASCII");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        let mut reaction = Reaction { status, head, body: String::new() };
        let length = reaction.header("content-length").map_or(0, |length| length.parse().expect("a length"));
        let mut body = vec![0; length];
        stream.read_exact(&mut body).expect("the whole body");
        reaction.body = String::from_utf8(body).expect("UTF-8");
        reaction
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).expect("a JSON body")
    }

    pub(crate) fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }
}

/// Where payments are made.
pub(crate) const PATH: &str = "/v1/payments";
/// A key that no malformed request spends.
pub(crate) const KEY: &str = "Idempotency-Key: \"spent-by-nothing\"\r\n";

/// A request, and what must come back.
pub(crate) struct Case {
    pub(crate) request: Vec<u8>,
    pub(crate) status: u16,
    pub(crate) code: &'static str,
}

/// A request that is not what the endpoint takes.
pub(crate) fn invalid(request: Vec<u8>) -> Case {
    Case { request, status: 400, code: "invalid_request" }
}

/// An order in which one field has another value, in JSON.
pub(crate) fn order(field: &str, value: &str) -> Vec<u8> {
    let mut fields = vec![("amount", "1050"), ("currency", "\"USD\""), ("source", "\"a\""), ("destination", "\"b\"")];
    fields.retain(|(name, _)| *name != field);
    fields.push((field, value));
    let fields: Vec<String> = fields.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
    format!("{{{}}}", fields.join(",")).into_bytes()
}

/// A POST of this body.
pub(crate) fn pay(body: &[u8]) -> Vec<u8> {
    post(PATH, KEY, body)
}

/// Sends each, and then makes sure that nothing has come of it.
pub(crate) fn check(server: &Server, cases: &[Case]) {
    let distinct: BTreeSet<_> = cases.iter().map(|case| &case.request).collect();
    assert_eq!(distinct.len(), cases.len(), "each case is another request");
    for case in cases {
        let reaction = server.exchange(&case.request);
        let request = String::from_utf8_lossy(&case.request);
        let told = format!("{}\n-> {reaction:?}", request.chars().take(400).collect::<String>());
        assert_problem(&reaction, case.status, case.code, &told);
    }
    // The server is unharmed, and no bad request has spent its key.
    assert_eq!(server.get("/healthz").status, 200);
    assert_eq!(server.exchange(&pay(&order("amount", "1050"))).status, 201);
}

/// A problem document with this status and code.
pub(crate) fn assert_problem(reaction: &Reaction, status: u16, code: &str, told: &str) {
    assert_eq!(reaction.status, status, "{told}");
    assert_eq!(reaction.header("content-type"), Some("application/problem+json"), "{told}");
    let document = reaction.json();
    assert_eq!(document["code"], code, "{told}");
    assert_eq!(document["status"], status, "{told}");
    for member in ["type", "title", "detail"] {
        assert!(document[member].as_str().is_some_and(|text| !text.is_empty()), "{member}: {told}");
    }
}

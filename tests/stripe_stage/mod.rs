//! What the tests of the Stripe adapter play on: localstripe, a proxy that can stop the world before it, and the daemon.

#![allow(dead_code, reason = "each test uses a part of the stage")]

use std::{
    fs::File,
    io::{BufRead, BufReader, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{
        Arc, Mutex, OnceLock,
        mpsc::{self, Receiver, Sender},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

/// Opens localstripe, and must be found nowhere.
pub(crate) const SECRET: &str = "sk_test_payonce_hunter2";

/// Far longer than anything takes here: only a hang reaches it.
const HANG: Duration = Duration::from_secs(120);

/// localstripe, as long as this process lives: it ends when its standard input does.
struct Standin {
    url: String,
    _stdin: ChildStdin,
}

/// The URL of localstripe; `None`: the environment says to do without.
pub(crate) fn localstripe() -> Option<&'static str> {
    static STANDIN: OnceLock<Standin> = OnceLock::new();
    if std::env::var_os("PAYONCE_SKIP_LOCALSTRIPE").is_some_and(|skip| skip == "1") {
        eprintln!("skipped, as PAYONCE_SKIP_LOCALSTRIPE=1 says");
        return None;
    }
    Some(&STANDIN.get_or_init(start).url)
}

#[expect(clippy::zombie_processes, reason = "it ends after us")]
fn start() -> Standin {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/localstripe");
    let why = "tests/localstripe needs python3 (with venv and pip) on this machine and reaches PyPI the first time; \
               PAYONCE_SKIP_LOCALSTRIPE=1 leaves these tests out";
    let mut command = Command::new("python3");
    command.arg(script).arg("--until-stdin-closes").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("python3 does not start ({error}): {why}"));
    let mut line = String::new();
    let said = child.stdout.take().expect("piped");
    BufReader::new(said).read_line(&mut line).expect("readable");
    let url = line.trim().to_owned();
    assert!(url.starts_with("http://"), "localstripe did not start, see above: {why}");
    Standin { url, _stdin: child.stdin.take().expect("piped") }
}

/// What Stripe itself knows.
pub(crate) fn ask_stripe(path: &str) -> Value {
    let request = ureq::get(format!("{}{path}", localstripe().expect("started")));
    let request = request.header("Authorization", format!("Bearer {SECRET}"));
    request.call().expect("answered").body_mut().read_json().expect("JSON")
}

pub(crate) fn tell_stripe(path: &str, form: &[(&str, &str)]) -> Value {
    let request = ureq::post(format!("{}{path}", localstripe().expect("started")));
    let request = request.header("Authorization", format!("Bearer {SECRET}"));
    request.send_form(form.iter().copied()).expect("answered").body_mut().read_json().expect("JSON")
}

/// The PaymentIntents that bear an operation's key: those that were confirmed, and those that were not.
pub(crate) fn intents(operation: &str) -> (Vec<Value>, Vec<Value>) {
    let all = ask_stripe("/v1/payment_intents?limit=10000");
    let all = all["data"].as_array().expect("a list").clone();
    let ours = all.into_iter().filter(|intent| intent["metadata"]["payonce_operation"] == operation);
    ours.partition(|intent| !intent["latest_charge"].is_null())
}

/// A request that the proxy stops at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Create,
    Confirm,
}

/// What has become of it when the proxy stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// It has left us; it never arrives.
    Lost,
    /// It has left us; it arrives once the proxy goes on.
    OnItsWay,
    /// It was acted on; the reply is lost.
    Done,
    /// It was acted on, and the reply has left.
    Told,
}

/// Stands between the daemon and localstripe, and stops once.
pub(crate) struct Proxy {
    pub(crate) url: String,
    reached: Receiver<()>,
    go: Sender<()>,
}

struct Stop {
    at: Option<(Step, When)>,
    reached: Sender<()>,
    go: Receiver<()>,
}

impl Proxy {
    pub(crate) fn new(step: Step, when: When) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let (tell_reached, reached) = mpsc::channel();
        let (go, wait_go) = mpsc::channel();
        let stop = Arc::new(Mutex::new(Stop { at: Some((step, when)), reached: tell_reached, go: wait_go }));
        thread::spawn(move || {
            for socket in listener.incoming() {
                let (socket, stop) = (socket.expect("a connection"), Arc::clone(&stop));
                // A connection that breaks is what this is about.
                thread::spawn(move || pass(socket, &stop).unwrap_or_default());
            }
        });
        Proxy { url, reached, go }
    }

    /// Waits until the proxy has stopped.
    pub(crate) fn stopped(&self) {
        self.reached.recv_timeout(HANG).expect("the request comes by");
    }

    /// Lets it go on, and waits until what was on its way has been acted on.
    pub(crate) fn go_on(&self) {
        self.go.send(()).expect("it waits");
        self.reached.recv_timeout(HANG).expect("it goes on");
    }
}

fn pass(mut from: TcpStream, stop: &Mutex<Stop>) -> std::io::Result<()> {
    let asked = read_request(&mut from)?;
    let step = match asked.lines().next().unwrap_or_default() {
        line if line.starts_with("POST /v1/payment_intents ") => Some(Step::Create),
        line if line.starts_with("POST ") && line.contains("/confirm ") => Some(Step::Confirm),
        _ => None,
    };
    let mut stop = stop.lock().expect("no test panics in it");
    let Some((_, when)) = stop.at.take_if(|(at, _)| Some(*at) == step) else {
        drop(stop);
        return from.write_all(&forward(&asked)?);
    };
    let reply = if matches!(when, When::Done | When::Told) { forward(&asked)? } else { Vec::new() };
    if when == When::Told {
        from.write_all(&reply)?;
        // Who has read it may have closed the connection already.
        let _ = from.shutdown(Shutdown::Write);
    }
    // It stops once; others pass meanwhile.
    let (_, nobody) = mpsc::channel();
    let (reached, go) = (stop.reached.clone(), std::mem::replace(&mut stop.go, nobody));
    drop(stop);
    // A test that has failed no longer listens.
    let _ = reached.send(());
    let _ = go.recv();
    if when == When::OnItsWay {
        forward(&asked)?;
    }
    let _ = reached.send(());
    Ok(())
}

fn read_request(from: &mut TcpStream) -> std::io::Result<String> {
    let mut asked = String::new();
    let mut reader = BufReader::new(from);
    while !asked.ends_with("\r\n\r\n") {
        if reader.read_line(&mut asked)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
    let length = asked.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    asked.push_str(&String::from_utf8_lossy(&body));
    Ok(asked)
}

fn forward(asked: &str) -> std::io::Result<Vec<u8>> {
    let address = localstripe().expect("started").trim_start_matches("http://");
    let mut to = TcpStream::connect(address)?;
    to.write_all(asked.replacen("\r\n", "\r\nConnection: close\r\n", 1).as_bytes())?;
    let mut reply = Vec::new();
    to.read_to_end(&mut reply)?;
    Ok(reply)
}

/// `payonce serve`, killed when dropped.
pub(crate) struct Daemon {
    child: Child,
    url: String,
    _more: BufReader<ChildStdout>,
}

impl Daemon {
    /// Starts it on a folder; what it logs is in the folder's `log`.
    pub(crate) fn start(folder: &Path, gateway: &str) -> Daemon {
        let data = folder.join("data").display().to_string();
        let gateway = format!("stripe:{gateway}");
        let contract = "max_processing=100ms,not_found_lag=100ms,not_found_times=2";
        let log = File::options().create(true).append(true).open(folder.join("log")).expect("a log");
        let mut command = Command::new(env!("CARGO_BIN_EXE_payonce"));
        command.args(["serve", "--json", "--listen", "127.0.0.1:0", "--data", &data, "--gateway", &gateway]);
        // Small segments: so many daemons at once would fill the disk with zeros for nothing.
        command.args(["--gateway-contract", contract]).env("PAYONCE_SEGMENT_BYTES", "8388608");
        command.env("STRIPE_API_KEY", SECRET).env("PAYONCE_LOG", "trace").stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn().expect("starts");
        let mut said = String::new();
        let mut more = BufReader::new(child.stdout.take().expect("piped"));
        more.read_line(&mut said).expect("an introduction");
        let introduction: Value = serde_json::from_str(&said).expect("JSON");
        Daemon { child, url: introduction["url"].as_str().expect("a URL").to_owned(), _more: more }
    }

    /// Places an order, and waits for `seconds`.
    pub(crate) fn pay(&self, key: &str, source: &str, capture: &str, seconds: u32) -> Value {
        let order =
            json!({"amount": 1050, "currency": "USD", "source": source, "destination": "self", "capture": capture});
        self.post("/v1/payments", key, seconds, &order)
    }

    /// Asks for an operation on a payment.
    pub(crate) fn operate(&self, payment: &Value, verb: &str, key: &str, body: &Value) -> Value {
        let id = payment["id"].as_str().expect("an id");
        self.post(&format!("/v1/payments/{id}/{verb}"), key, 20, body)
    }

    fn post(&self, path: &str, key: &str, seconds: u32, body: &Value) -> Value {
        let request = ureq::post(format!("{}{path}", self.url));
        let request = request.header("Idempotency-Key", format!("\"{key}\""));
        let request = request.header("Prefer", format!("wait={seconds}"));
        let request = request.config().http_status_as_error(false).build();
        request.send_json(body).expect("answered").body_mut().read_json().expect("JSON")
    }

    pub(crate) fn get(&self, payment: &Value) -> Value {
        let id = payment["id"].as_str().expect("an id");
        let request = ureq::get(format!("{}/v1/payments/{id}", self.url));
        request.call().expect("answered").body_mut().read_json().expect("JSON")
    }

    /// Asks until the payment is in a state.
    pub(crate) fn until(&self, payment: &Value, state: &str) -> Value {
        let began = Instant::now();
        loop {
            let payment = self.get(payment);
            if payment["state"] == state {
                return payment;
            }
            assert!(began.elapsed() < HANG, "waited for {state}: {payment:#}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Asks until the payment waits for its payer at Stripe, and tells under which PaymentIntent.
    pub(crate) fn until_payer_is_asked(&self, payment: &Value) -> Value {
        let began = Instant::now();
        loop {
            let payment = self.get(payment);
            let (_, others) = intents(payment["operations"][0]["key"].as_str().unwrap_or_default());
            if let Some(waiting) = others.into_iter().find(|intent| intent["status"] == "requires_action") {
                return waiting;
            }
            assert!(began.elapsed() < HANG, "waited for the payer to be asked: {payment:#}");
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.child.kill().and_then(|()| self.child.wait()).expect("kill -9 works");
    }
}

//! HTTP for all of them: the server, and the connections to the gateway. Bare hyper, since nothing here may be the
//! reason why a peer is slow.

use std::{
    convert::Infallible,
    sync::{Mutex, PoisonError},
};

use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode, Uri,
    body::{Bytes, Incoming},
    client::conn::http1::SendRequest,
    header::{CONTENT_TYPE, HOST, HeaderValue},
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

use crate::{
    Failed, Options,
    wire::{Charge, Charged, Order},
};

/// payonce's own limit.
const LARGEST_BODY: usize = 64 * 1024;

/// A request that has arrived.
pub struct Call {
    pub method: Method,
    pub uri: Uri,
    headers: HeaderMap,
    pub body: Bytes,
}

impl Call {
    async fn read(request: Request<Incoming>) -> Result<Self, Answer> {
        let (head, body) = request.into_parts();
        let body = Limited::new(body, LARGEST_BODY).collect().await;
        let body = body.map_err(|_| Answer::problem(StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large"))?.to_bytes();
        Ok(Self { method: head.method, uri: head.uri, headers: head.headers, body })
    }

    pub fn is(&self, method: Method, path: &str) -> bool {
        self.method == method && self.uri.path() == path
    }

    /// The key of a payment, in quotes or without.
    pub fn key(&self) -> Option<&str> {
        let text = self.headers.get("idempotency-key")?.to_str().ok()?;
        let key = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text);
        (1..=255).contains(&key.len()).then_some(key).filter(|key| key.bytes().all(|byte| byte.is_ascii_graphic()))
    }
}

/// What it is answered.
pub struct Answer {
    status: StatusCode,
    body: Bytes,
    replayed: bool,
}

impl Answer {
    pub fn new(status: StatusCode, body: String) -> Self {
        Self { status, body: body.into(), replayed: false }
    }

    /// What was answered before.
    pub fn replayed(status: StatusCode, body: String) -> Self {
        Self { replayed: true, ..Self::new(status, body) }
    }

    pub fn problem(status: StatusCode, code: &str) -> Self {
        Self::new(status, format!(r#"{{"status":{},"code":"{code}"}}"#, status.as_u16()))
    }

    fn response(self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(self.body));
        *response.status_mut() = self.status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if self.replayed {
            response.headers_mut().insert("idempotent-replayed", HeaderValue::from_static("true"));
        }
        response
    }
}

/// Answers for ever, on `--listen`.
pub async fn serve<H, F>(options: &Options, handle: H) -> Result<(), Failed>
where
    H: Fn(Call) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Answer> + Send + 'static,
{
    let listener = TcpListener::bind(options.need::<String>("listen")?).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let handle = handle.clone();
        let service = service_fn(move |request| {
            let handle = handle.clone();
            async move {
                let answer = match Call::read(request).await {
                    Ok(call) => handle(call).await,
                    Err(refused) => refused,
                };
                Ok::<_, Infallible>(answer.response())
            }
        });
        let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        // A caller that goes away is no news.
        tokio::spawn(async move { drop(connection.await) });
    }
}

/// The gateway, and the connections to it that nobody is using.
pub struct Gateway {
    address: String,
    host: HeaderValue,
    idle: Mutex<Vec<SendRequest<Full<Bytes>>>>,
}

impl Gateway {
    /// The one at `--gateway IP:PORT`.
    pub fn new(options: &Options) -> Result<Self, Failed> {
        let address: String = options.need("gateway")?;
        Ok(Self { host: HeaderValue::from_str(&address)?, address, idle: Mutex::default() })
    }

    /// Charges. An error is no decline: what the gateway did is then not known.
    pub async fn charge(&self, key: &str, order: &Order) -> Result<Charged, Failed> {
        let body = serde_json::to_vec(&Charge { reference: key, order, capture: "automatic" })?;
        let mut request = Request::post("/charges").body(Full::from(body))?;
        let headers = request.headers_mut();
        headers.insert(HOST, self.host.clone());
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert("idempotency-key", HeaderValue::from_str(key)?);

        let mut line = self.line().await?;
        let response = line.send_request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(line);

        let charged: Charged = serde_json::from_slice(&body)?;
        let settled = status == StatusCode::OK && charged.settles(key, order);
        settled.then_some(charged).ok_or_else(|| format!("the gateway answered {status}").into())
    }

    async fn line(&self) -> Result<SendRequest<Full<Bytes>>, Failed> {
        while let Some(mut line) = self.take() {
            if line.ready().await.is_ok() {
                return Ok(line);
            }
        }
        let stream = TcpStream::connect(&self.address).await?;
        stream.set_nodelay(true)?;
        let (line, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(line)
    }

    fn take(&self) -> Option<SendRequest<Full<Bytes>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }
}

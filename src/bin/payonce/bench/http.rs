//! A caller's connection to a daemon, kept open.

use http_body_util::{BodyExt as _, Full};
use hyper::{
    Request, StatusCode, Uri,
    body::Bytes,
    client::conn::http1::{SendRequest, handshake},
    header,
};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::TcpStream;

use super::load::source;

pub(super) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    host: String,
    key: Option<String>,
}

impl Connection {
    /// To `http://HOST:PORT`.
    pub(super) async fn open(url: &str) -> Result<Connection, String> {
        let uri: Uri = url.parse().map_err(|error| format!("--http {url:?}: {error}"))?;
        let host = uri.authority().filter(|_| uri.scheme_str() == Some("http")).map(ToString::to_string);
        let host = host.ok_or_else(|| format!("--http {url:?}: http://HOST:PORT is wanted"))?;
        let unreachable = |error: &dyn std::fmt::Display| format!("no daemon at {url}: {error}");
        let stream = TcpStream::connect(&host).await.map_err(|error| unreachable(&error))?;
        stream.set_nodelay(true).map_err(|error| unreachable(&error))?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|error| unreachable(&error))?;
        tokio::spawn(connection);
        let key = std::env::var("PAYONCE_API_KEY").ok();
        Ok(Connection { sender, host, key })
    }

    /// Pays, and waits until it has succeeded.
    pub(super) async fn pay(&mut self, name: &str) -> Result<(), String> {
        let body = json!({
            "amount": 1999, "currency": "EUR", "source": source(name), "destination": "acct_shop",
        });
        let mut request = Request::post("/v1/payments")
            .header(header::HOST, &self.host)
            .header(header::CONTENT_TYPE, "application/json")
            .header("Idempotency-Key", name);
        if let Some(key) = &self.key {
            request = request.header(header::AUTHORIZATION, format!("Bearer {key}"));
        }
        let request = request.body(Full::from(body.to_string())).map_err(|error| error.to_string())?;
        self.sender.ready().await.map_err(|error| error.to_string())?;
        let response = self.sender.send_request(request).await.map_err(|error| error.to_string())?;
        let status = response.status();
        let body = response.into_body().collect().await.map_err(|error| error.to_string())?.to_bytes();
        let succeeded = body.windows(SUCCEEDED.len()).any(|part| part == SUCCEEDED);
        if status == StatusCode::CREATED && succeeded {
            return Ok(());
        }
        Err(format!("payment {name}: {status}: {}", String::from_utf8_lossy(&body)))
    }
}

const SUCCEEDED: &[u8] = br#""state":"succeeded""#;

//! Whom the daemon lets in: where it may listen, its API keys and its certificate, which are read again when their files
//! change.

use std::{fs, os::unix::fs::MetadataExt, path::PathBuf, sync::Arc, time::Duration};

use payonce::{
    config::{ConfigError, Settings},
    http::Face,
};

/// How often the files are looked at: as soon as a person who has just revoked a key would want to see it.
const EVERY: Duration = Duration::from_secs(1);

/// The server's face, which lets in whom the settings say.
pub(crate) fn face(settings: &Settings, insecure: bool) -> Result<Face, ConfigError> {
    let near = settings.listen.ip().to_canonical().is_loopback();
    if settings.keys_file.is_none() && !near && !insecure {
        return Err(ConfigError::new(format!(
            "without API keys whoever can connect can pay, so it listens on this machine only, and not on {}: make a key \
             with `payonce keys add` and name its file in keys_file, or say --insecure-no-keys",
            settings.listen
        )));
    }
    let mut face = Face::new();
    if let Some(connections) = settings.connections {
        face = face.with_connections(connections);
    }
    if insecure {
        face = face.for_any_host();
    }
    read(&face, settings)?;
    Ok(face)
}

/// Reads keys and certificate anew. What cannot be read leaves what was before.
fn read(face: &Face, settings: &Settings) -> Result<(), ConfigError> {
    let (keys, tls) = (settings.keys(), settings.tls());
    // Each for itself: a certificate that is broken must not keep a key that was revoked.
    if let Ok(Some(keys)) = &keys {
        tracing::info!(keys = keys.len(), "API keys were read");
    }
    let keys = keys.map(|keys| keys.map(|keys| face.let_in(keys)));
    let tls = tls.map(|tls| tls.map(|tls| face.secure(tls)));
    keys.and(tls).map(drop)
}

/// Reads keys and certificate again whenever their files change, for as long as the process lives.
pub(crate) async fn watch(face: Arc<Face>, settings: Settings) {
    let named = [&settings.keys_file, &settings.tls_cert, &settings.tls_key, &settings.tls_client_ca];
    let files: Vec<PathBuf> = named.into_iter().flatten().cloned().collect();
    let mut seen = marks(&files);
    while !files.is_empty() {
        tokio::time::sleep(EVERY).await;
        // Looked at before it is read: what changes meanwhile is read again.
        let now = marks(&files);
        if now != seen {
            seen = now;
            if let Err(error) = read(&face, &settings) {
                tracing::error!(%error, "what was read before stays in force");
            }
        }
    }
}

/// What tells one state of the files from another: where each is, how long, and when it was last touched in any way.
fn marks(files: &[PathBuf]) -> Vec<Option<(u64, u64, i64, i64)>> {
    let mark = |file: &PathBuf| {
        let about = fs::metadata(file).ok()?;
        Some((about.ino(), about.len(), about.ctime(), about.ctime_nsec()))
    };
    files.iter().map(mark).collect()
}

/// Who may call, for the introduction.
pub(crate) fn callers(settings: &Settings, insecure: bool) -> String {
    let secure = settings.tls_cert.is_some();
    let certificates = if settings.tls_client_ca.is_some() { ", with a client certificate" } else { "" };
    match &settings.keys_file {
        Some(file) => {
            let near = settings.listen.ip().to_canonical().is_loopback();
            let open = if secure || near { "" } else { "; WITHOUT TLS keys can be read on the way: see tls_cert" };
            format!("who has an API key of {}{certificates}{open}", file.display())
        }
        None if insecure => format!("WHOEVER CAN CONNECT{certificates}: there are no API keys"),
        None => format!("whoever is on this machine{certificates}: there are no API keys, see `payonce keys add`"),
    }
}

//! TLS as the server speaks it: with a certificate of its own, and if it is told to, only with callers who have one of an
//! authority that it trusts.

use std::{fmt, io, path::Path, sync::Arc};

use tokio::net::TcpStream;
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        RootCertStore, ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
        server::WebPkiClientVerifier,
    },
    server::TlsStream,
};

/// A certificate with its key, ready to be shown to callers.
#[derive(Clone)]
pub struct Tls(TlsAcceptor);

impl Tls {
    /// Reads PEM files: the certificate with those between it and a root, its private key, and if callers need
    /// certificates too, those of the authorities that may have signed them. What is wrong is said with the file.
    pub fn load(certificates: &Path, key: &Path, client_authorities: Option<&Path>) -> Result<Tls, String> {
        let chain = read_certificates(certificates)?;
        let private = PrivateKeyDer::from_pem_file(key).map_err(|why| about(key, why))?;
        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|why| why.to_string())?;
        let builder = match client_authorities {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let mut roots = RootCertStore::empty();
                for authority in read_certificates(path)? {
                    roots.add(authority).map_err(|why| about(path, why))?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
                builder.with_client_cert_verifier(verifier.map_err(|why| about(path, why))?)
            }
        };
        let mut config = builder.with_single_cert(chain, private).map_err(|why| about(certificates, why))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Tls(TlsAcceptor::from(Arc::new(config))))
    }

    pub(super) async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        self.0.accept(stream).await
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls(..)")
    }
}

fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read.map_err(|why| about(path, why))? {
        none if none.is_empty() => Err(about(path, "there is no certificate in it")),
        some => Ok(some),
    }
}

fn about(path: &Path, why: impl fmt::Display) -> String {
    format!("{}: {why}", path.display())
}

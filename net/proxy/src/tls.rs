//! Mutual TLS 1.3 by node keys: no authority, each node knows the others' keys by their fingerprints.
//!
//! A node makes an Ed25519 key and a self-signed certificate at its first start. Its **fingerprint** is the
//! BLAKE3 hash of the public key (the certificate's SubjectPublicKeyInfo), so a certificate can be made
//! anew for the same key. A peer is accepted when its certificate's key has the fingerprint of the node
//! list *and* its signature over the handshake verifies; names, dates and issuers mean nothing.
//!
//! Whoever dials checks the key in the handshake, before it says a word. Whoever is dialed lets any key
//! through that its owner proves to have, and looks at it with the first frame: a key that is in no list may
//! only knock (`listen`).

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::version::TLS13;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, OtherError, ServerConfig,
    SignatureScheme,
};
use std::fmt;
use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

const CERT_FILE: &str = "node.crt";
const KEY_FILE: &str = "node.key";
/// A key or certificate file is never larger.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// BLAKE3 hash of a node's public key; 64 hexadecimal digits in text.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub [u8; 32]);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for Fingerprint {
    type Err = TlsError;

    /// ```
    /// use dvs_proxy::Fingerprint;
    /// let f = Fingerprint([0xa5; 32]);
    /// assert_eq!(f.to_string().parse::<Fingerprint>().unwrap(), f);
    /// assert!("a5".parse::<Fingerprint>().is_err());
    /// ```
    fn from_str(s: &str) -> Result<Self, TlsError> {
        let bad = || TlsError::BadFingerprint(s.chars().take(80).collect());
        if s.len() != 64 || !s.is_ascii() {
            return Err(bad());
        }
        let mut out = [0; 32];
        for (byte, digits) in out.iter_mut().zip(s.as_bytes().chunks(2)) {
            let digits = std::str::from_utf8(digits).map_err(|_| bad())?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| bad())?;
        }
        Ok(Fingerprint(out))
    }
}

/// What is wrong with keys.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read or written.
    #[error("{path}: {error}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A file does not hold what it should.
    #[error(
        "{path}: {what}; remove {CERT_FILE} and {KEY_FILE} to make a new key, \
         and tell the other nodes its fingerprint"
    )]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// Not 64 hexadecimal digits.
    #[error("{0:?} is no fingerprint: 64 hexadecimal digits are needed")]
    BadFingerprint(String),
    /// The library refuses.
    #[error("TLS: {0}")]
    Library(String),
}

/// A node's certificate and private key.
pub struct NodeKey {
    cert: CertificateDer<'static>,
    key: Vec<u8>,
    fingerprint: Fingerprint,
}

impl fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeKey({})", self.fingerprint)
    }
}

impl NodeKey {
    /// A new key, kept nowhere.
    ///
    /// # Errors
    /// No randomness.
    pub fn ephemeral() -> Result<Self, TlsError> {
        let library = |e: rcgen::Error| TlsError::Library(e.to_string());
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).map_err(library)?;
        let params = rcgen::CertificateParams::new(vec!["dvs-node".to_owned()]).map_err(library)?;
        let cert = params.self_signed(&key).map_err(library)?;
        Self::new(cert.der().clone(), key.serialize_der()).map_err(TlsError::Library)
    }

    fn new(cert: CertificateDer<'static>, key: Vec<u8>) -> Result<Self, String> {
        let fingerprint = fingerprint(&cert).map_err(|e| e.to_string())?;
        Ok(NodeKey { cert, key, fingerprint })
    }

    /// Makes a key and writes it to `dir` (the private part readable by the owner only). Replaces nothing.
    ///
    /// # Errors
    /// The files exist or cannot be written.
    pub fn generate(dir: &Path) -> Result<Self, TlsError> {
        let key = Self::ephemeral()?;
        write_new(&dir.join(KEY_FILE), &key.key, 0o600)?;
        write_new(&dir.join(CERT_FILE), &key.cert, 0o644)?;
        Ok(key)
    }

    /// Reads the key in `dir`.
    ///
    /// # Errors
    /// The files are missing, unreadable, damaged or do not belong together.
    pub fn load(dir: &Path) -> Result<Self, TlsError> {
        let cert_path = dir.join(CERT_FILE);
        let (cert, key) = (read(&cert_path)?, read(&dir.join(KEY_FILE))?);
        let content = |what| TlsError::Content { path: cert_path.clone(), what };
        let node = Self::new(CertificateDer::from(cert), key).map_err(content)?;
        node.server().map_err(|e| content(e.to_string()))?;
        Ok(node)
    }

    /// The key in `dir`, made when there is none.
    ///
    /// # Errors
    /// As [`NodeKey::load`] and [`NodeKey::generate`].
    pub fn load_or_generate(dir: &Path) -> Result<Self, TlsError> {
        let exists = |file| dir.join(file).exists();
        if exists(CERT_FILE) || exists(KEY_FILE) { Self::load(dir) } else { Self::generate(dir) }
    }

    /// What the other nodes' lists have to say about this node.
    pub const fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    fn private(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.clone()).into()
    }

    /// For dialing the node with this fingerprint.
    pub(crate) fn client(&self, peer: Fingerprint) -> Result<Arc<ClientConfig>, TlsError> {
        let library = |e: rustls::Error| TlsError::Library(e.to_string());
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])
            .map_err(library)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Pinned(Some(peer))))
            .with_client_auth_cert(vec![self.cert.clone()], self.private())
            .map_err(library)?;
        config.resumption = rustls::client::Resumption::disabled();
        Ok(Arc::new(config))
    }

    /// For being dialed, by whomever: see [`Pinned`].
    pub(crate) fn server(&self) -> Result<Arc<ServerConfig>, TlsError> {
        let library = |e: rustls::Error| TlsError::Library(e.to_string());
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])
            .map_err(library)?
            .with_client_cert_verifier(Arc::new(Pinned(None)))
            .with_single_cert(vec![self.cert.clone()], self.private())
            .map_err(library)?;
        config.send_tls13_tickets = 0;
        Ok(Arc::new(config))
    }
}

/// The fingerprint of the key in a certificate.
pub(crate) fn fingerprint(cert: &CertificateDer<'_>) -> Result<Fingerprint, rustls::Error> {
    let spki = ParsedCertificate::try_from(cert)?.subject_public_key_info();
    Ok(Fingerprint(*blake3::hash(spki.as_ref()).as_bytes()))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Result<(), TlsError> {
    let file = |error| TlsError::File { path: path.to_owned(), error };
    let mut f = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(path).map_err(file)?;
    f.write_all(bytes).and_then(|()| f.sync_all()).map_err(file)
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let file = |error| TlsError::File { path: path.to_owned(), error };
    if fs::metadata(path).map_err(file)?.len() > FILE_BYTES_MAX {
        return Err(TlsError::Content { path: path.to_owned(), what: "far too large for a key".to_owned() });
    }
    fs::read(path).map_err(file)
}

/// Whether and how connections between nodes are protected.
#[derive(Clone, Debug)]
pub enum Security {
    /// TLS 1.3 with this key; peers are known by their fingerprints.
    Tls(Arc<NodeKey>),
    /// None: whoever reaches the port can be any node. Only by explicit configuration.
    Plain,
}

/// A key that is not the one it should be, or in no list.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the other side's key has the fingerprint {got}, which is not the one in the node list ({allowed})")]
pub(crate) struct NotPinned {
    pub got: Fingerprint,
    pub allowed: String,
}

/// Accepts the certificate with this key; without one, every certificate. In both cases the signature proves
/// that the other side has the key.
#[derive(Debug)]
struct Pinned(Option<Fingerprint>);

impl Pinned {
    fn check(&self, cert: &CertificateDer<'_>) -> Result<(), rustls::Error> {
        let got = fingerprint(cert)?;
        match self.0 {
            Some(one) if one != got => {
                let why = NotPinned { got, allowed: one.to_string() };
                Err(CertificateError::Other(OtherError(Arc::new(why))).into())
            }
            _ => Ok(()),
        }
    }

    fn signature(
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            cert,
            dss,
            &ring::default_provider().signature_verification_algorithms,
        )
    }

    fn schemes() -> Vec<SignatureScheme> {
        ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

fn only_13() -> Result<HandshakeSignatureValid, rustls::Error> {
    Err(rustls::Error::General("only TLS 1.3 is spoken".to_owned()))
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.check(end_entity).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        only_13()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Self::signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        Self::schemes()
    }
}

impl ClientCertVerifier for Pinned {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.check(end_entity).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        only_13()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Self::signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        Self::schemes()
    }
}

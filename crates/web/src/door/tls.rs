//! TLS: from exporter-toolkit's settings to rustls.
//!
//! What rustls does not have (TLS below 1.2, CBC suites, the curve P-521) is left out with a
//! warning when something remains: narrower than asked is safe, and a file that served Go's programs
//! goes on serving. When nothing remains, it is a fault.

use std::{fmt, sync::Arc};

use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, NamedGroup, RootCertStore,
    ServerConfig, SignatureScheme, SupportedCipherSuite, SupportedProtocolVersion,
    client::danger::HandshakeSignatureValid,
    crypto::{CryptoProvider, ring as provider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{
        CertificateDer, PrivateKeyDer, UnixTime,
        pem::{self, PemObject},
    },
    server::{
        NoServerSessionStorage, WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    version::{TLS12, TLS13},
};

use super::sans;

/// Which client certificates are asked for, in Go's words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientAuth {
    #[default]
    NoClientCert,
    RequestClientCert,
    RequireAnyClientCert,
    VerifyClientCertIfGiven,
    RequireAndVerifyClientCert,
}

impl ClientAuth {
    /// `RequireClientCert` is an old name that exporter-toolkit keeps.
    pub const NAMES: [(&'static str, ClientAuth); 6] = [
        ("NoClientCert", ClientAuth::NoClientCert),
        ("RequestClientCert", ClientAuth::RequestClientCert),
        ("RequireAnyClientCert", ClientAuth::RequireAnyClientCert),
        ("RequireClientCert", ClientAuth::RequireAnyClientCert),
        ("VerifyClientCertIfGiven", ClientAuth::VerifyClientCertIfGiven),
        ("RequireAndVerifyClientCert", ClientAuth::RequireAndVerifyClientCert),
    ];

    pub const fn requires(self) -> bool {
        matches!(self, ClientAuth::RequireAnyClientCert | ClientAuth::RequireAndVerifyClientCert)
    }

    const fn verifies(self) -> bool {
        matches!(self, ClientAuth::VerifyClientCertIfGiven | ClientAuth::RequireAndVerifyClientCert)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    Tls10,
    Tls11,
    Tls12,
    Tls13,
}

impl Version {
    pub const NAMES: [(&'static str, Version); 4] = [
        ("TLS10", Version::Tls10),
        ("TLS11", Version::Tls11),
        ("TLS12", Version::Tls12),
        ("TLS13", Version::Tls13),
    ];
}

/// Go's names for what rustls has, and for what it has not.
pub const CIPHER_SUITES: &[(&str, Option<SupportedCipherSuite>)] = &[
    ("TLS_AES_128_GCM_SHA256", Some(provider::cipher_suite::TLS13_AES_128_GCM_SHA256)),
    ("TLS_AES_256_GCM_SHA384", Some(provider::cipher_suite::TLS13_AES_256_GCM_SHA384)),
    ("TLS_CHACHA20_POLY1305_SHA256", Some(provider::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256)),
    (
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        Some(provider::cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256),
    ),
    (
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        Some(provider::cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384),
    ),
    (
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        Some(provider::cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256),
    ),
    (
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        Some(provider::cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256),
    ),
    (
        "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        Some(provider::cipher_suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384),
    ),
    (
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        Some(provider::cipher_suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256),
    ),
    ("TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA", None),
    ("TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA", None),
    ("TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA", None),
    ("TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA", None),
    // Go counted these among the good ones before 1.22.
    ("TLS_RSA_WITH_AES_128_CBC_SHA", None),
    ("TLS_RSA_WITH_AES_256_CBC_SHA", None),
    ("TLS_RSA_WITH_AES_128_GCM_SHA256", None),
    ("TLS_RSA_WITH_AES_256_GCM_SHA384", None),
];

/// Go's names of curves, and rustls' groups.
pub const CURVES: &[(&str, Option<NamedGroup>)] = &[
    ("CurveP256", Some(NamedGroup::secp256r1)),
    ("CurveP384", Some(NamedGroup::secp384r1)),
    ("X25519", Some(NamedGroup::X25519)),
    ("CurveP521", None),
    ("X25519MLKEM768", None),
];

/// What TLS is made of.
pub struct TlsSettings {
    /// PEM: the server's own certificate, then those between it and its authority.
    pub certificates: Vec<u8>,
    /// PEM.
    pub key: Vec<u8>,
    pub client_auth: ClientAuth,
    /// PEM.
    pub client_authorities: Option<Vec<u8>>,
    /// `Some`: a client's certificate must be for one of these names.
    pub client_names: Option<Vec<String>>,
    pub least: Version,
    pub most: Version,
    /// Names of [`CIPHER_SUITES`]; empty is all there are. As in Go they bind TLS 1.2 alone.
    pub cipher_suites: Vec<&'static str>,
    pub server_order: bool,
    /// Names of [`CURVES`]; empty is all there are.
    pub curves: Vec<&'static str>,
}

/// Neither the key nor anything else.
impl fmt::Debug for TlsSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsSettings").finish_non_exhaustive()
    }
}

/// Which setting is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Certificates,
    Key,
    ClientAuth,
    ClientAuthorities,
    ClientNames,
    LeastVersion,
    MostVersion,
    CipherSuites,
    Curves,
}

/// A reason that reads on after the name of its part. Holds nothing of the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub part: Part,
    pub why: String,
}

/// TLS, ready to shake hands.
pub struct Tls {
    config: Arc<ServerConfig>,
    verifies_clients: bool,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("verifies_clients", &self.verifies_clients)
            .finish_non_exhaustive()
    }
}

impl Tls {
    /// Makes it, and says in sentences what of the settings it could not follow.
    pub fn new(settings: &TlsSettings) -> Result<(Tls, Vec<String>), Fault> {
        let mut warnings = Vec::new();
        let crypto = Arc::new(crypto(settings, &mut warnings)?);
        let versions = versions(settings, &crypto, &mut warnings)?;
        let chain = certificates_in(&settings.certificates)
            .map_err(|why| fault(Part::Certificates, why))?;
        let key = private_key(&settings.key).map_err(|why| fault(Part::Key, why))?;
        let verifier = verifier(settings, &crypto, &mut warnings)?;
        let asks_clients = verifier.is_some();
        let builder = ServerConfig::builder_with_provider(crypto)
            .with_protocol_versions(&versions)
            .map_err(|error| fault(Part::CipherSuites, error.to_string()))?;
        let builder = match verifier {
            Some(verifier) => builder.with_client_cert_verifier(verifier),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_single_cert(chain, key).map_err(own_fault)?;
        config.ignore_client_order = settings.server_order;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        if asks_clients {
            // A resumed session would not be asked again, not even after its certificate ended.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        let verifies_clients = settings.client_auth == ClientAuth::RequireAndVerifyClientCert;
        Ok((Tls { config: Arc::new(config), verifies_clients }, warnings))
    }

    /// Whether only clients come in whose certificate an authority of ours has signed.
    pub fn verifies_clients(&self) -> bool {
        self.verifies_clients
    }

    pub(crate) fn acceptor(&self) -> tokio_rustls::TlsAcceptor {
        Arc::clone(&self.config).into()
    }
}

fn fault(part: Part, why: impl Into<String>) -> Fault {
    Fault { part, why: why.into() }
}

/// All certificates of a PEM text; there must be one.
pub fn certificates_in(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, &'static str> {
    let found: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(text).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err("holds no certificate in PEM form"),
        Err(_) => Err("holds a certificate that is cut or is not base64"),
    }
}

fn private_key(text: &[u8]) -> Result<PrivateKeyDer<'static>, &'static str> {
    PrivateKeyDer::from_pem_slice(text).map_err(|error| match error {
        pem::Error::NoItemsFound if is_encrypted(text) => {
            "is encrypted; give the key without a passphrase, in a file that only its user may read"
        }
        pem::Error::NoItemsFound => "holds no private key in PEM form",
        _ => "holds a key that is cut or is not base64",
    })
}

fn is_encrypted(text: &[u8]) -> bool {
    let label = b"BEGIN ENCRYPTED PRIVATE KEY";
    text.windows(label.len()).any(|window| window == label)
}

/// What rustls says of our own certificate and key.
fn own_fault(error: Error) -> Fault {
    match error {
        Error::InconsistentKeys(_) => {
            fault(Part::Key, "does not belong to the certificate: their public keys differ")
        }
        Error::InvalidCertificate(why) => {
            fault(Part::Certificates, format!("cannot be used: {why}"))
        }
        _ => fault(Part::Key, "is of a kind that is not supported; use ECDSA, Ed25519 or RSA"),
    }
}

fn crypto(settings: &TlsSettings, warnings: &mut Vec<String>) -> Result<CryptoProvider, Fault> {
    let all = provider::default_provider();
    Ok(CryptoProvider {
        cipher_suites: suites(settings, &all, warnings),
        kx_groups: groups(settings, &all, warnings)?,
        ..all
    })
}

/// Those of TLS 1.3 cannot be chosen, there as here.
fn suites(
    settings: &TlsSettings,
    all: &CryptoProvider,
    warnings: &mut Vec<String>,
) -> Vec<SupportedCipherSuite> {
    if settings.cipher_suites.is_empty() {
        return all.cipher_suites.clone();
    }
    let (found, missing) = look_up(&settings.cipher_suites, CIPHER_SUITES);
    if !missing.is_empty() {
        warnings.push(left_out("cipher_suites", &missing));
    }
    let fixed = all.cipher_suites.iter().copied().filter(|suite| suite.tls13().is_some());
    fixed.chain(found.into_iter().filter(|suite| suite.tls13().is_none())).collect()
}

fn groups(
    settings: &TlsSettings,
    all: &CryptoProvider,
    warnings: &mut Vec<String>,
) -> Result<Vec<&'static dyn rustls::crypto::SupportedKxGroup>, Fault> {
    if settings.curves.is_empty() {
        return Ok(all.kx_groups.clone());
    }
    let (found, missing) = look_up(&settings.curves, CURVES);
    if found.is_empty() {
        let why = format!(
            "names none that this program has ({} is missing here); add CurveP256 or X25519",
            missing.join(", ")
        );
        return Err(fault(Part::Curves, why));
    }
    if !missing.is_empty() {
        warnings.push(left_out("curve_preferences", &missing));
    }
    let of = |name: &NamedGroup| all.kx_groups.iter().find(|group| group.name() == *name).copied();
    Ok(found.iter().filter_map(of).collect())
}

/// The values that there are, in the order asked for, and the names of those that there are not.
fn look_up<T: Copy>(
    names: &[&'static str],
    table: &[(&'static str, Option<T>)],
) -> (Vec<T>, Vec<&'static str>) {
    let mut found = Vec::new();
    let mut missing = Vec::new();
    for name in names {
        match table.iter().find(|(known, _)| known == name) {
            Some((_, Some(value))) => found.push(*value),
            Some((_, None)) | None => missing.push(*name),
        }
    }
    (found, missing)
}

fn left_out(key: &str, missing: &[&str]) -> String {
    format!("{key}: not offered here and left out: {}", missing.join(", "))
}

fn versions(
    settings: &TlsSettings,
    crypto: &CryptoProvider,
    warnings: &mut Vec<String>,
) -> Result<Vec<&'static SupportedProtocolVersion>, Fault> {
    let TlsSettings { least, most, .. } = settings;
    if *most < Version::Tls12 {
        let why = "leaves nothing: this program speaks TLS 1.2 and 1.3";
        return Err(fault(Part::MostVersion, why));
    }
    if least > most {
        return Err(fault(Part::LeastVersion, "is above max_version"));
    }
    if *least < Version::Tls12 {
        warnings.push("min_version: TLS below 1.2 is not spoken here; TLS12 is the least".into());
    }
    let mut versions = Vec::new();
    if *most == Version::Tls13 {
        versions.push(&TLS13);
    }
    if *least <= Version::Tls12 {
        if crypto.cipher_suites.iter().any(|suite| suite.tls13().is_none()) {
            versions.push(&TLS12);
        } else if versions.is_empty() {
            let why = "names none for TLS 1.2 that this program has, and max_version forbids 1.3";
            return Err(fault(Part::CipherSuites, why));
        } else {
            warnings.push("cipher_suites: none is left for TLS 1.2, so only 1.3 is spoken".into());
        }
    }
    Ok(versions)
}

fn verifier(
    settings: &TlsSettings,
    crypto: &Arc<CryptoProvider>,
    warnings: &mut Vec<String>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, Fault> {
    let policy = settings.client_auth;
    if policy == ClientAuth::NoClientCert {
        if settings.client_authorities.is_some() {
            let why = "is given, but client_auth_type asks for no certificate; \
                       RequireAndVerifyClientCert does";
            return Err(fault(Part::ClientAuthorities, why));
        }
    } else if policy != ClientAuth::RequireAndVerifyClientCert {
        warnings.push(
            "client_auth_type: only RequireAndVerifyClientCert keeps strangers out".to_owned(),
        );
    }
    match &settings.client_names {
        Some(_) if !policy.requires() => {
            let why = "needs client_auth_type to be RequireAnyClientCert or \
                       RequireAndVerifyClientCert; else a client that shows no certificate has no names";
            return Err(fault(Part::ClientNames, why));
        }
        Some(names) if names.is_empty() => {
            return Err(fault(Part::ClientNames, "is empty, so nobody could come in"));
        }
        _ => {}
    }
    if policy == ClientAuth::NoClientCert {
        return Ok(None);
    }
    Ok(Some(Arc::new(Verifier {
        mandatory: policy.requires(),
        chain: chain_verifier(settings, crypto, warnings)?,
        names: settings.client_names.clone(),
        crypto: Arc::clone(crypto),
    })))
}

fn chain_verifier(
    settings: &TlsSettings,
    crypto: &Arc<CryptoProvider>,
    warnings: &mut Vec<String>,
) -> Result<Chain, Fault> {
    let authorities = match &settings.client_authorities {
        Some(text) => certificates_in(text).map_err(|why| fault(Part::ClientAuthorities, why))?,
        None => Vec::new(),
    };
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots.add(authority).map_err(|error| {
            fault(Part::ClientAuthorities, format!("holds a certificate that is none: {error}"))
        })?;
    }
    if !settings.client_auth.verifies() {
        return Ok(Chain::Any);
    }
    if !roots.is_empty() {
        let builder = WebPkiClientVerifier::builder_with_provider(roots.into(), Arc::clone(crypto));
        let built = builder.build();
        return built
            .map(Chain::Verified)
            .map_err(|error| fault(Part::ClientAuthorities, error.to_string()));
    }
    // Go would take the authorities that this machine trusts for web sites: every owner of a web
    // site's certificate could come in.
    if settings.client_auth == ClientAuth::RequireAndVerifyClientCert {
        let why = "needs client_ca or client_ca_file, or nobody could come in";
        return Err(fault(Part::ClientAuth, why));
    }
    warnings.push(
        "client_auth_type: without client_ca or client_ca_file every certificate that is shown \
         is refused"
            .to_owned(),
    );
    Ok(Chain::None)
}

/// Judges a client's certificate: its chain, then its names.
#[derive(Debug)]
struct Verifier {
    mandatory: bool,
    chain: Chain,
    names: Option<Vec<String>>,
    crypto: Arc<CryptoProvider>,
}

#[derive(Debug)]
enum Chain {
    /// Whoever has the key is let in, whatever the certificate.
    Any,
    Verified(Arc<dyn ClientCertVerifier>),
    /// There is no authority: whatever is shown is refused.
    None,
}

impl ClientCertVerifier for Verifier {
    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        match &self.chain {
            Chain::Verified(verifier) => verifier.root_hint_subjects(),
            Chain::Any | Chain::None => &[],
        }
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = match &self.chain {
            Chain::Any => ClientCertVerified::assertion(),
            Chain::Verified(verifier) => {
                verifier.verify_client_cert(end_entity, intermediates, now)?
            }
            Chain::None => return Err(CertificateError::UnknownIssuer.into()),
        };
        let Some(allowed) = &self.names else { return Ok(verified) };
        let names = sans::of(end_entity).ok_or(CertificateError::BadEncoding)?;
        let is_allowed = names.iter().any(|name| allowed.iter().any(|allowed| name.is(allowed)));
        match is_allowed {
            true => Ok(verified),
            false => Err(CertificateError::ApplicationVerificationFailure.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.crypto.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.crypto.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.crypto.signature_verification_algorithms.supported_schemes()
    }
}

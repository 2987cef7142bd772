//! TLS: clients and members whom nobody listens to, and who are known by their certificate.
//!
//! Prevents a key store that fails at the first client rather than at the start, and a restart of
//! a member because a certificate was renewed: files are read again when they change, and a file
//! that is wrong then changes nothing.
//!
//! | module | what |
//! |---|---|
//! | `settings` | what `zoo.cfg` says |
//! | `store`, `content` | files of keys and certificates |
//! | `jks`, `pkcs12` | two formats of them; the third is PEM |
//! | `certificate`, `name`, `der` | who a certificate names, in Java's words |
//! | `callers`, `called` | whose certificate is believed, by `trust` |

use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;
use std::{fmt, io};

use rustls::ClientConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ServerConfig, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio::time::{Duration, sleep};
use tokio_rustls::server::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, client};

mod called;
mod callers;
mod certificate;
mod content;
mod der;
mod jks;
mod name;
mod pkcs12;
mod settings;
mod store;
mod trust;

pub use settings::{Calls, ClientAuth, MembersTls, Store, TlsSettings, Versions, Wrong};
pub use store::WrongStore;

use called::Called;
use callers::Callers;
use certificate::Certificate;
use content::Key;
use trust::Trust;

use crate::process::{blocking, wall_ms};

/// How often is looked whether the files changed.
const LOOK_EVERY: Duration = Duration::from_secs(5);
const DAY_S: i64 = 24 * 60 * 60;

/// What a handshake needs.
pub struct Tls {
    settings: TlsSettings,
    serving: RwLock<Serving>,
}

/// What was made of the files.
struct Serving {
    config: Arc<ServerConfig>,
    /// For those whom this end calls itself.
    calling: Option<Arc<ClientConfig>>,
    /// When the own certificate ends, in seconds since 1970.
    expires_s: i64,
    /// The files as they were.
    seen: Seen,
}

/// Times and lengths of files: when one of them changes, so did the file.
type Seen = Vec<Option<(SystemTime, u64)>>;

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads the files that are named.
    ///
    /// # Errors
    ///
    /// A [`WrongStore`]: which file, and what to do about it.
    pub fn load(settings: TlsSettings) -> Result<Arc<Self>, WrongStore> {
        let serving = RwLock::new(Serving::load(&settings)?);
        Ok(Arc::new(Self { settings, serving }))
    }

    /// Whether the plain port speaks TLS too.
    pub const fn is_unified(&self) -> bool {
        self.settings.is_unified
    }

    /// When the own certificate ends, in seconds since 1970.
    pub fn expires_s(&self) -> i64 {
        self.read(|serving| serving.expires_s)
    }

    /// Reads the files again if they changed. Connections that are there stay as they are.
    ///
    /// # Errors
    ///
    /// A [`WrongStore`]; then nothing changes, and it is said once for every change of a file.
    pub fn refresh(&self) -> Result<(), WrongStore> {
        let seen = seen(&self.settings);
        if self.read(|serving| serving.seen == seen) {
            return Ok(());
        }
        let loaded = Serving::load(&self.settings);
        let mut serving = self.serving.write().unwrap_or_else(PoisonError::into_inner);
        match loaded {
            Ok(loaded) => {
                *serving = loaded;
                Ok(())
            },
            Err(wrong) => {
                serving.seen = seen;
                Err(wrong)
            },
        }
    }

    /// What to say of the own certificate once it has ended. It is served nevertheless: clients who do
    /// not check go on, and those who come without TLS.
    ///
    /// The time is in seconds since 1970.
    pub fn ended(&self, now_s: i64) -> Option<WrongStore> {
        let days = now_s.checked_sub(self.expires_s()).filter(|s| *s > 0)? / DAY_S;
        Some(self.settings.key_store.wrong(format_args!(
            "the certificate ended {days} days ago, and clients who check it stay away; put a new \
             one there, it is read within seconds"
        )))
    }

    /// Reads the files again whenever they change; `tell` hears of those that are wrong, and of a
    /// certificate that has ended.
    #[expect(
        clippy::infinite_loop,
        reason = "the type says that it does not end; the lint knows `!` only"
    )]
    pub(crate) async fn keep_fresh(
        self: &Arc<Self>,
        tell: impl Fn(WrongStore) + Send,
    ) -> std::convert::Infallible {
        let mut told = None;
        loop {
            let expires_s = self.expires_s();
            if told != Some(expires_s)
                && let Some(ended) = self.ended(wall_ms() / 1_000)
            {
                told = Some(expires_s);
                tell(ended);
            }
            sleep(LOOK_EVERY).await;
            if self.is_fresh() {
                continue;
            }
            // A password is stretched for as long as its file says, and clients do not wait for it.
            let tls = Arc::clone(self);
            if let Ok(Err(wrong)) = blocking(move || tls.refresh()).await {
                tell(wrong);
            }
        }
    }

    fn is_fresh(&self) -> bool {
        let seen = seen(&self.settings);
        self.read(|serving| serving.seen == seen)
    }

    /// The handshake with somebody who came.
    pub(crate) async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let config = self.read(|serving| Arc::clone(&serving.config));
        TlsAcceptor::from(config).accept(stream).await
    }

    /// The handshake with somebody who was called as `host`.
    pub(crate) async fn call(
        &self,
        host: ServerName<'static>,
        stream: TcpStream,
    ) -> io::Result<client::TlsStream<TcpStream>> {
        let calling = self.read(|serving| serving.calling.clone());
        let calling = calling.ok_or(io::ErrorKind::Unsupported)?;
        TlsConnector::from(calling).connect(host, stream).await
    }

    /// Whether who came is one of `hosts` by the certificate that it showed; always, where names are
    /// not asked for.
    pub(crate) fn is_one_of<'a>(
        &self,
        stream: &TlsStream<TcpStream>,
        hosts: impl IntoIterator<Item = &'a ServerName<'static>>,
    ) -> bool {
        if !self
            .settings
            .calls
            .as_ref()
            .is_some_and(|calls| calls.by_name)
        {
            return true;
        }
        let (_, session) = stream.get_ref();
        let shown = session.peer_certificates().and_then(<[_]>::first);
        let is_named = |shown| {
            hosts
                .into_iter()
                .any(|host| called::names(shown, host).is_ok())
        };
        shown.is_some_and(is_named)
    }

    /// Who the client's certificate names, if it showed one: schemes and names.
    pub(crate) fn identities(&self, stream: &TlsStream<TcpStream>) -> Vec<(&'static str, String)> {
        let (_, session) = stream.get_ref();
        let shown = session.peer_certificates().and_then(<[_]>::first);
        let named = |shown: &CertificateDer<'_>| {
            Certificate::read(shown).and_then(|certificate| name::text(certificate.subject))
        };
        let Some(Ok(subject)) = shown.map(named) else {
            return Vec::new();
        };
        let is_super = self.settings.super_user.as_deref() == Some(&*subject);
        let mut identities = vec![("x509", subject)];
        if is_super {
            identities.push(("super", String::new()));
        }
        identities
    }

    fn read<T>(&self, ask: impl FnOnce(&Serving) -> T) -> T {
        ask(&self.serving.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Serving {
    fn load(settings: &TlsSettings) -> Result<Self, WrongStore> {
        // Looked at first: what changes while it is read is read again.
        let seen = seen(settings);
        let provider = provider(settings)?;
        let (certified, expires_s) = certified(settings, &provider)?;
        let store = &settings.key_store;
        let mut versions = Vec::new();
        versions.extend(settings.versions.v1_3.then_some(&TLS13));
        versions.extend(settings.versions.v1_2.then_some(&TLS12));
        let certified = Arc::new(SingleCertAndKey::from(certified));
        let config = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&versions)
            .map_err(|error| store.wrong(error))?
            .with_client_cert_verifier(callers(settings, &provider)?)
            .with_cert_resolver(Arc::<SingleCertAndKey>::clone(&certified));
        let calling = match &settings.calls {
            None => None,
            Some(calls) => {
                let called = Called::new(trust(&calls.trusted, &provider)?, calls.by_name);
                let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
                    .with_protocol_versions(&versions)
                    .map_err(|error| store.wrong(error))?
                    .dangerous()
                    .with_custom_certificate_verifier(Arc::new(called))
                    .with_client_cert_resolver(certified);
                Some(Arc::new(config))
            },
        };
        Ok(Self {
            config: Arc::new(config),
            calling,
            expires_s,
            seen,
        })
    }
}

/// The one provider of ciphers, with those that are wanted.
fn provider(settings: &TlsSettings) -> Result<Arc<CryptoProvider>, WrongStore> {
    let mut provider = aws_lc_rs::default_provider();
    if let Some(wanted) = &settings.cipher_suites {
        provider.cipher_suites.retain(|suite| {
            let name = format!("{:?}", suite.suite());
            // Java says `TLS_` where rustls says `TLS13_`.
            let name = name.replace("TLS13_", "TLS_");
            wanted.contains(&name)
        });
        if provider.cipher_suites.is_empty() {
            return Err(settings
                .key_store
                .wrong("none of the names of ssl.ciphersuites is known here; leave it out"));
        }
    }
    Ok(Arc::new(provider))
}

/// The own key with its certificates, and when those end.
fn certified(
    settings: &TlsSettings,
    provider: &CryptoProvider,
) -> Result<(CertifiedKey, i64), WrongStore> {
    let store = &settings.key_store;
    let Key { private, chain, .. } = store.identity()?;
    let key = provider
        .key_provider
        .load_private_key(private)
        .map_err(|error| store.wrong(format_args!("the private key: {error}")))?;
    let own = chain.first().map(Certificate::read);
    let Some(Ok(own)) = own else {
        return Err(store.wrong("the certificate of the private key cannot be read"));
    };
    if key
        .public_key()
        .is_some_and(|public| public.as_ref() != own.key_info)
    {
        return Err(store
            .wrong("the first certificate does not belong to the private key; put its own first"));
    }
    let expires_s = own.valid.1;
    Ok((CertifiedKey::new(chain, key), expires_s))
}

fn trust(store: &Store, provider: &CryptoProvider) -> Result<Trust, WrongStore> {
    Trust::new(store.trusted()?, provider).map_err(|error| store.wrong(error))
}

fn callers(
    settings: &TlsSettings,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, WrongStore> {
    let (store, is_needed) = match &settings.client_auth {
        ClientAuth::Need(store) => (store, true),
        ClientAuth::Want(store) => (store, false),
        ClientAuth::None => return Ok(WebPkiClientVerifier::no_client_auth()),
    };
    let trust = trust(store, provider)?;
    Ok(Arc::new(Callers::new(trust, is_needed, provider)))
}

fn seen(settings: &TlsSettings) -> Seen {
    let trust_store = match &settings.client_auth {
        ClientAuth::Need(store) | ClientAuth::Want(store) => Some(store),
        ClientAuth::None => None,
    };
    let called = settings.calls.as_ref().map(|calls| &calls.trusted);
    let stores = std::iter::once(&settings.key_store)
        .chain(trust_store)
        .chain(called);
    let seen = stores.map(|store| {
        let facts = std::fs::metadata(&store.file).ok()?;
        Some((facts.modified().ok()?, facts.len()))
    });
    seen.collect()
}

/// Whether who came begins with TLS: with a handshake's record.
pub(crate) async fn is_spoken(stream: &TcpStream) -> bool {
    const HANDSHAKE: u8 = 0x16;
    let mut first = [0];
    matches!(stream.peek(&mut first).await, Ok(1)) && first[0] == HANDSHAKE
}

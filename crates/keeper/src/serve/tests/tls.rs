//! Clients who come by TLS, over real sockets: certificates of both versions, files that change.

use std::path::Path;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;

use super::*;
use crate::serve::{Listeners, serve};
use crate::tls::{ClientAuth, Store, Tls, TlsSettings, Versions};

mod stores;

const AUTHORITY: &[u8] = include_bytes!("tls/ca.pem");
const CLIENT: &[u8] = include_bytes!("tls/client.pem");
const OLD_CLIENT: &[u8] = include_bytes!("tls/old.pem");
const STRANGER: &[u8] = include_bytes!("tls/stranger.pem");
const SERVER: &[u8] = include_bytes!("tls/server.jks");

fn store(folder: &Path, name: &str, content: &[u8]) -> Store {
    let file = folder.join(name);
    std::fs::write(&file, content).expect("a file");
    let password = "apassword".to_owned();
    Store { file, password }
}

fn settings(folder: &Path) -> TlsSettings {
    TlsSettings {
        key_store: store(folder, "server.jks", SERVER),
        client_auth: ClientAuth::Need(store(folder, "ca.pem", AUTHORITY)),
        versions: Versions {
            v1_2: true,
            v1_3: true,
        },
        cipher_suites: None,
        super_user: None,
        is_unified: true,
        calls: None,
    }
}

/// A server with one port for TLS and one for both; it ends with the set.
async fn served(settings: TlsSettings, set: &mut JoinSet<()>) -> (Arc<Tls>, [SocketAddr; 2]) {
    let (desk, replica) = solo();
    let tls = Tls::load(settings).expect("right files");
    let listen = || TcpListener::bind("127.0.0.1:0");
    let (plain, secure) = (
        listen().await.expect("a port"),
        listen().await.expect("a port"),
    );
    let addresses = [&secure, &plain].map(|listener| listener.local_addr().expect("bound"));
    let listeners = Listeners {
        plain: Some(plain),
        secure: Some(secure),
        tls: Some(Arc::clone(&tls)),
        admin: None,
    };
    set.spawn(async move { match serve(desk, replica, listeners).await {} });
    (tls, addresses)
}

fn connector(
    certificate: Option<&[u8]>,
    version: &'static rustls::SupportedProtocolVersion,
) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(AUTHORITY).expect("PEM"))
        .expect("an authority");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[version])
        .expect("a version")
        .with_root_certificates(roots);
    let config = match certificate {
        None => builder.with_no_client_auth(),
        Some(pem) => {
            let chain = CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>();
            let key = PrivateKeyDer::from_pem_slice(pem).expect("PEM");
            let key = provider.key_provider.load_private_key(key).expect("a key");
            let certified = rustls::sign::CertifiedKey::new(chain.expect("PEM"), key);
            let resolver = rustls::sign::SingleCertAndKey::from(certified);
            builder.with_client_cert_resolver(Arc::new(resolver))
        },
    };
    Arc::new(config).into()
}

/// The answer to one request; nothing when the client is turned away.
async fn ask(
    address: SocketAddr,
    connector: &TlsConnector,
    request: &Request<'_>,
) -> Option<Vec<u8>> {
    let stream = TcpStream::connect(address).await.expect("it listens");
    let name = ServerName::try_from("localhost").expect("a name");
    let mut stream = connector.connect(name, stream).await.ok()?;
    stream
        .write_all(&greeting(1, (0, &[0; 16]), 0))
        .await
        .ok()?;
    message(&mut stream).await?;
    let mut out = Vec::new();
    frame::append(&mut out, |out| {
        let opcode = request.opcode().to_wire();
        RequestHeader { xid: 1, opcode }.write(out);
        request.write(out);
    });
    stream.write_all(&out).await.ok()?;
    message(&mut stream).await
}

/// Who the client is told to be; nothing when it is turned away.
async fn who_am_i(address: SocketAddr, connector: &TlsConnector) -> Option<Vec<String>> {
    let answer = ask(address, connector, &Request::WhoAmI).await?;
    let reply = Reply::read(Opcode::WhoAmI, &answer[16..]).expect("well-formed");
    let Reply::Identities(identities) = reply else {
        panic!("{reply:?}");
    };
    let text = |id: &Id<'_>| format!("{}:{}", id.scheme, id.id);
    Some(identities.iter().map(text).collect())
}

#[tokio::test]
async fn a_client_is_who_its_certificate_says_in_both_versions_of_tls_and_of_x509() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut set = JoinSet::new();
    let (_, addresses) = served(settings(folder.path()), &mut set).await;
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let client = connector(Some(CLIENT), version);
        let old_client = connector(Some(OLD_CLIENT), version);
        for address in addresses {
            let told = who_am_i(address, &client).await.expect("a trusted client");
            let name = "x509:CN=client,O=Mainstay\\, and friends";
            assert_eq!(told, ["ip:127.0.0.1", name], "{version:?}");
            let told = who_am_i(address, &old_client)
                .await
                .expect("a trusted client");
            assert_eq!(told, ["ip:127.0.0.1", "x509:CN=old client"], "{version:?}");
        }
    }
}

#[tokio::test]
async fn who_shows_no_certificate_or_a_strangers_is_turned_away() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut set = JoinSet::new();
    let (_, [secure, _]) = served(settings(folder.path()), &mut set).await;
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        assert_eq!(who_am_i(secure, &connector(None, version)).await, None);
        assert_eq!(
            who_am_i(secure, &connector(Some(STRANGER), version)).await,
            None
        );
    }
    let mut plain = TcpStream::connect(secure).await.expect("it listens");
    drop(plain.write_all(b"ruok").await);
    let mut text = Vec::new();
    drop(plain.read_to_end(&mut text).await);
    assert!(!text.starts_with(b"imok"), "the port is for TLS alone");
}

#[tokio::test]
async fn a_stolen_certificate_without_its_key_is_worth_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut set = JoinSet::new();
    let (_, [secure, _]) = served(settings(folder.path()), &mut set).await;
    let end = b"-----END CERTIFICATE-----\n";
    for pem in [CLIENT, OLD_CLIENT] {
        let at = pem
            .windows(end.len())
            .position(|part| part == end)
            .expect("PEM");
        let key = STRANGER
            .windows(end.len())
            .position(|part| part == end)
            .expect("PEM");
        let stolen = [&pem[..at + end.len()], &STRANGER[key + end.len()..]].concat();
        for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
            assert_eq!(
                who_am_i(secure, &connector(Some(&stolen), version)).await,
                None
            );
        }
    }
}

#[tokio::test]
async fn a_certificate_that_is_wished_for_is_not_demanded() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut settings = settings(folder.path());
    let trusted = store(folder.path(), "ca.pem", AUTHORITY);
    settings.client_auth = ClientAuth::Want(trusted);
    let mut set = JoinSet::new();
    let (_, [secure, _]) = served(settings, &mut set).await;
    let version = &rustls::version::TLS13;
    let told = who_am_i(secure, &connector(None, version)).await;
    assert_eq!(told.expect("let in"), ["ip:127.0.0.1"]);
    assert_eq!(
        who_am_i(secure, &connector(Some(STRANGER), version)).await,
        None
    );
}

#[tokio::test]
async fn access_lists_know_a_certificate_and_the_super_user_passes_all() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut settings = settings(folder.path());
    settings.super_user = Some("CN=old client".to_owned());
    let mut set = JoinSet::new();
    let (_, [secure, _]) = served(settings, &mut set).await;
    let version = &rustls::version::TLS13;
    let client = connector(Some(CLIENT), version);
    let old = connector(Some(OLD_CLIENT), version);
    let nodes = [
        ("/own", "CN=client,O=Mainstay\\, and friends", [0, 0]),
        ("/other", "CN=somebody else", [-102, 0]),
    ];
    for (path, id, expected) in nodes {
        let scheme = "x509";
        let acl = vec![Acl {
            perms: 31,
            id: Id { scheme, id },
        }];
        let (data, flags) = (None, 0);
        let node = Request::Create(Create {
            path,
            data,
            acl,
            flags,
        });
        let answer = ask(secure, &client, &node).await.expect("an answer");
        assert_eq!(code(&answer), 0, "{path}");
        for (connector, expected) in [&client, &old].into_iter().zip(expected) {
            let answer = ask(secure, connector, &get(path, false)).await;
            assert_eq!(code(&answer.expect("an answer")), expected, "{path}");
        }
    }
}

fn code(answer: &[u8]) -> i32 {
    let header: ReplyHeader = Reader::new(answer).read().expect("a header");
    header.error
}

#[tokio::test]
async fn the_unified_port_serves_those_who_talk_plainly_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut set = JoinSet::new();
    let (_, [_, unified]) = served(settings(folder.path()), &mut set).await;
    let mut plain = TcpStream::connect(unified).await.expect("it listens");
    plain.write_all(b"ruok").await.expect("open");
    let mut text = String::new();
    plain.read_to_string(&mut text).await.expect("text");
    assert_eq!(text, "imok");
}

#[tokio::test]
async fn files_are_read_again_when_they_change_and_wrong_ones_change_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = settings(folder.path());
    let mut set = JoinSet::new();
    let (tls, [secure, _]) = served(settings.clone(), &mut set).await;
    let stranger = connector(Some(STRANGER), &rustls::version::TLS13);
    assert_eq!(who_am_i(secure, &stranger).await, None);
    store(folder.path(), "ca.pem", b"no certificate at all");
    let wrong = tls.refresh().expect_err("a wrong file");
    assert!(
        wrong
            .to_string()
            .contains("ca.pem: this is neither JKS nor PKCS #12 nor PEM"),
        "{wrong}"
    );
    assert_eq!(tls.refresh(), Ok(()), "it was said once");
    let client = connector(Some(CLIENT), &rustls::version::TLS13);
    assert!(who_am_i(secure, &client).await.is_some(), "nothing changed");
    let both = [AUTHORITY, STRANGER].concat();
    store(folder.path(), "ca.pem", &both);
    assert_eq!(tls.refresh(), Ok(()));
    assert!(
        who_am_i(secure, &stranger).await.is_some(),
        "it is trusted as it is"
    );
}

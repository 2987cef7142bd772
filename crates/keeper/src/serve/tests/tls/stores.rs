//! Files as `keytool` and `openssl` write them; `stores.sh` made those that are PKCS #12.

use super::*;

const KEYTOOL: &[u8] = include_bytes!("keytool.p12");
const TRUST: &[u8] = include_bytes!("trust.p12");
const UNMARKED: &[u8] = include_bytes!("unmarked.p12");
const TWO: &[u8] = include_bytes!("two.p12");
const ENDED: &[u8] = include_bytes!("ended.p12");

#[tokio::test]
async fn pkcs_12_is_read_whatever_the_file_is_called() {
    let version = &rustls::version::TLS13;
    for name in ["server.jks", "server.p12", "server.pfx", "server"] {
        let folder = tempfile::tempdir().expect("a folder");
        let mut settings = settings(folder.path());
        settings.key_store = store(folder.path(), name, KEYTOOL);
        let trusted = store(folder.path(), &format!("trusted-{name}"), TRUST);
        settings.client_auth = ClientAuth::Need(trusted);
        let mut set = JoinSet::new();
        let (_, [secure, _]) = served(settings, &mut set).await;
        assert!(
            who_am_i(secure, &connector(Some(CLIENT), version))
                .await
                .is_some(),
            "{name}"
        );
        let stranger = connector(Some(STRANGER), version);
        assert_eq!(who_am_i(secure, &stranger).await, None, "{name}");
    }
}

#[test]
fn keys_of_both_kinds_and_ciphers_of_all_ages_serve() {
    let folder = tempfile::tempdir().expect("a folder");
    let files: [(&str, &[u8]); 4] = [
        ("ec.p12", include_bytes!("ec.p12")),
        ("legacy.p12", include_bytes!("legacy.p12")),
        ("openssl.p12", include_bytes!("openssl.p12")),
        ("open.p12", include_bytes!("open.p12")),
    ];
    for (name, content) in files {
        let mut settings = settings(folder.path());
        settings.key_store = store(folder.path(), name, content);
        let tls = Tls::load(settings).map(|tls| tls.ended(0));
        assert_eq!(tls, Ok(None), "{name}");
    }
}

#[tokio::test]
async fn a_certificate_that_has_ended_is_told_and_served() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut settings = settings(folder.path());
    settings.key_store = store(folder.path(), "ended.p12", ENDED);
    let tls = Tls::load(settings).expect("it is served");
    let expires_s = tls.expires_s();
    assert_eq!(tls.ended(expires_s), None);
    let ended = tls.ended(expires_s + 3 * 86_400).expect("it has ended");
    assert!(
        ended
            .to_string()
            .contains("ended.p12: the certificate ended 3 days ago"),
        "{ended}"
    );
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    tokio::select! {
        never = tls.keep_fresh(|wrong| drop(tell.send(wrong))) => match never {},
        wrong = told.recv() => assert!(wrong.expect("open").to_string().contains("ended.p12")),
    }
}

#[test]
fn certificates_that_nobody_marked_are_not_trusted_and_it_says_how_to() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut settings = settings(folder.path());
    let unmarked = store(folder.path(), "unmarked.p12", UNMARKED);
    settings.client_auth = ClientAuth::Need(unmarked);
    let wrong = Tls::load(settings).expect_err("nothing is trusted");
    assert!(wrong.to_string().contains("keytool -importcert"), "{wrong}");
}

#[test]
fn a_wrong_key_store_is_named_with_what_to_do() {
    let folder = tempfile::tempdir().expect("a folder");
    let right = settings(folder.path());
    let why = |name, content: &[u8], password: &str| {
        let mut key_store = store(folder.path(), name, content);
        password.clone_into(&mut key_store.password);
        let settings = TlsSettings {
            key_store,
            ..right.clone()
        };
        let wrong = Tls::load(settings).expect_err("it is wrong").to_string();
        assert!(wrong.contains(name), "{wrong}");
        wrong
    };
    assert!(why("a.jks", SERVER, "guess").contains("check the password"));
    assert!(why("b.jks", &SERVER[..900], "apassword").contains("password is wrong, or the file"));
    assert!(why("c.pem", AUTHORITY, "").contains("no private key in it; put one in"));
    assert!(why("d.p12", &[0x30, 0x82, 1, 0], "").contains("damaged, or neither JKS"));
    assert!(why("f.p12", KEYTOOL, "guess").contains("check the password"));
    assert!(why("g.p12", TRUST, "apassword").contains("no private key in it; put one in"));
    let several = why("h.p12", TWO, "apassword");
    assert!(several.contains("several private keys in it, first, second; leave one"));
    assert!(why("i.p12", &KEYTOOL[..900], "apassword").contains("damaged, or neither JKS"));
    let at = CLIENT
        .windows(10)
        .position(|part| part == b"-----BEGIN")
        .expect("PEM");
    let swapped = [AUTHORITY, &CLIENT[at..]].concat();
    assert!(why("e.pem", &swapped, "").contains("put its own first"));
}

//! Claims about what is read of `zoo.cfg`.

use proptest::prelude::*;

use super::*;

#[test]
fn a_file_of_three_members_is_understood() {
    let config = ZooCfg::read(
        "# comment\ntickTime=1000\ndataDir=/var/lib/zookeeper\nclientPort=2181\n\
         maxClientCnxns=0\n4lw.commands.whitelist=ruok, srvr\nreconfigEnabled=true\n\
         server.1=localhost:2888:3888:participant\nserver.2=[::1]:2889:3889:observer;2182\n\
         server.3=host:1:2\nssl.keyStore.location=/x=y\n",
    )
    .expect("it is right");
    assert_eq!(
        (config.timeout_min_ms, config.timeout_max_ms),
        (2_000, 20_000)
    );
    assert_eq!(config.connections_of_address_max, None);
    assert_eq!(config.tls["ssl.keyStore.location"], "/x=y");
    let second = &config.members[&2];
    assert_eq!((&*second.host, second.is_observer), ("::1", true));
    assert_eq!(second.client.as_deref(), Some("0.0.0.0:2182"));
    let edge = config.settings(1, Users::new());
    assert!(edge.words.is_some_and(|words| words.contains("srvr")));
    assert!(!edge.standalone);
}

#[test]
fn a_member_is_found_by_its_clients_where_its_line_or_the_file_says() {
    let members = "dataDir=/d\nserver.1=a:1:2;10.0.0.1:7\nserver.2=b:1:2;8\n\
        server.3=c:1:2;[::1]:9";
    let config = ZooCfg::read(members).expect("a good file");
    let clients = |config: &ZooCfg, member| config.clients_of(member);
    assert_eq!(clients(&config, 1), (Some("10.0.0.1".into()), Some(7)));
    assert_eq!(clients(&config, 2), (None, Some(8)));
    assert_eq!(clients(&config, 3), (Some("::1".into()), Some(9)));
    let file = "dataDir=/d\nclientPort=5\nclientPortAddress=h\nserver.1=a:1:2";
    let config = ZooCfg::read(file).expect("a good file");
    assert_eq!(clients(&config, 1), (Some("h".into()), Some(5)));
}

#[test]
fn all_mistakes_are_told_with_line_and_key() {
    let mistakes = ZooCfg::read("tickTime=x\nserver.a=1\nserver.1=host\npeerType=king\n");
    let told: Vec<String> = mistakes
        .expect_err("there are some")
        .iter()
        .map(Mistake::to_string)
        .collect();
    assert_eq!(told.len(), 6, "{told:?}");
    assert!(told[0].starts_with("line 1: tickTime: "));
    assert!(told[2].starts_with("line 3: server.1: "));
    assert!(told[4].starts_with("dataDir: "));
}

#[test]
fn a_member_has_a_number_that_fits_a_session() {
    assert_eq!(my_id(" 3\n"), Ok(3));
    assert_eq!(my_id("0"), Ok(0));
    for wrong in ["", "-1", "255", "x"] {
        assert!(my_id(wrong).is_err(), "{wrong:?}");
    }
}

#[test]
fn users_are_those_of_the_servers_section() {
    let users = jaas_users(
        "Client {\n user_a=\"no\"\n};\nServer {\n  org.x.DigestLoginModule required\n  \
         user_super=\"secret\"\n  user_jaas=\"pass\";\n};\n",
    );
    assert_eq!(users.len(), 2);
    assert_eq!(users["jaas"], "pass");
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text: String) {
        drop(ZooCfg::read(&text));
        drop(jaas_users(&text));
        drop(my_id(&text));
    }
}

#[test]
fn what_would_be_less_strict_than_the_file_says_is_a_mistake() {
    let with = |lines: &str| ZooCfg::read(&format!("dataDir=/d\nclientPort=1\n{lines}"));
    for (lines, named) in [
        ("reconfigEnabled=perhaps", "reconfigEnabled"),
        ("enforce.auth.enabled=true", "enforce.auth.schemes"),
    ] {
        let mistakes = with(lines).expect_err(lines);
        assert_eq!(mistakes.len(), 1, "{mistakes:?}");
        assert_eq!(mistakes[0].key, named);
    }
    let members = |lines| with(lines).expect("read later").members_tls();
    let mistake = members("sslQuorum=true").expect_err("no key store");
    assert_eq!(mistake.key, "ssl.quorum.keyStore.location");
    assert_eq!(members("sslQuorum=false"), Ok(None));
}

#[test]
fn who_has_to_prove_themselves_is_said_in_two_ways() {
    let schemes = |lines: &str| {
        let config = ZooCfg::read(&format!("dataDir=/d\nclientPort=1\n{lines}"));
        let settings = config.expect("it is right").settings(1, Users::new());
        settings.schemes_required
    };
    let set = |names: &[&str]| names.iter().map(ToString::to_string).collect();
    assert_eq!(schemes(""), BTreeSet::new());
    assert_eq!(schemes("sessionRequireClientSASLAuth=true"), set(&["sasl"]));
    let both = "enforce.auth.enabled=true\nenforce.auth.schemes=sasl, digest";
    assert_eq!(schemes(both), set(&["digest", "sasl"]));
    assert_eq!(schemes("enforce.auth.schemes=sasl"), BTreeSet::new());
}

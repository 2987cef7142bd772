//! No text makes a reader panic, and what a reader accepts can be checked.

use mainstay_check::history::{etcd, key_value};
use mainstay_check::model::key_value::KeyValue;
use mainstay_check::model::register::Register;
use mainstay_check::wgl::{self, Limits};
use proptest::prelude::*;

fn limits() -> Limits {
    Limits {
        steps_max: 10_000,
        ..Limits::default()
    }
}

/// Lines made of the right words in any order.
fn log() -> impl Strategy<Value = String> {
    let kind = prop::sample::select(vec![":invoke", ":ok", ":fail", ":info", ":?", ""]);
    let function = prop::sample::select(vec![":read", ":write", ":cas", ":?"]);
    let value = prop::sample::select(vec![
        "nil",
        "1",
        "-2",
        "[1 2]",
        "[1",
        "1 2]",
        ":timed-out",
        "",
    ]);
    let line = (0..4_u8, kind, function, value).prop_map(|(client, kind, function, value)| {
        format!("INFO  jepsen.util - {client}\t{kind}\t{function}\t{value}\n")
    });
    prop::collection::vec(line, 0..30).prop_map(|lines| lines.concat())
}

fn lines() -> impl Strategy<Value = String> {
    let kind = prop::sample::select(vec![":invoke", ":ok", ":fail", ":info", ":?"]);
    let function = prop::sample::select(vec![":get", ":put", ":append", ":?"]);
    let value = prop::sample::select(vec!["nil", "\"\"", "\"a\"", "\"", "é"]);
    let key = prop::sample::select(vec!["0", "1", "\""]);
    let line = (0..4_u8, kind, function, key, value);
    let line = line.prop_map(|(client, kind, function, key, value)| {
        format!(
            "{{:process {client}, :type {kind}, :f {function}, :key \"{key}\", :value {value}}}\n"
        )
    });
    prop::collection::vec(line, 0..30).prop_map(|lines| lines.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_the_reader_of_logs_panic(text in any::<String>()) {
        let _ignored = etcd::parse(&text);
        let _ignored = etcd::parse(&format!("jepsen.util {text}"));
        let _ignored = etcd::parse(&format!("jepsen.util - 1 :invoke {text}"));
    }

    #[test]
    fn no_text_makes_the_reader_of_key_value_lines_panic(text in any::<String>()) {
        let _ignored = key_value::parse(&text);
        let _ignored = key_value::parse(&format!("{{:process {text}"));
    }

    #[test]
    fn a_log_is_refused_with_its_line_or_can_be_checked(text in log()) {
        match etcd::parse(&text) {
            Ok(history) => {
                let _verdict = wgl::check(&Register, &history, &limits(), &|| true);
            }
            Err(error) => prop_assert!((1..=text.lines().count()).contains(&error.line)),
        }
    }

    #[test]
    fn key_value_lines_are_refused_with_their_line_or_can_be_checked(text in lines()) {
        match key_value::parse(&text) {
            Ok(history) => {
                let _verdict = wgl::check(&KeyValue, &history, &limits(), &|| true);
            }
            Err(error) => prop_assert!((1..=text.lines().count()).contains(&error.line)),
        }
    }
}

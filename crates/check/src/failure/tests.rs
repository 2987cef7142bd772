//! A failure can be read.

use super::*;
use crate::history::Recorder;
use crate::model::key_value::{Action, Input, KeyValue, Output};
use crate::wgl::{self, Limits, Verdict};

fn failure() -> Failure {
    let ask = |action| Input {
        key: "k".into(),
        action,
    };
    let mut recorder = Recorder::new();
    let mut run = |client, from, input, output| {
        recorder.invoke(client, from, input).expect("in order");
        recorder.returned(client, from + 1, output).expect("open");
    };
    for (number, time) in (0..40).zip((0..).step_by(2)) {
        let input = ask(Action::Put(format!("<{number}>").into()));
        run(1, time, input, Output::Done);
        run(
            2,
            time,
            ask(Action::Get),
            Output::Value(format!("<{number}>").into()),
        );
    }
    run(2, 100, ask(Action::Get), Output::Value("<38>".into()));
    let history = recorder.finish();
    match wgl::check(&KeyValue, &history, &Limits::default(), &|| true) {
        Verdict::Violated(failure) => *failure,
        other @ (Verdict::Linearizable { .. } | Verdict::Unknown { .. }) => panic!("{other}"),
    }
}

#[test]
fn a_failure_names_the_reply_and_shows_little_else() {
    let failure = failure();
    let text = failure.to_string();
    assert!(
        text.starts_with(
            "no order explains client 2: get -> \"<38>\" in part \"k\", where the state is \"<39>\""
        ),
        "{text}"
    );
    assert_eq!(
        failure.order.len(),
        80,
        "all but the stale read have a place"
    );
    assert!(failure.window.len() <= 4, "{text}");
    assert!(text.contains("BLOCKED"), "{text}");
}

#[test]
fn the_page_stands_alone_and_nothing_in_it_is_taken_for_markup() {
    let page = failure().html();
    assert!(page.starts_with("<!doctype html>"));
    assert!(
        page.contains("&lt;38&gt;") && !page.contains("<38>"),
        "{page}"
    );
    assert!(page.contains("prefers-color-scheme:dark"));
    for foreign in ["http:", "https:", "<script", "src=", "@import"] {
        assert!(!page.contains(foreign), "{foreign}");
    }
}

#[test]
fn a_long_text_is_cut_between_characters() {
    let long = "é".repeat(TEXT_MAX + 1);
    assert_eq!(shorten(&long).chars().count(), TEXT_MAX + 1);
    assert_eq!(shorten("short"), "short");
}

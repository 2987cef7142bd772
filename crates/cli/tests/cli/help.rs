//! Claims about the command line itself.

use crate::node::mainstay;

#[test]
fn help_shows_what_users_run_and_hides_what_the_binary_runs() {
    let output = mainstay()
        .arg("--help")
        .output()
        .expect("the binary starts");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0));
    assert!(
        said.contains("run") && said.contains("drill") && said.contains("config"),
        "{said}"
    );
    assert!(
        !said.contains("warden") && !said.contains("leash"),
        "{said}"
    );
}

#[test]
fn an_unknown_command_is_a_usage_error() {
    let output = mainstay().arg("rnu").output().expect("the binary starts");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("rnu"));
}

#[test]
fn an_unknown_scenario_is_named_with_those_that_exist() {
    let output = mainstay()
        .args(["drill", "no-such"])
        .output()
        .expect("the binary starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(
        said.contains("no-such") && said.contains("payment-outage"),
        "{said}"
    );
}

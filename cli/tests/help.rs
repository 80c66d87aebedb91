//! The help of every command, word for word: it is the reference.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::Command;

fn help(args: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_ndra"))
        .args(args)
        .arg("--help")
        .env_remove("NODE_NAME")
        .output()
        .unwrap();
    assert!(output.status.success());
    assert!(output.stderr.is_empty());
    String::from_utf8(output.stdout).unwrap()
}

macro_rules! help {
    ($($name:ident: $($arg:literal),*;)+) => {
        $(#[test]
        fn $name() {
            insta::assert_snapshot!(help(&[$($arg),*]));
        })+
    };
}

help! {
    ndra: ;
    simulate: "simulate";
    validate: "validate";
    driver: "driver";
    doctor: "doctor";
    detach: "detach";
    cleanup: "cleanup";
    events: "events";
    watch: "watch";
    install_hook: "install-hook";
    mock: "mock";
    mock_kubelet: "mock", "kubelet";
    mock_cri: "mock", "cri";
    mock_multus: "mock", "multus";
    mock_apiserver: "mock", "apiserver";
    completions: "completions";
}

/// The hook's help is the hook's own.
#[test]
fn hook_answers_for_itself() {
    assert!(help(&["hook"]).contains("--claim-uid"));
}

#[test]
fn without_a_command_the_help_is_shown_and_the_usage_is_wrong() {
    let output = Command::new(env!("CARGO_BIN_EXE_ndra")).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .contains("Usage: ndra <COMMAND>")
    );
}

//! Multus's mock held against the real daemon: the same requests, the same answers.
//!
//! What the real daemon answered is in `fixtures/multus`; the mock is compared with that on
//! every machine. Where `multus-daemon` and CNI plugins are installed and namespaces may be
//! made, the real daemon is asked again, and faults befall it. `NDRA_RECORD=1` writes the
//! answers anew.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use std::process::ExitCode;

fn main() -> ExitCode {
    #[cfg(target_os = "linux")]
    return linux::main();
    #[cfg(not(target_os = "linux"))]
    {
        println!("skipped: network namespaces are Linux's");
        ExitCode::SUCCESS
    }
}

#[cfg(target_os = "linux")]
mod answer;
#[cfg(target_os = "linux")]
mod bed;
#[cfg(target_os = "linux")]
mod cases;
#[cfg(target_os = "linux")]
mod faults;

#[cfg(target_os = "linux")]
mod linux {
    use std::process::{Command, ExitCode};

    use super::{bed, cases, faults};

    /// Every part is a process of its own, which may move into namespaces.
    const PARTS: [(&str, fn()); 3] = [
        ("played", cases::played),
        ("real", cases::real),
        ("faults", faults::all),
    ];

    pub(super) fn main() -> ExitCode {
        if let Ok(part) = std::env::var("NDRA_TEST_PART") {
            ndra_core::kube::install_crypto();
            PARTS.iter().find(|(name, _)| *name == part).unwrap().1();
            return ExitCode::SUCCESS;
        }
        let missing = bed::missing();
        if let (Some(what), true) = (&missing, required()) {
            println!("failed: {what}, and NDRA_REQUIRE_REAL=1 asks for it");
            return ExitCode::FAILURE;
        }
        for (name, _) in PARTS {
            if let (Some(what), true) = (&missing, name != "played") {
                println!("SKIPPED: {name}: {what}");
                continue;
            }
            let mut command = match name {
                "played" => Command::new(std::env::current_exe().unwrap()),
                _ => bed::isolated(),
            };
            let ended = command.env("NDRA_TEST_PART", name).status();
            if !ended.unwrap().success() {
                println!("failed {name}");
                return ExitCode::FAILURE;
            }
            println!("ok {name}");
        }
        ExitCode::SUCCESS
    }

    fn required() -> bool {
        std::env::var("NDRA_REQUIRE_REAL").is_ok_and(|value| value == "1")
    }
}

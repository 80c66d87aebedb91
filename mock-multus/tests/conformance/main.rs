//! Played plugins, played plugins with the kernel's links, and the real plugins answer the
//! same requests, and must say and leave the same.
//!
//! The requests are those of `fixtures/cni` and some more. Hardware addresses that nobody
//! asked for are random; everything else is compared.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

#[cfg(target_os = "linux")]
mod cases;
#[cfg(target_os = "linux")]
mod node;
#[cfg(target_os = "linux")]
mod portmap;

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("skipped: network namespaces are Linux's");
}

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    use std::process::ExitCode;

    if let Some(code) = ndra_netns::helper() {
        return code;
    }
    let required = std::env::var_os("NDRA_REQUIRE_REAL").is_some_and(|value| value == "1");
    let ready = ndra_netns::probe()
        .map_err(|why| why.to_string())
        .and_then(|()| node::plugins());
    let plugins = match ready {
        Ok(plugins) => plugins,
        Err(why) if required => {
            println!("failed: {why}");
            return ExitCode::FAILURE;
        }
        Err(why) => {
            println!("skipped: {why}");
            return ExitCode::SUCCESS;
        }
    };
    node::enter();
    match portmap::missing(&plugins) {
        None => {
            portmap::maps_a_port(&plugins);
            println!("ok a mapped port");
        }
        Some(why) if required => {
            println!("failed: {why}");
            return ExitCode::FAILURE;
        }
        Some(why) => println!("SKIPPED: a mapped port: {why}"),
    }
    let mut failed = 0;
    for case in cases::all() {
        match case.run(&plugins) {
            Ok(()) => println!("ok {}", case.name),
            Err(difference) => {
                failed += 1;
                println!("DIFFERS {}: {difference}", case.name);
            }
        }
    }
    println!("{failed} differ");
    ExitCode::from(u8::from(failed > 0))
}

//! The program that an OCI runtime runs for every container with a claim's CDI
//! device; all of it is in the library, so that `ndra hook` behaves the same.

use std::process::ExitCode;

fn main() -> ExitCode {
    ndra_hook::main(std::env::args_os().skip(1))
}

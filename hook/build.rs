//! Compiles the callback's wire types from core's proto file, without core itself:
//! the hook runs for every container and carries nothing that it does not use.

use std::path::PathBuf;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=../core/proto/callback.proto");
    let set = protox::compile(["callback.proto"], ["../core/proto"])?;
    tonic_prost_build::configure()
        .build_server(false)
        .bytes(".")
        .compile_fds(set.clone())?;

    // Tests and the benchmark play the driver. Their half is a file of its own,
    // so that no server code can reach the program.
    let driver = PathBuf::from(std::env::var("OUT_DIR")?).join("driver");
    std::fs::create_dir_all(&driver)?;
    tonic_prost_build::configure()
        .build_client(false)
        .bytes(".")
        .out_dir(driver)
        .compile_fds(set)?;
    Ok(())
}

//! Compiles the callback's wire types from core's proto file, without core itself:
//! the hook runs for every container and carries nothing that it does not use.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=../core/proto/callback.proto");
    let set = protox::compile(["callback.proto"], ["../core/proto"])?;
    tonic_prost_build::configure()
        .build_server(false)
        .compile_fds(set)?;
    Ok(())
}

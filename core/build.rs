//! Compiles the wire types without protoc, so that a fresh machine needs Cargo alone.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    for file in [
        "pluginregistration",
        "dra_v1",
        "dra_v1beta1",
        "dra_v1alpha3",
        "cri",
        "callback",
        "events",
        "operator",
        "health",
        "dra_health_v1",
        "dra_health_v1alpha1",
    ] {
        let set = protox::compile([format!("{file}.proto")], ["proto"])?;
        tonic_prost_build::configure()
            .btree_map(".")
            .compile_fds(set)?;
    }
    Ok(())
}

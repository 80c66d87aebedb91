//! Which runtime the mock behaves like.

use std::fmt;
use std::str::FromStr;

/// A container runtime and the OCI runtime under it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Flavor {
    /// containerd 2.3 with runc: hooks run in StartContainer and their output is kept.
    Containerd,
    /// CRI-O 1.36 with crun: hooks run in CreateContainer and their output is lost.
    Crio,
}

impl Flavor {
    /// The word for it on command lines.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Containerd => "containerd",
            Self::Crio => "crio",
        }
    }
}

impl fmt::Display for Flavor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A word that names no flavour.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{word}` is no runtime flavour: use containerd or crio")]
pub struct UnknownFlavor {
    word: String,
}

impl FromStr for Flavor {
    type Err = UnknownFlavor;

    fn from_str(word: &str) -> Result<Self, UnknownFlavor> {
        match word {
            "containerd" => Ok(Self::Containerd),
            "crio" => Ok(Self::Crio),
            other => Err(UnknownFlavor {
                word: other.chars().take(64).collect(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_go_both_ways() {
        for flavor in [Flavor::Containerd, Flavor::Crio] {
            assert_eq!(flavor.to_string().parse(), Ok(flavor));
        }
        insta::assert_snapshot!(
            "docker".parse::<Flavor>().unwrap_err(),
            @"`docker` is no runtime flavour: use containerd or crio"
        );
    }
}

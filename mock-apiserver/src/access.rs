//! Who may ask a server: anybody over plain HTTP, or the holder of a token over TLS.

use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use axum::http::{HeaderMap, header};
use uuid::Uuid;

use crate::error::{ApiError, Result};

/// Who may ask a server, and how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Access {
    /// Anybody, over plain HTTP.
    #[default]
    Open,
    /// Whoever shows the server's token, over TLS, as in a cluster that lets nobody in
    /// without a name. The CA, its certificate and the token are made when the server starts.
    Token,
}

/// What a client needs for a server that is not open.
#[derive(Clone)]
pub struct Credentials {
    ca: String,
    token: String,
}

impl Credentials {
    /// With a new token, for servers whose certificates come from this CA.
    pub(crate) fn new(ca: String) -> Credentials {
        let token = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
        Credentials { ca, token }
    }

    /// The certificate of the CA, in PEM.
    pub fn ca(&self) -> &str {
        &self.ca
    }

    /// What goes behind `Authorization: Bearer`.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Writes what a pod of `namespace` finds in
    /// `/var/run/secrets/kubernetes.io/serviceaccount`: `token`, `ca.crt` and `namespace`.
    /// The directory is made if need be; only its owner may read what is in it.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write_service_account(&self, directory: &Path, namespace: &str) -> io::Result<()> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)?;
        for (name, text) in [
            ("token", &self.token[..]),
            ("ca.crt", &self.ca),
            ("namespace", namespace),
        ] {
            let path = directory.join(name);
            // A file that is there keeps its mode: it is made anew.
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut file = fs::File::options()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(path)?;
            file.write_all(text.as_bytes())?;
        }
        Ok(())
    }

    /// Refuses whoever does not show the token.
    pub(crate) fn check(&self, headers: &HeaderMap) -> Result<()> {
        let shown = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split_once(' '));
        match shown {
            Some((scheme, token))
                if scheme.eq_ignore_ascii_case("bearer") && token.trim() == self.token =>
            {
                Ok(())
            }
            _ => Err(ApiError::unauthorized()),
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("token", &"(hidden)")
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_opens() {
        let credentials = Credentials::new("CA".into());
        let check = |value: Option<String>| {
            let mut headers = HeaderMap::new();
            if let Some(value) = value {
                headers.insert(header::AUTHORIZATION, value.parse().unwrap());
            }
            credentials.check(&headers).map_err(|error| error.status())
        };
        let token = credentials.token();
        assert!(check(Some(format!("Bearer {token}"))).is_ok());
        assert!(check(Some(format!("bearer {token}"))).is_ok());
        for wrong in [
            None,
            Some(String::new()),
            Some("Bearer".into()),
            Some("Bearer ".into()),
            Some(format!("Basic {token}")),
            Some(token.to_owned()),
            Some(format!("Bearer {}", &token[1..])),
        ] {
            let status = check(wrong).unwrap_err();
            assert_eq!(
                (&status["code"], &status["reason"], &status["message"]),
                (&401.into(), &"Unauthorized".into(), &"Unauthorized".into())
            );
        }
        assert_ne!(token, Credentials::new("CA".into()).token());
        assert!(!format!("{credentials:?}").contains(token));
    }

    #[test]
    fn a_service_account_is_its_owners_alone() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path().join("a/b");
        let credentials = Credentials::new("CA".into());
        credentials
            .write_service_account(&at, "kube-system")
            .unwrap();
        // Again, over what is there.
        credentials.write_service_account(&at, "default").unwrap();
        let read = |name: &str| {
            let path = at.join(name);
            assert_eq!(
                fs::metadata(&path).unwrap().permissions().mode() & 0o777,
                0o600
            );
            fs::read_to_string(path).unwrap()
        };
        assert_eq!(read("token"), credentials.token());
        assert_eq!(read("ca.crt"), "CA");
        assert_eq!(read("namespace"), "default");
        assert_eq!(
            fs::metadata(&at).unwrap().permissions().mode() & 0o777,
            0o700
        );
    }
}

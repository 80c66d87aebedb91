//! Faults that a scenario orders: slow answers, failing answers, no answers.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::error::{ApiError, Result};

/// Orders faults of a running server. Clones order them of the same server.
///
/// A *verb* is one of `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`,
/// `deletecollection`, or `*` for any. A *path pattern* is the path of a URL, in which each
/// `*` stands for any text, slashes included:
/// `/apis/resource.k8s.io/v1/namespaces/*/resourceclaims/*/status`.
#[derive(Debug, Clone)]
pub struct Faults {
    orders: Arc<Mutex<Orders>>,
    up: Arc<watch::Sender<bool>>,
}

#[derive(Debug, Default)]
struct Orders {
    delays: Vec<(Pattern, Duration)>,
    failures: Vec<Failure>,
}

#[derive(Debug)]
struct Failure {
    pattern: Pattern,
    left: usize,
    code: u16,
}

#[derive(Debug, PartialEq, Eq)]
struct Pattern {
    verb: String,
    path: String,
}

impl Pattern {
    fn new(verb: &str, path: &str) -> Pattern {
        Pattern {
            verb: verb.to_owned(),
            path: path.to_owned(),
        }
    }

    fn matches(&self, verb: &str, path: &str) -> bool {
        (self.verb == "*" || self.verb == verb) && glob(&self.path, path)
    }
}

fn glob(pattern: &str, text: &str) -> bool {
    let Some((head, tail)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(mut rest) = text.strip_prefix(head) else {
        return false;
    };
    let mut parts: Vec<&str> = tail.split('*').collect();
    let last = parts.pop().unwrap_or_default();
    for part in parts {
        match rest.find(part) {
            Some(index) => rest = &rest[index + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

impl Faults {
    pub(crate) fn new() -> Faults {
        Faults {
            orders: Arc::default(),
            up: Arc::new(watch::Sender::new(true)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Orders> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Delays the answer to each matching request. Zero takes the order back.
    pub fn set_delay(&self, verb: &str, path: &str, delay: Duration) {
        let pattern = Pattern::new(verb, path);
        let mut orders = self.lock();
        orders.delays.retain(|(other, _)| *other != pattern);
        if !delay.is_zero() {
            orders.delays.push((pattern, delay));
        }
    }

    /// Lets the next `n` matching requests fail with this HTTP status code. They change nothing.
    pub fn fail_next(&self, n: usize, verb: &str, path: &str, code: u16) {
        if n > 0 {
            self.lock().failures.push(Failure {
                pattern: Pattern::new(verb, path),
                left: n,
                code,
            });
        }
    }

    /// Takes all orders back, and brings the server back if it is down.
    pub fn clear(&self) {
        *self.lock() = Orders::default();
        self.come_back();
    }

    /// Cuts all connections, watches too, and closes each new one at once, until
    /// [`come_back`](Faults::come_back). The controllers go on, and no object is lost.
    pub fn go_down(&self) {
        self.up.send_replace(false);
    }

    /// Serves again, on the same address.
    pub fn come_back(&self) {
        self.up.send_replace(true);
    }

    /// Whether connections are served.
    pub(crate) fn is_up(&self) -> bool {
        *self.up.borrow()
    }

    /// Sees each change between up and down.
    pub(crate) fn subscribe(&self) -> watch::Receiver<bool> {
        self.up.subscribe()
    }

    /// Lets a request feel what was ordered for it.
    pub(crate) async fn strike(&self, verb: &str, path: &str) -> Result<()> {
        let (delay, failure) = {
            let mut orders = self.lock();
            let delay: Duration = orders
                .delays
                .iter()
                .filter(|(pattern, _)| pattern.matches(verb, path))
                .map(|(_, delay)| *delay)
                .sum();
            let failure = orders
                .failures
                .iter_mut()
                .find(|failure| failure.pattern.matches(verb, path))
                .map(|failure| {
                    failure.left -= 1;
                    failure.code
                });
            orders.failures.retain(|failure| failure.left > 0);
            (delay, failure)
        };
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        failure.map_or(Ok(()), |code| Err(ApiError::injected(code)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        assert!(glob("/api/*", "/api/v1/pods"));
        assert!(glob("*/status", "/a/b/status"));
        assert!(glob("/a/*/c/*", "/a/b/c/d"));
        assert!(glob("*", ""));
        assert!(!glob("/a/*/c", "/a/b/d"));
        assert!(!glob("/a", "/a/b"));
        assert!(!glob("/a/*/c/*/e", "/a/b/c/e"));
    }

    #[tokio::test]
    async fn failures_are_counted() {
        let faults = Faults::new();
        faults.fail_next(2, "patch", "*/status", 503);
        assert!(faults.strike("get", "/x/status").await.is_ok());
        assert_eq!(
            faults.strike("patch", "/x/status").await.unwrap_err().code,
            503
        );
        assert_eq!(
            faults.strike("patch", "/x/status").await.unwrap_err().code,
            503
        );
        assert!(faults.strike("patch", "/x/status").await.is_ok());
    }
}

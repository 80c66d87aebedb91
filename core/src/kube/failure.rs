//! What a failed API call means for the caller: try again, give up, or somebody must act.

use std::error::Error as _;
use std::fmt;
use std::time::Duration;

use crate::socket::root_cause;

/// The longest part of a server's message that goes into a text of ours, in bytes.
const MAX_MESSAGE: usize = 2048;

/// What to do about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// 404: the object, or the whole resource, is not there.
    NotFound,
    /// 403: somebody must grant a verb.
    Forbidden,
    /// 409: somebody else was faster, or the object is another one now.
    Conflict,
    /// 400, 405, 413, 422: the same request will be refused again.
    Refused,
    /// 401, 408, 429, 5xx, no connection, no answer in time: later may go better.
    Later,
    /// The answer cannot be understood; asking again gives the same answer.
    Unreadable,
}

/// A failed API call.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) verdict: Verdict,
    /// HTTP status; 0 when there was no answer.
    pub(super) code: u16,
    /// The server's words, or the transport's.
    pub(super) message: String,
    /// Fields that the server complains of.
    pub(super) fields: Vec<String>,
    /// How long the server asks to wait.
    pub(super) after: Option<Duration>,
}

impl Failure {
    fn local(verdict: Verdict, message: impl Into<String>) -> Self {
        Self {
            verdict,
            code: 0,
            message: clipped(message.into(), MAX_MESSAGE),
            fields: Vec::new(),
            after: None,
        }
    }

    /// The resource itself is unknown to the server, not one object of it.
    pub(super) fn resource_unknown(&self) -> bool {
        self.verdict == Verdict::NotFound
            && (self
                .message
                .contains("could not find the requested resource")
                || self.message.contains("page not found"))
    }

    /// The object of that name has another UID than the one that was meant.
    pub(super) fn replaced(&self) -> bool {
        match self.verdict {
            Verdict::Conflict => self.message.to_ascii_lowercase().contains("uid"),
            Verdict::Refused => self.fields.iter().any(|field| field == "metadata.uid"),
            _ => false,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.code {
            0 => f.write_str(&self.message),
            code => write!(f, "{} (HTTP {code})", self.message),
        }
    }
}

impl From<::kube::Error> for Failure {
    fn from(error: ::kube::Error) -> Self {
        use ::kube::Error;
        match error {
            Error::Api(status) => {
                let verdict = match status.code {
                    404 | 410 => Verdict::NotFound,
                    403 => Verdict::Forbidden,
                    409 => Verdict::Conflict,
                    400 | 405 | 406 | 413 | 415 | 422 => Verdict::Refused,
                    _ => Verdict::Later,
                };
                let details = status.details.as_ref();
                let message = match (status.message.trim(), status.reason.trim()) {
                    ("", "") => "no message".to_owned(),
                    ("", reason) => reason.to_owned(),
                    (message, _) => message.to_owned(),
                };
                Self {
                    code: status.code,
                    fields: details
                        .map(|d| d.causes.iter().map(|c| c.field.clone()).collect())
                        .unwrap_or_default(),
                    after: details
                        .map(|d| d.retry_after_seconds)
                        .filter(|seconds| *seconds > 0)
                        .map(|seconds| Duration::from_secs(seconds.into())),
                    ..Self::local(verdict, message)
                }
            }
            Error::SerdeError(error) => Self::local(
                Verdict::Unreadable,
                format!("the answer cannot be read: {error}"),
            ),
            Error::BuildRequest(error) => {
                Self::local(Verdict::Refused, format!("no request can be made: {error}"))
            }
            other => {
                let cause = match other.source() {
                    Some(source) => root_cause(source),
                    None => other.to_string(),
                };
                Self::local(Verdict::Later, cause)
            }
        }
    }
}

/// One API call, which gets no more than `limit`.
pub(super) async fn call<T>(
    limit: Duration,
    request: impl Future<Output = Result<T, ::kube::Error>>,
) -> Result<T, Failure> {
    match tokio::time::timeout(limit, request).await {
        Ok(answer) => answer.map_err(Failure::from),
        Err(_) => Err(Failure::local(
            Verdict::Later,
            format!("no answer from the API server within {limit:?}"),
        )),
    }
}

/// At most `max` bytes of `text`, cut at a character and marked.
pub(super) fn clipped(mut text: String, max: usize) -> String {
    const MARK: &str = "…";
    if text.len() > max {
        let mut end = max.saturating_sub(MARK.len());
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push_str(MARK);
    }
    text
}

//! gRPC errors in the words that the kubelet, a Go program, shows its users.

use std::future::Future;
use std::time::Duration;

use ndra_core::socket::status_text;
use tonic::{Code, Response, Status};

/// `rpc error: code = Unavailable desc = …`.
pub(crate) fn rpc_error(status: &Status) -> String {
    let code = match status.code() {
        Code::Ok => "OK",
        Code::Cancelled => "Canceled",
        Code::Unknown => "Unknown",
        Code::InvalidArgument => "InvalidArgument",
        Code::DeadlineExceeded => "DeadlineExceeded",
        Code::NotFound => "NotFound",
        Code::AlreadyExists => "AlreadyExists",
        Code::PermissionDenied => "PermissionDenied",
        Code::ResourceExhausted => "ResourceExhausted",
        Code::FailedPrecondition => "FailedPrecondition",
        Code::Aborted => "Aborted",
        Code::OutOfRange => "OutOfRange",
        Code::Unimplemented => "Unimplemented",
        Code::Internal => "Internal",
        Code::Unavailable => "Unavailable",
        Code::DataLoss => "DataLoss",
        Code::Unauthenticated => "Unauthenticated",
    };
    format!("rpc error: code = {code} desc = {}", status_text(status))
}

/// A request whose server learns of the deadline, too.
pub(crate) fn request<T>(message: T, deadline: Duration) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.set_timeout(deadline);
    request
}

/// Waits for a reply until `deadline` and no longer, even when the server ignores it.
pub(crate) async fn within<T>(
    deadline: Duration,
    call: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<T, Status> {
    let late = || Status::deadline_exceeded("context deadline exceeded");
    match tokio::time::timeout(deadline, call).await {
        Err(_) => Err(late()),
        Ok(Ok(response)) => Ok(response.into_inner()),
        // How tonic's client reports that the deadline it sent has passed.
        Ok(Err(status))
            if status.code() == Code::Cancelled && status.message() == "Timeout expired" =>
        {
            Err(late())
        }
        Ok(Err(status)) => Err(status),
    }
}

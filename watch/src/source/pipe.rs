//! Standard input and named pipes: read on a thread, because such a read cannot be given up.

use std::io::{self, Read};

use ndra_core::socket::io_text;
use tokio::sync::mpsc;

use super::lane::{Connect, Lane, Trouble};

/// Bytes that are read at once.
const PIECE: usize = 64 * 1024;
/// Pieces that wait for the reader.
const AHEAD: usize = 4;

/// See [`Source::Stdin`](super::Source::Stdin).
pub(super) struct Stdin;

impl Connect for Stdin {
    async fn connect(&mut self, lane: &mut Lane) -> Result<(), Trouble> {
        lane.connecting("standard input".into()).await?;
        read("standard input", lane, || Ok(io::stdin())).await
    }
}

/// Reads what `open` opens to its end. A thread that waits for more is left behind; it
/// ends with its next piece or with the program.
pub(super) async fn read<R: Read>(
    name: &str,
    lane: &mut Lane,
    open: impl FnOnce() -> io::Result<R> + Send + 'static,
) -> Result<(), Trouble> {
    let unreadable =
        |error: io::Error| Trouble::Final(format!("cannot read {name}: {}", io_text(&error)));
    let (send, mut pieces) = mpsc::channel(AHEAD);
    std::thread::Builder::new()
        .name("pipe".into())
        .spawn(move || {
            if let Err(error) = pump(open, &send) {
                // Nobody waits for it when the lane has ended.
                let _ = send.blocking_send(Err(error));
            }
        })
        .map_err(unreadable)?;
    lane.connected().await?;
    let cancel = lane.cancel.clone();
    loop {
        match cancel.run_until_cancelled(pieces.recv()).await {
            None => return Err(Trouble::Closed),
            Some(None) => break,
            Some(Some(piece)) => {
                lane.intake.feed(&piece.map_err(unreadable)?).await?;
                if pieces.is_empty() {
                    lane.intake.flush().await?;
                }
            }
        }
    }
    lane.intake.end_for_now().await?;
    Ok(())
}

fn pump<R: Read>(
    open: impl FnOnce() -> io::Result<R>,
    out: &mpsc::Sender<io::Result<Vec<u8>>>,
) -> io::Result<()> {
    let mut from = open()?;
    let mut piece = vec![0; PIECE];
    loop {
        match from.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(read) => {
                if out.blocking_send(Ok(piece[..read].to_vec())).is_err() {
                    return Ok(());
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

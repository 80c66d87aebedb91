//! Standard output on a thread of its own: a reader that stalls stops nothing else.

use std::io::{self, ErrorKind, Write};

use tokio::sync::{mpsc, oneshot};

/// Writes that wait.
const AHEAD: usize = 8;

/// Where output goes.
pub(crate) struct Out {
    writes: mpsc::Sender<Vec<u8>>,
    end: oneshot::Receiver<io::Result<()>>,
}

/// The reader has gone away, or takes no more.
#[derive(Debug)]
pub(crate) struct Gone;

impl Out {
    /// Standard output; `styled`: with colours, where that is a terminal.
    pub(crate) fn stdout(styled: bool) -> io::Result<Self> {
        Self::to(move || -> Box<dyn Write> {
            if styled {
                Box::new(anstream::stdout())
            } else {
                Box::new(io::stdout())
            }
        })
    }

    fn to(open: impl FnOnce() -> Box<dyn Write> + Send + 'static) -> io::Result<Self> {
        let (writes, mut inbox) = mpsc::channel::<Vec<u8>>(AHEAD);
        let (done, end) = oneshot::channel();
        // Never joined: it may wait for a reader that never reads on.
        std::thread::Builder::new()
            .name("output".into())
            .spawn(move || {
                let mut to = open();
                let mut write = || {
                    while let Some(bytes) = inbox.blocking_recv() {
                        to.write_all(&bytes)?;
                        to.flush()?;
                    }
                    Ok(())
                };
                // Nobody waits for it when the program has other reasons to end.
                let _ = done.send(write());
            })?;
        Ok(Self { writes, end })
    }

    /// Writes, when there is room.
    pub(crate) async fn write(&self, bytes: Vec<u8>) -> Result<(), Gone> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.writes.send(bytes).await.map_err(|_| Gone)
    }

    /// Returns when all is written. That the reader has gone away is no error.
    pub(crate) async fn finish(self) -> io::Result<()> {
        drop(self.writes);
        match self.end.await {
            Ok(Err(error)) if error.kind() != ErrorKind::BrokenPipe => Err(error),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Pipe(ErrorKind);

    impl Write for Pipe {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_reader_that_went_away_is_no_error_a_full_disk_is() {
        for (kind, ok) in [
            (ErrorKind::BrokenPipe, true),
            (ErrorKind::StorageFull, false),
        ] {
            let out = Out::to(move || Box::new(Pipe(kind))).unwrap();
            while out.write(b"x".to_vec()).await.is_ok() {}
            assert_eq!(out.finish().await.is_ok(), ok);
        }
    }
}

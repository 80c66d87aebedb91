//! Recordings and streams of any size, for measurements of the program as a whole.

use std::io::{self, BufWriter, Write};
use std::time::{Duration, Instant};

use ndra_watch::sample::{Life, Sample};

/// Flows that are made at once: a million events as values would take more memory than
/// what is measured.
const AT_ONCE: usize = 2_000;

/// Flows without end, one every 20 ms of their own time; one of fifty fails.
pub(crate) struct Flows {
    next: usize,
    seq: u64,
}

impl Flows {
    pub(crate) fn new() -> Self {
        Self { next: 0, seq: 0 }
    }

    /// The lines of the next `flows`, and how many events there were so far.
    fn lines(&mut self, flows: usize) -> io::Result<(Vec<u8>, u64)> {
        let mut sample = Sample::new();
        for n in self.next..self.next + flows {
            let life = if n % 50 == 7 {
                Life::RangeUsedUp
            } else {
                Life::Ended
            };
            sample = sample.flow(n, n as u64 * 20, life);
        }
        self.next += flows;
        let mut out = Vec::new();
        for mut event in sample.events() {
            self.seq += 1;
            event.seq = self.seq;
            serde_json::to_writer(&mut out, &event)?;
            out.push(b'\n');
        }
        Ok((out, self.seq))
    }
}

/// Writes a recording of at least so many events and bytes. Returns both.
pub(crate) fn recording(out: impl Write, events: u64, bytes: u64) -> io::Result<(u64, u64)> {
    let mut out = BufWriter::new(out);
    let mut flows = Flows::new();
    let (mut written, mut seen) = (0, 0);
    while seen < events || written < bytes {
        let (lines, count) = flows.lines(AT_ONCE)?;
        out.write_all(&lines)?;
        written += lines.len() as u64;
        seen = count;
    }
    out.flush()?;
    Ok((seen, written))
}

/// Writes events as fast as `rate` a second says, until nobody reads them.
pub(crate) fn stream(mut out: impl Write, rate: u64) -> io::Result<()> {
    let began = Instant::now();
    let mut flows = Flows::new();
    let mut seen = 0;
    loop {
        let due = began.elapsed().as_millis() * u128::from(rate) / 1000;
        if u128::from(seen) >= due {
            std::thread::sleep(Duration::from_millis(5));
            continue;
        }
        let (lines, count) = flows.lines(20)?;
        seen = count;
        match out.write_all(&lines).and_then(|()| out.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            written => written?,
        }
    }
}

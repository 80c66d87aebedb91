//! The terminal while it is ours: taken over as a whole, and given back whatever happens.

use std::io::{self, BufWriter, IsTerminal, Stdout, Write};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use crossterm::terminal::{disable_raw_mode, enable_raw_mode};
use ratatui::Terminal;
use ratatui::backend::{Backend, CrosstermBackend};
use ratatui::buffer::Buffer;
use tokio::sync::Notify;

use super::TermError;

/// The alternate screen, no cursor, clicks and drags, marked pastes. Movements of the mouse
/// without a button are not asked for: nothing depends on them.
const ENTER: &[u8] = b"\x1b[?1049h\x1b[?25l\x1b[?1000h\x1b[?1002h\x1b[?1006h\x1b[?2004h";
/// Undoes [`ENTER`], in reverse.
const LEAVE: &[u8] = b"\x1b[?2004l\x1b[?1006l\x1b[?1002l\x1b[?1000l\x1b[0m\x1b[?25h\x1b[?1049l";
/// Around a frame: terminals that know it show the frame as a whole.
const FRAME: (&[u8], &[u8]) = (b"\x1b[?2026h", b"\x1b[?2026l");

/// Enough for a frame of 200×60 in true colour.
const ROOM: usize = 256 * 1024;

/// Is the terminal ours now?
static OURS: AtomicBool = AtomicBool::new(false);

/// The terminal, taken over. Dropping it gives it back.
pub(super) struct Screen {
    terminal: Terminal<CrosstermBackend<BufWriter<Stdout>>>,
}

impl Screen {
    /// Takes the terminal over.
    pub(super) fn enter() -> Result<Self, TermError> {
        if !io::stdout().is_terminal() {
            return Err(TermError::NotATerminal);
        }
        give_back_on_panic();
        let out = BufWriter::with_capacity(ROOM, io::stdout());
        let terminal = Terminal::new(CrosstermBackend::new(out)).map_err(TermError::Terminal)?;
        enable_raw_mode().map_err(TermError::Terminal)?;
        OURS.store(true, Ordering::SeqCst);
        let mut screen = Self { terminal };
        screen.write(ENTER).map_err(TermError::Terminal)?;
        Ok(screen)
    }

    /// Columns and rows.
    pub(super) fn size(&self) -> io::Result<(u16, u16)> {
        let size = self.terminal.size()?;
        Ok((size.width, size.height))
    }

    /// Draws one frame; only what changed is sent.
    pub(super) fn draw(&mut self, draw: impl FnOnce(&mut Buffer)) -> io::Result<()> {
        self.terminal.backend_mut().write_all(FRAME.0)?;
        self.terminal.draw(|frame| draw(frame.buffer_mut()))?;
        self.write(FRAME.1)
    }

    /// Forgets what is on the terminal: the next frame is sent whole.
    pub(super) fn clear(&mut self) -> io::Result<()> {
        self.terminal.clear()
    }

    /// Sends a sequence.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let backend = self.terminal.backend_mut();
        backend.write_all(bytes)?;
        Backend::flush(backend)
    }

    /// Gives the terminal back.
    pub(super) fn leave(self) {
        drop(self);
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

/// Has a panic given the terminal back?
pub(super) fn has_left() -> bool {
    !OURS.load(Ordering::SeqCst)
}

/// Gives the terminal back, once. Whoever cannot be told has gone.
fn give_back() {
    if OURS.swap(false, Ordering::SeqCst) {
        let mut out = io::stdout();
        let _ = out.write_all(LEAVE).and_then(|()| out.flush());
        let _ = disable_raw_mode();
        LEFT.notify_one();
    }
}

/// Tells whoever waits that the terminal was given back.
static LEFT: Notify = Notify::const_new();

/// Returns when a panic, on whichever thread, has given the terminal back.
pub(super) async fn left() {
    while !has_left() {
        LEFT.notified().await;
    }
}

/// A panic's words belong on the terminal as it was before.
fn give_back_on_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            give_back();
            before(info);
        }));
    });
}

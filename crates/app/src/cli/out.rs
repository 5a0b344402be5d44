//! Where commands write. A reader that goes away (`| head`) ends the output, not with an error.

use std::io::{self, BufWriter, IsTerminal, Stdout, Write};

#[derive(Debug)]
pub struct Out {
    stdout: BufWriter<Stdout>,
    closed: bool,
    /// Why it closed, unless the reader went away.
    failure: Option<io::Error>,
}

impl Out {
    pub fn new() -> Out {
        Out { stdout: BufWriter::new(io::stdout()), closed: false, failure: None }
    }

    pub fn is_terminal(&self) -> bool {
        io::stdout().is_terminal()
    }

    /// Characters in a line of the terminal, where there is one.
    pub fn width(&self) -> Option<usize> {
        let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
        (size.ws_col > 0).then_some(usize::from(size.ws_col))
    }

    /// False once nobody reads any more: a command that would go on may stop.
    pub fn is_open(&self) -> bool {
        !self.closed
    }

    pub fn line(&mut self, text: impl AsRef<str>) {
        self.text(text);
        self.text("\n");
    }

    pub fn text(&mut self, text: impl AsRef<str>) {
        self.bytes(text.as_ref().as_bytes());
    }

    pub fn bytes(&mut self, bytes: &[u8]) {
        if !self.closed {
            let written = self.stdout.write_all(bytes);
            self.note(written);
        }
    }

    pub fn flush(&mut self) {
        if !self.closed {
            let flushed = self.stdout.flush();
            self.note(flushed);
        }
    }

    /// Why the output is cut short, once that is known: a full disk behind it, for example. To be
    /// asked after [`Out::flush`].
    pub fn failure(&mut self) -> Option<io::Error> {
        self.failure.take()
    }

    fn note(&mut self, result: io::Result<()>) {
        let Err(error) = result else { return };
        self.closed = true;
        if error.kind() != io::ErrorKind::BrokenPipe {
            self.failure = Some(error);
        }
    }
}

impl Default for Out {
    fn default() -> Out {
        Out::new()
    }
}

impl Drop for Out {
    fn drop(&mut self) {
        self.flush();
    }
}

/// A message for the person at the terminal, beside the output.
pub fn complain(text: impl AsRef<str>) {
    // Nothing is left to tell it to when standard error is closed.
    writeln!(io::stderr(), "{}", text.as_ref()).ok();
}

//! Where commands write. A reader that goes away (`| head`) ends the output, not with an error.

use std::io::{self, BufWriter, IsTerminal, Stdout, Write};

#[derive(Debug)]
pub struct Out {
    stdout: BufWriter<Stdout>,
    closed: bool,
}

impl Out {
    pub fn new() -> Out {
        Out { stdout: BufWriter::new(io::stdout()), closed: false }
    }

    pub fn is_terminal(&self) -> bool {
        io::stdout().is_terminal()
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
        if !self.closed && self.stdout.write_all(bytes).is_err() {
            self.closed = true;
        }
    }

    pub fn flush(&mut self) {
        if !self.closed && self.stdout.flush().is_err() {
            self.closed = true;
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

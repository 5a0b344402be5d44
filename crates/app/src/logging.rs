//! Farol's own log: for people on a terminal, JSON in `<logs>/farol-<command>.log` elsewhere, and
//! JSON on standard output where that file may not be written.

use std::{
    fs::{File, OpenOptions},
    io::{self, IsTerminal, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::fmt::{MakeWriter, format::Writer, time::FormatTime};

use crate::{
    clock,
    config::{Format, Level},
};

#[derive(Clone, Debug)]
pub struct Settings {
    pub level: Level,
    pub format: Format,
    /// The log file, if one is wanted.
    pub file: Option<PathBuf>,
    pub max_size: u64,
    /// How many old files stay beside the current one.
    pub keep: usize,
}

/// Installs the log for the whole process. Where it went, in words, for the start message.
pub fn start(settings: &Settings) -> String {
    let terminal = io::stderr().is_terminal();
    let human = match settings.format {
        Format::Auto => terminal,
        Format::Human => true,
        Format::Json => false,
    };
    if human {
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(filter(settings.level))
            .with_timer(Utc)
            .with_target(false)
            .with_ansi(terminal)
            // It would complain on standard error, and panic where that cannot be written either.
            .log_internal_errors(false)
            .with_writer(io::stderr)
            .finish();
        install(subscriber);
        return "standard error".into();
    }
    let file = settings.file.as_deref().map(|path| (path, RotatingFile::open(path, settings)));
    match file {
        Some((path, Ok(file))) => {
            start_json(filter(settings.level), Shared(Arc::new(Mutex::new(file))));
            path.display().to_string()
        }
        Some((path, Err(error))) => {
            start_json(filter(settings.level), io::stdout);
            tracing::warn!(path = %path.display(), %error, "the log file cannot be written; logging to standard output");
            "standard output".into()
        }
        None => {
            start_json(filter(settings.level), io::stdout);
            "standard output".into()
        }
    }
}

const fn filter(level: Level) -> LevelFilter {
    match level {
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
        Level::Trace => LevelFilter::TRACE,
    }
}

fn start_json<W>(level: LevelFilter, writer: W)
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let subscriber = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .with_max_level(level)
        .with_timer(Utc)
        .log_internal_errors(false)
        .with_writer(writer)
        .finish();
    install(subscriber);
}

fn install(subscriber: impl tracing::Subscriber + Send + Sync) {
    // A second one in the same process (tests) keeps the first.
    tracing::subscriber::set_global_default(subscriber).ok();
}

struct Utc;

impl FormatTime for Utc {
    fn format_time(&self, writer: &mut Writer<'_>) -> std::fmt::Result {
        writer.write_str(&clock::rfc3339(clock::now()))
    }
}

/// A file that is set aside at a given size: `x.log` → `x.log.1` → `x.log.2` …
#[derive(Debug)]
struct RotatingFile {
    path: PathBuf,
    file: File,
    written: u64,
    max_size: u64,
    keep: usize,
}

impl RotatingFile {
    fn open(path: &Path, settings: &Settings) -> io::Result<RotatingFile> {
        let file = append_to(path)?;
        let written = file.metadata()?.len();
        Ok(RotatingFile {
            path: path.to_owned(),
            file,
            written,
            max_size: settings.max_size.max(4096),
            keep: settings.keep,
        })
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the log is not data: it needs no durable rename"
    )]
    fn rotate(&mut self) -> io::Result<()> {
        for age in (0..self.keep).rev() {
            let from = if age == 0 { self.path.clone() } else { aged(&self.path, age) };
            match std::fs::rename(&from, aged(&self.path, age + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        if self.keep == 0 {
            self.file.set_len(0)?;
        } else {
            self.file = append_to(&self.path)?;
        }
        Ok(())
    }
}

impl Write for RotatingFile {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.written + line.len() as u64 > self.max_size && self.written > 0 {
            // A rotation that fails (full disk) must not lose the line: it goes to the old file.
            // Nor may it be tried with every line: each try sets the files one place further aside.
            self.rotate().ok();
            self.written = 0;
        }
        self.file.write_all(line)?;
        self.written += line.len() as u64;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn aged(path: &Path, age: usize) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{age}"));
    name.into()
}

#[expect(clippy::disallowed_methods, reason = "the log is not data: appending is all it needs")]
fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o640).open(path)
}

#[derive(Clone, Debug)]
struct Shared(Arc<Mutex<RotatingFile>>);

impl<'w> MakeWriter<'w> for Shared {
    type Writer = Shared;
    fn make_writer(&'w self) -> Shared {
        self.clone()
    }
}

impl Write for Shared {
    #[expect(clippy::disallowed_methods, reason = "passes on what the formatter writes")]
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(line)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(max_size: u64, keep: usize) -> Settings {
        Settings { level: Level::Info, format: Format::Json, file: None, max_size, keep }
    }

    #[test]
    fn the_log_is_set_aside_at_its_size_and_the_oldest_goes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("farol-run.log");
        let mut log = RotatingFile::open(&path, &settings(4096, 2)).unwrap();
        for letter in *b"abcd" {
            log.write_all(&vec![letter; 3000]).unwrap();
        }
        let first = |path: &Path| {
            let mut bytes = Vec::new();
            io::Read::read_to_end(&mut farol_open(path), &mut bytes).unwrap();
            bytes[0]
        };
        assert_eq!(first(&path), b'd');
        assert_eq!(first(&aged(&path, 1)), b'c');
        assert_eq!(first(&aged(&path, 2)), b'b');
        assert!(!aged(&path, 3).exists());
    }

    #[test]
    fn a_rotation_that_fails_loses_no_line_and_is_not_tried_with_every_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("farol-run.log");
        let mut log = RotatingFile::open(&path, &settings(4096, 2)).unwrap();
        // No file can be set aside under the name of a folder.
        log.write_all(&[b'x'; 3000]).unwrap();
        log.rotate().unwrap();
        std::fs::create_dir(aged(&path, 2)).unwrap();
        log.written = 4000;
        for _ in 0..4 {
            log.write_all(&[b'x'; 1000]).unwrap();
        }
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 4000);
        assert_eq!(log.written, 4000, "tried once, at the first line");
    }

    #[expect(clippy::disallowed_methods, reason = "a test reads what was written")]
    fn farol_open(path: &Path) -> File {
        File::open(path).unwrap()
    }
}

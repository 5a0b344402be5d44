//! `textfile`: what other programs left in `*.prom` files, in the text format of Prometheus, in the
//! folders of the setting `collectors.textfile.directory`.
//!
//! How that format is read is told by `app` ([`Settings::parse`]): this crate knows no format. What
//! the files say of their families (`# HELP`, `# TYPE`) goes to the [`Board`], where whoever writes
//! `/metrics` finds it.
//!
//! A file that cannot be taken is named with the reason, and the others are served: one that is no
//! such text, gives samples a time of their own, or is too large. A series that stands in an
//! earlier file already, or whose name is one of ours, is left out and named. An unchanged file is
//! not read again.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt,
    fs::File,
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::{Component, Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use farol_model::{
    Description, Exposed, ExposedFamily, ExposedSample, Kind, Lane, Metric, Sample, Text, Timestamp,
};
use regex::Regex;
use rustix::fs::{Mode, OFlags};

use crate::{CollectError, Collector, Entry, Host, Options, OptionsError, Scope, Scrape, registry};

const NAME: &str = "textfile";
const MTIME: &str = "node_textfile_mtime_seconds";
const SCRAPE_ERROR: &str = "node_textfile_scrape_error";

/// Far more than scripts write; what goes beyond is refused with a reason.
const MOST_FOLDERS: usize = 100;
const MOST_FILES: usize = 1000;
const MOST_FILE_BYTES: u64 = 4 * 1024 * 1024;
const MOST_SERIES: usize = 20_000;
const MOST_PROBLEMS: usize = 100;

pub const ENTRY: Entry = Entry {
    name: NAME,
    about: "what other programs left in `*.prom` files",
    on: true,
    lane: Lane::Slow,
    scope: Scope::Own,
    reads: &["`*.prom` in `collectors.textfile.directory`"],
    metrics: &[
        Metric::gauge(MTIME, "seconds", "Unixtime mtime of textfiles successfully read."),
        Metric::gauge(
            SCRAPE_ERROR,
            "",
            "1 if there was an error opening or reading a file, 0 otherwise",
        ),
    ],
    build,
};

/// What the collector is told.
#[derive(Clone)]
pub struct Settings {
    /// Folders; a part of a path may hold `*` and `?`. None: nothing is read.
    pub directories: Vec<PathBuf>,
    /// Reads a file's text, or says why it cannot, with the line.
    pub parse: fn(&[u8]) -> Result<Exposed, String>,
    pub board: Arc<Board>,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("directories", &self.directories)
            .field("board", &self.board)
            .finish_non_exhaustive()
    }
}

impl Default for Settings {
    fn default() -> Settings {
        let parse = |_: &[u8]| Err("no format is known".to_owned());
        Settings { directories: Vec::new(), parse, board: Arc::default() }
    }
}

/// What the files say of their families. Kept by `app`; the collector writes it, `/metrics` reads.
#[derive(Debug, Default)]
pub struct Board(Mutex<Posted>);

#[derive(Debug, Default)]
struct Posted {
    version: u64,
    families: HashMap<Text, Family>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Family {
    kind: Kind,
    help: String,
}

impl Board {
    pub fn describe(&self, name: &str) -> Option<Description> {
        let posted = self.posted();
        let Family { kind, help } = posted.families.get(name)?.clone();
        Some(Description { collector: NAME, kind, unit: "", help })
    }

    /// Another number after each change.
    pub fn version(&self) -> u64 {
        self.posted().version
    }

    fn post(&self, families: HashMap<Text, Family>) {
        let mut posted = self.posted();
        if posted.families != families {
            posted.families = families;
            posted.version += 1;
        }
    }

    fn posted(&self) -> MutexGuard<'_, Posted> {
        // A panic under the lock leaves plain assignments.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn build(options: &Options) -> Result<Box<dyn Collector>, OptionsError> {
    let Settings { directories, parse, board } = options.textfile.clone();
    let folders = directories.iter().map(|path| Pattern::new(path)).collect::<Result<_, _>>()?;
    Ok(Box::new(Textfile { folders, parse, board, files: BTreeMap::new(), merged: None }))
}

struct Textfile {
    folders: Vec<Pattern>,
    parse: fn(&[u8]) -> Result<Exposed, String>,
    board: Arc<Board>,
    files: BTreeMap<PathBuf, Known>,
    /// Of the files as they last were.
    merged: Option<Merged>,
}

/// What was made of a file.
struct Known {
    identity: Identity,
    /// Whether a later change would change `identity` too.
    is_settled: bool,
    content: Result<Exposed, String>,
}

/// As long as it is the same, the file is.
#[derive(Clone, Copy, PartialEq)]
struct Identity {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

#[derive(Default)]
struct Merged {
    samples: Vec<Sample>,
    problems: Vec<String>,
}

impl Collector for Textfile {
    fn collect(&mut self, _host: &Host, out: &mut Scrape) -> Result<(), CollectError> {
        let mut problems = Vec::new();
        let paths = self.find_files(&mut problems);
        let mut is_changed = self.forget_others(&paths);
        for path in paths {
            is_changed |= self.look_at(path, out.now());
        }
        let merged = match self.merged.take() {
            Some(merged) if !is_changed => merged,
            _ => self.merge(),
        };
        for sample in &merged.samples {
            out.push_sample(sample.clone());
        }
        self.push_times(out);
        let is_error = !(problems.is_empty() && merged.problems.is_empty());
        out.push(SCRAPE_ERROR, &[], f64::from(u8::from(is_error)));
        for problem in problems.into_iter().chain(merged.problems.iter().cloned()) {
            out.problem(problem);
        }
        self.merged = Some(merged);
        Ok(())
    }
}

impl Textfile {
    /// In order of their paths.
    fn find_files(&self, problems: &mut Vec<String>) -> Vec<PathBuf> {
        let mut paths = Vec::new();
        for folder in self.folders.iter().flat_map(Pattern::folders) {
            let entries = match folder.read_dir() {
                Ok(entries) => entries,
                Err(error) => {
                    problems.push(format!("{}: {error}", folder.display()));
                    continue;
                }
            };
            let files = entries.flatten().map(|entry| entry.path());
            paths.extend(files.filter(|path| path.extension().is_some_and(|end| end == "prom")));
        }
        paths.sort_unstable();
        paths.dedup();
        if paths.len() > MOST_FILES {
            problems.push(format!("{} files; the first {MOST_FILES} are read", paths.len()));
            paths.truncate(MOST_FILES);
        }
        paths
    }

    /// Whether there were any.
    fn forget_others(&mut self, paths: &[PathBuf]) -> bool {
        let before = self.files.len();
        self.files.retain(|path, _| paths.binary_search(path).is_ok());
        self.files.len() != before
    }

    /// Reads the file when it is new or not the one it was; says whether it did.
    fn look_at(&mut self, path: PathBuf, now: Timestamp) -> bool {
        let opened = open(&path);
        let known = self.files.get(&path);
        if let (Ok((_, identity)), Some(known)) = (&opened, known)
            && known.is_settled
            && known.identity == *identity
        {
            return false;
        }
        let known = match opened {
            Ok((file, identity)) => Known {
                identity,
                is_settled: identity.is_settled(now),
                content: read(file, identity, self.parse),
            },
            Err(error) => Known {
                identity: Identity::NONE,
                is_settled: false,
                content: Err(error.to_string()),
            },
        };
        self.files.insert(path, known);
        true
    }

    fn merge(&self) -> Merged {
        let mut merging = Merging::default();
        for (path, known) in &self.files {
            match &known.content {
                Ok(exposed) => merging.add(path, exposed),
                Err(reason) => merging.complain(format!("{}: {reason}", path.display())),
            }
        }
        self.board.post(merging.families);
        if merging.further_problems > 0 {
            let more = format!("and {} problems more", merging.further_problems);
            merging.merged.problems.push(more);
        }
        merging.merged
    }

    fn push_times(&self, out: &mut Scrape) {
        for (path, known) in self.files.iter().filter(|(_, known)| known.content.is_ok()) {
            let (seconds, nanoseconds) = known.identity.modified;
            let time = seconds as f64 + nanoseconds as f64 / 1e9;
            out.push(MTIME, &[("file", &path.to_string_lossy())], time);
        }
    }
}

impl Identity {
    /// Of a file that could not be opened.
    const NONE: Identity =
        Identity { device: 0, inode: 0, bytes: 0, modified: (0, 0), changed: (0, 0) };

    /// Within the fineness of the file system's clock a second change leaves no trace. And what
    /// seems to be of the future says nothing.
    fn is_settled(&self, now: Timestamp) -> bool {
        const SECONDS: i64 = 2;
        self.changed.0 < now.as_millis() / 1000 - SECONDS
    }
}

/// A FIFO of that name must not block us, and what is no file is not read.
fn open(path: &Path) -> io::Result<(File, Identity)> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    let about = file.metadata()?;
    if !about.is_file() {
        return Err(io::Error::other("not a file"));
    }
    let identity = Identity {
        device: about.dev(),
        inode: about.ino(),
        bytes: about.len(),
        modified: (about.mtime(), about.mtime_nsec()),
        changed: (about.ctime(), about.ctime_nsec()),
    };
    Ok((file, identity))
}

fn read(
    file: File,
    identity: Identity,
    parse: fn(&[u8]) -> Result<Exposed, String>,
) -> Result<Exposed, String> {
    let too_large = || format!("larger than {} MiB", MOST_FILE_BYTES / 1024 / 1024);
    if identity.bytes > MOST_FILE_BYTES {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    // It may grow while it is read.
    file.take(MOST_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() as u64 > MOST_FILE_BYTES {
        return Err(too_large());
    }
    let exposed = parse(&bytes)?;
    match exposed.samples.iter().find(|exposed| exposed.has_time) {
        Some(ExposedSample { line, .. }) => {
            Err(format!("line {line}: a sample with a time of its own; the file is not taken"))
        }
        None => Ok(exposed),
    }
}

/// What all files say together.
#[derive(Default)]
struct Merging<'a> {
    merged: Merged,
    families: HashMap<Text, Family>,
    seen: HashSet<(&'a Text, &'a farol_model::Labels)>,
    further_problems: usize,
}

impl<'a> Merging<'a> {
    fn add(&mut self, path: &Path, exposed: &'a Exposed) {
        let shown = path.display();
        let said: HashMap<&Text, &ExposedFamily> =
            exposed.families.iter().map(|family| (&family.name, family)).collect();
        for ExposedSample { sample, line, .. } in &exposed.samples {
            let family = Family::of(said.get(&sample.name).copied(), path);
            if let Some(reason) = self.refusal(sample, &family) {
                self.complain(format!("{shown}: line {line}: {}: {reason}", sample.name));
                continue;
            }
            self.families.entry(sample.name.clone()).or_insert(family);
            self.seen.insert((&sample.name, &sample.labels));
            self.merged.samples.push(sample.clone());
        }
    }

    fn refusal(&self, sample: &Sample, family: &Family) -> Option<&'static str> {
        if is_ours(&sample.name) {
            return Some("the name is one of Farol's own");
        }
        if self.seen.contains(&(&sample.name, &sample.labels)) {
            return Some("the series stands twice");
        }
        if self.families.get(&sample.name).is_some_and(|held| held.kind != family.kind) {
            return Some("it is of another type in a file before");
        }
        (self.merged.samples.len() >= MOST_SERIES).then_some("there are too many series")
    }

    fn complain(&mut self, problem: String) {
        if self.merged.problems.len() < MOST_PROBLEMS {
            self.merged.problems.push(problem);
        } else {
            self.further_problems += 1;
        }
    }
}

impl Family {
    fn of(said: Option<&ExposedFamily>, path: &Path) -> Family {
        let help = said.map(|family| family.help.clone()).filter(|help| !help.is_empty());
        Family {
            kind: said.map_or(Kind::Untyped, |family| family.kind),
            help: help.unwrap_or_else(|| format!("Metric read from {}", path.display())),
        }
    }
}

/// Also of a collector that is off: it may be turned on. `farol_` is the server's too.
fn is_ours(name: &str) -> bool {
    name.starts_with("farol_") || registry::describe(name).is_some()
}

/// A folder's path, in which parts may hold `*` and `?`.
#[derive(Debug)]
struct Pattern {
    path: PathBuf,
    parts: Vec<Part>,
}

#[derive(Debug)]
enum Part {
    Plain(PathBuf),
    Wild(Regex),
}

impl Pattern {
    fn new(path: &Path) -> Result<Pattern, OptionsError> {
        let parts = path.components().map(Part::new).collect::<Result<_, _>>()?;
        Ok(Pattern { path: path.to_owned(), parts })
    }

    /// The folders that fit, in order; when none does, the path itself, so that it is missed.
    fn folders(&self) -> Vec<PathBuf> {
        let mut found = vec![PathBuf::new()];
        for part in &self.parts {
            found = match part {
                Part::Plain(name) => found.iter().map(|base| base.join(name)).collect(),
                Part::Wild(names) => {
                    found.iter().flat_map(|base| inner_folders(base, names)).collect()
                }
            };
            found.truncate(MOST_FOLDERS);
        }
        if found.is_empty() { vec![self.path.clone()] } else { found }
    }
}

impl Part {
    fn new(part: Component<'_>) -> Result<Part, OptionsError> {
        let text = part.as_os_str().to_string_lossy();
        if !text.contains(['*', '?']) {
            return Ok(Part::Plain(PathBuf::from(part.as_os_str())));
        }
        let pattern = regex::escape(&text).replace(r"\*", ".*").replace(r"\?", ".");
        let wild = Regex::new(&format!("^{pattern}$"));
        wild.map(Part::Wild).map_err(|error| OptionsError(format!("{NAME}: {error}")))
    }
}

fn inner_folders(base: &Path, names: &Regex) -> Vec<PathBuf> {
    let Ok(entries) = base.read_dir() else { return Vec::new() };
    let fits = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| names.is_match(name)) && path.is_dir()
    };
    let mut folders: Vec<PathBuf> =
        entries.flatten().map(|entry| entry.path()).filter(fits).collect();
    folders.sort_unstable();
    folders
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::symlink, time::Duration};

    use farol_model::Labels;

    use super::*;
    use crate::laid_out::write;

    /// `name value` lines; `@` behind them is a time.
    fn parse(text: &[u8]) -> Result<Exposed, String> {
        let text = std::str::from_utf8(text).map_err(|_| "not UTF-8".to_owned())?;
        let mut exposed = Exposed::default();
        for (index, line) in text.lines().enumerate() {
            let line_number = index + 1;
            let mut words = line.split(' ');
            let (name, value) = (words.next().unwrap(), words.next());
            let value = value.ok_or_else(|| format!("line {line_number}: no value"))?;
            let name = Text::from(name);
            if value == "counter" {
                let help = "Told.".to_owned();
                exposed.families.push(ExposedFamily { name, kind: Kind::Counter, help });
                continue;
            }
            let value = value.parse().unwrap();
            let sample = Sample { name, labels: Labels::empty(), value };
            let has_time = words.next() == Some("@");
            exposed.samples.push(ExposedSample { sample, line: line_number, has_time });
        }
        Ok(exposed)
    }

    struct Place {
        folder: tempfile::TempDir,
        board: Arc<Board>,
        collector: Box<dyn Collector>,
    }

    /// Long after all files of the test were written.
    const LATER: Timestamp = Timestamp::from_millis(32_503_680_000_000);

    impl Place {
        fn new(below: &str) -> Place {
            let folder = tempfile::tempdir().unwrap();
            let board = Arc::new(Board::default());
            let directories = vec![folder.path().join(below)];
            let textfile = Settings { directories, parse, board: Arc::clone(&board) };
            let options = Options { textfile, ..Options::default() };
            Place { folder, board, collector: build(&options).unwrap() }
        }

        fn write(&self, name: &str, text: &str) {
            write(&self.folder.path().join(name), text);
        }

        /// Names and values, and the problems without the folder.
        fn collect(&mut self) -> (Vec<(String, f64)>, Vec<String>) {
            let mut out = Scrape::new();
            out.begin(LATER);
            self.collector.collect(&Host::recorded(self.folder.path()), &mut out).unwrap();
            let samples = out.samples().iter().filter(|sample| sample.name != *MTIME);
            let samples = samples.map(|sample| (sample.name.to_string(), sample.value)).collect();
            let place = format!("{}/", self.folder.path().display());
            let problems = out.take_problems().into_iter();
            (samples, problems.map(|problem| problem.replace(&place, "")).collect())
        }
    }

    fn of(pairs: &[(&str, f64)]) -> Vec<(String, f64)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect()
    }

    #[test]
    fn without_a_folder_there_is_no_error() {
        let mut out = Scrape::new();
        let mut collector = build(&Options::default()).unwrap();
        collector.collect(&Host::local(), &mut out).unwrap();
        assert_eq!(out.samples().len(), 1);
        assert_eq!((out.samples()[0].name.as_str(), out.samples()[0].value), (SCRAPE_ERROR, 0.0));
    }

    #[test]
    fn files_are_served_with_what_they_say_of_their_families() {
        let mut place = Place::new("");
        place.write("a.prom", "jobs_total counter\njobs_total 3\n");
        place.write("b.prom", "backup_age 60\n");
        place.write("c.prom.tmp", "half");
        let (samples, problems) = place.collect();
        assert_eq!(samples, of(&[("jobs_total", 3.0), ("backup_age", 60.0), (SCRAPE_ERROR, 0.0)]));
        assert_eq!(problems, [""; 0]);
        let told = place.board.describe("jobs_total").unwrap();
        assert_eq!((told.kind, told.help.as_str()), (Kind::Counter, "Told."));
        let untold = place.board.describe("backup_age").unwrap();
        assert_eq!(untold.kind, Kind::Untyped);
        assert!(untold.help.ends_with("/b.prom"), "{}", untold.help);
        assert_eq!(place.board.describe("other"), None);
    }

    #[test]
    fn a_bad_file_is_named_with_its_line_and_the_others_are_served() {
        let mut place = Place::new("");
        place.write("a.prom", "good 1\nbad\n");
        place.write("b.prom", "late 1 @\n");
        place.write("c.prom", "good 1\n");
        place.write("d.prom", &"x".repeat(MOST_FILE_BYTES as usize + 1));
        std::fs::create_dir(place.folder.path().join("e.prom")).unwrap();
        symlink("nowhere", place.folder.path().join("f.prom")).unwrap();
        let (samples, problems) = place.collect();
        assert_eq!(samples, of(&[("good", 1.0), (SCRAPE_ERROR, 1.0)]));
        assert_eq!(
            problems,
            [
                "a.prom: line 2: no value",
                "b.prom: line 1: a sample with a time of its own; the file is not taken",
                "d.prom: larger than 4 MiB",
                "e.prom: not a file",
                "f.prom: No such file or directory (os error 2)",
            ]
        );
    }

    #[test]
    fn a_series_that_is_there_already_or_is_ours_is_refused_with_its_line() {
        let mut place = Place::new("");
        place.write("a.prom", "one 1\nnode_load1 9\none 2\nnode_memory_My_bytes 1\nfarol_up 1\n");
        place.write("b.prom", "one counter\ntwo 2\none 3\n");
        let (samples, problems) = place.collect();
        assert_eq!(samples, of(&[("one", 1.0), ("two", 2.0), (SCRAPE_ERROR, 1.0)]));
        assert_eq!(
            problems,
            [
                "a.prom: line 2: node_load1: the name is one of Farol's own",
                "a.prom: line 3: one: the series stands twice",
                "a.prom: line 4: node_memory_My_bytes: the name is one of Farol's own",
                "a.prom: line 5: farol_up: the name is one of Farol's own",
                "b.prom: line 3: one: the series stands twice",
            ]
        );
    }

    #[test]
    fn a_file_that_changes_or_goes_is_seen_and_one_that_stays_is_not_read_again() {
        let mut place = Place::new("");
        place.write("a.prom", "one 1\n");
        place.write("b.prom", "two 2\n");
        let first = place.collect().0;
        let version = place.board.version();
        assert_eq!(place.collect().0, first);
        assert_eq!(place.board.version(), version);
        // As programs do it: another file takes the name.
        place.write("new", "one 5\n");
        rename(&place.folder.path().join("new"), &place.folder.path().join("a.prom"));
        assert_eq!(place.collect().0[0], ("one".to_owned(), 5.0));
        remove(&place.folder.path().join("b.prom"));
        assert_eq!(place.collect().0, of(&[("one", 5.0), (SCRAPE_ERROR, 0.0)]));
        assert_eq!(place.board.describe("two"), None);
    }

    #[test]
    fn a_file_that_was_just_written_is_read_again() {
        let changed = (LATER.as_millis() / 1000, 0);
        let identity = Identity { changed, ..Identity::NONE };
        assert!(!identity.is_settled(LATER));
        assert!(identity.is_settled(LATER.plus(Duration::from_secs(3))));
    }

    #[test]
    fn a_path_may_stand_for_several_folders_and_one_that_is_missing_is_named() {
        let mut place = Place::new("*/text?");
        let (samples, problems) = place.collect();
        assert_eq!(samples, of(&[(SCRAPE_ERROR, 1.0)]));
        assert_eq!(problems, ["*/text?: No such file or directory (os error 2)"]);
        for (folder, name) in [("app1/text1", "one"), ("app2/text2", "two"), ("app3/other", "no")] {
            std::fs::create_dir_all(place.folder.path().join(folder)).unwrap();
            place.write(&format!("{folder}/a.prom"), &format!("{name} 1\n"));
        }
        let (samples, _) = place.collect();
        assert_eq!(samples, of(&[("one", 1.0), ("two", 1.0), (SCRAPE_ERROR, 0.0)]));
    }

    #[test]
    fn more_series_than_are_kept_are_refused() {
        let mut place = Place::new("");
        let text: String = (0..=MOST_SERIES + MOST_PROBLEMS)
            .map(|number| format!("series_{number} 1\n"))
            .collect();
        place.write("a.prom", &text);
        let (samples, problems) = place.collect();
        assert_eq!(samples.len(), MOST_SERIES + 1);
        assert_eq!(problems.len(), MOST_PROBLEMS + 1);
        assert_eq!(problems.last().unwrap(), "and 1 problems more");
    }

    #[expect(clippy::disallowed_methods, reason = "a test lays out its own machine")]
    fn rename(from: &Path, to: &Path) {
        std::fs::rename(from, to).unwrap();
    }

    #[expect(clippy::disallowed_methods, reason = "a test lays out its own machine")]
    fn remove(path: &Path) {
        std::fs::remove_file(path).unwrap();
    }
}

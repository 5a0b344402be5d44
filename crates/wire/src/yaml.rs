//! YAML text to a small tree in which each value knows its line.
//!
//! Only what a configuration or a file of rules needs: one document of mappings, lists and scalars.
//! Anchors, aliases, merge keys and tags are refused, which also disarms the files that expand to
//! gigabytes; depth is bounded while reading, so that no file can exhaust the stack.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span, StrInput};

/// A place in the text, both counted from 1; (0, 0) where there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    pub line: usize,
    pub column: usize,
}

/// A value and where it starts.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    pub mark: Mark,
    pub content: Content,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// Nothing, `~` or `null`.
    Empty,
    /// An alias: a fault was noted, more need not be said.
    Refused,
    /// Any other scalar. Its type is what its key says, not what it looks like.
    Scalar(String),
    List(Vec<Node>),
    /// In the order of the file; keys are unique.
    Map(Vec<(Key, Node)>),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Key {
    pub mark: Mark,
    pub text: String,
}

/// What is wrong with the text, as a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub mark: Mark,
    pub sentence: String,
}

impl Node {
    pub fn scalar(text: impl Into<String>) -> Node {
        Node { mark: Mark::default(), content: Content::Scalar(text.into()) }
    }

    pub fn list(items: Vec<Node>) -> Node {
        Node { mark: Mark::default(), content: Content::List(items) }
    }
}

/// Nobody writes deeper than six.
const MOST_LEVELS: usize = 16;

/// The text's tree, and the faults that did not keep it from being read on. An empty text is
/// [`Content::Empty`].
pub fn parse(text: &str) -> (Node, Vec<Fault>) {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = Reader { parser: Parser::new_from_str(text), faults: Vec::new() };
    let empty = Node { mark: Mark { line: 1, column: 1 }, content: Content::Empty };
    let node = match reader.stream() {
        Ok(node) => node.unwrap_or(empty),
        Err(fault) => {
            reader.faults.push(fault);
            empty
        }
    };
    (node, reader.faults)
}

struct Reader<'a> {
    parser: Parser<'a, StrInput<'a>>,
    faults: Vec<Fault>,
}

impl<'a> Reader<'a> {
    fn stream(&mut self) -> Result<Option<Node>, Fault> {
        let mut root = None;
        loop {
            let (event, span) = self.next()?;
            let mark = mark_of(span);
            match event {
                Event::StreamStart | Event::DocumentEnd | Event::Nothing => {}
                Event::StreamEnd => return Ok(root),
                Event::DocumentStart(_) if root.is_some() => {
                    return Err(fault(mark, "a second document starts here; a file holds one"));
                }
                Event::DocumentStart(_) => {
                    let (event, span) = self.next()?;
                    root = Some(self.node(event, span, 0)?);
                }
                Event::Alias(_)
                | Event::Scalar(..)
                | Event::SequenceStart(..)
                | Event::SequenceEnd
                | Event::MappingStart(..)
                | Event::MappingEnd => return Err(fault(mark, "is not YAML")),
            }
        }
    }

    fn node(&mut self, event: Event<'a>, span: Span, level: usize) -> Result<Node, Fault> {
        let mark = mark_of(span);
        if level > MOST_LEVELS {
            return Err(Fault { mark, sentence: format!("more than {MOST_LEVELS} levels deep") });
        }
        let content = match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_extras(mark, anchor, tag.is_some());
                scalar(text.into_owned(), style)
            }
            Event::SequenceStart(anchor, tag) => {
                self.refuse_extras(mark, anchor, tag.is_some());
                self.list(level)?
            }
            Event::MappingStart(anchor, tag) => {
                self.refuse_extras(mark, anchor, tag.is_some());
                self.map(level)?
            }
            Event::Alias(_) => {
                self.faults.push(fault(mark, "aliases (*name) are not read; write the value out"));
                Content::Refused
            }
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd
            | Event::SequenceEnd
            | Event::MappingEnd => return Err(fault(mark, "is not YAML")),
        };
        Ok(Node { mark, content })
    }

    fn refuse_extras(&mut self, mark: Mark, anchor: usize, tagged: bool) {
        if anchor != 0 {
            self.faults.push(fault(mark, "anchors (&name) are not read; write each value out"));
        }
        if tagged {
            self.faults.push(fault(mark, "tags (!name) are not read; write the value without one"));
        }
    }

    fn list(&mut self, level: usize) -> Result<Content, Fault> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(Content::List(items)),
                (event, span) => items.push(self.node(event, span, level + 1)?),
            }
        }
    }

    fn map(&mut self, level: usize) -> Result<Content, Fault> {
        let mut pairs = Pairs::default();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::MappingEnd) {
                return Ok(Content::Map(pairs.held));
            }
            let key = self.node(event, span, level + 1)?;
            let (event, span) = self.next()?;
            let value = self.node(event, span, level + 1)?;
            self.pair(&mut pairs, key, value);
        }
    }

    fn pair(&mut self, pairs: &mut Pairs, key: Node, value: Node) {
        let mark = key.mark;
        let text = match key.content {
            Content::Scalar(text) if text == "<<" => {
                return self.faults.push(fault(mark, "merge keys (<<) are not read"));
            }
            Content::Scalar(text) => text,
            Content::Empty | Content::Refused | Content::List(_) | Content::Map(_) => {
                return self.faults.push(fault(mark, "a key must be a plain word"));
            }
        };
        match pairs.lines.get(&text) {
            Some(line) => {
                let sentence = format!("{} was already given in line {line}", quoted(&text));
                self.faults.push(Fault { mark, sentence });
            }
            None => {
                pairs.lines.insert(text.clone(), mark.line);
                pairs.held.push((Key { mark, text }, value));
            }
        }
    }

    fn next(&mut self) -> Result<(Event<'a>, Span), Fault> {
        match self.parser.next_event() {
            Some(Ok(next)) => Ok(next),
            Some(Err(error)) => Err(syntax_fault(&error)),
            None => Err(fault(Mark::default(), "ends too early")),
        }
    }
}

/// A mapping being read, and in which line each of its keys stands.
#[derive(Default)]
struct Pairs {
    held: Vec<(Key, Node)>,
    lines: HashMap<String, usize>,
}

fn scalar(text: String, style: ScalarStyle) -> Content {
    let bare = style == ScalarStyle::Plain;
    if bare && matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL") {
        Content::Empty
    } else {
        Content::Scalar(text)
    }
}

fn mark_of(span: Span) -> Mark {
    Mark { line: span.start.line(), column: span.start.col() + 1 }
}

fn fault(mark: Mark, sentence: &str) -> Fault {
    Fault { mark, sentence: sentence.to_owned() }
}

/// The parser's words, or plainer ones for the mistakes people make.
fn syntax_fault(error: &ScanError) -> Fault {
    let mark = Mark { line: error.marker().line(), column: error.marker().col() + 1 };
    let info = error.info();
    let sentence = if info.contains("tab") {
        "a tab in the indentation; YAML wants spaces".to_owned()
    } else if info.contains("mapping values are not allowed") {
        "a second \": \" in one line; put the value in quotes".to_owned()
    } else if info.contains("did not find expected key") {
        "this line is not indented like the ones it belongs to".to_owned()
    } else if info.contains("invalid indentation") {
        "this line is not indented enough; is a bracket or a quote above it not closed?".to_owned()
    } else if info.contains("quoted scalar, found unexpected end") {
        "a quote is opened here and never closed".to_owned()
    } else if info.contains("simple key expect") {
        "a line that is neither \"key: value\" nor \"- item\"".to_owned()
    } else {
        format!("is not YAML: {}", shortened(info))
    };
    Fault { mark, sentence }
}

/// The candidate that a slip of the finger could have meant.
pub fn nearest<'a>(given: &str, candidates: impl Iterator<Item = &'a str>) -> Option<String> {
    const LONGEST: usize = 64;
    if given.len() > LONGEST {
        return None;
    }
    let most = (given.chars().count() / 3).clamp(1, 3);
    let distance = |candidate: &str| {
        let plain = |text: &str| text.to_ascii_lowercase().replace('-', "_");
        strsim::damerau_levenshtein(&plain(given), &plain(candidate))
    };
    let measured = candidates.map(|candidate| (distance(candidate), candidate));
    let (_, found) = measured.filter(|(distance, _)| *distance <= most).min()?;
    Some(found.to_owned())
}

/// Someone else's text for a message: in quotes, escaped, and not endless.
pub fn quoted(text: &str) -> String {
    format!("{:?}", shortened(text))
}

/// The same without quotes and as it is.
pub fn shortened(text: &str) -> String {
    const MOST: usize = 80;
    match text.char_indices().nth(MOST) {
        Some((cut, _)) => format!("{}…", text.get(..cut).unwrap_or_default()),
        None => text.to_owned(),
    }
}

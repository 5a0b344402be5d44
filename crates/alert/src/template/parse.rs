//! From the pieces of a template to what is to be done: every function is known, every variable is
//! declared, and all that is opened is closed.

use farol_model::Text;

use super::{
    Problem,
    functions::{self, Function},
    lex::{self, Item, Kind, Token},
    problem,
    value::Value,
};

#[derive(Clone, Debug)]
pub(super) enum Node {
    Text(String),
    Action(Pipeline),
    Branch(Box<Branch>),
    /// `template "name" pipeline`
    Template {
        at: usize,
        name: Text,
        data: Option<Pipeline>,
    },
    Break,
    Continue,
}

#[derive(Clone, Debug)]
pub(super) struct Branch {
    pub(super) kind: BranchKind,
    pub(super) pipeline: Pipeline,
    pub(super) then: Vec<Node>,
    pub(super) otherwise: Vec<Node>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BranchKind {
    If,
    With,
    Range,
}

#[derive(Clone, Debug)]
pub(super) struct Pipeline {
    pub(super) at: usize,
    /// What it is put into; of `range` perhaps two.
    pub(super) variables: Vec<Text>,
    /// `=` and not `:=`
    pub(super) assigns: bool,
    pub(super) commands: Vec<Command>,
}

#[derive(Clone, Debug)]
pub(super) struct Command {
    /// At least one.
    pub(super) operands: Vec<Operand>,
}

#[derive(Clone, Debug)]
pub(super) struct Operand {
    pub(super) at: usize,
    pub(super) kind: OperandKind,
    /// `.a.b` behind it.
    pub(super) fields: Vec<Text>,
}

#[derive(Clone, Debug)]
pub(super) enum OperandKind {
    Constant(Value),
    Nil,
    Dot,
    Variable(Text),
    Function(&'static Function),
    Pipeline(Box<Pipeline>),
}

/// So deep may branches and brackets nest.
const DEEPEST: usize = 50;

/// Of those that `define` has named, each with its name.
type Named = Vec<(Text, Vec<Node>)>;

pub(super) fn parse(text: &str) -> Result<(Vec<Node>, Named), Problem> {
    let items = lex::items(text)?;
    let mut parser = Parser {
        items: items.into_iter(),
        end: text.len(),
        variables: Vec::new(),
        ranges: 0,
        depth: 0,
        named: Vec::new(),
    };
    // What Prometheus declares before the text of a rule.
    for name in ["$", "$labels", "$externalLabels", "$externalURL", "$value"] {
        parser.variables.push(Text::from_static(name));
    }
    let (nodes, stop) = parser.list()?;
    match stop {
        Stop::TextEnd => Ok((nodes, parser.named)),
        Stop::End(at) => problem(at, "unexpected {{end}}"),
        Stop::Else(words) => problem(words.at(), "unexpected {{else}}"),
    }
}

struct Parser {
    items: std::vec::IntoIter<Item>,
    /// Where the text ends.
    end: usize,
    /// Those that may be used here.
    variables: Vec<Text>,
    /// How many `range` are open.
    ranges: usize,
    depth: usize,
    named: Named,
}

/// What ended a list.
enum Stop {
    TextEnd,
    End(usize),
    Else(Words),
}

/// The words of one action.
struct Words {
    tokens: std::iter::Peekable<std::vec::IntoIter<Token>>,
    /// Where the last one stood.
    last: usize,
}

impl Words {
    fn peek(&mut self) -> Option<&Token> {
        self.tokens.peek()
    }

    fn next(&mut self) -> Option<Token> {
        let next = self.tokens.next()?;
        self.last = next.at;
        Some(next)
    }

    fn take_word(&mut self, word: &str) -> bool {
        let found =
            matches!(self.peek(), Some(Token { kind: Kind::Word(found), .. }) if found == word);
        if found {
            self.next();
        }
        found
    }

    fn at(&self) -> usize {
        self.last
    }

    fn expect_end(&mut self, context: &str) -> Result<(), Problem> {
        match self.next() {
            None => Ok(()),
            Some(token) => problem(token.at, format!("unexpected {} in {context}", shown(&token))),
        }
    }
}

impl Parser {
    fn list(&mut self) -> Result<(Vec<Node>, Stop), Problem> {
        let mut nodes = Vec::new();
        loop {
            let (at, tokens) = match self.items.next() {
                None => return Ok((nodes, Stop::TextEnd)),
                Some(Item::Text(text)) => {
                    nodes.push(Node::Text(text));
                    continue;
                }
                Some(Item::Action { at, tokens }) => (at, tokens),
            };
            let mut words = Words { tokens: tokens.into_iter().peekable(), last: at };
            let word = match words.peek() {
                Some(Token { kind: Kind::Word(word), .. }) => word.clone(),
                _ => Text::EMPTY,
            };
            match word.as_str() {
                "end" => {
                    words.next();
                    words.expect_end("end")?;
                    return Ok((nodes, Stop::End(at)));
                }
                "else" => {
                    words.next();
                    return Ok((nodes, Stop::Else(words)));
                }
                _ => nodes.extend(self.node(&word, words, at)?),
            }
        }
    }

    /// None of a definition, which does nothing where it stands.
    fn node(&mut self, word: &str, mut words: Words, at: usize) -> Result<Option<Node>, Problem> {
        let kind = match word {
            "if" => BranchKind::If,
            "with" => BranchKind::With,
            "range" => BranchKind::Range,
            "template" => return self.template(words, at).map(Some),
            "block" => return self.block(words, at).map(Some),
            "define" => return self.define(words, at).map(|()| None),
            "break" | "continue" => {
                words.next();
                words.expect_end(word)?;
                if self.ranges == 0 {
                    return problem(at, format!("{{{{{word}}}}} outside {{{{range}}}}"));
                }
                return Ok(Some(if word == "break" { Node::Break } else { Node::Continue }));
            }
            _ => {
                let pipeline = self.pipeline(&mut words, "command")?;
                words.expect_end("command")?;
                return Ok(Some(Node::Action(pipeline)));
            }
        };
        words.next();
        self.branch(kind, words, at).map(Some)
    }

    fn branch(&mut self, kind: BranchKind, mut words: Words, at: usize) -> Result<Node, Problem> {
        let word = kind.word();
        self.deeper(at, |parser| {
            let declared = parser.variables.len();
            let pipeline = parser.pipeline(&mut words, word)?;
            words.expect_end(word)?;
            parser.ranges += usize::from(kind == BranchKind::Range);
            let (then, stop) = parser.list()?;
            parser.ranges -= usize::from(kind == BranchKind::Range);
            let otherwise = match stop {
                Stop::End(_) => Vec::new(),
                Stop::Else(words) => parser.otherwise(kind, words, at)?,
                Stop::TextEnd => return parser.unclosed(at, word),
            };
            parser.variables.truncate(declared);
            Ok(Node::Branch(Box::new(Branch { kind, pipeline, then, otherwise })))
        })
    }

    fn otherwise(
        &mut self,
        kind: BranchKind,
        mut words: Words,
        at: usize,
    ) -> Result<Vec<Node>, Problem> {
        // `else if` is closed by the same end.
        if kind != BranchKind::Range && words.take_word(kind.word()) {
            let else_at = words.at();
            return Ok(vec![self.branch(kind, words, else_at)?]);
        }
        words.expect_end("else")?;
        match self.list()? {
            (nodes, Stop::End(_)) => Ok(nodes),
            (_, Stop::Else(words)) => problem(words.at(), "expected end; found {{else}}"),
            (_, Stop::TextEnd) => self.unclosed(at, kind.word()),
        }
    }

    fn unclosed<T>(&self, at: usize, word: &str) -> Result<T, Problem> {
        debug_assert!(at <= self.end);
        problem(at, format!("{{{{{word}}}}} is never closed with {{{{end}}}}"))
    }

    fn template(&mut self, mut words: Words, at: usize) -> Result<Node, Problem> {
        words.next();
        let name = name(&mut words, "template")?;
        let data = match words.peek() {
            None => None,
            Some(_) => Some(self.pipeline(&mut words, "template")?),
        };
        words.expect_end("template")?;
        Ok(Node::Template { at, name, data })
    }

    fn block(&mut self, mut words: Words, at: usize) -> Result<Node, Problem> {
        words.next();
        let name = name(&mut words, "block")?;
        let data = self.pipeline(&mut words, "block")?;
        words.expect_end("block")?;
        self.definition(name.clone(), at, "block")?;
        Ok(Node::Template { at, name, data: Some(data) })
    }

    fn define(&mut self, mut words: Words, at: usize) -> Result<(), Problem> {
        words.next();
        if self.depth > 0 {
            return problem(at, "unexpected {{define}}; it stands outside of all others");
        }
        let name = name(&mut words, "define")?;
        words.expect_end("define")?;
        self.definition(name, at, "define")
    }

    /// Inside only `$` is known.
    fn definition(&mut self, name: Text, at: usize, word: &str) -> Result<(), Problem> {
        let outside = std::mem::replace(&mut self.variables, vec![Text::from_static("$")]);
        let ranges = std::mem::take(&mut self.ranges);
        let (nodes, stop) = self.deeper(at, Parser::list)?;
        self.variables = outside;
        self.ranges = ranges;
        match stop {
            Stop::End(_) => {}
            Stop::Else(words) => {
                return problem(words.at(), format!("unexpected {{{{else}}}} in {word}"));
            }
            Stop::TextEnd => return self.unclosed(at, word),
        }
        let is_blank = |nodes: &[Node]| {
            nodes.iter().all(|node| matches!(node, Node::Text(text) if text.trim().is_empty()))
        };
        match self.named.iter_mut().find(|(known, _)| *known == name) {
            None => self.named.push((name, nodes)),
            Some((_, known)) if is_blank(known) => *known = nodes,
            Some(_) if is_blank(&nodes) => {}
            Some(_) => return problem(at, format!("multiple definition of template {name:?}")),
        }
        Ok(())
    }

    /// As far as the words go, or to the bracket that closes it.
    fn pipeline(&mut self, words: &mut Words, context: &str) -> Result<Pipeline, Problem> {
        let last = words.last;
        let at = words.peek().map_or(last, |token| token.at);
        let (variables, assigns) = self.declarations(words, context)?;
        let mut commands = Vec::new();
        loop {
            match words.peek().map(|token| &token.kind) {
                None | Some(Kind::Close) => break,
                Some(_) => commands.push(self.command(words)?),
            }
            match words.peek().map(|token| &token.kind) {
                // As in Go, nothing need follow.
                Some(Kind::Pipe) => drop(words.next()),
                _ => break,
            }
        }
        if commands.is_empty() {
            return problem(at, format!("missing value for {context}"));
        }
        for (stage, command) in commands.iter().enumerate().skip(1) {
            let first = &command.operands[0];
            if matches!(first.kind, OperandKind::Constant(_) | OperandKind::Nil)
                || (matches!(first.kind, OperandKind::Dot) && first.fields.is_empty())
            {
                let message = format!("non executable command in pipeline stage {}", stage + 1);
                return problem(first.at, message);
            }
        }
        Ok(Pipeline { at, variables, assigns, commands })
    }

    /// `$x :=`, `$x =`, and of `range` also `$i, $x :=`.
    fn declarations(
        &mut self,
        words: &mut Words,
        context: &str,
    ) -> Result<(Vec<Text>, bool), Problem> {
        let mut names = Vec::new();
        let mut ahead = words.tokens.clone();
        loop {
            let Some(Token { at, kind: Kind::Variable(name), .. }) = ahead.next() else {
                return if names.is_empty() {
                    Ok((names, false))
                } else {
                    problem(words.last, "range can only initialize variables")
                };
            };
            match ahead.next().map(|token| token.kind) {
                Some(Kind::Comma) if names.is_empty() && context == "range" => names.push(name),
                Some(Kind::Comma) => {
                    return problem(at, format!("too many declarations in {context}"));
                }
                Some(kind @ (Kind::Declare | Kind::Assign)) => {
                    names.push(name);
                    self.variables.extend(names.iter().cloned());
                    words.tokens = ahead;
                    words.last = at;
                    return Ok((names, matches!(kind, Kind::Assign)));
                }
                _ if names.is_empty() => return Ok((names, false)),
                _ => return problem(at, "range can only initialize variables"),
            }
        }
    }

    fn command(&mut self, words: &mut Words) -> Result<Command, Problem> {
        let mut operands: Vec<Operand> = Vec::new();
        loop {
            match words.peek() {
                None => break,
                Some(Token { kind: Kind::Pipe | Kind::Close, .. }) => break,
                Some(token) if !operands.is_empty() && !token.is_apart => {
                    let message = format!("unexpected {} in operand", shown(token));
                    return problem(token.at, message);
                }
                Some(_) => operands.push(self.operand(words)?),
            }
        }
        match operands.is_empty() {
            true => problem(words.last, "empty command"),
            false => Ok(Command { operands }),
        }
    }

    fn operand(&mut self, words: &mut Words) -> Result<Operand, Problem> {
        let Some(token) = words.next() else { return problem(words.last, "missing operand") };
        let at = token.at;
        let mut fields = Vec::new();
        let kind = match token.kind {
            Kind::Constant(value) => OperandKind::Constant(value),
            Kind::Dot => OperandKind::Dot,
            Kind::Field(name) => {
                fields.push(name);
                OperandKind::Dot
            }
            Kind::Variable(name) if self.variables.contains(&name) => OperandKind::Variable(name),
            Kind::Variable(name) => return problem(at, format!("undefined variable {name:?}")),
            Kind::Word(name) if name == "nil" => OperandKind::Nil,
            Kind::Word(name) => match functions::find(&name) {
                Some(function) => OperandKind::Function(function),
                None => return problem(at, functions::unknown(&name)),
            },
            Kind::Open => OperandKind::Pipeline(Box::new(self.brackets(words, at)?)),
            Kind::Pipe | Kind::Close | Kind::Comma | Kind::Declare | Kind::Assign => {
                let message = format!("unexpected {} in operand", shown(&token));
                return problem(at, message);
            }
        };
        while let Some(Token { is_apart: false, kind: Kind::Field(name), at }) = words.peek() {
            if matches!(kind, OperandKind::Constant(_) | OperandKind::Nil) {
                return problem(*at, format!("unexpected .{name} after a constant"));
            }
            fields.push(name.clone());
            words.next();
        }
        Ok(Operand { at, kind, fields })
    }

    fn brackets(&mut self, words: &mut Words, at: usize) -> Result<Pipeline, Problem> {
        let pipeline =
            self.deeper(at, |parser| parser.pipeline(words, "parenthesized pipeline"))?;
        match words.next() {
            Some(Token { kind: Kind::Close, .. }) => Ok(pipeline),
            _ => problem(at, "unclosed left paren"),
        }
    }

    fn deeper<T>(
        &mut self,
        at: usize,
        read: impl FnOnce(&mut Parser) -> Result<T, Problem>,
    ) -> Result<T, Problem> {
        if self.depth >= DEEPEST {
            return problem(at, format!("nests deeper than {DEEPEST} levels"));
        }
        self.depth += 1;
        let result = read(self);
        self.depth -= 1;
        result
    }
}

impl BranchKind {
    fn word(self) -> &'static str {
        match self {
            BranchKind::If => "if",
            BranchKind::With => "with",
            BranchKind::Range => "range",
        }
    }
}

fn name(words: &mut Words, context: &str) -> Result<Text, Problem> {
    match words.next() {
        Some(Token { kind: Kind::Constant(Value::Text(name)), .. }) => Ok(name),
        Some(token) => problem(token.at, format!("unexpected {} in {context}", shown(&token))),
        None => problem(words.last, format!("{context} needs a name in quotes")),
    }
}

fn shown(token: &Token) -> String {
    match &token.kind {
        Kind::Constant(value) => value.formatted(),
        Kind::Dot => ".".to_owned(),
        Kind::Field(name) => format!(".{name}"),
        Kind::Variable(name) => name.to_string(),
        Kind::Word(word) => format!("<{word}>"),
        Kind::Pipe => "|".to_owned(),
        Kind::Open => "(".to_owned(),
        Kind::Close => "right paren".to_owned(),
        Kind::Comma => ",".to_owned(),
        Kind::Declare => ":=".to_owned(),
        Kind::Assign => "=".to_owned(),
    }
}

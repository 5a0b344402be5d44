//! An expression as it was written: what is checked, printed and evaluated.

use farol_model::Text;
use farol_store::Matcher;

use crate::Function;

/// Bytes of the text, the end excluded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    pub start: usize,
    pub end: usize,
}

#[derive(Clone, Debug)]
pub struct Expr {
    pub span: Span,
    pub kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    Scalar,
    /// One value for each series: Prometheus' instant vector.
    Vector,
    /// Samples in a window for each series: Prometheus' range vector.
    Matrix,
    Text,
}

#[derive(Clone, Debug)]
pub enum Kind {
    /// `is_duration` when it was written as `5m`.
    Number {
        value: f64,
        is_duration: bool,
    },
    Text(Text),
    Paren(Box<Expr>),
    Unary {
        sign: Sign,
        expr: Box<Expr>,
    },
    Binary(Box<Binary>),
    Aggregate(Box<Aggregate>),
    Call {
        function: &'static Function,
        args: Vec<Expr>,
    },
    Selector(Selector),
    /// `selector[range]`. The modifiers are the selector's, though they are written after it.
    Range {
        selector: Selector,
        range: DurationExpr,
    },
    /// `expr[range:step]`, with modifiers of its own.
    Subquery(Box<Subquery>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    Plus,
    Minus,
}

#[derive(Clone, Debug)]
pub struct Selector {
    /// Written before the braces; it stands among the matchers too (as the last).
    pub name: Option<Text>,
    pub matchers: Vec<Matcher>,
    pub modifiers: Modifiers,
}

#[derive(Clone, Debug, Default)]
pub struct Modifiers {
    pub offset: Option<DurationExpr>,
    pub at: Option<At>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// Milliseconds.
    Time(i64),
    Start,
    End,
}

#[derive(Clone, Debug)]
pub struct Subquery {
    pub expr: Expr,
    pub range: DurationExpr,
    /// The default interval if there is none.
    pub step: Option<DurationExpr>,
    pub modifiers: Modifiers,
}

/// A duration as it was written; what it comes to may depend on the question (`step()`).
#[derive(Clone, Debug, PartialEq)]
pub enum DurationExpr {
    /// Milliseconds. `is_number` when it was written in seconds: `[300]`.
    Fixed {
        millis: i64,
        is_number: bool,
    },
    /// Seconds that are no whole milliseconds, as a factor may be: `5m * 0.0001`.
    Number(f64),
    Signed {
        sign: Sign,
        inner: Box<DurationExpr>,
    },
    Binary {
        op: DurationOp,
        left: Box<DurationExpr>,
        right: Box<DurationExpr>,
    },
    Paren(Box<DurationExpr>),
    /// The question's step; an instant question has 0.
    Step,
    /// The question's range: its end minus its start.
    Range,
    Min(Box<DurationExpr>, Box<DurationExpr>),
    Max(Box<DurationExpr>, Box<DurationExpr>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DurationOp {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    Power,
}

#[derive(Clone, Debug)]
pub struct Binary {
    pub op: BinaryOp,
    /// Of comparisons: whether they answer 0 or 1 instead of leaving out.
    pub bool: Bool,
    /// None where one side is a scalar.
    pub matching: Option<Matching>,
    pub left: Expr,
    pub right: Expr,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bool {
    Yes,
    No,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BinaryOp {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    Power,
    Atan2,
    Equal,
    NotEqual,
    Greater,
    Less,
    GreaterOrEqual,
    LessOrEqual,
    And,
    Or,
    Unless,
}

/// Which series of the two sides belong together.
#[derive(Clone, Debug, PartialEq)]
pub struct Matching {
    pub card: Card,
    /// `on(labels)` or `ignoring(labels)`; `ignoring()` if nothing was written.
    pub grouping: Grouping,
    /// Whether `on` or `ignoring` was written.
    pub is_written: bool,
    /// The labels in `group_left(…)` or `group_right(…)`.
    pub include: Vec<Text>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Card {
    OneToOne,
    /// `group_left`
    ManyToOne,
    /// `group_right`
    OneToMany,
    /// Of `and`, `or`, `unless`.
    ManyToMany,
}

/// Labels to go by, or to leave out.
#[derive(Clone, Debug, PartialEq)]
pub enum Grouping {
    By(Vec<Text>),
    Without(Vec<Text>),
}

#[derive(Clone, Debug)]
pub struct Aggregate {
    pub op: Aggregation,
    /// `topk(5, …)`, `quantile(0.9, …)`, `count_values("value", …)`.
    pub parameter: Option<Expr>,
    pub expr: Expr,
    /// `By` nothing if nothing was written.
    pub grouping: Grouping,
    /// Whether `by` or `without` was written.
    pub is_written: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aggregation {
    Sum,
    Avg,
    Count,
    Min,
    Max,
    Group,
    Stddev,
    Stdvar,
    Topk,
    Bottomk,
    Quantile,
    CountValues,
    Limitk,
    LimitRatio,
}

impl Aggregation {
    pub const ALL: &[(&str, Aggregation)] = &[
        ("avg", Aggregation::Avg),
        ("bottomk", Aggregation::Bottomk),
        ("count", Aggregation::Count),
        ("count_values", Aggregation::CountValues),
        ("group", Aggregation::Group),
        ("limit_ratio", Aggregation::LimitRatio),
        ("limitk", Aggregation::Limitk),
        ("max", Aggregation::Max),
        ("min", Aggregation::Min),
        ("quantile", Aggregation::Quantile),
        ("stddev", Aggregation::Stddev),
        ("stdvar", Aggregation::Stdvar),
        ("sum", Aggregation::Sum),
        ("topk", Aggregation::Topk),
    ];

    pub fn name(self) -> &'static str {
        let row = Aggregation::ALL.iter().find(|(_, op)| *op == self);
        row.expect("every aggregation has a row").0
    }

    /// What the parameter must be.
    pub fn parameter(self) -> Option<Type> {
        match self {
            Aggregation::Topk
            | Aggregation::Bottomk
            | Aggregation::Quantile
            | Aggregation::Limitk
            | Aggregation::LimitRatio => Some(Type::Scalar),
            Aggregation::CountValues => Some(Type::Text),
            Aggregation::Sum
            | Aggregation::Avg
            | Aggregation::Count
            | Aggregation::Min
            | Aggregation::Max
            | Aggregation::Group
            | Aggregation::Stddev
            | Aggregation::Stdvar => None,
        }
    }
}

impl BinaryOp {
    /// Also the order in which a reader should look for them: longer ones first.
    pub const ALL: &[(&str, BinaryOp)] = &[
        ("==", BinaryOp::Equal),
        ("!=", BinaryOp::NotEqual),
        (">=", BinaryOp::GreaterOrEqual),
        ("<=", BinaryOp::LessOrEqual),
        (">", BinaryOp::Greater),
        ("<", BinaryOp::Less),
        ("+", BinaryOp::Add),
        ("-", BinaryOp::Subtract),
        ("*", BinaryOp::Multiply),
        ("/", BinaryOp::Divide),
        ("%", BinaryOp::Modulo),
        ("^", BinaryOp::Power),
        ("atan2", BinaryOp::Atan2),
        ("and", BinaryOp::And),
        ("or", BinaryOp::Or),
        ("unless", BinaryOp::Unless),
    ];

    pub fn sign(self) -> &'static str {
        let row = BinaryOp::ALL.iter().find(|(_, op)| *op == self);
        row.expect("every operator has a row").0
    }

    pub const fn is_comparison(self) -> bool {
        matches!(
            self,
            BinaryOp::Equal
                | BinaryOp::NotEqual
                | BinaryOp::Greater
                | BinaryOp::Less
                | BinaryOp::GreaterOrEqual
                | BinaryOp::LessOrEqual
        )
    }

    /// `and`, `or`, `unless`
    pub const fn is_set(self) -> bool {
        matches!(self, BinaryOp::And | BinaryOp::Or | BinaryOp::Unless)
    }
}

impl Type {
    /// As the field's documents and error messages call it.
    pub const fn name(self) -> &'static str {
        match self {
            Type::Scalar => "scalar",
            Type::Vector => "instant vector",
            Type::Matrix => "range vector",
            Type::Text => "string",
        }
    }
}

impl Expr {
    pub fn type_of(&self) -> Type {
        match &self.kind {
            Kind::Number { .. } => Type::Scalar,
            Kind::Text(_) => Type::Text,
            Kind::Paren(inner) => inner.type_of(),
            Kind::Unary { expr, .. } => expr.type_of(),
            Kind::Binary(binary) => match (binary.left.type_of(), binary.right.type_of()) {
                (Type::Scalar, Type::Scalar) => Type::Scalar,
                _ => Type::Vector,
            },
            Kind::Aggregate(_) | Kind::Selector(_) => Type::Vector,
            Kind::Call { function, .. } => function.returns,
            Kind::Range { .. } | Kind::Subquery(_) => Type::Matrix,
        }
    }
}

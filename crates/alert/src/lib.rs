//! What is wrong: rules, the pure step from one evaluation to the next, and who is to be told when.
//!
//! Nothing here reads a clock, waits for a network or changes a file. [`rules`] reads Prometheus'
//! rule files, [`evaluate()`] asks the store, [`step()`] turns what it answered into an alert's turns, and
//! [`dispatch`] says from what is remembered which messages are due.

pub mod board;
pub mod dispatch;
pub mod evaluate;
pub mod matcher;
pub mod mute;
pub mod replay;
pub mod rules;
pub mod scratch;
pub mod silences;
pub mod step;
pub mod summary;
pub mod tally;
pub mod template;
pub mod unit_test;
pub mod verdict;
pub mod windows;

pub use board::Board;
pub use dispatch::{Due, Notice, Reason, Route, Routing, due};
pub use evaluate::{
    EvalOptions, Found, Gone, GroupResult, GroupState, RuleResult, Standing, evaluate,
};
pub use matcher::Matcher;
pub use mute::{Equal, Inhibition, Muted, Muter, Mutes, Quiet, Reasons, muted};
pub use rules::{
    AlertRule, Checked, CheckedFile, Defaults, Flapping, Group, Missing, RecordRule, Recovery,
    Rule, RuleError, RuleSet,
};
pub use step::{retire, step};
pub use summary::{due_hours, summarise};
pub use tally::{Tally, tally};
pub use template::{Template, TemplateError};
pub use verdict::verdict;
pub use windows::Window;

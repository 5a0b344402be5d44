//! What is wrong: rules, the pure step from one evaluation to the next, and who is to be told when.
//!
//! Nothing here reads a clock, waits for a network or changes a file. [`rules`] reads Prometheus'
//! rule files, [`evaluate`] asks the store, [`step`] turns what it answered into an alert's turns, and
//! [`dispatch`] says from what is remembered which messages are due.

pub mod dispatch;
pub mod evaluate;
pub mod rules;
pub mod step;
pub mod template;
pub mod verdict;
pub mod windows;

pub use dispatch::{Notice, Routing};
pub use evaluate::{Found, Gone, GroupResult, RuleResult, Standing};
pub use rules::{AlertRule, Group, Missing, RecordRule, Recovery, Rule, RuleSet};
pub use step::step;
pub use template::Template;
pub use verdict::verdict;

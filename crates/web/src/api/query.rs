//! `query`, `query_range`, `query_exemplars`: from parameters to the evaluator and back.

use farol_model::Timestamp;
use farol_query::{Answer, Expr, Options, ParseError, Steps, Stop, Type, instant, parse, range};
use tokio::time::Instant;

use super::{Asked, Noted, error::ApiError, json};
use crate::Queries;

pub(super) fn query(asked: &Asked<'_>) -> Result<Vec<u8>, ApiError> {
    let limit = asked.params.limit("limit")?;
    let at = asked.params.time("time")?.map_or(asked.now, Timestamp::from_millis);
    let lookback = lookback(asked)?;
    let question = Question::read(asked)?;
    let reader = asked.reader()?;
    question.answer(asked, lookback, limit, |options| instant(&reader, &question.expr, at, options))
}

pub(super) fn query_range(asked: &Asked<'_>) -> Result<Vec<u8>, ApiError> {
    let limit = asked.params.limit("limit")?;
    let steps = steps(asked)?;
    let lookback = lookback(asked)?;
    let question = Question::read(asked)?;
    let kind = question.expr.type_of();
    if !matches!(kind, Type::Scalar | Type::Vector) {
        let name = kind.name();
        return Err(ApiError::parameter(
            "query",
            format!(
                "invalid expression type {name:?} for range query, must be Scalar or instant Vector"
            ),
        ));
    }
    let reader = asked.reader()?;
    question
        .answer(asked, lookback, limit, |options| range(&reader, &question.expr, steps, options))
}

/// There are none: nothing that is collected here has any.
pub(super) fn query_exemplars(asked: &Asked<'_>) -> Result<Vec<u8>, ApiError> {
    asked.params.time("start")?;
    asked.params.time("end")?;
    Question::read(asked)?;
    Ok(json::success(|out| out.extend_from_slice(b"[]")))
}

fn steps(asked: &Asked<'_>) -> Result<Steps, ApiError> {
    let start = asked.params.needed_time("start")?;
    let end = asked.params.needed_time("end")?;
    if end < start {
        let why = "end timestamp must not be before start time";
        return Err(ApiError::parameter("end", why));
    }
    let step = asked.params.needed_duration("step")?;
    if step <= 0 {
        let why = "zero or negative query resolution step widths are not accepted. Try a positive integer";
        return Err(ApiError::parameter("step", why));
    }
    let steps = Steps::new(start, end, step);
    if steps.count > Queries::MOST_STEPS + 1 {
        return Err(ApiError::bad(
            "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)",
        ));
    }
    Ok(steps)
}

/// In milliseconds.
fn lookback(asked: &Asked<'_>) -> Result<i64, ApiError> {
    const NAME: &str = "lookback_delta";
    let default = || {
        let millis = asked.site.settings.queries.lookback_delta.as_millis();
        i64::try_from(millis).unwrap_or(i64::MAX)
    };
    match asked.params.duration(NAME)? {
        Some(given) if given < 0 => Err(ApiError::parameter(NAME, "it must not be negative")),
        Some(0) | None => Ok(default()),
        Some(given) => Ok(given),
    }
}

struct Question<'a> {
    text: &'a str,
    expr: Expr,
    begun: Instant,
}

impl<'a> Question<'a> {
    fn read(asked: &'a Asked<'_>) -> Result<Question<'a>, ApiError> {
        let begun = Instant::now();
        let text = asked.params.get("query").unwrap_or_default();
        let expr = parse(text).map_err(|why| ApiError::parameter("query", why))?;
        Ok(Question { text, expr, begun })
    }

    fn answer(
        &self,
        asked: &Asked<'_>,
        lookback: i64,
        limit: usize,
        evaluate: impl FnOnce(&Options<'_>) -> Result<Answer, farol_query::EvalError>,
    ) -> Result<Vec<u8>, ApiError> {
        let queries = &asked.site.settings.queries;
        let watch = || asked.ticket.watch();
        let options = Options {
            query: self.text,
            lookback,
            subquery_step: Queries::SUBQUERY_STEP,
            now: Some(asked.now),
            limits: queries.limits(),
            watch: &watch,
        };
        let prepared = self.begun.elapsed();
        let answer = evaluate(&options)?;
        let evaluated = self.begun.elapsed();
        asked.note(Noted { series: answer.stats.series, samples: answer.stats.samples });
        let cost = asked.params.get("stats").map(|_| json::Cost {
            waiting: asked.waited.as_secs_f64(),
            preparing: prepared.as_secs_f64(),
            evaluating: (evaluated - prepared).as_secs_f64(),
        });
        let around = json::Around { limit, cost, watch: &watch };
        json::answer(&answer, &around).map_err(|stop: Stop| stop.into())
    }
}

/// For whoever reads a question without answering it.
pub(super) fn parsed(asked: &Asked<'_>) -> Result<Expr, ApiError> {
    let text = asked.params.get("query").unwrap_or_default();
    parse(text).map_err(|why: ParseError| ApiError::parameter("query", why))
}

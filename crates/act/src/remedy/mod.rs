//! Treatments: what may be run against an alert, by whom, how often, and what became of it.

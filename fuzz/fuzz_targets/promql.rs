//! Arbitrary text as PromQL: what is read is printed as text that is read as the same again, in one
//! line and over several; what is not has its error in its place.

#![no_main]

use farol_query::{parse, parse_selector, pretty};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    drop(parse_selector(text));
    match parse(text) {
        Ok(expr) => {
            let printed = expr.to_string();
            let again = parse(&printed).expect("what was printed can be read");
            assert_eq!(again.to_string(), printed);
            let laid_out = parse(&pretty(&expr)).expect("what was laid out can be read");
            assert_eq!(laid_out.to_string(), printed);
        }
        Err(error) => {
            let span = error.span;
            assert!(span.start <= span.end && text.get(span.start..span.end).is_some());
            assert!(error.line >= 1 && error.column >= 1);
        }
    }
});

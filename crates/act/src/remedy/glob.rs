//! Names with `*`, `?` and `[0-9]`, as a shell has them; of one name, never of a path.

pub(super) fn matches(pattern: &str, name: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    // Where the last `*` stands, and how much of the name it has taken: a wrong guess is made longer,
    // so that no pattern takes more than their product.
    let (mut at, mut from) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while from < name.len() {
        if pattern.get(at) == Some(&'*') {
            star = Some((at, from));
            at += 1;
        } else if let Some(next) = one(&pattern, at, name[from]) {
            at = next;
            from += 1;
        } else if let Some((star_at, taken)) = star {
            star = Some((star_at, taken + 1));
            at = star_at + 1;
            from = taken + 1;
        } else {
            return false;
        }
    }
    pattern.iter().skip(at).all(|rest| *rest == '*')
}

/// Where the pattern goes on, if its next item takes this character.
fn one(pattern: &[char], at: usize, character: char) -> Option<usize> {
    match pattern.get(at)? {
        '?' => Some(at + 1),
        '[' => {
            let length = pattern.iter().skip(at + 1).position(|inner| *inner == ']')?;
            let inside = pattern.get(at + 1..at + 1 + length)?;
            is_in(inside, character).then_some(at + length + 2)
        }
        literal => (*literal == character).then_some(at + 1),
    }
}

fn is_in(mut inside: &[char], character: char) -> bool {
    loop {
        match inside {
            [] => return false,
            [from, '-', to, rest @ ..] => {
                if (*from..=*to).contains(&character) {
                    return true;
                }
                inside = rest;
            }
            [only, rest @ ..] => {
                if *only == character {
                    return true;
                }
                inside = rest;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn a_pattern_takes_what_a_shell_would() {
        for (pattern, name, expected) in [
            ("*.gz", "syslog.2.gz", true),
            ("*.gz", "syslog.gz.tmp", false),
            ("*.[0-9]", "syslog.1", true),
            ("*.[0-9]", "syslog.10", false),
            ("*.[0-9][0-9]", "syslog.10", true),
            ("*-????????", "dnf.log-20240131", true),
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("[ab", "[ab", false),
            ("ü?", "üß", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn a_pattern_of_stars_takes_no_long_time() {
        assert!(!matches(&"*a".repeat(60), &"a".repeat(59)));
    }
}

//! `${env:NAME}`, `${file:/path}` and `${cred:NAME}` inside values, and the type that keeps what
//! they stand for out of every dump and message.
//!
//! `$${` is a plain `${`; any other `$` stands for itself, so that patterns need no escapes. What
//! a placeholder yields is not looked through again.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    fmt, io,
    path::{Path, PathBuf},
};

/// A text that prints as `<redacted>`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

pub const REDACTED: &str = "<redacted>";

impl Secret {
    pub const fn new(text: String) -> Secret {
        Secret(text)
    }

    /// The text itself: for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

/// A value with its placeholders replaced.
#[derive(Clone, Debug)]
pub(super) struct Expanded {
    pub(super) text: Secret,
    /// The same with `<redacted>` for each placeholder.
    pub(super) shown: String,
    /// Whether there was any placeholder.
    pub(super) secret: bool,
}

/// What placeholders are resolved with.
pub(super) struct Expander<'a> {
    pub(super) environment: &'a BTreeMap<String, String>,
    pub(super) read: &'a dyn Fn(&Path, u64) -> io::Result<Vec<u8>>,
    /// The variables that placeholders named: they are not misspelt settings.
    pub(super) named: RefCell<BTreeSet<String>>,
}

/// A secret is a password or a token, not a data file.
const MOST_BYTES: u64 = 64 * 1024;

impl Expander<'_> {
    /// The error is a sentence; it names the placeholder and never what it stands for.
    pub(super) fn expand(&self, text: &str) -> Result<Expanded, String> {
        let mut whole = String::new();
        let mut shown = String::new();
        let mut secret = false;
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            if let Some(before) = before.strip_suffix('$') {
                for side in [&mut whole, &mut shown] {
                    side.push_str(before);
                    side.push_str("${");
                }
                rest = after;
                continue;
            }
            let (name, after) = after
                .split_once('}')
                .ok_or("\"${\" is not closed; write $${ for a plain ${".to_owned())?;
            whole.push_str(before);
            whole.push_str(&self.resolve(name)?);
            shown.push_str(before);
            shown.push_str(REDACTED);
            secret = true;
            rest = after;
        }
        whole.push_str(rest);
        shown.push_str(rest);
        Ok(Expanded { text: Secret(whole), shown, secret })
    }

    fn resolve(&self, placeholder: &str) -> Result<String, String> {
        let unknown = || {
            let placeholder = super::quoted(&format!("${{{placeholder}}}"));
            format!("{placeholder} is none of ${{env:NAME}}, ${{file:/path}} and ${{cred:NAME}}")
        };
        let (kind, name) = placeholder.split_once(':').ok_or_else(unknown)?;
        match kind {
            "env" => self.variable(name),
            "file" => self.file(name),
            "cred" => self.credential(name),
            _ => Err(unknown()),
        }
    }

    fn variable(&self, name: &str) -> Result<String, String> {
        self.named.borrow_mut().insert(name.to_owned());
        match self.environment.get(name) {
            None => Err(format!("the environment variable {} is not set", super::quoted(name))),
            Some(value) if value.contains(char::REPLACEMENT_CHARACTER) => {
                Err(format!("the environment variable {} is not UTF-8", super::quoted(name)))
            }
            Some(value) => Ok(value.clone()),
        }
    }

    fn file(&self, name: &str) -> Result<String, String> {
        let path = Path::new(name);
        if !path.is_absolute() {
            return Err(format!("${{file:…}} wants an absolute path, not {}", super::quoted(name)));
        }
        self.content(path)
    }

    fn credential(&self, name: &str) -> Result<String, String> {
        if name.is_empty() || name.contains('/') || name == ".." || name == "." {
            return Err(format!("{} is not the name of a credential", super::quoted(name)));
        }
        let folder = self.environment.get("CREDENTIALS_DIRECTORY").filter(|path| !path.is_empty());
        let folder = folder.ok_or_else(|| {
            format!(
                "the credential {} cannot be had: systemd passed none (LoadCredential= in the unit)",
                super::quoted(name)
            )
        })?;
        self.content(&PathBuf::from(folder).join(name))
    }

    /// A file's text without the line end that editors leave.
    fn content(&self, path: &Path) -> Result<String, String> {
        let shown = super::quoted(&path.to_string_lossy());
        let bytes = (self.read)(path, MOST_BYTES + 1)
            .map_err(|error| format!("cannot read {shown}: {}", super::reason(&error)))?;
        if bytes.len() as u64 > MOST_BYTES {
            return Err(format!("{shown} is larger than 64 KiB"));
        }
        let mut text = String::from_utf8(bytes).map_err(|_| format!("{shown} is not UTF-8"))?;
        if text.ends_with('\n') {
            text.pop();
            if text.ends_with('\r') {
                text.pop();
            }
        }
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand(text: &str) -> Result<Expanded, String> {
        let pairs =
            [("TOKEN", "hunter2"), ("ODD", "${env:TOKEN}"), ("CREDENTIALS_DIRECTORY", "/c")];
        let environment = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let read = |path: &Path, most: u64| match path.to_str() {
            Some("/c/mail") => Ok(b"hunter3\n".to_vec()),
            Some("/windows") => Ok(b"hunter4\r\n".to_vec()),
            Some("/raw") => Ok(vec![0xff]),
            Some("/big") => Ok(vec![b'x'; usize::try_from(most).unwrap()]),
            _ => Err(io::ErrorKind::NotFound.into()),
        };
        Expander { environment: &environment, read: &read, named: RefCell::default() }.expand(text)
    }

    #[test]
    fn placeholders_are_replaced_and_never_shown() {
        let expanded = expand("https://x/${env:TOKEN}?c=${cred:mail}&w=${file:/windows}").unwrap();
        assert_eq!(expanded.text.expose(), "https://x/hunter2?c=hunter3&w=hunter4");
        assert_eq!(expanded.shown, "https://x/<redacted>?c=<redacted>&w=<redacted>");
        assert!(!format!("{expanded:?} {}", expanded.text).contains("hunter"));
    }

    #[test]
    fn a_dollar_without_a_brace_is_a_dollar() {
        for (text, expected) in [("^a$", "^a$"), ("a$$", "a$$"), ("$${x}", "${x}"), ("$", "$")] {
            let expanded = expand(text).unwrap();
            assert_eq!((expanded.text.expose(), expanded.secret), (expected, false));
        }
    }

    #[test]
    fn what_a_placeholder_yields_is_not_expanded_again() {
        assert_eq!(expand("${env:ODD}").unwrap().text.expose(), "${env:TOKEN}");
    }

    #[test]
    fn each_failure_names_the_placeholder() {
        for (text, expected) in [
            ("${env:NONE}", "the environment variable \"NONE\" is not set"),
            ("${HOME}", "\"${HOME}\" is none of ${env:NAME}, ${file:/path} and ${cred:NAME}"),
            ("${env:TOKEN", "\"${\" is not closed; write $${ for a plain ${"),
            ("${file:x}", "${file:…} wants an absolute path, not \"x\""),
            ("${file:/none}", "cannot read \"/none\": there is no such file"),
            ("${file:/raw}", "\"/raw\" is not UTF-8"),
            ("${file:/big}", "\"/big\" is larger than 64 KiB"),
            ("${cred:../x}", "\"../x\" is not the name of a credential"),
        ] {
            assert_eq!(expand(text).unwrap_err(), expected);
        }
    }
}

//! The words after the command's name.

use crate::Result;

/// What is left of the command line.
pub(crate) struct Args(Vec<String>);

impl Args {
    /// The words after the program's own name.
    pub(crate) fn from_environment() -> Self {
        Self(std::env::args().skip(1).collect())
    }

    /// Takes the first word.
    pub(crate) fn next_word(&mut self) -> Option<String> {
        (!self.0.is_empty()).then(|| self.0.remove(0))
    }

    /// Takes `flag` out; says whether it was there.
    pub(crate) fn flag(&mut self, flag: &str) -> bool {
        let before = self.0.len();
        self.0.retain(|word| word != flag);
        self.0.len() < before
    }

    /// Takes `option VALUE` out.
    pub(crate) fn value(&mut self, option: &str) -> Result<Option<String>> {
        let Some(at) = self.0.iter().position(|word| word == option) else {
            return Ok(None);
        };
        if at + 1 >= self.0.len() {
            return Err(format!("{option} needs a value"));
        }
        self.0.remove(at);
        Ok(Some(self.0.remove(at)))
    }

    /// Everything that is left, for a program that is called; a leading `--` is dropped.
    pub(crate) fn rest(&mut self) -> Vec<String> {
        let mut rest = std::mem::take(&mut self.0);
        if rest.first().is_some_and(|word| word == "--") {
            rest.remove(0);
        }
        rest
    }

    /// Refuses words that no one asked for.
    pub(crate) fn finish(&mut self) -> Result {
        match self.next_word() {
            None => Ok(()),
            Some(word) => Err(format!(
                "'{word}' means nothing here; see `cargo xtask help`"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(words: &[&str]) -> Args {
        Args(words.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn flags_and_values_are_taken_out_wherever_they_stand() {
        let mut args = args(&["--for", "build", "x", "--check"]);
        assert!(args.flag("--check"));
        assert!(!args.flag("--check"));
        assert_eq!(args.value("--for"), Ok(Some("build".to_owned())));
        assert_eq!(args.value("--for"), Ok(None));
        assert_eq!(args.next_word().as_deref(), Some("x"));
        assert_eq!(args.finish(), Ok(()));
    }

    #[test]
    fn an_option_without_its_value_and_a_stray_word_are_refused() {
        assert!(args(&["--for"]).value("--for").is_err());
        assert!(args(&["stray"]).finish().is_err());
    }

    #[test]
    fn the_rest_goes_to_the_program_without_the_separator() {
        assert_eq!(args(&["--", "--seed", "7"]).rest(), ["--seed", "7"]);
        assert_eq!(args(&["--seed", "7"]).rest(), ["--seed", "7"]);
    }
}

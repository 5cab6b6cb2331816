use std::sync::OnceLock;

use aho_corasick::AhoCorasick;
use regex::bytes::{Regex, RegexBuilder};
use regex_filtered::ModelError;
use regex_filtered::mapper::{self, Mapper};
use regex_filtered::model::Model;

/// Patterns in the order in which they are tried, asked all at once.
///
/// One pass finds the literals in a text; only patterns whose literals are there are tried. Each is compiled when that
/// first happens: of the 2,000 that the data sets have, ordinary traffic meets some dozens, and compiling all of them
/// takes half a second and tens of megabytes.
pub(crate) struct Rules {
    patterns: Vec<String>,
    compiled: Vec<OnceLock<Option<Regex>>>,
    literals: AhoCorasick,
    candidates: Mapper,
}

/// Why patterns cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RulesError {
    #[error("the pattern `{pattern}` cannot be read")]
    Pattern { pattern: String, source: Box<regex_syntax::Error> },
    #[error("the literals of the pattern `{pattern}` cannot be told")]
    Literals { pattern: String, source: ModelError },
    #[error("the literals cannot be searched")]
    Search(#[from] aho_corasick::BuildError),
}

impl Rules {
    pub(crate) fn new(patterns: Vec<String>) -> Result<Self, RulesError> {
        /// Shorter literals are in every text.
        const LITERAL_BYTES_MIN: usize = 3;
        let mut builder = mapper::Builder::new(LITERAL_BYTES_MIN);
        for pattern in &patterns {
            let parsed = regex_syntax::parse(pattern)
                .map_err(|error| RulesError::Pattern { pattern: pattern.clone(), source: Box::new(error) })?;
            let model = Model::new(&parsed)
                .map_err(|source| RulesError::Literals { pattern: pattern.clone(), source })?;
            builder.push(model);
        }
        let (candidates, literals) = builder.build();
        let literals = AhoCorasick::builder().ascii_case_insensitive(true).build(literals)?;
        let compiled = patterns.iter().map(|_pattern| OnceLock::new()).collect();
        Ok(Self { patterns, compiled, literals, candidates })
    }

    /// The first pattern that matches, by its place, and itself.
    pub(crate) fn first(&self, text: &str) -> Option<(usize, &Regex)> {
        let found = self.literals.find_overlapping_iter(text).map(|found| found.pattern().as_usize());
        let candidates = self.candidates.atom_to_re(found);
        candidates.into_iter().find_map(|place| {
            let regex = self.compiled(place)?;
            regex.is_match(text.as_bytes()).then_some((place, regex))
        })
    }

    /// `None` where it is too large to compile: such a pattern matches nothing.
    fn compiled(&self, place: usize) -> Option<&Regex> {
        let compile = || {
            // Header values are ASCII but for exceptions: without Unicode's classes a pattern takes a tenth of the
            // memory. Bytes, since a dot may then stop inside a character.
            RegexBuilder::new(&self.patterns[place]).unicode(false).build().ok()
        };
        self.compiled[place].get_or_init(compile).as_ref()
    }

    /// The pattern at a place.
    pub(crate) fn pattern(&self, place: usize) -> &str {
        &self.patterns[place]
    }

    #[cfg(test)]
    pub(crate) fn all_compile(&self) -> bool {
        (0..self.patterns.len()).all(|place| self.compiled(place).is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_in_order_wins_whatever_its_literals() {
        let rules = Rules::new(["(Edge)/", "Chrome/[0-9]+", "^x"].map(str::to_owned).into()).unwrap();
        let place = |text| rules.first(text).map(|(place, _regex)| place);
        assert_eq!(place("Chrome/12 Edge/3"), Some(0));
        assert_eq!(place("Chrome/12"), Some(1));
        assert_eq!(place("chrome/12"), None);
        assert_eq!(place("xyz"), Some(2));
        assert_eq!(place(""), None);
    }
}

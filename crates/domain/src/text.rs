//! What is done to every text from outside before it is kept: control characters out, length cut, nothing refused.

/// The most characters kept of a UTM parameter, an ad parameter or a form field.
pub const PARAMETER_CHARS_MAX: usize = 500;
/// The most characters kept of a click id. The longest in use (Meta's) have under 300.
pub const CLICK_ID_CHARS_MAX: usize = 500;
/// The most characters kept of a page title.
pub const TITLE_CHARS_MAX: usize = 1_000;
/// The most characters kept of a URL.
pub const URL_CHARS_MAX: usize = 2_048;
/// The most characters kept of a user agent.
pub const USER_AGENT_CHARS_MAX: usize = 512;

/// `raw` without control characters (NUL, C0, DEL, C1) and surrounding white space, cut to `chars_max` characters;
/// `None` when nothing is left.
pub fn clean(raw: &str, chars_max: usize) -> Option<String> {
    let trimmed = raw.trim_matches(|c: char| c.is_whitespace() || c.is_control());
    let kept = exact(trimmed, chars_max)?;
    match kept.trim_end() {
        "" => None,
        end if end.len() == kept.len() => Some(kept),
        end => Some(end.to_owned()),
    }
}

/// `raw` without control characters, cut to `chars_max` characters, white space left as it is; `None` when nothing is
/// left. Click ids are kept so: their networks compare them byte by byte.
pub fn exact(raw: &str, chars_max: usize) -> Option<String> {
    // Nearly every text is plain ASCII: one pass over bytes, without a branch for each.
    let is_plain = raw.bytes().fold(true, |plain, byte| plain & (0x20..0x7f).contains(&byte));
    let kept = if raw.len() <= chars_max && (is_plain || !raw.contains(char::is_control)) {
        raw.to_owned()
    } else {
        raw.chars().filter(|c| !c.is_control()).take(chars_max).collect()
    };
    (!kept.is_empty()).then_some(kept)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn control_characters_are_removed_and_the_rest_is_kept() {
        assert_eq!(clean(" spring\u{0}_sale\r\n ", 500).as_deref(), Some("spring_sale"));
        assert_eq!(clean("50%off", 500).as_deref(), Some("50%off"));
        assert_eq!(clean("\u{0} \t", 500), None);
        assert_eq!(exact(" a ", 500).as_deref(), Some(" a "));
    }

    #[test]
    fn an_over_long_value_is_cut_at_a_character_boundary() {
        assert_eq!(clean("ééé", 2).as_deref(), Some("éé"));
        assert_eq!(clean(&"x".repeat(3_000_000), 500).map(|kept| kept.len()), Some(500));
    }

    proptest! {
        #[test]
        fn cleaning_twice_changes_nothing(raw in any::<String>(), chars_max in 1usize..20) {
            let once = clean(&raw, chars_max);
            let twice = once.as_deref().and_then(|kept| clean(kept, chars_max));
            prop_assert_eq!(&twice, &once);
            prop_assert!(once.is_none_or(|kept| kept.chars().count() <= chars_max));
        }
    }
}

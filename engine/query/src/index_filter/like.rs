//! `LIKE` patterns in their parts.

/// A part of a `LIKE` pattern.
#[derive(Debug, PartialEq)]
pub(super) enum Run {
    Text(String),
    /// `%`
    Any,
    /// `_`
    One,
}

/// A pattern in its parts, of which no two texts and no two `%` follow each other; `None` when a backslash is its last
/// character.
pub(super) fn literal_runs(pattern: &str) -> Option<Vec<Run>> {
    let mut runs = Vec::new();
    let mut characters = pattern.chars();
    if pattern.is_empty() {
        return Some(vec![Run::Text(String::new())]);
    }
    while let Some(character) = characters.next() {
        let literal = match character {
            '%' => {
                if runs.last() != Some(&Run::Any) {
                    runs.push(Run::Any);
                }
                continue;
            }
            '_' => {
                runs.push(Run::One);
                continue;
            }
            '\\' => characters.next()?,
            other => other,
        };
        match runs.last_mut() {
            Some(Run::Text(text)) => text.push(literal),
            Some(Run::Any | Run::One) | None => runs.push(Run::Text(literal.to_string())),
        }
    }
    Some(runs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fall_into_texts_and_wildcards() {
        let text = |text: &str| Run::Text(text.to_string());
        for (pattern, runs) in [
            ("abc", Some(vec![text("abc")])),
            ("", Some(vec![text("")])),
            ("ab%", Some(vec![text("ab"), Run::Any])),
            ("%%a_b", Some(vec![Run::Any, text("a"), Run::One, text("b")])),
            ("50\\%%", Some(vec![text("50%"), Run::Any])),
            ("a\\\\", Some(vec![text("a\\")])),
            ("a\\", None),
        ] {
            assert_eq!(literal_runs(pattern), runs, "{pattern}");
        }
    }
}

//! Finding a value inside JSON text without building a tree.
//!
//! The scanner trusts that brackets and quotes match (rows are validated when written) and answers "not there" for text
//! that ends early. It never recurses, so depth costs nothing.

use std::borrow::Cow;

/// A value at the end of a path.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Leaf<'a> {
    Null,
    Bool(bool),
    Number(Number),
    Text(Cow<'a, str>),
    /// The array's own text.
    Array(&'a str),
    Object,
}

/// A JSON number: integers keep all 64 bits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Number {
    Int(i64),
    Float(f64),
}

/// The text of the value that `path` leads to.
pub(crate) fn find<'a>(json: &'a str, path: &[String]) -> Option<&'a str> {
    let mut scanner = Scanner {
        text: json,
        bytes: json.as_bytes(),
        at: 0,
    };
    scanner.skip_blanks();
    for step in path {
        match scanner.peek()? {
            b'{' => scanner.enter_key(step)?,
            b'[' => scanner.enter_index(step)?,
            _ => return None,
        }
    }
    scanner.value()
}

/// What the text of one value says.
pub(crate) fn leaf(value: &str) -> Option<Leaf<'_>> {
    let value = value.trim();
    Some(match value.as_bytes().first()? {
        b'n' => Leaf::Null,
        b't' => Leaf::Bool(true),
        b'f' => Leaf::Bool(false),
        b'"' => Leaf::Text(string(value)?),
        b'[' => Leaf::Array(value),
        b'{' => Leaf::Object,
        _ => Leaf::Number(number(value)?),
    })
}

/// The elements of an array's text.
pub(crate) fn elements(array: &str) -> Elements<'_> {
    let mut scanner = Scanner {
        text: array,
        bytes: array.as_bytes(),
        at: 0,
    };
    scanner.skip_blanks();
    let open = scanner.peek() == Some(b'[');
    scanner.at += 1;
    Elements { scanner, done: !open }
}

/// Iterator of [`elements`].
pub(crate) struct Elements<'a> {
    scanner: Scanner<'a>,
    done: bool,
}

impl<'a> Iterator for Elements<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        if self.done {
            return None;
        }
        self.scanner.skip_blanks();
        if matches!(self.scanner.peek(), None | Some(b']')) {
            self.done = true;
            return None;
        }
        let value = self.scanner.value();
        self.scanner.skip_blanks();
        self.done = value.is_none() || self.scanner.peek() != Some(b',');
        self.scanner.at += 1;
        value
    }
}

fn string(quoted: &str) -> Option<Cow<'_, str>> {
    let inside = quoted.strip_prefix('"')?.strip_suffix('"')?;
    if inside.contains('\\') {
        return serde_json::from_str(quoted).ok().map(Cow::Owned);
    }
    Some(Cow::Borrowed(inside))
}

fn number(text: &str) -> Option<Number> {
    if !text.bytes().any(|byte| matches!(byte, b'.' | b'e' | b'E'))
        && let Ok(value) = text.parse()
    {
        return Some(Number::Int(value));
    }
    text.parse()
        .ok()
        .filter(|value: &f64| value.is_finite())
        .map(Number::Float)
}

#[derive(Clone, Copy)]
struct Scanner<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Scanner<'a> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn skip_blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// From an object's `{` to the value of `key`.
    fn enter_key(&mut self, key: &str) -> Option<()> {
        self.at += 1;
        loop {
            self.skip_blanks();
            let start = self.at;
            if self.peek()? != b'"' {
                return None;
            }
            self.skip_string()?;
            let found = string(self.text.get(start..self.at)?)? == key;
            self.skip_blanks();
            if self.peek()? != b':' {
                return None;
            }
            self.at += 1;
            self.skip_blanks();
            if found {
                return Some(());
            }
            self.next_item()?;
        }
    }

    /// From an array's `[` to the element that `index` counts.
    fn enter_index(&mut self, index: &str) -> Option<()> {
        let leading_zero = index.len() > 1 && index.starts_with('0');
        if leading_zero || !index.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let index: usize = index.parse().ok()?;
        self.at += 1;
        self.skip_blanks();
        if self.peek()? == b']' {
            return None;
        }
        for _ in 0..index {
            self.next_item()?;
            self.skip_blanks();
        }
        Some(())
    }

    /// Past the value here and the comma after it.
    fn next_item(&mut self) -> Option<()> {
        self.skip_value()?;
        self.skip_blanks();
        if self.peek()? != b',' {
            return None;
        }
        self.at += 1;
        Some(())
    }

    fn value(&mut self) -> Option<&'a str> {
        let start = self.at;
        self.skip_value()?;
        self.text.get(start..self.at)
    }

    fn skip_value(&mut self) -> Option<()> {
        match self.peek()? {
            b'"' => return self.skip_string(),
            b'{' | b'[' => {}
            _ => {
                let rest = self.bytes.get(self.at..)?;
                let length = rest
                    .iter()
                    .position(|byte| matches!(byte, b',' | b']' | b'}' | b' ' | b'\t' | b'\n' | b'\r'))
                    .unwrap_or(rest.len());
                self.at += length;
                return (length > 0).then_some(());
            }
        }
        let mut depth = 0usize;
        loop {
            match self.peek()? {
                b'"' => {
                    self.skip_string()?;
                    continue;
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth -= 1,
                _ => {}
            }
            self.at += 1;
            if depth == 0 {
                return Some(());
            }
        }
    }

    fn skip_string(&mut self) -> Option<()> {
        self.at += 1;
        loop {
            match self.peek()? {
                b'"' => {
                    self.at += 1;
                    return Some(());
                }
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::{Leaf, Number, elements, find, leaf};

    fn steps(path: &[&str]) -> Vec<String> {
        path.iter().map(|step| (*step).to_owned()).collect()
    }

    #[test]
    fn paths_lead_through_objects_and_arrays() {
        let json = r#" { "a" : [ 1 , {"b\n": "x\"y"}, [] ], "c": {"d": null, "0": true}, "e": -1.5e3 } "#;
        let at = |path: &[&str]| find(json, &steps(path)).and_then(leaf);
        assert_eq!(at(&["a", "0"]), Some(Leaf::Number(Number::Int(1))));
        assert_eq!(at(&["a", "1", "b\n"]), Some(Leaf::Text("x\"y".into())));
        assert_eq!(at(&["a", "2"]), Some(Leaf::Array("[]")));
        assert_eq!(at(&["c", "d"]), Some(Leaf::Null));
        assert_eq!(at(&["c", "0"]), Some(Leaf::Bool(true)));
        assert_eq!(at(&["e"]), Some(Leaf::Number(Number::Float(-1500.0))));
        assert_eq!(at(&["c"]), Some(Leaf::Object));
        for missing in [
            &["a", "3"][..],
            &["a", "00"],
            &["a", "x"],
            &["b"],
            &["c", "d", "e"],
            &["a", "2", "0"],
            &["e", "0"],
        ] {
            assert_eq!(at(missing), None, "{missing:?}");
        }
        assert_eq!(
            elements(" [1, [2,3] , \"a,]\" ] ").collect::<Vec<_>>(),
            ["1", "[2,3]", "\"a,]\""]
        );
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "[a-c\"\\\\é\\n]{0,3}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 30, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec(("[ab0-2/~\"]{0,2}", inner), 0..4)
                    .prop_map(|items| Value::Object(items.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn finds_what_a_full_parse_finds(value in json(), path in prop::collection::vec("[ab0-2/~\"]{0,2}", 0..4), pretty in any::<bool>()) {
            let text = if pretty { serde_json::to_string_pretty(&value).unwrap() } else { value.to_string() };
            // serde_json may round a float when reading, so the reference is the value as read
            let value: Value = serde_json::from_str(&text).unwrap();
            let mut expected = Some(&value);
            for step in &path {
                expected = expected.and_then(|value| match value {
                    Value::Object(map) => map.get(step),
                    Value::Array(items) if step == "0" || !step.starts_with('0') => {
                        step.parse::<usize>().ok().and_then(|index| items.get(index))
                    }
                    Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => None,
                });
            }
            let found = find(&text, &path).map(|text| serde_json::from_str::<Value>(text).unwrap());
            prop_assert_eq!(found.as_ref(), expected);
        }

        #[test]
        fn broken_text_never_panics(text in "[\\[\\]{}\",:\\\\ a0é]{0,20}", path in prop::collection::vec("[a0]?", 0..3)) {
            let found = find(&text, &path);
            found.and_then(leaf);
            elements(&text).count();
        }
    }
}

//! The TOML file: typed reads that name the key when the value is wrong, and an error for every key that nobody read.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

use anyhow::{Context, anyhow, bail};
use toml::{Table, Value};

/// A key this close to a known one (Jaro-Winkler, 1 is equal) is taken for a spelling mistake.
const SIMILAR: f64 = 0.75;

/// Hands out the values of one file, key by key. What is left at the end is unknown.
pub struct Reader {
    /// Name of the file, for messages.
    name: String,
    values: Table,
    known: Vec<&'static str>,
}

impl Reader {
    /// A file with no keys.
    pub fn empty() -> Self {
        Self {
            name: String::new(),
            values: Table::new(),
            known: Vec::new(),
        }
    }

    /// Reads TOML; `name` is the file's name for messages.
    pub fn parse(name: &str, text: &str) -> anyhow::Result<Self> {
        let values = text
            .parse::<Table>()
            .with_context(|| format!("{name} is not valid TOML"))?;
        Ok(Self {
            name: name.to_owned(),
            values,
            known: Vec::new(),
        })
    }

    /// The text under `key`.
    pub fn text(&mut self, key: &'static str) -> anyhow::Result<Option<String>> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(self.wrong_type(key, "a string", &other)),
        }
    }

    /// The texts in the list under `key`; none when it is absent.
    pub fn texts(&mut self, key: &'static str) -> anyhow::Result<Vec<String>> {
        let wrong = |reader: &Self, value: &Value| Err(reader.wrong_type(key, "a list of strings", value));
        let values = match self.take(key) {
            None => return Ok(Vec::new()),
            Some(Value::Array(values)) => values,
            Some(other) => return wrong(self, &other),
        };
        let mut texts = Vec::with_capacity(values.len());
        for value in values {
            match value {
                Value::String(text) => texts.push(text),
                other @ (Value::Integer(_)
                | Value::Float(_)
                | Value::Boolean(_)
                | Value::Datetime(_)
                | Value::Array(_)
                | Value::Table(_)) => return wrong(self, &other),
            }
        }
        Ok(texts)
    }

    /// The texts in the table under `key`, by name; none when it is absent.
    pub fn texts_by_name(&mut self, key: &'static str) -> anyhow::Result<BTreeMap<String, String>> {
        let mut texts = BTreeMap::new();
        for (name, value) in self.table(key)? {
            let Value::String(text) = value else {
                // The value is not shown: it may be a secret.
                bail!(
                    "{}: key `{key}.{name}` must be a string, not {}",
                    self.name,
                    article(value.type_str())
                );
            };
            texts.insert(name, text);
        }
        Ok(texts)
    }

    /// Readers of the tables in the table under `key`, by name; none when it is absent.
    pub fn tables_by_name(&mut self, key: &'static str) -> anyhow::Result<BTreeMap<String, Self>> {
        let mut tables = BTreeMap::new();
        for (name, value) in self.table(key)? {
            let Value::Table(values) = value else {
                return Err(self.wrong_type(&format!("{key}.{name}"), "a table", &value));
            };
            let reader = Self {
                name: format!("{}: [{key}.{name}]", self.name),
                values,
                known: Vec::new(),
            };
            tables.insert(name, reader);
        }
        Ok(tables)
    }

    fn table(&mut self, key: &'static str) -> anyhow::Result<Table> {
        match self.take(key) {
            None => Ok(Table::new()),
            Some(Value::Table(table)) => Ok(table),
            Some(other) => Err(self.wrong_type(key, "a table", &other)),
        }
    }

    /// The boolean under `key`.
    pub fn boolean(&mut self, key: &'static str) -> anyhow::Result<Option<bool>> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::Boolean(value)) => Ok(Some(value)),
            Some(other) => Err(self.wrong_type(key, "true or false", &other)),
        }
    }

    /// The text or integer under `key`, parsed as a `T`.
    pub fn parsed<T: FromStr<Err: Display>>(&mut self, key: &'static str) -> anyhow::Result<Option<T>> {
        let text = match self.take(key) {
            None => return Ok(None),
            Some(Value::String(text)) => text,
            Some(Value::Integer(number)) => number.to_string(),
            Some(other) => return Err(self.wrong_type(key, "a string", &other)),
        };
        text.parse()
            .map(Some)
            .map_err(|error| anyhow!("{}: key `{key}`: {error}", self.name))
    }

    /// Refuses what no read has asked for.
    pub fn finish(self) -> anyhow::Result<()> {
        let Some(unknown) = self.values.keys().next() else {
            return Ok(());
        };
        let nearest = self
            .known
            .iter()
            .map(|known| (strsim::jaro_winkler(known, unknown), known))
            .filter(|(similarity, _)| *similarity >= SIMILAR)
            .max_by(|a, b| a.0.total_cmp(&b.0));
        match nearest {
            Some((_, known)) => bail!("{}: unknown key `{unknown}`: did you mean `{known}`?", self.name),
            None => bail!(
                "{}: unknown key `{unknown}`: the keys are {}",
                self.name,
                self.known.join(", ")
            ),
        }
    }

    fn take(&mut self, key: &'static str) -> Option<Value> {
        self.known.push(key);
        self.values.remove(key)
    }

    fn wrong_type(&self, key: &str, wanted: &str, given: &Value) -> anyhow::Error {
        anyhow!(
            "{}: key `{key}` must be {wanted}, not {}: {given}",
            self.name,
            article(given.type_str())
        )
    }
}

/// `integer` as "an integer".
fn article(noun: &str) -> String {
    let article = if noun.starts_with(['a', 'e', 'i', 'o', 'u']) {
        "an"
    } else {
        "a"
    };
    format!("{article} {noun}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_type_names_key_and_value() {
        let mut reader = Reader::parse("x.toml", "insecure = 'yes'").unwrap();
        let error = reader.boolean("insecure").unwrap_err().to_string();
        assert_eq!(
            error,
            "x.toml: key `insecure` must be true or false, not a string: \"yes\""
        );
        let mut reader = Reader::parse("x.toml", "data = 7").unwrap();
        let error = reader.text("data").unwrap_err().to_string();
        assert_eq!(error, "x.toml: key `data` must be a string, not an integer: 7");
    }

    #[test]
    fn a_key_unlike_any_other_lists_them_all() {
        let mut reader = Reader::parse("x.toml", "zzz = 1").unwrap();
        assert_eq!(reader.text("data").unwrap(), None);
        assert_eq!(reader.boolean("insecure").unwrap(), None);
        let error = reader.finish().unwrap_err().to_string();
        assert_eq!(error, "x.toml: unknown key `zzz`: the keys are data, insecure");
    }

    #[test]
    fn broken_toml_names_the_file() {
        let error = Reader::parse("x.toml", "data = ").err().unwrap().to_string();
        assert_eq!(error, "x.toml is not valid TOML");
    }
}

//! Universal Binary JSON, draft 12 (<https://ubjson.org>), as XGBoost writes it: big-endian numbers, objects that end with a
//! brace, lists with or without a type and a length.

use crate::document::Value;
use crate::forest::ModelError;

/// Objects and lists in one another; XGBoost's are 8 deep.
const MAX_DEPTH: usize = 32;

/// The one value in `bytes`.
pub(crate) fn read(bytes: &[u8]) -> Result<Value, ModelError> {
    let mut reader = Reader { rest: bytes };
    let marker = reader.marker()?;
    let value = reader.value(marker, 0)?;
    if reader.rest.is_empty() {
        Ok(value)
    } else {
        Err(invalid(format!("{} bytes after its end", reader.rest.len())))
    }
}

struct Reader<'a> {
    rest: &'a [u8],
}

fn invalid(what: impl std::fmt::Display) -> ModelError {
    ModelError::Invalid(format!("it is no UBJSON: {what}"))
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], ModelError> {
        match self.rest.split_at_checked(count) {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(taken)
            }
            None => Err(invalid("it is cut off")),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ModelError> {
        self.take(N)?.try_into().map_err(|_| invalid("it is cut off"))
    }

    /// The next byte that means something.
    fn marker(&mut self) -> Result<u8, ModelError> {
        loop {
            let [byte] = self.array()?;
            if byte != b'N' {
                return Ok(byte);
            }
        }
    }

    fn int(&mut self, marker: u8) -> Result<Option<i64>, ModelError> {
        Ok(Some(match marker {
            b'i' => i8::from_be_bytes(self.array()?).into(),
            b'U' => u8::from_be_bytes(self.array()?).into(),
            b'I' => i16::from_be_bytes(self.array()?).into(),
            b'l' => i32::from_be_bytes(self.array()?).into(),
            b'L' => i64::from_be_bytes(self.array()?),
            _ => return Ok(None),
        }))
    }

    fn float(&mut self, marker: u8) -> Result<Option<f64>, ModelError> {
        Ok(Some(match marker {
            b'd' => f32::from_be_bytes(self.array()?).into(),
            b'D' => f64::from_be_bytes(self.array()?),
            _ => return Ok(None),
        }))
    }

    /// A length; what has it cannot be longer than the bytes that are left.
    fn length(&mut self) -> Result<usize, ModelError> {
        let marker = self.marker()?;
        let length = self.int(marker)?;
        let length = length.and_then(|length| usize::try_from(length).ok());
        match length {
            Some(length) if length <= self.rest.len() => Ok(length),
            _ => Err(invalid("a length that cannot be")),
        }
    }

    fn text(&mut self) -> Result<String, ModelError> {
        let length = self.length()?;
        let bytes = self.take(length)?.to_vec();
        String::from_utf8(bytes).map_err(|_| invalid("a text that is not UTF-8"))
    }

    fn value(&mut self, marker: u8, depth: usize) -> Result<Value, ModelError> {
        if let Some(whole) = self.int(marker)? {
            return Ok(Value::Int(whole));
        }
        if let Some(number) = self.float(marker)? {
            return Ok(Value::Float(number));
        }
        match marker {
            b'Z' => Ok(Value::Other),
            b'T' => Ok(Value::Int(1)),
            b'F' => Ok(Value::Int(0)),
            b'C' => self.take(1).map(|_| Value::Other),
            b'S' | b'H' => self.text().map(Value::Text),
            b'[' | b'{' if depth >= MAX_DEPTH => {
                Err(invalid(format!("more than {MAX_DEPTH} values in one another")))
            }
            b'[' => self.list(depth + 1),
            b'{' => self.map(depth + 1),
            other => Err(invalid(format!("a value cannot begin with byte {other}"))),
        }
    }

    fn map(&mut self, depth: usize) -> Result<Value, ModelError> {
        let mut members = Vec::new();
        loop {
            // Names have no marker of their own: what stands here is the type of their length, or the end.
            if self.rest.first() == Some(&b'}') {
                self.take(1)?;
                return Ok(Value::Map(members));
            }
            let name = self.text()?;
            let marker = self.marker()?;
            members.push((name, self.value(marker, depth)?));
        }
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "indexes of nodes and features are small"
    )]
    fn list(&mut self, depth: usize) -> Result<Value, ModelError> {
        let mut marker = self.marker()?;
        let of = if marker == b'$' {
            let of = self.marker()?;
            marker = self.marker()?;
            if marker != b'#' {
                return Err(invalid("a list with a type and without a length"));
            }
            Some(of)
        } else {
            None
        };
        let length = if marker == b'#' {
            Some(self.length()?)
        } else {
            None
        };
        match (of, length) {
            (Some(of), Some(length)) => {
                let mut numbers = Vec::with_capacity(length);
                for _ in 0..length {
                    let number = match self.int(of)? {
                        Some(whole) => Some(whole as f64),
                        None => self.float(of)?,
                    };
                    numbers.push(number.ok_or_else(|| invalid(format!("a list of type {of}")))?);
                }
                Ok(Value::Numbers(numbers))
            }
            (_, Some(length)) => {
                let mut items = Vec::new();
                for _ in 0..length {
                    let marker = self.marker()?;
                    items.push(self.value(marker, depth)?);
                }
                Ok(Value::List(items))
            }
            (_, None) => {
                let mut items = Vec::new();
                while marker != b']' {
                    items.push(self.value(marker, depth)?);
                    marker = self.marker()?;
                }
                Ok(Value::List(items))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_kind_of_value_is_read() {
        let bytes = b"{i\x01a[#i\x02TU\xffi\x01b[$d#i\x01\x3f\x80\x00\x00i\x01c[SI\x00\x02hiZ]N}";
        let read = read(bytes).err().map(|error| error.to_string());
        // A no-op where a name's length is expected is not one.
        assert_eq!(read.as_deref(), Some("it is no UBJSON: a length that cannot be"));
        let bytes = b"{i\x01a[#i\x02TU\xffi\x01b[$d#i\x01\x3f\x80\x00\x00i\x01c[SI\x00\x02hiZ]}";
        let value = super::read(bytes).unwrap();
        assert_eq!(value.at(&["a"]).unwrap().numbers(), Some(vec![1.0, 255.0]));
        assert_eq!(value.at(&["b"]).unwrap().numbers(), Some(vec![1.0]));
        let list = value.at(&["c"]).unwrap().list().unwrap();
        assert_eq!(list, [Value::Text("hi".into()), Value::Other]);
    }

    #[test]
    fn lengths_and_depths_that_cannot_be_are_errors() {
        for bytes in [
            b"{L\x7f\xff\xff\xff\xff\xff\xff\xff".as_slice(),
            b"{i\xff",
            b"[$l#l\x7f\xff\xff\xff",
            b"[$d]",
            b"[$S#i\x01i\x01a",
            b"{i\x01a",
            b"{}x",
        ] {
            read(bytes).unwrap_err();
        }
        read(&[b'['; 100]).unwrap_err();
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&bytes);
        }
    }
}

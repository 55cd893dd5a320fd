//! Primary keys: id lists of replies, and the `pk in [..]` text that clients send for them.

use elanus_collection::{DataType, Field, Keys};
use milvus::proto::schema::{IDs, LongArray, StringArray, i_ds::IdField};

/// Keys as an id list.
pub(crate) fn to_wire(keys: Keys) -> IDs {
    let field = match keys {
        Keys::Int64(data) => IdField::IntId(LongArray { data }),
        Keys::VarChar(data) => IdField::StrId(StringArray { data }),
    };
    IDs {
        id_field: Some(field),
    }
}

/// The keys of `<primary key> in [..]` or `<primary key> == ..`, the texts that clients build from a
/// list of ids; `None` for any other expression, which the filter compiler reads in full.
pub(crate) fn of_expression(text: &str, primary_key: &Field) -> Option<Keys> {
    let rest = text.trim().strip_prefix(primary_key.name.as_str())?;
    let rest = rest.strip_prefix([' ', '\t'])?.trim_start();
    let (list, single) = match rest.strip_prefix("in").or_else(|| rest.strip_prefix("IN")) {
        Some(rest) => (rest.trim_start().strip_prefix('[')?.strip_suffix(']')?, false),
        None => (rest.strip_prefix("==")?, true),
    };
    let list = list.trim();
    let keys = match &primary_key.data_type {
        DataType::Int64 => integers(list).map(Keys::Int64),
        DataType::VarChar { .. } => strings(list).map(Keys::VarChar),
        DataType::Bool
        | DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Float
        | DataType::Double
        | DataType::Text
        | DataType::Json
        | DataType::Array { .. }
        | DataType::StructArray { .. }
        | DataType::TimestampTz
        | DataType::Geometry
        | DataType::FloatVector { .. }
        | DataType::Float16Vector { .. }
        | DataType::BFloat16Vector { .. }
        | DataType::Int8Vector { .. }
        | DataType::BinaryVector { .. }
        | DataType::SparseFloatVector
        | DataType::VectorArray { .. } => None,
    };
    // `id ==`, `id == 1, 2` and `id == 1,` are mistakes, not lists.
    keys.filter(|keys| !single || (keys.len() == 1 && !list.ends_with(',')))
}

fn integers(list: &str) -> Option<Vec<i64>> {
    if list.is_empty() {
        return Some(Vec::new());
    }
    list.split(',')
        .map(|item| {
            let item = item.trim();
            // `017` is octal in the filter language; such spellings go to the full parser.
            let digits = item.strip_prefix('-').unwrap_or(item);
            let plain = digits == "0" || !digits.starts_with('0');
            if plain && digits.bytes().all(|b| b.is_ascii_digit()) {
                item.parse().ok()
            } else {
                None
            }
        })
        .collect()
}

fn strings(list: &str) -> Option<Vec<String>> {
    let mut keys = Vec::new();
    let mut rest = list;
    while !rest.is_empty() {
        let quote = rest.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
        let body = rest.strip_prefix(quote)?;
        let (key, after) = body.split_at_checked(body.find([quote, '\\'])?)?;
        keys.push(key.to_string());
        // A backslash here means an escape, which is the full parser's business.
        rest = after.strip_prefix(quote)?.trim_start();
        match rest.strip_prefix(',') {
            Some(after) => rest = after.trim_start(),
            None if rest.is_empty() => {}
            None => return None,
        }
    }
    Some(keys)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn int_key() -> Field {
        Field::new("id", DataType::Int64).primary()
    }

    fn text_key() -> Field {
        Field::new("pk", DataType::VarChar { max_length: 100 }).primary()
    }

    #[test]
    fn id_lists_are_read_without_the_parser() {
        assert_eq!(
            of_expression("id in [1,2, -3]", &int_key()),
            Some(Keys::Int64(vec![1, 2, -3]))
        );
        assert_eq!(
            of_expression(" id in [ ] ", &int_key()),
            Some(Keys::Int64(vec![]))
        );
        assert_eq!(of_expression("id == 7", &int_key()), Some(Keys::Int64(vec![7])));
        let keys = |list: &[&str]| Some(Keys::VarChar(list.iter().map(ToString::to_string).collect()));
        assert_eq!(
            of_expression("pk in ['a', \"b,]\"]", &text_key()),
            keys(&["a", "b,]"])
        );
        assert_eq!(of_expression("pk == 'ä'", &text_key()), keys(&["ä"]));
    }

    #[test]
    fn everything_else_goes_to_the_parser() {
        for text in [
            "id in [1] and x > 2",
            "id in [1.5]",
            "id in [017]",
            "id not in [1]",
            "idx in [1]",
            "id in [0x1]",
            "id in {list}",
            "id == 1 or id == 2",
            "id ==",
            "id == 1, 2",
            "id == [1]",
            "id in [1",
            "",
            "id",
            "in [1]",
        ] {
            assert_eq!(of_expression(text, &int_key()), None, "{text}");
        }
        for text in [
            "pk in ['a\\'b']",
            "pk in ['a' 'b']",
            "pk in ['a'] or pk == 'b'",
            "pk in [1]",
            "pk in ['a",
            "pk ==",
            "pk == 'a',",
            "pk == 'a', 'b'",
        ] {
            assert_eq!(of_expression(text, &text_key()), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_pymilvus_writes_is_read_back(ids in proptest::collection::vec(any::<i64>(), 0..20)) {
            let list: Vec<_> = ids.iter().map(ToString::to_string).collect();
            let text = format!("id in [{}]", list.join(","));
            prop_assert_eq!(of_expression(&text, &int_key()), Some(Keys::Int64(ids)));
        }

        #[test]
        fn no_text_makes_it_panic(text in "pk (in|==) ?\\[?.{0,30}\\]?") {
            let _ = of_expression(&text, &text_key());
            let _ = of_expression(&text, &int_key());
        }
    }
}

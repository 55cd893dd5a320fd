//! `elanus_in_set(value, ..)` -> `Boolean`: whether a value is in a set that a client made, for `membership_match` in filters.
//!
//! The set arrives as bytes in one of two envelopes of Milvus; their integers are little-endian:
//!
//! ```text
//!  MBF1  version u16 = 1, algorithm u16 = 1, members u64, share of false positives f64, blocks u32, domains u8, 0 0 0,
//!        then blocks of 32 bytes: a split-block Bloom filter as Parquet's (XXH64), domains 1 = integers, 2 = texts
//!  MRB1  version u16 = 1, format u16 = 1, members u64, length of the body u64, 0 u64,
//!        then a portable 64-bit Roaring bitmap of the integers' two's complement
//! ```
//!
//! A Bloom filter answers for some values that are in no set ("perhaps"), never the other way round; a bitmap is exact.
//! NULL is unknown. In JSON an integer is looked up as an integer, a string as a text, and nothing else is in a set:
//! `5.0` is not 5 here.

mod kind;

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use datafusion::common::tree_node::TreeNode;
use datafusion::common::{exec_err, not_impl_err};
use datafusion::error::Result;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, lit,
};
use parquet::bloom_filter::Sbbf;
use roaring::RoaringTreemap;

use crate::arguments::{TextArgument, finish, is_text, text_literal};
use crate::json::path::parse_pointer;
use crate::json::scan::{Leaf, Number, find, leaf};

pub use kind::MembershipKind;

const BLOOM_MAGIC: &[u8; 4] = b"MBF1";
const ROARING_MAGIC: &[u8; 4] = b"MRB1";
/// Both envelopes put so many bytes before the body.
const HEADER: usize = 32;
const BLOCK: usize = 32;
const INTEGERS: u8 = 1;
const TEXTS: u8 = 2;

/// A set of integers or texts.
pub struct Membership {
    set: Set,
    members: u64,
}

enum Set {
    Bloom { filter: Sbbf, domains: u8 },
    Roaring(RoaringTreemap),
}

impl Membership {
    /// Reads an envelope.
    ///
    /// # Errors
    /// What is wrong with the bytes, in words; never the bytes themselves.
    pub fn read(bytes: &[u8]) -> std::result::Result<Self, String> {
        let Some((header, body)) = bytes.split_first_chunk::<HEADER>() else {
            return Err(format!(
                "a membership filter starts with a header of {HEADER} bytes, got {} bytes",
                bytes.len()
            ));
        };
        let mut header = Header(header);
        match header.take::<4>() {
            magic if magic == *BLOOM_MAGIC => Self::read_bloom(header, body),
            magic if magic == *ROARING_MAGIC => Self::read_roaring(header, body),
            _ => Err(
                "a membership filter starts with MBF1 (bloom) or MRB1 (roaring), these bytes with neither"
                    .into(),
            ),
        }
    }

    fn read_bloom(mut header: Header<'_>, body: &[u8]) -> std::result::Result<Self, String> {
        header.expect("the version of MBF1", 1)?;
        header.expect("the algorithm of MBF1", 1)?;
        let members = u64::from_le_bytes(header.take());
        let share = f64::from_le_bytes(header.take());
        if !(0.0..1.0).contains(&share) {
            return Err("the share of false positives of MBF1 is not between 0 and 1".into());
        }
        let blocks = u32::from_le_bytes(header.take());
        let [domains, reserved @ ..] = header.take::<4>();
        if domains & !(INTEGERS | TEXTS) != 0 || reserved != [0; 3] {
            return Err("MBF1 has bits set that no version knows".into());
        }
        let length = u64::from(blocks) * BLOCK as u64;
        if blocks == 0 || body.len() as u64 != length {
            return Err(format!(
                "MBF1 tells of {blocks} blocks, so of {length} bytes, and has {}",
                body.len()
            ));
        }
        let filter = Sbbf::new(body);
        Ok(Self {
            set: Set::Bloom { filter, domains },
            members,
        })
    }

    fn read_roaring(mut header: Header<'_>, body: &[u8]) -> std::result::Result<Self, String> {
        header.expect("the version of MRB1", 1)?;
        header.expect("the format of MRB1", 1)?;
        let members = u64::from_le_bytes(header.take());
        let length = u64::from_le_bytes(header.take());
        if header.take() != [0u8; 8] {
            return Err("MRB1 has bits set that no version knows".into());
        }
        if body.len() as u64 != length {
            return Err(format!("MRB1 tells of {length} bytes and has {}", body.len()));
        }
        let mut rest = body;
        let bitmap = RoaringTreemap::deserialize_from(&mut rest)
            .map_err(|error| format!("the bitmap of MRB1 cannot be read: {error}"))?;
        if !rest.is_empty() {
            return Err(format!("MRB1 has {} bytes after its bitmap", rest.len()));
        }
        if bitmap.len() != members {
            return Err(format!(
                "MRB1 tells of {members} members and has {}",
                bitmap.len()
            ));
        }
        Ok(Self {
            set: Set::Roaring(bitmap),
            members,
        })
    }

    /// The kind of set.
    pub fn kind(&self) -> MembershipKind {
        match self.set {
            Set::Bloom { .. } => MembershipKind::Bloom,
            Set::Roaring(_) => MembershipKind::Roaring,
        }
    }

    /// Whether the set was made of integers; one that was made of nothing takes every type.
    pub fn takes_integers(&self) -> bool {
        self.takes(INTEGERS)
    }

    /// Whether the set was made of texts; one that was made of nothing takes every type.
    pub fn takes_texts(&self) -> bool {
        self.takes(TEXTS)
    }

    fn takes(&self, domain: u8) -> bool {
        match self.set {
            Set::Bloom { domains, .. } => domains == 0 || domains & domain != 0,
            Set::Roaring(_) => domain == INTEGERS,
        }
    }

    fn has_integer(&self, value: i64) -> bool {
        self.takes_integers()
            && match &self.set {
                Set::Bloom { filter, .. } => filter.check(&value),
                Set::Roaring(bitmap) => bitmap.contains(value.cast_unsigned()),
            }
    }

    fn has_text(&self, value: &str) -> bool {
        match &self.set {
            Set::Bloom { filter, .. } => self.takes_texts() && filter.check(value),
            Set::Roaring(_) => false,
        }
    }

    /// Unknown where there is nothing.
    fn has_json(&self, value: &str) -> Option<bool> {
        match leaf(value)? {
            Leaf::Null => None,
            Leaf::Number(Number::Int(value)) => Some(self.has_integer(value)),
            Leaf::Text(text) => Some(self.has_text(&text)),
            Leaf::Bool(_) | Leaf::Number(_) | Leaf::Array(_) | Leaf::Object => Some(false),
        }
    }
}

/// Members may be secret: how many there are is all that is shown.
impl fmt::Debug for Membership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} members", self.kind().name(), self.members)
    }
}

/// The bytes of a header that are not read yet.
struct Header<'a>(&'a [u8]);

impl Header<'_> {
    /// The next bytes; zeros after the end, which the sizes of the fields never reach.
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let Some((taken, rest)) = self.0.split_first_chunk::<N>() else {
            return [0; N];
        };
        self.0 = rest;
        *taken
    }

    fn expect(&mut self, what: &str, wanted: u16) -> std::result::Result<(), String> {
        let found = u16::from_le_bytes(self.take());
        if found != wanted {
            return Err(format!("{what} is {found}; {wanted} can be read"));
        }
        Ok(())
    }
}

/// Whether a column of integers or texts has a value of the set.
pub fn in_set(column: Expr, set: Arc<Membership>) -> Expr {
    call(column, None, set)
}

/// Whether the place `pointer` in a column of JSON has a value of the set.
pub fn json_in_set(column: Expr, pointer: &str, set: Arc<Membership>) -> Expr {
    call(column, Some(pointer), set)
}

fn call(column: Expr, pointer: Option<&str>, set: Arc<Membership>) -> Expr {
    let mut arguments = vec![column];
    arguments.extend(pointer.map(lit));
    arguments.push(lit(format!("{set:?}")));
    let function = ScalarUDF::from(InSet {
        set,
        json: pointer.is_some(),
    });
    Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(function), arguments))
}

/// Whether the expression holds a set, which may be large: such an expression is not worth keeping.
pub fn holds_set(expr: &Expr) -> bool {
    any_set(expr, |_| true)
}

/// Whether the expression holds a set that answers "perhaps".
pub fn is_approximate(expr: &Expr) -> bool {
    any_set(expr, |set| set.kind() == MembershipKind::Bloom)
}

fn any_set(expr: &Expr, test: impl Fn(&Membership) -> bool) -> bool {
    let has = |expr: &Expr| {
        let Expr::ScalarFunction(call) = expr else {
            return Ok(false);
        };
        let function = call.func.inner().downcast_ref::<InSet>();
        Ok(function.is_some_and(|function| test(&function.set)))
    };
    // The walk cannot fail: the closure does not.
    expr.exists(has).unwrap_or(true)
}

static SIGNATURE: LazyLock<Signature> = LazyLock::new(|| Signature::variadic_any(Volatility::Immutable));

/// The scalar function that asks a [`Membership`]; the last argument says what is asked, so that plans show it.
#[derive(Debug)]
pub struct InSet {
    set: Arc<Membership>,
    json: bool,
}

/// Sets are large and made for one statement: the same set is the same one in memory.
impl PartialEq for InSet {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.set, &other.set) && self.json == other.json
    }
}

impl Eq for InSet {}

impl Hash for InSet {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (Arc::as_ptr(&self.set), self.json).hash(state);
    }
}

impl ScalarUDFImpl for InSet {
    fn name(&self) -> &str {
        "elanus_in_set"
    }

    fn signature(&self) -> &Signature {
        &SIGNATURE
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let Some(value) = args.args.first() else {
            return exec_err!("{} takes a value", self.name());
        };
        if self.json {
            return self.invoke_on_json(value, &args);
        }
        let (array, single) = match value {
            ColumnarValue::Array(array) => (Arc::clone(array), false),
            ColumnarValue::Scalar(scalar) => (scalar.to_array()?, true),
        };
        let found: BooleanArray = if is_text(array.data_type()) {
            let texts = TextArgument::new(self.name(), value)?;
            let of_row = |row| texts.get(row).map(|text| self.set.has_text(text));
            (0..array.len()).map(of_row).collect()
        } else if array.data_type().is_signed_integer() {
            let integers = cast(&array, &DataType::Int64)?;
            let integers = integers.as_primitive::<Int64Type>();
            let of_value = |value: Option<i64>| value.map(|value| self.set.has_integer(value));
            integers.iter().map(of_value).collect()
        } else {
            return not_impl_err!("{} on {}", self.name(), array.data_type());
        };
        let found: ArrayRef = Arc::new(found);
        finish(found, single)
    }
}

impl InSet {
    fn invoke_on_json(&self, value: &ColumnarValue, args: &ScalarFunctionArgs) -> Result<ColumnarValue> {
        let pointer = text_literal(self.name(), &args.args, 1)?;
        let Some(path) = parse_pointer(pointer) else {
            return exec_err!("{}: {pointer:?} is no JSON pointer", self.name());
        };
        let json = TextArgument::new(self.name(), value)?;
        let rows = if json.is_single() { 1 } else { args.number_rows };
        let of_row = |row| self.set.has_json(find(json.get(row)?, &path)?);
        let found: BooleanArray = (0..rows).map(of_row).collect();
        finish(Arc::new(found), json.is_single())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An envelope of a Bloom filter.
    fn bloom(domains: u8, fill: impl Fn(&mut Sbbf)) -> Vec<u8> {
        let mut filter = Sbbf::new_with_num_of_bytes(1024);
        fill(&mut filter);
        let mut body = Vec::new();
        filter.write_bitset(&mut body).unwrap();
        let mut bytes = b"MBF1\x01\0\x01\0".to_vec();
        bytes.extend(3u64.to_le_bytes());
        bytes.extend(0.005f64.to_le_bytes());
        bytes.extend(u32::try_from(body.len() / BLOCK).unwrap().to_le_bytes());
        bytes.extend([domains, 0, 0, 0]);
        bytes.extend(body);
        bytes
    }

    fn roaring(values: &[i64]) -> Vec<u8> {
        let bitmap: RoaringTreemap = values.iter().map(|value| value.cast_unsigned()).collect();
        let mut body = Vec::new();
        bitmap.serialize_into(&mut body).unwrap();
        let mut bytes = b"MRB1\x01\0\x01\0".to_vec();
        bytes.extend(bitmap.len().to_le_bytes());
        bytes.extend((body.len() as u64).to_le_bytes());
        bytes.extend([0; 8]);
        bytes.extend(body);
        bytes
    }

    #[test]
    fn members_are_found_by_type() {
        let integers = Membership::read(&bloom(INTEGERS, |filter| filter.insert(&5i64))).unwrap();
        assert!(integers.has_integer(5));
        assert_eq!(integers.has_json("5"), Some(true));
        // Of another type is not in the set, though the hash of its bytes may be.
        for json in [
            "5.0",
            "true",
            "[5]",
            "\"\\u0005\\u0000\\u0000\\u0000\\u0000\\u0000\\u0000\\u0000\"",
        ] {
            assert_eq!(integers.has_json(json), Some(false), "{json}");
        }
        assert_eq!(integers.has_json("null"), None);
        let texts = Membership::read(&bloom(TEXTS, |filter| filter.insert("a"))).unwrap();
        assert!(texts.has_text("a") && !texts.takes_integers());
        let exact = Membership::read(&roaring(&[-1, 5, i64::MIN])).unwrap();
        for (value, found) in [(-1, true), (5, true), (i64::MIN, true), (0, false), (255, false)] {
            assert_eq!(exact.has_integer(value), found, "{value}");
        }
        assert!(!exact.takes_texts() && !exact.has_text("5"));
    }

    #[test]
    fn damaged_envelopes_are_refused_in_words() {
        let error = |bytes: &[u8]| Membership::read(bytes).unwrap_err();
        assert!(error(b"MBF1").contains("a header of 32 bytes, got 4"));
        assert!(error(&[7; 64]).contains("these bytes with neither"));
        let good = bloom(INTEGERS, |_| {});
        for (at, value, said) in [
            (4, 2, "the version of MBF1 is 2"),
            (6, 9, "the algorithm of MBF1 is 9"),
            (23, 0x7F, "the share of false positives"),
            (24, 1, "1 blocks, so of 32 bytes, and has 1024"),
            (28, 4, "bits set that no version knows"),
            (31, 1, "bits set that no version knows"),
        ] {
            let mut bytes = good.clone();
            bytes[at] = value;
            assert!(error(&bytes).contains(said), "{at}: {}", error(&bytes));
        }
        let good = roaring(&[1, 2, 3, 1 << 40]);
        let mut more = good.clone();
        more[8] = 9;
        assert!(error(&more).contains("9 members and has 4"));
        let mut longer = good.clone();
        longer.push(0);
        assert!(error(&longer).contains("bytes and has"));
        longer[16] += 1;
        assert!(error(&longer).contains("1 bytes after its bitmap"));
        // Whatever is cut off or flipped: an error or a set, never a panic.
        for at in HEADER..good.len() {
            let mut flipped = good.clone();
            flipped[at] ^= 0xFF;
            let _ = Membership::read(&flipped);
            let mut cut = good[..at].to_vec();
            cut[16..24].copy_from_slice(&((at - HEADER) as u64).to_le_bytes());
            let _ = Membership::read(&cut);
        }
    }
}

//! Byte-level helpers that every file format here shares: a bounds-checked cursor, the sealed envelope
//! (magic, format version, CRC32C, length) and Arrow schemas as bytes.

use arrow::buffer::Buffer;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use bytes::{BufMut, Bytes, BytesMut};

use crate::error::{Error, Result};

/// Length of the envelope in front of a sealed body.
pub(crate) const ENVELOPE_LEN: usize = 24;

/// Format version in every envelope. A reader refuses any other.
pub(crate) const FORMAT_VERSION: u32 = 1;

/// Reads little-endian values off the front of a buffer; `None` means that the buffer ended.
#[derive(Debug, Clone)]
pub(crate) struct Cursor {
    bytes: Bytes,
}

impl Cursor {
    pub(crate) fn new(bytes: Bytes) -> Self {
        Self { bytes }
    }

    pub(crate) fn remaining(&self) -> usize {
        self.bytes.len()
    }

    /// The next `len` bytes, shared with the buffer.
    pub(crate) fn take(&mut self, len: usize) -> Option<Bytes> {
        (len <= self.bytes.len()).then(|| self.bytes.split_to(len))
    }

    /// The next byte, which stays.
    pub(crate) fn peek(&self) -> Option<u8> {
        self.bytes.first().copied()
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.as_ref().try_into().ok()
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub(crate) fn i64(&mut self) -> Option<i64> {
        self.array().map(i64::from_le_bytes)
    }

    pub(crate) fn u128(&mut self) -> Option<u128> {
        self.array().map(u128::from_le_bytes)
    }
}

/// The bytes of a buffer, which are not copied.
pub(crate) fn shared(buffer: Buffer) -> Bytes {
    struct Owner(Buffer);

    impl AsRef<[u8]> for Owner {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }

    Bytes::from_owner(Owner(buffer))
}

/// Puts the envelope in front of `body`.
pub(crate) fn seal(magic: [u8; 8], body: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(ENVELOPE_LEN + body.len());
    out.put_slice(&magic);
    out.put_u32_le(FORMAT_VERSION);
    out.put_u32_le(crc32c::crc32c(body));
    out.put_u64_le(body.len() as u64);
    out.put_slice(body);
    out.freeze()
}

/// Checks the envelope and returns the body.
pub(crate) fn unseal(path: &str, magic: [u8; 8], sealed: Bytes) -> Result<Bytes> {
    let total = sealed.len();
    let too_short = || {
        Error::corrupt(
            path,
            format!("{total} bytes are too short for the {ENVELOPE_LEN} byte header"),
        )
    };
    let mut cursor = Cursor::new(sealed);
    let found_magic = cursor.take(8).ok_or_else(too_short)?;
    if found_magic != magic.as_slice() {
        return Err(Error::corrupt(
            path,
            format!(
                "bad magic {:?}, expected {:?}",
                String::from_utf8_lossy(&found_magic),
                String::from_utf8_lossy(&magic)
            ),
        ));
    }
    let version = cursor.u32().ok_or_else(too_short)?;
    if version != FORMAT_VERSION {
        return Err(Error::corrupt(
            path,
            format!("format version {version}, this build reads {FORMAT_VERSION}"),
        ));
    }
    let expected_crc = cursor.u32().ok_or_else(too_short)?;
    let expected_len = cursor.u64().ok_or_else(too_short)?;
    if cursor.remaining() as u64 != expected_len {
        return Err(Error::corrupt(
            path,
            format!(
                "body is {} bytes long, the header says {expected_len}",
                cursor.remaining()
            ),
        ));
    }
    let body = cursor.bytes;
    check_crc(path, &body, expected_crc)?;
    Ok(body)
}

/// Fails with `Corrupt` unless the CRC32C of `bytes` is `expected`.
pub(crate) fn check_crc(path: &str, bytes: &[u8], expected: u32) -> Result<()> {
    let found = crc32c::crc32c(bytes);
    if found == expected {
        return Ok(());
    }
    Err(Error::corrupt(
        path,
        format!("checksum {found:08x}, expected {expected:08x}"),
    ))
}

/// A schema as an Arrow IPC stream without batches, which any Arrow library reads.
pub(crate) fn schema_to_bytes(schema: &Schema) -> Result<Vec<u8>> {
    let mut writer = StreamWriter::try_new(Vec::new(), schema)?;
    writer.finish()?;
    Ok(writer.into_inner()?)
}

/// Reads what [`schema_to_bytes`] wrote.
pub(crate) fn schema_from_bytes(path: &str, bytes: &[u8]) -> Result<SchemaRef> {
    let reader = StreamReader::try_new(bytes, None)
        .map_err(|error| Error::corrupt(path, format!("schema: {error}")))?;
    Ok(reader.schema())
}

/// Runs CPU-heavy or blocking work off the async worker threads.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(Error::Task(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MAGIC: [u8; 8] = *b"TESTFILE";

    proptest! {
        #[test]
        fn a_sealed_body_comes_back(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(unseal("f", MAGIC, seal(MAGIC, &body)).unwrap(), body);
        }

        #[test]
        fn any_flipped_bit_is_noticed(body in proptest::collection::vec(any::<u8>(), 0..60), at in any::<prop::sample::Index>(), bit in 0_u32..8) {
            let mut sealed = seal(MAGIC, &body).to_vec();
            let at = at.index(sealed.len());
            sealed[at] ^= 1_u8 << bit;
            prop_assert!(unseal("f", MAGIC, sealed.into()).unwrap_err().is_corrupt());
        }

        #[test]
        fn any_cut_is_noticed(body in proptest::collection::vec(any::<u8>(), 0..60), at in any::<prop::sample::Index>()) {
            let sealed = seal(MAGIC, &body);
            let cut = sealed.slice(..at.index(sealed.len()));
            prop_assert!(unseal("f", MAGIC, cut).unwrap_err().is_corrupt());
        }
    }

    #[test]
    fn a_schema_keeps_its_metadata() {
        use arrow::datatypes::{DataType, Field};
        let field = Field::new("a", DataType::Utf8, true)
            .with_metadata([("elanus.type".to_owned(), "VarChar".to_owned())].into());
        let schema = Schema::new(vec![field]).with_metadata([("k".to_owned(), "v".to_owned())].into());
        let bytes = schema_to_bytes(&schema).unwrap();
        assert_eq!(*schema_from_bytes("f", &bytes).unwrap(), schema);
    }
}

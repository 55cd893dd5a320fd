//! One WAL object: a header, then one frame for each entry of the group commit.
//!
//! A *fence* is a header without frames. A writer that takes a collection over writes one at the next sequence: the
//! writer before it, if it still lives, finds its next name taken. The fence also says from which sequence on nothing
//! was acknowledged (`void_from`), which closes the gap that a torn object leaves.
//!
//! The header tells the length of the object. A shorter object is *torn*: its write never finished, so nothing in its
//! missing part was acknowledged. A whole object with a wrong checksum is damage, and an error: what it held may have
//! been acknowledged.

use bytes::{BufMut, Bytes, BytesMut};
use object_store::PutPayload;
use ulid::Ulid;

use super::files::EncodedOps;
use super::ops::{Payload, decode_payload};
use crate::codec::{Cursor, FORMAT_VERSION, check_crc};
use crate::error::{Error, Result};

const MAGIC: [u8; 8] = *b"ELANWAL1";

/// Length of the object header, and of a whole fence.
pub(crate) const HEADER_LEN: usize = 80;

/// Bytes of the header that its checksum covers.
const HEADER_CRC_AT: usize = 72;

/// Length of a frame header.
const FRAME_HEADER_LEN: usize = 32;

/// The header of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    /// Random id of this object, to recognise one's own write.
    pub(crate) id: Ulid,
    /// Epoch of the writer.
    pub(crate) epoch: u64,
    /// First sequence, which is also the name.
    pub(crate) first: u64,
    /// Number of frames; 0 in a fence.
    pub(crate) frames: u32,
    /// Length of the whole object.
    pub(crate) length: u64,
    /// In a fence: all sequences from here up to the fence itself are void. Otherwise 0.
    pub(crate) void_from: u64,
}

impl Header {
    pub(crate) fn is_fence(&self) -> bool {
        self.frames == 0
    }

    /// The sequence after this object; a fence takes up one.
    pub(crate) fn next_sequence(&self) -> u64 {
        self.first.saturating_add(u64::from(self.frames.max(1)))
    }

    fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(HEADER_LEN);
        out.put_slice(&MAGIC);
        out.put_u32_le(FORMAT_VERSION);
        out.put_u32_le(self.frames);
        out.put_u64_le(self.epoch);
        out.put_u64_le(self.first);
        out.put_u64_le(self.length);
        out.put_u64_le(self.void_from);
        out.put_u128_le(self.id.0);
        // Reserved.
        out.put_u64_le(0);
        let crc = crc32c::crc32c(&out);
        out.put_u32_le(crc);
        out.put_u32_le(0);
        out.freeze()
    }

    /// `None` when the object is too short to have a header.
    pub(crate) fn decode(path: &str, object: &Bytes) -> Result<Option<Self>> {
        if object.len() < HEADER_LEN {
            return Ok(None);
        }
        let covered = object.slice(..HEADER_CRC_AT);
        let mut cursor = Cursor::new(object.slice(..HEADER_LEN));
        let ends = || Error::corrupt(path, "the WAL header ends early");
        let magic = cursor.take(MAGIC.len()).ok_or_else(ends)?;
        if magic != MAGIC.as_slice() {
            return Err(Error::corrupt(path, "bad magic, this is no WAL object"));
        }
        let version = cursor.u32().ok_or_else(ends)?;
        let header = Self {
            frames: cursor.u32().ok_or_else(ends)?,
            epoch: cursor.u64().ok_or_else(ends)?,
            first: cursor.u64().ok_or_else(ends)?,
            length: cursor.u64().ok_or_else(ends)?,
            void_from: cursor.u64().ok_or_else(ends)?,
            id: Ulid(cursor.u128().ok_or_else(ends)?),
        };
        cursor.u64().ok_or_else(ends)?;
        let crc = cursor.u32().ok_or_else(ends)?;
        let padding = cursor.u32().ok_or_else(ends)?;
        check_crc(path, &covered, crc)?;
        if padding != 0 {
            return Err(Error::corrupt(path, "the WAL header padding is not zero"));
        }
        if version != FORMAT_VERSION {
            return Err(Error::corrupt(
                path,
                format!("format version {version}, this build reads {FORMAT_VERSION}"),
            ));
        }
        Ok(Some(header))
    }
}

/// One frame that was read.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) sequence: u64,
    pub(crate) timestamp: u64,
    pub(crate) payload: Payload,
}

/// An object that was read.
#[derive(Debug)]
pub(crate) struct Decoded {
    /// `None` when not even the header is whole.
    pub(crate) header: Option<Header>,
    /// The frames that are whole.
    pub(crate) frames: Vec<Frame>,
    /// True when the object is shorter than it says.
    pub(crate) torn: bool,
}

/// Builds the object of one group commit; the payloads are not copied.
///
/// # Errors
/// [`Error::Invalid`] when a payload or the group is too large.
pub(crate) fn encode_group(
    id: Ulid,
    epoch: u64,
    first: u64,
    group: &[(u64, EncodedOps)],
) -> Result<PutPayload> {
    let too_large = || Error::Invalid(format!("a write of more than {} bytes", u32::MAX));
    let mut chunks = Vec::with_capacity(1 + 2 * group.len());
    let mut length = HEADER_LEN as u64;
    for (sequence, (timestamp, encoded)) in (first..).zip(group) {
        let payload = encoded.payload();
        let payload_len = u32::try_from(payload.content_length()).map_err(|_| too_large())?;
        let mut covered = BytesMut::with_capacity(FRAME_HEADER_LEN);
        covered.put_u32_le(payload_len);
        covered.put_u64_le(epoch);
        covered.put_u64_le(sequence);
        covered.put_u64_le(*timestamp);
        let crc = payload.iter().fold(crc32c::crc32c(&covered), |crc, chunk| {
            crc32c::crc32c_append(crc, chunk)
        });
        covered.put_u32_le(crc);
        length += (FRAME_HEADER_LEN + payload.content_length()) as u64;
        chunks.push(covered.freeze());
        chunks.extend(payload.iter().cloned());
    }
    let header = Header {
        id,
        epoch,
        first,
        frames: u32::try_from(group.len()).map_err(|_| too_large())?,
        length,
        void_from: 0,
    };
    Ok(std::iter::once(header.encode()).chain(chunks).collect())
}

/// Builds a fence.
pub(crate) fn encode_fence(id: Ulid, epoch: u64, sequence: u64, void_from: u64) -> PutPayload {
    let header = Header {
        id,
        epoch,
        first: sequence,
        frames: 0,
        length: HEADER_LEN as u64,
        void_from,
    };
    header.encode().into()
}

/// Reads an object that is named by `sequence`.
///
/// # Errors
/// [`Error::Corrupt`] for damage other than a missing tail.
pub(crate) fn decode(path: &str, sequence: u64, object: &Bytes) -> Result<Decoded> {
    let Some(header) = Header::decode(path, object)? else {
        return Ok(Decoded {
            header: None,
            frames: Vec::new(),
            torn: true,
        });
    };
    if header.first != sequence {
        return Err(Error::corrupt(
            path,
            format!("holds WAL sequence {}, its name says {sequence}", header.first),
        ));
    }
    let found = object.len() as u64;
    if found > header.length {
        return Err(Error::corrupt(
            path,
            format!("{found} bytes long, the header says {}", header.length),
        ));
    }
    let torn = found < header.length;
    let mut cursor = Cursor::new(object.slice(HEADER_LEN..));
    let mut frames = Vec::new();
    for index in 0..header.frames {
        let expected = header.first.saturating_add(u64::from(index));
        match decode_frame(path, &header, expected, &mut cursor)? {
            Some(frame) => frames.push(frame),
            None if torn => break,
            None => {
                return Err(Error::corrupt(
                    path,
                    format!("the frame of sequence {expected} is longer than the object"),
                ));
            }
        }
    }
    if !torn && cursor.remaining() > 0 {
        return Err(Error::corrupt(
            path,
            format!("{} bytes after the last frame", cursor.remaining()),
        ));
    }
    Ok(Decoded {
        header: Some(header),
        frames,
        torn,
    })
}

/// The next frame; `None` when the object ends before it does.
fn decode_frame(path: &str, header: &Header, expected: u64, cursor: &mut Cursor) -> Result<Option<Frame>> {
    let covered_len = FRAME_HEADER_LEN - size_of::<u32>();
    let Some(covered) = cursor.take(covered_len) else {
        return Ok(None);
    };
    let Some(crc) = cursor.u32() else {
        return Ok(None);
    };
    let ends = || Error::corrupt(path, "a frame header ends early");
    let mut fields = Cursor::new(covered.clone());
    let payload_len = fields.u32().ok_or_else(ends)?;
    let epoch = fields.u64().ok_or_else(ends)?;
    let sequence = fields.u64().ok_or_else(ends)?;
    let timestamp = fields.u64().ok_or_else(ends)?;
    // The payload may be missing in a torn object, but these fields are known already.
    if epoch != header.epoch || sequence != expected {
        return Err(Error::corrupt(
            path,
            format!(
                "a frame of epoch {epoch} and sequence {sequence}, expected {} and {expected}",
                header.epoch
            ),
        ));
    }
    let Some(payload) = cursor.take(payload_len as usize) else {
        return Ok(None);
    };
    let found = crc32c::crc32c_append(crc32c::crc32c(&covered), &payload);
    if found != crc {
        return Err(Error::corrupt(
            path,
            format!("checksum {found:08x} of the frame of sequence {sequence}, expected {crc:08x}"),
        ));
    }
    Ok(Some(Frame {
        sequence,
        timestamp,
        payload: decode_payload(path, payload)?,
    }))
}

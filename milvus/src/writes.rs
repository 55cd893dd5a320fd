//! Inserts and upserts off the wire: their float vectors are copied as a whole.
//!
//! prost reads a repeated float one element after the other, which takes longer than the vectors of an insert take to
//! arrive. [`Writes`] answers these two calls with a decoder of its own and leaves every other call to the service. What
//! is no float vector, or is encoded in another way than clients do (each float with its tag, a length that ends
//! inside of a float), is read by prost in the middle of the message, so a request means the same to both.

use std::convert::Infallible;
use std::marker::PhantomData;
use std::sync::Arc;
use std::task::{Context, Poll};

use milvus::proto::milvus::milvus_service_server::MilvusService;
use milvus::proto::milvus::{InsertRequest, MutationResult, UpsertRequest};
use milvus::proto::schema::field_data::Field;
use milvus::proto::schema::vector_field::Data;
use milvus::proto::schema::{FieldData, FloatArray, VectorField};
use prost::bytes::Buf;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint};
use prost::{DecodeError, Message};
use tonic::body::Body;
use tonic::codec::{Codec, DecodeBuf, Decoder, ProstCodec};
use tonic::codegen::http;
use tonic::codegen::{BoxFuture, Service};
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::{Request, Response, Status};

use crate::door::Door;
use crate::server::{MAX_REQUEST_BYTES, MAX_RESPONSE_BYTES};

/// Tags of the fields on the way to the floats.
const FIELDS_DATA: u32 = 5;
const VECTORS: u32 = 4;
const FLOAT_VECTOR: u32 = 2;
const FLOATS: u32 = 1;

/// The service `others`, whose inserts and upserts `door` answers.
#[derive(Clone)]
pub(crate) struct Writes<S> {
    pub door: Arc<Door>,
    pub others: S,
}

impl<S: NamedService> NamedService for Writes<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<http::Request<Body>> for Writes<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<http::Response<Body>, Infallible>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.others.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        match request.uri().path() {
            "/milvus.proto.milvus.MilvusService/Insert" => answer::<InsertRequest>(&self.door, request),
            "/milvus.proto.milvus.MilvusService/Upsert" => answer::<UpsertRequest>(&self.door, request),
            _ => Box::pin(self.others.call(request)),
        }
    }
}

fn answer<W: Write>(
    door: &Arc<Door>,
    request: http::Request<Body>,
) -> BoxFuture<http::Response<Body>, Infallible> {
    let call = Call(Arc::clone(door));
    Box::pin(async move {
        let mut grpc = Grpc::new(WriteCodec::<W>(PhantomData))
            .apply_max_message_size_config(Some(MAX_REQUEST_BYTES), Some(MAX_RESPONSE_BYTES));
        Ok(grpc.unary(call, request).await)
    })
}

/// A request with rows to write.
trait Write: Message + Default + 'static {
    fn fields_data(&mut self) -> &mut Vec<FieldData>;

    fn run(
        door: &Door,
        request: Request<Self>,
    ) -> impl Future<Output = Result<Response<MutationResult>, Status>> + Send;
}

impl Write for InsertRequest {
    fn fields_data(&mut self) -> &mut Vec<FieldData> {
        &mut self.fields_data
    }

    fn run(
        door: &Door,
        request: Request<Self>,
    ) -> impl Future<Output = Result<Response<MutationResult>, Status>> + Send {
        door.insert(request)
    }
}

impl Write for UpsertRequest {
    fn fields_data(&mut self) -> &mut Vec<FieldData> {
        &mut self.fields_data
    }

    fn run(
        door: &Door,
        request: Request<Self>,
    ) -> impl Future<Output = Result<Response<MutationResult>, Status>> + Send {
        door.upsert(request)
    }
}

struct Call(Arc<Door>);

impl<W: Write> UnaryService<W> for Call {
    type Response = MutationResult;
    type Future = BoxFuture<Response<MutationResult>, Status>;

    fn call(&mut self, request: Request<W>) -> Self::Future {
        let door = Arc::clone(&self.0);
        Box::pin(async move { W::run(&door, request).await })
    }
}

struct WriteCodec<W>(PhantomData<W>);

impl<W: Write> Codec for WriteCodec<W> {
    type Encode = MutationResult;
    type Decode = W;
    type Encoder = <ProstCodec<MutationResult, W> as Codec>::Encoder;
    type Decoder = WriteDecoder<W>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstCodec::<MutationResult, W>::default().encoder()
    }

    fn decoder(&mut self) -> Self::Decoder {
        WriteDecoder(PhantomData)
    }
}

struct WriteDecoder<W>(PhantomData<W>);

impl<W: Write> Decoder for WriteDecoder<W> {
    type Item = W;
    type Error = Status;

    fn decode(&mut self, source: &mut DecodeBuf<'_>) -> Result<Option<W>, Status> {
        let message = source.copy_to_bytes(source.remaining());
        match decode(&message) {
            Ok(request) => Ok(Some(request)),
            Err(error) => Err(Status::internal(error.to_string())),
        }
    }
}

fn decode<W: Write>(message: &[u8]) -> Result<W, DecodeError> {
    let mut request = W::default();
    merge(&mut request, message, |request, tag, field| {
        if tag != FIELDS_DATA {
            return Ok(false);
        }
        let mut data = FieldData::default();
        merge(&mut data, field, vectors)?;
        request.fields_data().push(data);
        Ok(true)
    })?;
    Ok(request)
}

fn vectors(data: &mut FieldData, tag: u32, field: &[u8]) -> Result<bool, DecodeError> {
    if tag != VECTORS {
        return Ok(false);
    }
    let mut vectors = match data.field.take() {
        Some(Field::Vectors(vectors)) => vectors,
        _ => VectorField::default(),
    };
    merge(&mut vectors, field, float_vector)?;
    data.field = Some(Field::Vectors(vectors));
    Ok(true)
}

fn float_vector(vectors: &mut VectorField, tag: u32, field: &[u8]) -> Result<bool, DecodeError> {
    if tag != FLOAT_VECTOR {
        return Ok(false);
    }
    let mut array = match vectors.data.take() {
        Some(Data::FloatVector(array)) => array,
        _ => FloatArray::default(),
    };
    merge(&mut array, field, floats)?;
    vectors.data = Some(Data::FloatVector(array));
    Ok(true)
}

fn floats(array: &mut FloatArray, tag: u32, field: &[u8]) -> Result<bool, DecodeError> {
    let (values, rest) = field.as_chunks();
    if tag != FLOATS || !rest.is_empty() {
        return Ok(false);
    }
    array
        .data
        .extend(values.iter().map(|value| f32::from_le_bytes(*value)));
    Ok(true)
}

/// Merges the fields of a message into `message`, as protobuf merges. `known` hears the tag and the bytes of each field that has
/// a length, and says whether it has read it; prost reads the others, and finds what is wrong with those that are cut off.
fn merge<M: Message>(
    message: &mut M,
    mut bytes: &[u8],
    known: impl Fn(&mut M, u32, &[u8]) -> Result<bool, DecodeError>,
) -> Result<(), DecodeError> {
    while !bytes.is_empty() {
        let (tag, wire_type) = decode_key(&mut bytes)?;
        if wire_type == WireType::LengthDelimited {
            let mut after = bytes;
            let length = usize::try_from(decode_varint(&mut after)?).unwrap_or(usize::MAX);
            if let Some((field, rest)) = after.split_at_checked(length)
                && known(message, tag, field)?
            {
                bytes = rest;
                continue;
            }
        }
        message.merge_field(tag, wire_type, &mut bytes, DecodeContext::default())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use milvus::proto::schema::{LongArray, ScalarField, scalar_field};
    use proptest::prelude::*;
    use prost::encoding::{encode_key, encode_varint};

    use super::*;

    /// Both decoders, on the same bytes: the same message or an error.
    fn assert_same(bytes: &[u8]) -> Option<InsertRequest> {
        let (ours, theirs) = (decode::<InsertRequest>(bytes), InsertRequest::decode(bytes));
        match (ours, theirs) {
            (Ok(ours), Ok(theirs)) => {
                // NaNs are equal as bytes only.
                assert_eq!(ours.encode_to_vec(), theirs.encode_to_vec());
                Some(ours)
            }
            (Err(_), Err(_)) => None,
            (ours, theirs) => panic!("{ours:?}, prost {theirs:?} of {bytes:?}"),
        }
    }

    fn request(values: Vec<Vec<f32>>, keys: Vec<i64>) -> InsertRequest {
        let vectors = values.into_iter().map(|data| FieldData {
            field_name: "v".to_string(),
            valid_data: vec![true, false],
            field: Some(Field::Vectors(VectorField {
                dim: 4,
                data: Some(Data::FloatVector(FloatArray { data })),
                ..Default::default()
            })),
            ..Default::default()
        });
        let keys = FieldData {
            field_name: "id".to_string(),
            field: Some(Field::Scalars(ScalarField {
                data: Some(scalar_field::Data::LongData(LongArray { data: keys })),
                ..Default::default()
            })),
            ..Default::default()
        };
        InsertRequest {
            collection_name: "items".to_string(),
            fields_data: vectors.chain([keys]).collect(),
            hash_keys: vec![7, 300],
            num_rows: 2,
            ..Default::default()
        }
    }

    /// A field with a length.
    fn field(tag: u32, content: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        encode_key(tag, WireType::LengthDelimited, &mut out);
        encode_varint(content.len() as u64, &mut out);
        out.extend_from_slice(content);
        out
    }

    /// A request of one field, with these bytes as its list of floats.
    fn of_floats(floats: &[u8]) -> Vec<u8> {
        field(FIELDS_DATA, &field(VECTORS, &field(FLOAT_VECTOR, floats)))
    }

    fn floats_of(request: InsertRequest) -> Vec<f32> {
        let mut fields = request.fields_data.into_iter().map(|data| match data.field {
            Some(Field::Vectors(VectorField {
                data: Some(Data::FloatVector(array)),
                ..
            })) => array.data,
            other => panic!("{other:?}"),
        });
        fields.next().unwrap()
    }

    #[test]
    fn floats_are_read_however_they_are_encoded() {
        let packed = |values: &[f32]| {
            let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            field(FLOATS, &bytes)
        };
        let one = |value: f32| {
            let mut out = Vec::new();
            encode_key(FLOATS, WireType::ThirtyTwoBit, &mut out);
            out.extend(value.to_le_bytes());
            out
        };
        let parts = [packed(&[1., 2.]), one(3.), packed(&[]), packed(&[4.])].concat();
        assert_eq!(
            floats_of(assert_same(&of_floats(&parts)).unwrap()),
            [1., 2., 3., 4.]
        );

        let twice = |inner: u32, part: Vec<u8>| [field(inner, &part), field(inner, &part)].concat();
        let vectors = twice(VECTORS, twice(FLOAT_VECTOR, packed(&[5.])));
        let merged = assert_same(&field(FIELDS_DATA, &vectors)).unwrap();
        assert_eq!(floats_of(merged), [5.; 4]);

        let replaced = [
            field(
                VECTORS,
                &[field(FLOAT_VECTOR, &packed(&[1.])), field(3, b"bits")].concat(),
            ),
            field(VECTORS, &field(FLOAT_VECTOR, &packed(&[2.]))),
        ];
        assert_eq!(
            floats_of(assert_same(&field(FIELDS_DATA, &replaced.concat())).unwrap()),
            [2.],
            "another kind in between takes the place of the first"
        );
        for wrong in [field(FLOATS, &[1, 2, 3]), vec![0x0a, 200, 1, 0]] {
            assert!(assert_same(&of_floats(&wrong)).is_none(), "{wrong:?}");
        }
    }

    #[test]
    fn upserts_are_read_too() {
        let insert = request(vec![vec![1., 2.]], vec![1]);
        let upsert = UpsertRequest {
            fields_data: insert.fields_data,
            partial_update: true,
            ..Default::default()
        };
        let bytes = upsert.encode_to_vec();
        assert_eq!(decode::<UpsertRequest>(&bytes).unwrap(), upsert);
    }

    proptest! {
        #[test]
        fn requests_mean_what_they_mean_to_prost(
            values in prop::collection::vec(prop::collection::vec(any::<f32>(), 0..9), 0..3),
            keys in prop::collection::vec(any::<i64>(), 0..5),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
            end in any::<prop::sample::Index>(),
            whole in any::<bool>(),
        ) {
            let mut bytes = request(values, keys).encode_to_vec();
            assert_same(&bytes);
            for (at, value) in changes {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
            if !whole {
                bytes.truncate(end.index(bytes.len()));
            }
            assert_same(&bytes);
        }
    }
}

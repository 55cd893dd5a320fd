//! gRPC server reflection, so that `grpcurl` and the like find the calls and messages without files at hand.
//!
//! `proto/flight.fds` is the compiled form of Apache Arrow's protocol definition, which `arrow-flight` does
//! not carry:
//!
//! ```text
//!   protoc --include_imports --descriptor_set_out=flight.fds Flight.proto FlightSql.proto
//! ```

use tonic_reflection::server::v1::{ServerReflection, ServerReflectionServer};
use tonic_reflection::server::v1alpha::{
    ServerReflection as OldServerReflection, ServerReflectionServer as OldServerReflectionServer,
};
use tonic_reflection::server::{Builder, Error};

const FLIGHT: &[u8] = include_bytes!("../proto/flight.fds");

fn builder() -> Builder<'static> {
    Builder::configure()
        .register_encoded_file_descriptor_set(FLIGHT)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
}

/// The service, for clients of today.
pub(crate) fn service() -> Result<ServerReflectionServer<impl ServerReflection>, Error> {
    builder().build_v1()
}

/// The same under the name that it had before; many clients ask for nothing else.
pub(crate) fn old_service() -> Result<OldServerReflectionServer<impl OldServerReflection>, Error> {
    builder().build_v1alpha()
}

//! Requests above the size limit: refused with the gRPC code that clients do not retry.
//!
//! tonic answers them with `OUT_OF_RANGE`, the other implementations of gRPC (and so Milvus) with
//! `RESOURCE_EXHAUSTED`. pymilvus sends a request again 75 times over minutes after the first, and
//! raises its exception at once after the second.

use std::convert::Infallible;
use std::task::{Context, Poll};

use tonic::body::Body;
use tonic::codegen::http::{HeaderValue, Request, Response};
use tonic::codegen::{BoxFuture, Service};
use tonic::server::NamedService;

const GRPC_STATUS: &str = "grpc-status";
const OUT_OF_RANGE: &str = "11";
const RESOURCE_EXHAUSTED: HeaderValue = HeaderValue::from_static("8");

/// A service whose refusals of large requests are final.
#[derive(Debug, Clone)]
pub(crate) struct FinalRefusals<S>(pub S);

impl<S: NamedService> NamedService for FinalRefusals<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request<Body>> for FinalRefusals<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Response<Body>, Infallible>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let answer = self.0.call(request);
        Box::pin(async move {
            let mut response = answer.await?;
            // A request that cannot be read is answered by headers alone.
            if let Some(status) = response.headers_mut().get_mut(GRPC_STATUS)
                && status == OUT_OF_RANGE
            {
                *status = RESOURCE_EXHAUSTED;
            }
            Ok(response)
        })
    }
}

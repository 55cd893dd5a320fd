//! A client that goes away in the middle of an upload has not uploaded anything.
//!
//! HTTP/2 tells the end of a request from its abandonment, but the layers in between do not: to `hyper` and
//! `tonic` a stream that the client resets has merely ended, and half of an ingest would be written as if it
//! were the whole. [`Whole`] stands before a service and makes an error of an end without the end mark.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use flight_tonic::body::Body;
use flight_tonic::codegen::{Body as HttpBody, Service, http};
use flight_tonic::server::NamedService;
use flight_tonic::{Code, Status};
use http_body::{Frame, SizeHint};

/// A service whose requests are whole or an error.
#[derive(Debug, Clone)]
pub(crate) struct Whole<S>(pub S);

impl<S: NamedService> NamedService for Whole<S> {
    const NAME: &'static str = S::NAME;
}

impl<S: Service<http::Request<Body>>> Service<http::Request<Body>> for Whole<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        self.0.call(request.map(|body| Body::new(WholeBody(body))))
    }
}

struct WholeBody(Body);

impl HttpBody for WholeBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        // Not "cancelled": of a request, `tonic` takes that for its end.
        let broken_off = || Status::aborted("the client went away in the middle of its request");
        Poll::Ready(match ready!(Pin::new(&mut self.0).poll_frame(context)) {
            Some(Err(error)) if error.code() == Code::Cancelled => Some(Err(broken_off())),
            None if !self.0.is_end_stream() => Some(Err(broken_off())),
            frame => frame,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

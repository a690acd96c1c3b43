//! gRPC by tonic: a unary call with one field of bytes, over a unix socket, one connection a client process.
//!
//! The service is written by hand instead of generated from
//!
//! ```proto
//! package bench;
//! message Payload { bytes data = 1; }
//! service Echo { rpc Call(Payload) returns (Payload); }
//! ```
//!
//! so that no protocol compiler is needed; it is what tonic's generator makes of it.
#![forbid(unsafe_code)]

use std::convert::Infallible;
use std::future::{Ready, ready as at_once};
use std::pin::Pin;
use std::process::ExitCode;
use std::task::{Context, Poll};

use anyhow::Result;
use dvs_bench_common::{Op, PAYLOAD_BYTES, Peer, Reach, ready};
use http::uri::PathAndQuery;
use hyper_util::rt::TokioIo;
use tokio::net::{UnixListener, UnixStream};
use tokio::runtime::{Builder, Runtime};
use tokio_stream::wrappers::UnixListenerStream;
use tonic::body::Body;
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::transport::{Endpoint, Server, Uri};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;
use tower::service_fn;

const PEERS: &[Peer] = &[Peer { name: "grpc", reach: Reach::Local, serve, connect }];
const PATH: &str = "/bench.Echo/Call";

#[derive(Clone, PartialEq, prost::Message)]
struct Payload {
    #[prost(bytes = "vec", tag = "1")]
    data: Vec<u8>,
}

type Codec = ProstCodec<Payload, Payload>;

/// The method.
struct Call;

impl UnaryService<Payload> for Call {
    type Response = Payload;
    type Future = Ready<Result<Response<Payload>, Status>>;

    fn call(&mut self, request: Request<Payload>) -> Self::Future {
        at_once(Ok(Response::new(request.into_inner())))
    }
}

/// The service.
#[derive(Clone)]
struct Echo;

impl NamedService for Echo {
    const NAME: &'static str = "bench.Echo";
}

impl tower::Service<http::Request<Body>> for Echo {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(async move { Ok(Grpc::new(Codec::default()).unary(Call, request).await) })
    }
}

fn runtime() -> Result<Runtime> {
    Ok(Builder::new_current_thread().enable_all().build()?)
}

fn serve(path: &str) -> Result<()> {
    runtime()?.block_on(async {
        let listener = UnixListener::bind(path)?;
        ready(path)?;
        let incoming = UnixListenerStream::new(listener);
        Ok(Server::builder().add_service(Echo).serve_with_incoming(incoming).await?)
    })
}

fn connect(path: &str) -> Result<Op> {
    let (runtime, path) = (runtime()?, path.to_string());
    let connector = service_fn(move |_: Uri| {
        let path = path.clone();
        async move { Ok::<_, std::io::Error>(TokioIo::new(UnixStream::connect(path).await?)) }
    });
    // The address is not used: the connector knows the path.
    let endpoint = Endpoint::from_static("http://bench.invalid");
    let channel = runtime.block_on(endpoint.connect_with_connector(connector))?;
    let mut client = tonic::client::Grpc::new(channel);
    Ok(Box::new(move || {
        runtime.block_on(async {
            client.ready().await?;
            let request = Request::new(Payload { data: vec![1; PAYLOAD_BYTES] });
            let path = PathAndQuery::from_static(PATH);
            let answer: Response<Payload> = client.unary(request, path, Codec::default()).await?;
            anyhow::ensure!(answer.get_ref().data.len() == PAYLOAD_BYTES, "the server answered another size");
            Ok(())
        })
    }))
}

fn main() -> ExitCode {
    dvs_bench_common::main(PEERS, &[])
}

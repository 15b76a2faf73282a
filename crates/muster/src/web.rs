//! What the HTTP listeners carry: the front-ends by path, and a 404 for everything else.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use muster_front_consul::{Front, Serving};
use muster_front_eureka as eureka;
use muster_listen::{Answering, Handler, Peer, Request, Response};

/// The front-ends on the HTTP listeners.
pub struct Web {
    /// Consul's API, which also answers for paths that nobody has.
    pub consul: Arc<Front>,
    /// Eureka's protocol, under `/eureka`.
    pub eureka: Arc<eureka::Front>,
}

/// An answer under way. A parked request of Consul's costs its size: the other's is kept elsewhere.
pub enum Reply {
    /// Of Consul's API.
    Consul(Serving),
    /// In Eureka's protocol.
    Eureka(BoxFuture<'static, Response>),
}

impl Handler for Web {
    type Answering = Reply;

    fn handle(&self, request: Request, peer: Peer) -> Reply {
        if is_under(request.uri().path(), "/eureka") {
            Reply::Eureka(Box::pin(self.eureka.clone().serve(request)))
        } else {
            Reply::Consul(self.consul.serve(request, peer.ip()))
        }
    }
}

impl Future for Reply {
    type Output = Response;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Response> {
        match self.get_mut() {
            Reply::Consul(serving) => Pin::new(serving).poll(context),
            Reply::Eureka(serving) => serving.as_mut().poll(context),
        }
    }
}

impl Answering for Reply {
    fn is_parked(&self) -> bool {
        matches!(self, Reply::Consul(serving) if serving.is_parked())
    }
}

/// Whether a path is the prefix, or goes on with a slash after it.
fn is_under(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_under_a_prefix_of_whole_parts() {
        assert!(is_under("/eureka", "/eureka") && is_under("/eureka/apps", "/eureka"));
        assert!(!is_under("/eurekas", "/eureka") && !is_under("/v1/eureka", "/eureka"));
    }
}

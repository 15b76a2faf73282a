//! What the HTTP listeners carry: the front-ends by path, and a 404 for everything else.

use std::sync::Arc;

use futures_util::future::Either;
use muster_front_consul::Front;
use muster_front_eureka as eureka;
use muster_listen::{Handler, Peer, Request, Response};

/// The front-ends on the HTTP listeners.
pub struct Web {
    /// Consul's API, which also answers for paths that nobody has.
    pub consul: Arc<Front>,
    /// Eureka's protocol, under `/eureka`.
    pub eureka: Arc<eureka::Front>,
}

impl Handler for Web {
    fn handle(&self, request: Request, peer: Peer) -> impl Future<Output = Response> + Send {
        // A parked request of Consul's costs its size: the other's is kept elsewhere.
        if is_under(request.uri().path(), "/eureka") {
            Either::Right(Box::pin(self.eureka.clone().serve(request)))
        } else {
            Either::Left(self.consul.serve(request, peer.ip()))
        }
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

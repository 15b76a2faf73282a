//! What the HTTP listeners carry: the front-ends by path, and a 404 for everything else.

use std::sync::Arc;

use muster_front_consul::Front;
use muster_listen::{Handler, Peer, Request, Response};

/// The front-ends on the HTTP listeners.
pub struct Web {
    /// Consul's API, which also answers for paths that nobody has.
    pub consul: Arc<Front>,
}

impl Handler for Web {
    fn handle(&self, request: Request, peer: Peer) -> impl Future<Output = Response> + Send {
        self.consul.serve(request, peer.ip())
    }
}

//! `/v1/acl`: what is said while there are no access rules. Clients ask to learn just that.

use http::{Method, StatusCode};

use crate::failure::Failure;
use crate::front::Front;
use crate::reply::Reply;
use crate::request::Request;
use crate::routes::Route;

pub(crate) const ROUTES: &[Route] = &[
    refused(Method::PUT, "/v1/acl/bootstrap"),
    refused(Method::POST, "/v1/acl/login"),
    refused(Method::POST, "/v1/acl/logout"),
    refused(Method::GET, "/v1/acl/replication"),
    refused(Method::GET, "/v1/acl/policies"),
    refused(Method::PUT, "/v1/acl/policy"),
    refused(Method::GET, "/v1/acl/policy/:id"),
    refused(Method::PUT, "/v1/acl/policy/:id"),
    refused(Method::DELETE, "/v1/acl/policy/:id"),
    refused(Method::GET, "/v1/acl/policy/name/:name"),
    refused(Method::GET, "/v1/acl/roles"),
    refused(Method::PUT, "/v1/acl/role"),
    refused(Method::GET, "/v1/acl/role/name/:name"),
    refused(Method::GET, "/v1/acl/role/:id"),
    refused(Method::PUT, "/v1/acl/role/:id"),
    refused(Method::DELETE, "/v1/acl/role/:id"),
    refused(Method::GET, "/v1/acl/binding-rules"),
    refused(Method::PUT, "/v1/acl/binding-rule"),
    refused(Method::GET, "/v1/acl/binding-rule/:id"),
    refused(Method::PUT, "/v1/acl/binding-rule/:id"),
    refused(Method::DELETE, "/v1/acl/binding-rule/:id"),
    refused(Method::GET, "/v1/acl/auth-methods"),
    refused(Method::PUT, "/v1/acl/auth-method"),
    refused(Method::GET, "/v1/acl/auth-method/:name"),
    refused(Method::PUT, "/v1/acl/auth-method/:name"),
    refused(Method::DELETE, "/v1/acl/auth-method/:name"),
    refused(Method::GET, "/v1/acl/tokens"),
    refused(Method::PUT, "/v1/acl/token"),
    refused(Method::GET, "/v1/acl/token/self"),
    refused(Method::GET, "/v1/acl/token/:id"),
    refused(Method::PUT, "/v1/acl/token/:id"),
    refused(Method::DELETE, "/v1/acl/token/:id"),
    refused(Method::GET, "/v1/acl/templated-policies"),
    refused(Method::GET, "/v1/acl/templated-policy/name/:name"),
    refused(Method::POST, "/v1/acl/templated-policy/preview/:name"),
    refused(Method::POST, "/v1/internal/acl/authorize"),
];

const fn refused(method: Method, pattern: &'static str) -> Route {
    Route::now(method, pattern, "Says that there are no access rules.", disabled)
}

fn disabled(_: &Front, _: &Request) -> Result<Reply, Failure> {
    Err(Failure::new(StatusCode::UNAUTHORIZED, "ACL support disabled"))
}

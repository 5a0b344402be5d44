//! From a request to its answer: the guards, the routes, and the headers every answer carries.

use std::{
    net::IpAddr,
    sync::{Arc, atomic::AtomicU64},
};

use axum::{body::Body, http::Response};
use hyper::{Request, body::Incoming};

use crate::site::Site;

pub(crate) struct Answerer {
    pub(crate) counts: Counts,
    _site: Site,
}

#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) refused_connections: AtomicU64,
}

impl Answerer {
    pub(crate) fn new(site: Site) -> Arc<Answerer> {
        Arc::new(Answerer { counts: Counts::default(), _site: site })
    }

    pub(crate) async fn answer(&self, _request: Request<Incoming>, _: IpAddr) -> Response<Body> {
        Response::new(Body::from("farol\n"))
    }
}

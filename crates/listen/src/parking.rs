//! Parked requests: who waits for minutes keeps no buffers meanwhile.
//!
//! While a handler is at work, hyper keeps 16 kB of buffers and a good deal of state for its
//! connection, and for a long poll a handler is at work nearly always. So an answer that says that it
//! is parked is laid aside: the engine is taken apart, and the answer waits beside the bare wire. When
//! it is there a new engine reads the head of the request once more (as much of it as the form of an
//! answer depends on), is handed the answer, writes it, and is taken apart again: a change for which ten
//! thousand wait takes the buffers of one engine after the other, not of ten thousand.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use http::header::{CONNECTION, HeaderMap};
use http::{Method, Version};
use hyper::body::Body as _;

use crate::census::Census;
use crate::connection::{Handler, Peer, Request, Response};
use crate::wire::{Activity, Busy, Turn};

/// An answer under way. It is dropped when the client goes away.
pub trait Answering: Future<Output = Response> + Send + Unpin + 'static {
    /// Whether it waits, on purpose, for what may take minutes. Asked after each poll that left it
    /// pending; a connection of HTTP/1 whose only request is a parked one gives back its buffers.
    fn is_parked(&self) -> bool {
        false
    }
}

impl<F> Answering for Pin<Box<F>> where F: Future<Output = Response> + Send + ?Sized + 'static {}

/// Where the requests of one connection are handed to the handler, and parked ones laid aside.
pub(crate) struct Desk<H: Handler> {
    handler: Arc<H>,
    peer: Peer,
    census: Arc<Census>,
    activity: Arc<Activity>,
    drawer: Mutex<Drawer<H::Answering>>,
}

/// What is kept from one engine to the next.
enum Drawer<A> {
    Empty,
    /// A request whose answer is parked.
    Parked(Box<Work<A>>),
    /// Its answer, for the engine that reads its head again.
    Answer(Box<Response>),
}

/// A request in the hands of the handler.
pub(crate) struct Work<A> {
    pub(crate) answering: A,
    busy: Busy,
    /// How it was asked, if it can be asked again.
    form: Option<Form>,
}

impl<H: Handler> Desk<H> {
    pub(crate) fn new(
        handler: Arc<H>,
        peer: Peer,
        census: Arc<Census>,
        activity: Arc<Activity>,
    ) -> Arc<Self> {
        let drawer = Mutex::new(Drawer::Empty);
        Arc::new(Self { handler, peer, census, activity, drawer })
    }

    /// Takes a request, or hands out the answer to the one that was laid aside.
    pub(crate) fn take(self: &Arc<Self>, request: Request) -> Handling<H> {
        let stage = match self.replace_drawer(Drawer::Empty) {
            Drawer::Answer(response) => {
                self.activity.set_turn(Turn::Answered);
                Stage::Answered(response)
            }
            _ => {
                let busy = self.activity.begin();
                self.census.counts().requests.fetch_add(1, Ordering::Relaxed);
                let form = Form::of(&request);
                let answering = self.handler.handle(request, self.peer);
                Stage::AtWork(Work { answering, busy, form })
            }
        };
        Handling { desk: Arc::clone(self), stage }
    }

    /// The work that was laid aside.
    pub(crate) fn take_parked(&self) -> Option<Box<Work<H::Answering>>> {
        self.activity.set_turn(Turn::Usual);
        match self.replace_drawer(Drawer::Empty) {
            Drawer::Parked(work) => Some(work),
            _ => None,
        }
    }

    /// Keeps the answer to parked work for the next engine. The result is the head by which that
    /// engine is asked for it.
    pub(crate) fn keep_answer(
        &self,
        mut response: Response,
        work: Work<H::Answering>,
        is_last: bool,
    ) -> Vec<u8> {
        response.body_mut().keep_busy(work.busy);
        self.replace_drawer(Drawer::Answer(Box::new(response)));
        work.form.unwrap_or_default().head(is_last)
    }

    fn lay_aside(&self, work: Work<H::Answering>) {
        self.replace_drawer(Drawer::Parked(Box::new(work)));
        self.activity.set_turn(Turn::Parked);
    }

    /// Nothing foreign runs under the lock.
    fn replace_drawer(&self, content: Drawer<H::Answering>) -> Drawer<H::Answering> {
        let mut drawer = self.drawer.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *drawer, content)
    }
}

/// A request as the engine waits for it.
pub(crate) struct Handling<H: Handler> {
    desk: Arc<Desk<H>>,
    stage: Stage<H::Answering>,
}

enum Stage<A> {
    AtWork(Work<A>),
    Answered(Box<Response>),
    /// Answered, or laid aside: nothing comes of it any more.
    Over,
}

impl<H: Handler> Future for Handling<H> {
    type Output = Result<Response, Infallible>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let polled = match &mut self.stage {
            Stage::AtWork(work) => Pin::new(&mut work.answering).poll(context),
            Stage::Answered(_) | Stage::Over => Poll::Pending,
        };
        match (std::mem::replace(&mut self.stage, Stage::Over), polled) {
            (Stage::AtWork(work), Poll::Ready(mut response)) => {
                response.body_mut().keep_busy(work.busy);
                Poll::Ready(Ok(response))
            }
            (Stage::AtWork(work), Poll::Pending) => {
                match work.form.is_some() && work.answering.is_parked() {
                    true => self.desk.lay_aside(work),
                    false => self.stage = Stage::AtWork(work),
                }
                Poll::Pending
            }
            (Stage::Answered(response), _) => Poll::Ready(Ok(*response)),
            (Stage::Over, _) => Poll::Pending,
        }
    }
}

/// All of a request's head that the form of its answer depends on.
#[derive(Clone, Copy, Default)]
struct Form {
    is_head: bool,
    is_http10: bool,
    /// Whether the connection goes on after the answer.
    is_kept: bool,
}

impl Form {
    /// The form of a request that can be asked again: one of HTTP/1 without a body.
    fn of(request: &Request) -> Option<Self> {
        let is_http10 = match request.version() {
            Version::HTTP_10 => true,
            Version::HTTP_11 => false,
            _ => return None,
        };
        let is_head = match *request.method() {
            Method::GET => false,
            Method::HEAD => true,
            _ => return None,
        };
        let is_kept = is_kept(request.headers(), is_http10);
        request.body().is_end_stream().then_some(Self { is_head, is_http10, is_kept })
    }

    fn head(self, is_last: bool) -> Vec<u8> {
        let method = if self.is_head { "HEAD" } else { "GET" };
        let version = if self.is_http10 { "1.0" } else { "1.1" };
        let connection = if self.is_kept && !is_last { "keep-alive" } else { "close" };
        format!("{method} / HTTP/{version}\r\nConnection: {connection}\r\n\r\n").into_bytes()
    }
}

/// Whether a connection goes on after a request with these headers (RFC 9112, 9.3).
fn is_kept(headers: &HeaderMap, is_http10: bool) -> bool {
    let says = |wanted: &str| {
        let values = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
        let mut words = values.flat_map(|value| value.split(',')).map(str::trim);
        words.any(|word| word.eq_ignore_ascii_case(wanted))
    };
    !says("close") && (!is_http10 || says("keep-alive"))
}

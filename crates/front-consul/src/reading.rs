//! Reading: one question to the registry, on the terms of its client, answered in a form.
//!
//! Nearly every `GET` is a [`Query`] and a [`Form`]. The rest is the same for all of them and
//! stands here: freshness, blocking, the header lines, and keeping the encoded answer with the
//! answer, so that of a thousand watchers the first pays for the encoding.
//!
//! A question that can be answered at once is answered without a task switch or a boxed future;
//! a parked one holds only what [`Reading`] has, not the request it came from.

use std::future::Future;
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use muster_model::answer::{self, EncodingKey};
use muster_model::{Index, Query, Text};
use muster_registry::{Answered, Asking, Call, Freshness, Standing, watch};
use tokio::time::{Instant, sleep_until};

use crate::caching::{self, CacheControl};
use crate::failure::Failure;
use crate::filter::{Fields, Filter, Shaped};
use crate::front::{Front, Serving};
use crate::limits::WAIT_JITTER_FRACTION;
use crate::reply::{Encoded, Kind, Reply};
use crate::request::{Request, Style};

/// One question with everything its reply needs.
pub(crate) struct Reading {
    pub(crate) query: Query,
    pub(crate) call: Call,
    pub(crate) terms: Terms,
    form: &'static Form,
    style: Style,
    filter: Option<Text>,
    subject: Text,
}

/// The form of a reply: how an answer becomes bytes. The name is part of the key under which the
/// bytes are kept, so it is unique.
pub(crate) struct Form {
    /// Unique among all forms.
    pub(crate) name: &'static str,
    /// Makes the bytes.
    pub(crate) make: fn(&Shaping<'_>, &answer::Body) -> Result<Encoded, Failure>,
}

/// What a form may depend on beside the answer.
pub(crate) struct Shaping<'a> {
    /// The datacenter that the objects are in.
    pub(crate) datacenter: &'a str,
    /// What the form is about beyond the query, or empty.
    pub(crate) subject: &'a str,
    /// Whether the reply is indented.
    is_pretty: bool,
    /// The filter expression, or nothing where all is kept.
    filter: Option<&'a str>,
}

/// On what terms a client reads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Terms {
    pub(crate) freshness: Freshness,
    /// The index already seen; 0: the client does not wait.
    pub(crate) seen: Index,
    /// How long it waits for a newer one.
    pub(crate) wait: Duration,
    /// Beyond which age a stale answer is asked for anew.
    pub(crate) max_stale: Option<Duration>,
    /// Whether an answer that is at hand will do.
    pub(crate) is_cached: bool,
    /// How old it may be, where that is looked at.
    pub(crate) cache_control: CacheControl,
}

impl Reading {
    /// A question on the terms of its request.
    pub(crate) fn new(
        front: &Front,
        request: &Request,
        query: Query,
        form: &'static Form,
    ) -> Result<Reading, Failure> {
        let filter = request.parameters.text("filter");
        Ok(Reading {
            query,
            call: request.call(front),
            terms: Terms::parse(front, request)?,
            form,
            style: request.style,
            filter: filter.map(Text::from),
            subject: Text::default(),
        })
    }
}

impl Terms {
    /// The terms that the parameters name.
    pub(crate) fn parse(front: &Front, request: &Request) -> Result<Terms, Failure> {
        let settings = front.settings();
        let cache_control = CacheControl::parse(&request.headers)?;
        let mut terms = Terms { wait: settings.wait_default, cache_control, ..Terms::default() };
        let parameters = &request.parameters;
        if parameters.is_empty() {
            return Ok(terms);
        }
        if let Some(wait) = parameters.duration("wait") {
            let wait = wait.map_err(|_| Failure::bad_request("Invalid wait time"))?;
            terms.wait = if wait.is_zero() { settings.wait_default } else { wait };
        }
        terms.wait = terms.wait.min(settings.wait_max);
        if let Some(index) = parameters.text("index") {
            terms.seen = index.parse().map_err(|_| Failure::bad_request("Invalid index"))?;
        }
        let is_consistent = parameters.has("consistent");
        let mut is_stale = parameters.has("stale");
        terms.is_cached = parameters.has("cached") && settings.use_cache;
        if let Some(age) = parameters.text("max_stale") {
            let parsed = crate::duration::parse(age)
                .map_err(|_| Failure::bad_request(format!("Invalid max_stale value {age:?}")))?;
            terms.max_stale = Some(parsed).filter(|age| !age.is_zero());
            is_stale = true;
        }
        let conflict = |mode| {
            let text = format!("Cannot specify ?{mode} with ?consistent, conflicting semantics.");
            Err(Failure::bad_request(text))
        };
        if is_stale && is_consistent {
            return conflict("stale");
        }
        if terms.is_cached && is_consistent {
            return conflict("cached");
        }
        terms.freshness = match (is_stale, is_consistent) {
            (true, _) => Freshness::Stale,
            (_, true) => Freshness::Consistent,
            _ => Freshness::Default,
        };
        Ok(terms)
    }

    /// The same where the operator has answers of the catalog be stale unless told otherwise.
    pub(crate) fn relaxed(mut self, front: &Front, request: &Request) -> Terms {
        let relaxed = front.settings().discovery_max_stale;
        let is_open = self.freshness == Freshness::Default && !request.parameters.has("leader");
        if is_open && !relaxed.is_zero() {
            self.freshness = Freshness::Stale;
            self.max_stale = Some(relaxed);
        }
        self
    }
}

impl Reading {
    /// Lets the operator's `discovery_max_stale` rule: for the catalog, health and queries.
    pub(crate) fn relaxed(mut self, front: &Front, request: &Request) -> Reading {
        self.terms = self.terms.relaxed(front, request);
        self
    }

    /// For forms that depend on something which the query does not say.
    pub(crate) fn about(mut self, subject: &str) -> Reading {
        self.subject = subject.into();
        self
    }

    /// The same in another form.
    pub(crate) fn formed(mut self, form: &'static Form) -> Reading {
        self.form = form;
        self
    }

    /// For endpoints whose answer is always taken from what is at hand.
    pub(crate) fn cached(mut self) -> Reading {
        self.terms.is_cached = true;
        self
    }

    /// For endpoints without an answer at hand: `cached` means nothing there.
    pub(crate) fn uncached(mut self) -> Reading {
        self.terms.is_cached = false;
        self
    }
}

impl Front {
    /// The reply to a reading: at once where nothing has to be waited for.
    pub(crate) fn serve_reading(self: &Arc<Front>, reading: Reading) -> Serving {
        if reading.terms.is_cached
            && self.was_asked(&reading.call, &reading.query)
            && let Some(answered) = self.door().registry.peek(&reading.call, &reading.query)
            && answered.answer.index > reading.terms.seen
        {
            let mut reply = self.shape(&reading, &answered);
            caching::mark(&mut reply, Some(answered.standing.last_contact));
            return Serving::ready(reply);
        }
        if reading.terms.seen == 0 && reading.terms.max_stale.is_none() {
            let registry = &self.door().registry;
            let asking = registry.ask(&reading.call, &reading.query, reading.terms.freshness);
            if let Asking::Ready(Some(result)) = asking {
                return Serving::ready(match result {
                    Ok(answered) => self.shape_anew(&reading, &answered),
                    Err(refusal) => crate::reply::failed(&refusal.into()),
                });
            }
        }
        let (front, is_blocking) = (self.clone(), reading.terms.seen > 0);
        let reply = async move {
            let answered = front.read(&reading.call, &reading.query, &reading.terms).await?;
            Ok(front.shape_anew(&reading, &answered))
        };
        Serving::later(reply).parked(is_blocking)
    }

    /// Whether a question was asked with `?cached` before, by a caller who may see the same.
    pub(crate) fn was_asked(&self, call: &Call, query: &Query) -> bool {
        let question = (&call.caller, &call.datacenter, query);
        self.asked().again(self.hashing().hash_one(question))
    }

    /// The answer to a query on these terms.
    pub(crate) async fn read(
        &self,
        call: &Call,
        query: &Query,
        terms: &Terms,
    ) -> Result<Answered, Failure> {
        let registry = &*self.door().registry;
        if terms.seen > 0 {
            let until = self.wait_until(terms.wait);
            let newer = watch(registry, call, query, terms.freshness, terms.seen, until);
            return Ok(tokio::select! {
                biased;
                newer = newer => newer?,
                () = self.closing().begun() => registry.ask(call, query, terms.freshness).await?,
            });
        }
        let answered = registry.ask(call, query, terms.freshness).await?;
        match terms.max_stale {
            Some(age) if answered.standing.last_contact > age => {
                Ok(registry.ask(call, query, Freshness::Default).await?)
            }
            _ => Ok(answered),
        }
    }

    /// When a wait of this length is over.
    pub(crate) fn wait_until(&self, wait: Duration) -> Instant {
        Instant::now() + wait + self.chance().up_to(wait / WAIT_JITTER_FRACTION)
    }

    /// What `change` comes to, unless the wait is over before: in time, or because the front-end
    /// closes.
    pub(crate) async fn within_wait<T>(
        &self,
        until: Instant,
        change: impl Future<Output = T>,
    ) -> Option<T> {
        tokio::select! {
            biased;
            changed = change => Some(changed),
            () = sleep_until(until) => None,
            () = self.closing().begun() => None,
        }
    }

    /// The reply that an answer makes which was not at hand already.
    fn shape_anew(&self, reading: &Reading, answered: &Answered) -> Reply {
        let mut reply = self.shape(reading, answered);
        if reading.terms.is_cached {
            caching::mark(&mut reply, None);
        }
        reply
    }

    /// The reply that an answer makes in the form asked for.
    fn shape(&self, reading: &Reading, answered: &Answered) -> Reply {
        let plain = || {
            answered.answer.encoded(self.key(reading, false), |answer| {
                let shaping = Shaping {
                    datacenter: reading.call.datacenter.as_ref().unwrap_or(self.datacenter()),
                    subject: &reading.subject,
                    is_pretty: reading.style.is_pretty,
                    filter: reading.filter.as_deref(),
                };
                (reading.form.make)(&shaping, &answer.body).unwrap_or_else(Encoded::failure)
            })
        };
        let encoded: Arc<Encoded> = if reading.style.is_gzip {
            answered.answer.encoded(self.key(reading, true), |_| plain().compressed())
        } else {
            plain()
        };
        let mut reply = encoded.reply();
        add_standing(&mut reply, &answered.standing, answered.answer.index);
        reply
    }

    /// The key of a form with what it depends on. Keyed by chance, so that nobody can choose a
    /// filter whose bytes are taken for another's.
    fn key(&self, reading: &Reading, is_gzip: bool) -> EncodingKey {
        let mut hasher = self.hashing().build_hasher();
        (reading.form.name, reading.style.is_pretty, is_gzip).hash(&mut hasher);
        (&reading.filter, &reading.subject).hash(&mut hasher);
        EncodingKey { front: "consul", form: hasher.finish() }
    }
}

/// The header lines that say how fresh an answer is, and from where to wait for the next.
pub(crate) fn add_standing(reply: &mut Reply, standing: &Standing, index: Index) {
    add_freshness(reply, standing);
    let headers = reply.headers_mut();
    headers.insert(
        HeaderName::from_static("x-consul-effective-consistency"),
        HeaderValue::from_static(consistency(standing.freshness)),
    );
    headers.insert(HeaderName::from_static("x-consul-index"), HeaderValue::from(index.max(1)));
    headers.insert(
        HeaderName::from_static("x-consul-query-backend"),
        HeaderValue::from_static("blocking-query"),
    );
}

/// The header lines that say how the server stood.
pub(crate) fn add_freshness(reply: &mut Reply, standing: &Standing) {
    let headers = reply.headers_mut();
    let knows_leader = if standing.knows_leader { "true" } else { "false" };
    let last_contact = match standing.last_contact.as_millis() as u64 {
        0 => HeaderValue::from_static("0"),
        age => HeaderValue::from(age),
    };
    headers.insert(
        HeaderName::from_static("x-consul-knownleader"),
        HeaderValue::from_static(knows_leader),
    );
    headers.insert(HeaderName::from_static("x-consul-lastcontact"), last_contact);
}

/// Consul's word for a freshness.
pub(crate) fn consistency(freshness: Freshness) -> &'static str {
    match freshness {
        Freshness::Default => "leader",
        Freshness::Consistent => "consistent",
        Freshness::Stale => "stale",
    }
}

impl Shaping<'_> {
    /// A value as JSON in the style asked for.
    pub(crate) fn json<T: serde::Serialize + ?Sized>(&self, value: &T) -> Result<Encoded, Failure> {
        Ok(Encoded::json(value, self.is_pretty))
    }

    /// The objects that the filter keeps, as JSON.
    pub(crate) fn list<T, I>(&self, objects: I) -> Result<Encoded, Failure>
    where
        T: serde::Serialize + Fields + Shaped,
        I: Iterator<Item = T>,
    {
        let kept = self.kept(objects)?;
        self.json(&kept)
    }

    /// The objects that the filter keeps.
    pub(crate) fn kept<T, I>(&self, objects: I) -> Result<Vec<T>, Failure>
    where
        T: Fields + Shaped,
        I: Iterator<Item = T>,
    {
        let Some(expression) = self.filter else { return Ok(objects.collect()) };
        let filter = Filter::compile(expression, T::SHAPE)
            .map_err(|error| Failure::internal(error.to_string()))?;
        Ok(objects.filter(|object| filter.keeps(object)).collect())
    }

    /// What is not there: no body, but an index to wait from.
    pub(crate) fn missing(&self) -> Result<Encoded, Failure> {
        Ok(Encoded::plain(http::StatusCode::NOT_FOUND, Kind::Nothing, ""))
    }
}

/// The body of an answer is what its query asks for. That the registry keeps this is tested by
/// its own suite; a front that met another would have nothing true to say.
pub(crate) fn mismatch() -> Failure {
    Failure::internal("internal error: the registry answered another question than was asked")
}

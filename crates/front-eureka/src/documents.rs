//! Lists of applications as bytes: made once for each version of the roll, and shared.
//!
//! A document is named by what it is about and the form it has. Whoever asks first makes it; the
//! others wait for it or find it there. Making a large one takes long enough that others must get
//! their turn in between, and longer than the registry stays as it is: then the last one is given a
//! while longer, in proportion to what it cost, and never so long that a client could tell. A small
//! registry is never shown a moment late.
//!
//! Deltas bear numbers, and py-eureka-client passes over one whose number and hash code it saw
//! before, even if it failed to fetch the whole that it then missed. So no server gives a number that
//! another gave for something else (they are instants), and a delta is soon numbered anew though
//! nothing changed.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Arc, Mutex as PlainMutex, PoisonError};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use muster_model::Text;
use tokio::sync::Mutex;
use tokio::time::{Duration, Instant};

use crate::codec::Notation;
use crate::codec::shapes::{self, Detail, Head};
use crate::codec::write::Document;
use crate::limits::{
    DELTA_NUMBER_HOLDS, DOCUMENT_BYTES_MAX, DOCUMENT_REST, DOCUMENT_REST_MAX, DOCUMENTS_MAX,
    GZIP_BYTES_MIN, INSTANCES_PER_TURN,
};
use crate::view::{Apps, View, VipKind};

/// What a list of applications is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Subject {
    /// Everything.
    All,
    /// What changed lately.
    Delta,
    /// One application.
    App(Text),
    /// Who has a name for virtual hosts.
    Vip(VipKind, Text),
}

/// How a document is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Form {
    pub(crate) notation: Notation,
    pub(crate) detail: Detail,
    pub(crate) is_gzip: bool,
}

/// A document with what its header lines need.
#[derive(Clone, Debug)]
pub(crate) struct Encoded {
    pub(crate) notation: Notation,
    pub(crate) is_gzip: bool,
    pub(crate) body: Bytes,
}

/// Documents by what they are about and their form.
#[derive(Default)]
pub(crate) struct Documents {
    kept: PlainMutex<BTreeMap<(Subject, Form), Kept>>,
    /// Held while one is made: one after another. The last number of a delta.
    making: Mutex<u64>,
}

#[derive(Clone)]
struct Kept {
    version: u64,
    /// Until when it is given although the roll is another.
    until: Instant,
    /// From when on it is not given although the roll is the same.
    stale_at: Option<Instant>,
    encoded: Arc<Encoded>,
}

impl Documents {
    /// The document of a view; nothing where an application was asked for that is not there. `now_ms`
    /// is the wall clock.
    pub(crate) async fn find_or_make(
        &self,
        view: &View,
        subject: Subject,
        form: Form,
        now_ms: u64,
    ) -> Option<Arc<Encoded>> {
        let key = (subject, form);
        if let Some(found) = self.find(&key, view.version()) {
            return Some(found);
        }
        let mut number = self.making.lock().await;
        if let Some(found) = self.find(&key, view.version()) {
            return Some(found);
        }
        let began = Instant::now();
        *number = now_ms.max(*number + 1);
        let encoded = Arc::new(make(view, &key.0, form, *number).await?);
        let rest = (began.elapsed() * DOCUMENT_REST).min(DOCUMENT_REST_MAX);
        let stale_at = (key.0 == Subject::Delta).then(|| began + DELTA_NUMBER_HOLDS);
        let kept = Kept {
            version: view.version(),
            until: Instant::now() + rest,
            stale_at,
            encoded: encoded.clone(),
        };
        self.keep(key, kept);
        Some(encoded)
    }

    fn find(&self, key: &(Subject, Form), version: u64) -> Option<Arc<Encoded>> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let found = kept.get(key)?;
        let now = Instant::now();
        let is_stale = found.stale_at.is_some_and(|stale_at| now >= stale_at);
        let holds = now < found.until || (found.version >= version && !is_stale);
        holds.then(|| found.encoded.clone())
    }

    fn keep(&self, key: (Subject, Form), new: Kept) {
        let is_part = |subject: &Subject| matches!(subject, Subject::App(_) | Subject::Vip(..));
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.insert(key, new);
        let parts = kept.iter().filter(|((subject, _), _)| is_part(subject));
        let sizes: Vec<usize> = parts.map(|(_, own)| own.encoded.body.len()).collect();
        if sizes.len() > DOCUMENTS_MAX || sizes.iter().sum::<usize>() > DOCUMENT_BYTES_MAX {
            kept.retain(|(subject, _), _| !is_part(subject));
        }
    }

    /// Documents there are, and their bytes.
    pub(crate) fn size(&self) -> (usize, usize) {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        (kept.len(), kept.values().map(|own| own.encoded.body.len()).sum())
    }
}

async fn make(view: &View, subject: &Subject, form: Form, number: u64) -> Option<Encoded> {
    let all = |apps: Apps, version: String, counts| (apps, Some(Head { version, counts }));
    let (apps, head) = match subject {
        Subject::All => all(view.all(), "1".into(), view.counts()),
        Subject::Delta => all(view.delta(), number.to_string(), view.counts()),
        Subject::App(name) => (view.app(name)?, None),
        Subject::Vip(kind, name) => {
            let apps = view.vip(*kind, name);
            let counts = counts(&apps);
            all(apps, "-1".into(), counts)
        }
    };
    let mut out = Sink::new(form.is_gzip);
    write(&apps, head.as_ref(), form, &mut out).await;
    let (is_gzip, body) = out.finish();
    Some(Encoded { notation: form.notation, is_gzip, body })
}

fn counts(apps: &Apps) -> [u64; 5] {
    let mut counts = [0; 5];
    for (entry, _) in apps.iter().flat_map(|(_, instances)| instances) {
        counts[entry.word() as usize] += 1;
    }
    counts
}

/// Writes a list of applications, or one alone where it has no head, and lets others have their
/// turn in between.
async fn write(apps: &Apps, head: Option<&Head>, form: Form, out: &mut Sink) {
    let mut document = Document::new(form.notation, form.detail == Detail::Compact);
    shapes::begin(&mut document);
    if let Some(head) = head {
        document.open("applications");
        if form.detail == Detail::Full {
            shapes::head(&mut document, head);
        }
        document.open_list("application");
    }
    for (app, instances) in apps {
        match head {
            Some(_) => document.open_element("application"),
            None => document.open("application"),
        }
        document.text("name", &app.to_uppercase());
        document.open_list("instance");
        for (at, (entry, action)) in instances.iter().enumerate() {
            let mut info = entry.info();
            info.action = action.unwrap_or(info.action);
            shapes::instance(&mut document, &info, form.detail);
            if at % INSTANCES_PER_TURN == INSTANCES_PER_TURN - 1 {
                out.add(document.take());
                tokio::task::yield_now().await;
            }
        }
        document.close_list();
        document.close("application");
        out.add(document.take());
    }
    if let Some(head) = head {
        document.close_list();
        if form.detail == Detail::Compact {
            shapes::head(&mut document, head);
        }
        document.close("applications");
    }
    shapes::end(&mut document);
    out.add(document.take());
}

/// Takes the pieces of a document, and compresses them where that is wished and worth it.
struct Sink {
    plain: Vec<u8>,
    gzip: Option<GzEncoder<Vec<u8>>>,
    is_gzip: bool,
}

impl Sink {
    fn new(is_gzip: bool) -> Sink {
        Sink { plain: Vec::new(), gzip: None, is_gzip }
    }

    fn add(&mut self, piece: Vec<u8>) {
        if let Some(encoder) = &mut self.gzip {
            encoder.write_all(&piece).expect("a Vec takes all bytes");
            return;
        }
        self.plain.extend_from_slice(&piece);
        if self.is_gzip && self.plain.len() >= GZIP_BYTES_MIN {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::new(3));
            encoder.write_all(&self.plain).expect("a Vec takes all bytes");
            self.plain = Vec::new();
            self.gzip = Some(encoder);
        }
    }

    /// Whether it is compressed, and the whole.
    fn finish(self) -> (bool, Bytes) {
        match self.gzip {
            Some(encoder) => (true, encoder.finish().expect("a Vec takes all bytes").into()),
            None => (false, self.plain.into()),
        }
    }
}

const _: () = assert!(DELTA_NUMBER_HOLDS.as_millis() < Duration::from_secs(30).as_millis());
const _: () = assert!(DOCUMENT_REST_MAX.as_millis() < Duration::from_secs(30).as_millis());

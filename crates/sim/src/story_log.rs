//! What agents log goes into the story of the simulation that runs on the thread.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::sync::Once;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::{Interest, Subscriber};
use tracing::{Event, Level, Metadata};

use crate::trace::{Telling, Trace};

thread_local! {
    static STORY: RefCell<Option<Trace>> = const { RefCell::new(None) };
}

static STARTED: Once = Once::new();

/// From now on what this thread logs goes into the story.
pub(crate) fn tell_into(trace: &Trace) {
    STARTED.call_once(|| {
        // Where a subscriber is set already, the stories have no logs.
        let _ = tracing::subscriber::set_global_default(StoryLog);
    });
    let wants_logs = trace.telling() >= Telling::Logs;
    STORY.set(wants_logs.then(|| trace.clone()));
}

/// Libraries stay out: their lines may carry readings of the real clock.
fn belongs(metadata: &Metadata<'_>) -> bool {
    let is_ours = metadata.target().starts_with("muster");
    is_ours && metadata.is_event() && *metadata.level() <= Level::DEBUG
}

struct StoryLog;

impl Subscriber for StoryLog {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if belongs(metadata) { Interest::sometimes() } else { Interest::never() }
    }

    /// Asked for what belongs, and also for what another thread is registering at this moment.
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        belongs(metadata) && STORY.with_borrow(Option::is_some)
    }

    fn event(&self, event: &Event<'_>) {
        let metadata = event.metadata();
        let mut line = Line::default();
        event.record(&mut line);
        let part = metadata.target().trim_start_matches("muster_");
        let told = format!("[{}] {part}: {}{}", metadata.level(), line.message, line.fields);
        let trace = STORY.with_borrow(Clone::clone);
        if let Some(trace) = trace {
            trace.tell_log(&told);
        }
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[derive(Default)]
struct Line {
    message: String,
    fields: String,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        // Writing to a String cannot fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers for the target it was made for.
    struct Of(&'static str);

    impl tracing::Callsite for Of {
        fn set_interest(&self, _: Interest) {}

        fn metadata(&self) -> &Metadata<'_> {
            unreachable!("asked only by registration, which this test leaves out")
        }
    }

    static ENGINE: Of = Of("openraft::engine");
    static OURS: Of = Of("muster_agent::agent");

    fn event(callsite: &'static Of) -> Metadata<'static> {
        let fields =
            tracing::field::FieldSet::new(&["message"], tracing::callsite::Identifier(callsite));
        let kind = tracing::metadata::Kind::EVENT;
        Metadata::new("event", callsite.0, Level::INFO, None, None, None, fields, kind)
    }

    /// While one thread registers a callsite, tracing lets every other one ask `enabled` alone.
    #[test]
    fn a_line_of_a_library_is_refused_even_before_its_callsite_is_known() {
        tell_into(&Trace::new(Telling::Everything));
        assert!(StoryLog.enabled(&event(&OURS)));
        assert!(!StoryLog.enabled(&event(&ENGINE)));
    }
}

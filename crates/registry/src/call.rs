//! A call: who asks, which datacenter, until when. Every verb of the door takes one.

use muster_model::Text;
use tokio::time::Instant;

/// Who asks, which datacenter, until when.
#[derive(Clone, Debug, Default)]
pub struct Call {
    /// Who asks.
    pub caller: Caller,
    /// The datacenter that shall answer; nothing means this agent's own.
    pub datacenter: Option<Text>,
    /// When the caller no longer waits; nothing means the agent's usual time.
    pub deadline: Option<Instant>,
}

/// Who asks: a token. An empty one is the anonymous caller.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Caller {
    /// The secret that was shown. Never logged.
    pub token: Secret,
}

/// A text that is never printed.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Secret(Text);

impl Secret {
    /// The secret itself, for comparing.
    pub fn reveal(&self) -> &Text {
        &self.0
    }
}

impl From<Text> for Secret {
    fn from(text: Text) -> Secret {
        Secret(text)
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_empty() { "none" } else { "<hidden>" })
    }
}

//! How two agents greet each other on a new connection.
//!
//! The caller of both functions bounds the time and, on a fault of the acceptor's side, sends the
//! last words with [`farewell`].

use bytes::BytesMut;
use muster_world::{Address, Stream};
use tokio::io::{AsyncWriteExt as _, WriteHalf};
use tokio::time::timeout;

use crate::ending::{Reason, Words};
use crate::fault::Fault;
use crate::frame::Frame;
use crate::hello::{Greeting, Peer, VERSIONS, Versions, preface};
use crate::inbox::{Began, Dry, Inbox};
use crate::limits::{FAREWELL_TIMEOUT, HELLO_BYTES_MAX, Terms};
use crate::security::PeerIdentity;

/// Who is at the other end, and what it takes.
pub(crate) struct Met {
    pub(crate) peer: Peer,
    pub(crate) theirs: Terms,
}

/// The dialer's side: says who it is, and hears who has answered.
pub(crate) async fn introduce(
    inbox: &mut Inbox,
    stream: &mut WriteHalf<Stream>,
    ours: &Greeting,
    address: &Address,
) -> Result<Met, Fault> {
    let broken = |error: &dyn std::fmt::Display| {
        Fault::Unreachable(format!("the connection to {address} broke during its hello: {error}"))
    };
    let hello = Frame::Hello(ours.encode()?);
    stream.write_all(&behind_preface(hello)).await.map_err(|error| broken(&error))?;
    stream.flush().await.map_err(|error| broken(&error))?;
    let versions = match inbox.preface().await.map_err(|error| broken(&error))? {
        Began::Ours(versions) => versions,
        Began::Other => {
            let advice = "check the address and port of that agent";
            let what = "is there, but does not speak the internal protocol of muster";
            return Err(Fault::Protocol(format!("{address} {what}: {advice}")));
        }
        Began::Nothing => return Err(broken(&"it was closed")),
    };
    match inbox.frame(HELLO_BYTES_MAX, |_| ()).await {
        Ok(Some(Frame::Hello(payload))) => {
            let greeting = Greeting::decode(payload).ok_or_else(|| broken(&"no hello came"))?;
            let version = VERSIONS.common(versions).ok_or_else(|| no_version(versions))?;
            Ok(met(greeting, version, address.clone(), None))
        }
        Ok(Some(Frame::Close { reason: Reason::Crowded, .. })) => Err(Fault::Busy),
        Ok(Some(Frame::Close { reason: Reason::Stopped, .. })) => Err(broken(&"it stops")),
        Ok(Some(Frame::Close { words, .. })) => {
            Err(Fault::Protocol(format!("{address} refused the connection: {words}")))
        }
        Ok(Some(_)) => Err(broken(&"no hello came")),
        Ok(None) => Err(broken(&"it was closed")),
        Err(error) => Err(broken(&error)),
    }
}

fn no_version(theirs: Versions) -> Fault {
    Fault::Protocol(version_words(theirs).text)
}

/// The acceptor's side: hears who is there, and answers if `admit` agrees. `None` if whoever it
/// was has gone; words if it is to be told to go.
pub(crate) async fn receive(
    inbox: &mut Inbox,
    stream: &mut WriteHalf<Stream>,
    (address, identity): (&Address, Option<PeerIdentity>),
    answer: impl Fn(&Peer) -> Result<Greeting, Words>,
) -> Result<Option<Met>, Words> {
    let versions = match inbox.preface().await {
        Ok(Began::Ours(versions)) => versions,
        Ok(Began::Other) => {
            let advice = "point HTTP and other clients at the ports that are theirs";
            let what = "this port speaks the internal protocol of muster only";
            return Err(Words::new(Reason::NotOurs, format!("{what}: {advice}")));
        }
        Ok(Began::Nothing) | Err(_) => return Ok(None),
    };
    let version = VERSIONS.common(versions).ok_or_else(|| version_words(versions))?;
    let payload = match inbox.frame(HELLO_BYTES_MAX, |_| ()).await {
        Ok(Some(Frame::Hello(payload))) => payload,
        Ok(Some(_)) => return Err(Words::garbage("the first frame is no hello")),
        Err(Dry::Malformed(malformed)) => return Err(malformed.into()),
        Ok(None) | Err(_) => return Ok(None),
    };
    let greeting =
        Greeting::decode(payload).ok_or_else(|| Words::garbage("the hello cannot be read"))?;
    let met = met(greeting, version, address.clone(), identity);
    let ours = answer(&met.peer)?.encode().map_err(|_| Words::garbage("no hello"))?;
    let sent = async {
        stream.write_all(&behind_preface(Frame::Hello(ours))).await?;
        stream.flush().await
    };
    Ok(sent.await.ok().map(|()| met))
}

/// Says why the connection is not to be, behind a preface, and closes it. What still comes is read
/// and dropped for a moment: closing on unread bytes would take the words back.
pub(crate) async fn farewell(inbox: &mut Inbox, stream: &mut WriteHalf<Stream>, words: &Words) {
    let bytes = behind_preface(words.frame());
    let say = async {
        stream.write_all(&bytes).await?;
        stream.shutdown().await?;
        inbox.discard().await;
        std::io::Result::Ok(())
    };
    // Whoever does not listen has lost only an explanation.
    let _ = timeout(FAREWELL_TIMEOUT, say).await;
}

fn met(greeting: Greeting, version: u16, address: Address, identity: Option<PeerIdentity>) -> Met {
    let Greeting { hello, lane, terms } = greeting;
    Met { peer: Peer { hello, lane, version, address, identity }, theirs: terms }
}

fn version_words(theirs: Versions) -> Words {
    let advice = "upgrade the older of the two agents";
    let what = format!("the other agent speaks {theirs} of the internal protocol");
    Words::new(Reason::Version, format!("{what}, and this one {VERSIONS}: {advice}"))
}

fn behind_preface(frame: Frame) -> BytesMut {
    let mut bytes = BytesMut::from(&preface(VERSIONS)[..]);
    if let Some(body) = frame.encode(&mut bytes) {
        bytes.extend_from_slice(&body);
    }
    bytes
}

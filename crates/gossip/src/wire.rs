//! What members say to each other, as bytes.
//!
//! A packet is messages one after the other, each CBOR by position: a field may be added at the
//! end of any of them, and a message of a kind that is not known is passed over, so that members of
//! neighboring releases live in one pool. An exchange is one [`Exchange`] each way.

use std::net::SocketAddr;

use minicbor::decode::Error as DecodeError;
use minicbor::{Decode, Decoder, Encode};

use crate::coordinate::Coordinate;
use crate::event::Event;
use crate::limits::{INCARNATION_MAX, MEMBERS_MAX, RECENT_EVENTS_MAX};
use crate::member::{Name, Profile, Status};
use crate::question::{Answer, Question};

pub(crate) mod envelope;

/// One message of a packet.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub(crate) enum Message {
    /// Do you live, you of this name?
    #[n(0)]
    Ping {
        #[n(0)]
        number: u32,
        /// Who is meant: another may have taken over the address.
        #[n(1)]
        target: Name,
        #[n(2)]
        from: Name,
    },
    /// Yes.
    #[n(1)]
    Ack {
        #[n(0)]
        number: u32,
        /// Where the one who lives stands; not if another did the asking.
        #[n(1)]
        coordinate: Option<Coordinate>,
    },
    /// The one you had me ask gave no answer, but I am here.
    #[n(2)]
    Nack {
        #[n(0)]
        number: u32,
    },
    /// Ask for me whether this one lives.
    #[n(3)]
    PingFor {
        #[n(0)]
        number: u32,
        #[n(1)]
        target: Name,
        #[n(2)]
        address: SocketAddr,
        /// How long the asker waits.
        #[n(3)]
        wait_ms: u32,
    },
    /// Something about a member.
    #[n(4)]
    Rumor(#[n(0)] Rumor),
    /// A user event.
    #[n(5)]
    Event(#[n(0)] Event),
    /// A question to all members.
    #[n(6)]
    Question(#[n(0)] Question),
    /// An answer to its asker.
    #[n(7)]
    Answer(#[n(0)] Answer),
    /// The asker has that answer.
    #[n(8)]
    AnswerTaken {
        #[n(0)]
        question: u64,
    },
    /// Your name is another's.
    #[n(9)]
    NameTaken {
        #[n(0)]
        name: Name,
        #[n(1)]
        holder: SocketAddr,
    },
}

/// Something about a member that is spread.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) enum Rumor {
    /// It lives, and says this of itself.
    #[n(0)]
    Alive {
        #[n(0)]
        profile: Profile,
        #[n(1)]
        incarnation: u64,
        /// It is about to leave.
        #[n(2)]
        is_leaving: bool,
    },
    /// It did not answer `from`.
    #[n(1)]
    Suspect {
        #[n(0)]
        name: Name,
        #[n(1)]
        incarnation: u64,
        #[n(2)]
        from: Name,
    },
    /// It did not refute the suspicion before it ended at `from`.
    #[n(2)]
    Failed {
        #[n(0)]
        name: Name,
        #[n(1)]
        incarnation: u64,
        #[n(2)]
        from: Name,
    },
    /// It left, says itself or an operator.
    #[n(3)]
    Left {
        #[n(0)]
        name: Name,
        #[n(1)]
        incarnation: u64,
        /// Forget it altogether.
        #[n(2)]
        is_pruned: bool,
    },
}

/// One side of a push-pull: all that a member knows.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub(crate) struct Exchange {
    #[n(0)]
    pub(crate) from: Name,
    /// Each member, the sender included.
    #[n(1)]
    #[cbor(decode_with = "known_members")]
    pub(crate) members: Vec<Known>,
    /// The sender's clocks.
    #[n(2)]
    pub(crate) event_time: u64,
    #[n(3)]
    pub(crate) question_time: u64,
    /// Events of late that a lossy network may have kept from the other.
    #[n(4)]
    #[cbor(decode_with = "recent_events")]
    pub(crate) events: Vec<Event>,
    /// What the sender's wall clock says, in seconds since 1970, if it has one.
    #[n(5)]
    pub(crate) wall_s: Option<u64>,
    /// Whether the sender wants to be let in.
    #[n(6)]
    #[cbor(default)]
    pub(crate) is_join: bool,
}

/// A member in an exchange.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Known {
    #[n(0)]
    pub(crate) profile: Profile,
    #[n(1)]
    pub(crate) incarnation: u64,
    #[n(2)]
    pub(crate) status: Status,
    /// How long it has had that status, in seconds.
    #[n(3)]
    pub(crate) status_age_s: u64,
    #[n(4)]
    pub(crate) is_pruned: bool,
}

impl Message {
    /// Appends it to a packet.
    pub(crate) fn append_to(&self, packet: &mut Vec<u8>) {
        minicbor::encode(self, packet).expect("a vector takes all bytes");
    }

    /// Its bytes.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.append_to(&mut bytes);
        bytes
    }
}

impl Exchange {
    /// Its bytes.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        minicbor::to_vec(self).expect("a vector takes all bytes")
    }

    /// The exchange that these bytes are.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Exchange, DecodeError> {
        minicbor::decode(bytes)
    }
}

/// The messages of a packet, up to what cannot be read.
pub(crate) fn messages(packet: &[u8]) -> impl Iterator<Item = Result<Message, DecodeError>> {
    let mut decoder = Decoder::new(packet);
    std::iter::from_fn(move || {
        while decoder.position() < packet.len() {
            let start = decoder.position();
            match decoder.decode::<Message>() {
                Err(error) if error.is_unknown_variant() => {
                    decoder.set_position(start);
                    if let Err(error) = decoder.skip() {
                        decoder.set_position(packet.len());
                        return Some(Err(error));
                    }
                }
                Err(error) => {
                    decoder.set_position(packet.len());
                    return Some(Err(error));
                }
                message => return Some(message),
            }
        }
        None
    })
}

/// Whether a member may have that incarnation.
pub(crate) fn is_credible(incarnation: u64) -> bool {
    incarnation <= INCARNATION_MAX
}

fn known_members<C>(decoder: &mut Decoder<'_>, context: &mut C) -> Result<Vec<Known>, DecodeError> {
    bounded(decoder, context, MEMBERS_MAX + 1)
}

fn recent_events<C>(decoder: &mut Decoder<'_>, context: &mut C) -> Result<Vec<Event>, DecodeError> {
    bounded(decoder, context, RECENT_EVENTS_MAX)
}

/// A list that has a bound, whatever its head claims.
fn bounded<'b, C, T: Decode<'b, C>>(
    decoder: &mut Decoder<'b>,
    context: &mut C,
    n_max: usize,
) -> Result<Vec<T>, DecodeError> {
    let mut list = Vec::new();
    for item in decoder.array_iter_with(context)? {
        if list.len() == n_max {
            return Err(DecodeError::message("a list is longer than it may be"));
        }
        list.push(item?);
    }
    Ok(list)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::member::Tags;

    fn name(characters: &str) -> Name {
        Name::parse(characters).unwrap()
    }

    fn alive() -> Message {
        let profile = Profile {
            name: name("web-1"),
            address: ([10, 0, 0, 1], 8301).into(),
            id: [7; 16],
            tags: Tags::new([("role", "node")]).unwrap(),
        };
        Message::Rumor(Rumor::Alive { profile, incarnation: 3, is_leaving: false })
    }

    fn read(packet: &[u8]) -> Vec<Result<Message, ()>> {
        messages(packet).map(|message| message.map_err(|_| ())).collect()
    }

    #[test]
    fn messages_are_read_as_they_were_written() {
        let said = [
            Message::Ping { number: 1, target: name("a"), from: name("b") },
            Message::Ack { number: 1, coordinate: Some(Coordinate::default()) },
            Message::Nack { number: 70_000 },
            alive(),
            Message::AnswerTaken { question: u64::MAX },
        ];
        let mut packet = Vec::new();
        for message in &said {
            message.append_to(&mut packet);
        }
        let heard: Vec<Message> = messages(&packet).map(Result::unwrap).collect();
        // The coordinate is rounded on the way.
        assert_eq!((&heard[0], &heard[2..]), (&said[0], &said[2..]));
    }

    #[test]
    fn a_message_of_a_later_release_is_passed_over() {
        let mut packet = Message::Nack { number: 1 }.to_bytes();
        // Variant 99 with a list of whatever.
        packet.extend_from_slice(&[0x82, 0x18, 99, 0x83, 1, 0x61, b'x', 0xf6]);
        Message::Nack { number: 2 }.append_to(&mut packet);
        let heard = read(&packet);
        assert_eq!(heard, [Ok(Message::Nack { number: 1 }), Ok(Message::Nack { number: 2 })]);
    }

    #[test]
    fn a_field_of_a_later_release_is_passed_over() {
        // A nack of two fields.
        let heard = read(&[0x82, 2, 0x82, 5, 0x18, 77]);
        assert_eq!(heard, [Ok(Message::Nack { number: 5 })]);
    }

    #[test]
    fn what_is_cut_off_ends_the_packet() {
        let mut packet = Message::Nack { number: 1 }.to_bytes();
        let whole = alive().to_bytes();
        packet.extend_from_slice(&whole[..whole.len() - 1]);
        assert_eq!(read(&packet), [Ok(Message::Nack { number: 1 }), Err(())]);
    }

    #[test]
    fn a_rumor_of_a_member_is_small() {
        let n_bytes = alive().to_bytes().len();
        assert!(n_bytes <= 60, "{n_bytes}");
    }

    proptest! {
        #[test]
        fn no_bytes_panic_or_loop(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(messages(&bytes).count() <= bytes.len());
            let _ = Exchange::parse(&bytes);
        }
    }
}

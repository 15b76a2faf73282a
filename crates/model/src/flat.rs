//! Batches hold no batch, also where the bytes say otherwise: who reads what others sent would
//! otherwise go as deep as they please.

use minicbor::Decoder;
use minicbor::decode::{Decode, Error};

/// An enum with a variant that holds many of the others.
pub(crate) trait Flat {
    /// The number of that variant.
    const BATCH: u32;
}

/// Decodes the content of a batch.
pub(crate) fn decode<'b, C, T: Flat + Decode<'b, C>>(
    decoder: &mut Decoder<'b>,
    context: &mut C,
) -> Result<Vec<T>, Error> {
    let n_items = decoder.array()?.ok_or_else(|| Error::message("a batch has a length"))?;
    let mut items = Vec::new();
    for _ in 0..n_items {
        let mut ahead = decoder.probe();
        ahead.array()?;
        if ahead.u32()? == T::BATCH {
            return Err(Error::message("a batch holds no batch").at(decoder.position()));
        }
        items.push(T::decode(decoder, context)?);
    }
    Ok(items)
}

//! Shared rows on their way between agents: each is written as what it points to.
//!
//! The binary form knows nothing of sharing: a row that two details of an answer share in the state
//! arrives as two rows.

use std::sync::Arc;

use minicbor::decode::{Decode, Error as DecodeError};
use minicbor::encode::{Encode, Error as EncodeError, Write};
use minicbor::{Decoder, Encoder};

/// Rows as fields of an answer have them: one, many, or perhaps one.
pub(crate) trait Rows: Sized {
    type Value;

    fn encode<C, W: Write>(
        &self,
        encoder: &mut Encoder<W>,
        context: &mut C,
    ) -> Result<(), EncodeError<W::Error>>
    where
        Self::Value: Encode<C>;

    fn decode<'b, C>(decoder: &mut Decoder<'b>, context: &mut C) -> Result<Self, DecodeError>
    where
        Self::Value: Decode<'b, C>;
}

impl<T> Rows for Arc<T> {
    type Value = T;

    fn encode<C, W: Write>(
        &self,
        encoder: &mut Encoder<W>,
        context: &mut C,
    ) -> Result<(), EncodeError<W::Error>>
    where
        T: Encode<C>,
    {
        T::encode(self, encoder, context)
    }

    fn decode<'b, C>(decoder: &mut Decoder<'b>, context: &mut C) -> Result<Self, DecodeError>
    where
        T: Decode<'b, C>,
    {
        T::decode(decoder, context).map(Arc::new)
    }
}

impl<T> Rows for Vec<Arc<T>> {
    type Value = T;

    fn encode<C, W: Write>(
        &self,
        encoder: &mut Encoder<W>,
        context: &mut C,
    ) -> Result<(), EncodeError<W::Error>>
    where
        T: Encode<C>,
    {
        encoder.array(self.len() as u64)?;
        self.iter().try_for_each(|row| T::encode(row, encoder, context))
    }

    fn decode<'b, C>(decoder: &mut Decoder<'b>, context: &mut C) -> Result<Self, DecodeError>
    where
        T: Decode<'b, C>,
    {
        decoder.array_iter_with(context)?.map(|row: Result<T, _>| row.map(Arc::new)).collect()
    }
}

impl<T> Rows for Option<Arc<T>> {
    type Value = T;

    fn encode<C, W: Write>(
        &self,
        encoder: &mut Encoder<W>,
        context: &mut C,
    ) -> Result<(), EncodeError<W::Error>>
    where
        T: Encode<C>,
    {
        self.as_deref().encode(encoder, context)
    }

    fn decode<'b, C>(decoder: &mut Decoder<'b>, context: &mut C) -> Result<Self, DecodeError>
    where
        T: Decode<'b, C>,
    {
        Ok(Option::<T>::decode(decoder, context)?.map(Arc::new))
    }
}

pub(crate) fn encode<C, R: Rows, W: Write>(
    rows: &R,
    encoder: &mut Encoder<W>,
    context: &mut C,
) -> Result<(), EncodeError<W::Error>>
where
    R::Value: Encode<C>,
{
    rows.encode(encoder, context)
}

pub(crate) fn decode<'b, C, R: Rows>(
    decoder: &mut Decoder<'b>,
    context: &mut C,
) -> Result<R, DecodeError>
where
    R::Value: Decode<'b, C>,
{
    R::decode(decoder, context)
}

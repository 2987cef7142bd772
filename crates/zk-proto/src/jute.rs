//! Jute, the encoding of ZooKeeper: big-endian numbers, lengths before bytes, no tags.
//!
//! Prevents a message from costing more than its bytes: what is read is borrowed, and a length that
//! the message cannot hold is refused before memory is asked for.

use alloc::vec::Vec;
use core::fmt;

/// A message that is not what it should be. Says where and what, not why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Malformed {
    /// It ends too early.
    Short,
    /// A length is negative (other than -1, which is null) or beyond the message's end.
    Length(i32),
    /// A string is not UTF-8.
    Text,
    /// Bytes follow after its end.
    Trailing(usize),
    /// A number that stands for nothing.
    Unknown {
        /// What it should stand for.
        what: &'static str,
        /// The number.
        value: i32,
    },
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short => f.write_str("the message ends too early"),
            Self::Length(length) => write!(f, "a length of {length} does not fit the message"),
            Self::Text => f.write_str("a string is not UTF-8"),
            Self::Trailing(bytes) => write!(f, "{bytes} bytes follow the message's end"),
            Self::Unknown { what, value } => write!(f, "{value} is no {what}"),
        }
    }
}

impl core::error::Error for Malformed {}

/// What can be read from and written to a message.
pub trait Jute<'a>: Sized {
    /// Fewest bytes that a value takes: bounds what a count may promise.
    const SIZE_MIN: usize;

    /// Reads one value.
    ///
    /// # Errors
    ///
    /// [`Malformed`], with the reader anywhere.
    fn read(reader: &mut Reader<'a>) -> Result<Self, Malformed>;

    /// Appends the value.
    fn write(&self, out: &mut Vec<u8>);
}

/// A place in a message.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// At the beginning of `message`.
    pub const fn new(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    /// What has not been read yet.
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Reads one value.
    ///
    /// # Errors
    ///
    /// As [`Jute::read`].
    pub fn read<T: Jute<'a>>(&mut self) -> Result<T, Malformed> {
        T::read(self)
    }

    /// Checks that all was read.
    ///
    /// # Errors
    ///
    /// [`Malformed::Trailing`].
    pub const fn end(&self) -> Result<(), Malformed> {
        match self.rest.len() {
            0 => Ok(()),
            more => Err(Malformed::Trailing(more)),
        }
    }

    fn take(&mut self, bytes: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(bytes).ok_or(Malformed::Short)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(Malformed::Short)?;
        self.rest = rest;
        Ok(*taken)
    }

    /// A length that leaves room for as many values of `size_min` bytes; `None` is null.
    fn length(&mut self, size_min: usize) -> Result<Option<usize>, Malformed> {
        let length: i32 = self.read()?;
        if length == NULL {
            return Ok(None);
        }
        let fits = usize::try_from(length)
            .ok()
            .filter(|&count| count.saturating_mul(size_min) <= self.rest.len());
        fits.map(Some).ok_or(Malformed::Length(length))
    }
}

/// The length of what is not there.
const NULL: i32 = -1;

/// Reads a whole message.
///
/// # Errors
///
/// As [`Jute::read`], and [`Malformed::Trailing`].
pub fn read_all<'a, T: Jute<'a>>(message: &'a [u8]) -> Result<T, Malformed> {
    let mut reader = Reader::new(message);
    let value = reader.read()?;
    reader.end()?;
    Ok(value)
}

fn write_length(length: usize, out: &mut Vec<u8>) {
    // A message is a frame, whose length is an i32: nothing in it can be longer.
    i32::try_from(length).unwrap_or(i32::MAX).write(out);
}

macro_rules! number {
    ($($type:ty),*) => { $(
        impl Jute<'_> for $type {
            const SIZE_MIN: usize = size_of::<Self>();

            fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
                reader.array().map(Self::from_be_bytes)
            }

            fn write(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_be_bytes());
            }
        }
    )* };
}

number!(i32, i64);

impl Jute<'_> for bool {
    const SIZE_MIN: usize = 1;

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        // As Java's DataInput reads it: anything but zero is true.
        reader.array().map(|[byte]| byte != 0)
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }
}

/// Bytes, or null.
impl<'a> Jute<'a> for Option<&'a [u8]> {
    const SIZE_MIN: usize = 4;

    fn read(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        match reader.length(1)? {
            Some(length) => reader.take(length).map(Some),
            None => Ok(None),
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Some(bytes) => {
                write_length(bytes.len(), out);
                out.extend_from_slice(bytes);
            },
            None => NULL.write(out),
        }
    }
}

/// Bytes; null reads as none.
impl<'a> Jute<'a> for &'a [u8] {
    const SIZE_MIN: usize = 4;

    fn read(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        reader
            .read::<Option<&[u8]>>()
            .map(Option::unwrap_or_default)
    }

    fn write(&self, out: &mut Vec<u8>) {
        Some(*self).write(out);
    }
}

/// Text, or null.
impl<'a> Jute<'a> for Option<&'a str> {
    const SIZE_MIN: usize = 4;

    fn read(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        let bytes: Option<&[u8]> = reader.read()?;
        bytes
            .map(|bytes| core::str::from_utf8(bytes).map_err(|_| Malformed::Text))
            .transpose()
    }

    fn write(&self, out: &mut Vec<u8>) {
        self.map(str::as_bytes).write(out);
    }
}

/// Text; null reads as empty.
impl<'a> Jute<'a> for &'a str {
    const SIZE_MIN: usize = 4;

    fn read(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        reader.read::<Option<&str>>().map(Option::unwrap_or_default)
    }

    fn write(&self, out: &mut Vec<u8>) {
        Some(*self).write(out);
    }
}

/// A vector, or null.
impl<'a, T: Jute<'a>> Jute<'a> for Option<Vec<T>> {
    const SIZE_MIN: usize = 4;

    fn read(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        match reader.length(T::SIZE_MIN.max(1))? {
            Some(count) => (0..count)
                .map(|_| reader.read())
                .collect::<Result<_, _>>()
                .map(Some),
            None => Ok(None),
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Some(values) => values.write(out),
            None => NULL.write(out),
        }
    }
}

/// A vector; null reads as empty.
impl<'a, T: Jute<'a>> Jute<'a> for Vec<T> {
    const SIZE_MIN: usize = 4;

    fn read(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        reader.read::<Option<Self>>().map(Option::unwrap_or_default)
    }

    fn write(&self, out: &mut Vec<u8>) {
        write_length(self.len(), out);
        for value in self {
            value.write(out);
        }
    }
}

/// Declares records: structs whose fields are on the wire in their order.
macro_rules! records {
    ($(
        $(#[$meta:meta])*
        $name:ident $(<$life:lifetime>)? { $(
            $(#[$field_meta:meta])*
            $field:ident: $type:ty,
        )* }
    )*) => { $(
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name $(<$life>)? { $(
            $(#[$field_meta])*
            pub $field: $type,
        )* }

        $crate::jute::records!(@implement $name $(<$life>)? { $($field: $type,)* });
    )* };
    (@implement $name:ident <$life:lifetime> { $($field:ident: $type:ty,)* }) => {
        impl<$life> $crate::jute::Jute<$life> for $name<$life> {
            $crate::jute::records!(@body $life { $($field: $type,)* });
        }
    };
    (@implement $name:ident { $($field:ident: $type:ty,)* }) => {
        impl<'a> $crate::jute::Jute<'a> for $name {
            $crate::jute::records!(@body 'a { $($field: $type,)* });
        }
    };
    (@body $life:lifetime { $($field:ident: $type:ty,)* }) => {
        const SIZE_MIN: usize = 0 $(+ <$type as $crate::jute::Jute<$life>>::SIZE_MIN)*;

        fn read(
            reader: &mut $crate::jute::Reader<$life>,
        ) -> Result<Self, $crate::jute::Malformed> {
            Ok(Self { $($field: reader.read()?,)* })
        }

        fn write(&self, out: &mut alloc::vec::Vec<u8>) {
            $(self.$field.write(out);)*
        }
    };
}

pub(crate) use records;

#[cfg(test)]
mod tests {
    use alloc::string::String;
    use alloc::vec;

    use proptest::prelude::*;

    use super::*;

    fn bytes<'a>(value: &impl Jute<'a>) -> Vec<u8> {
        let mut out = Vec::new();
        value.write(&mut out);
        out
    }

    #[test]
    fn null_and_empty_are_two_things_where_the_type_says_so() {
        assert_eq!(bytes(&None::<&[u8]>), [0xff; 4]);
        assert_eq!(bytes(&Some(&b""[..])), [0; 4]);
        assert_eq!(read_all::<Option<&[u8]>>(&[0xff; 4]), Ok(None));
        assert_eq!(read_all::<&str>(&[0xff; 4]), Ok(""));
    }

    #[test]
    fn a_count_that_the_message_cannot_hold_asks_for_no_memory() {
        let promise = bytes(&i32::MAX);
        assert_eq!(
            read_all::<Vec<&str>>(&promise),
            Err(Malformed::Length(i32::MAX))
        );
        assert_eq!(read_all::<&[u8]>(&bytes(&-2)), Err(Malformed::Length(-2)));
    }

    #[test]
    fn a_message_is_read_to_its_end() {
        assert_eq!(read_all::<i32>(&[0; 3]), Err(Malformed::Short));
        assert_eq!(read_all::<i32>(&[0; 5]), Err(Malformed::Trailing(1)));
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(texts in any::<Vec<String>>(), number: i64) {
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let mut out = vec![];
            texts.write(&mut out);
            number.write(&mut out);
            let mut reader = Reader::new(&out);
            prop_assert_eq!(reader.read::<Vec<&str>>(), Ok(texts));
            prop_assert_eq!(reader.read::<i64>(), Ok(number));
            prop_assert_eq!(reader.end(), Ok(()));
        }

        #[test]
        fn no_bytes_make_it_panic(message: Vec<u8>) {
            let mut reader = Reader::new(&message);
            let read = (reader.read::<Vec<&str>>(), reader.read::<i64>(), reader.read::<bool>());
            prop_assert!(reader.rest().len() <= message.len(), "{read:?}");
        }
    }
}

//! The outline of a protobuf message: which fields there are, before memory is spent on them.
//!
//! **Where it sits.** Between a peer's bytes and prost, which makes of two bytes an entry of seventy.

use crate::error::MessageError;

/// The fields of a message, in order.
pub(crate) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(crate) fn of(bytes: &'a [u8]) -> Fields<'a> {
        Fields { rest: bytes }
    }

    /// The next field's number, and its bytes where it has a length.
    fn field(&mut self) -> Result<(u64, &'a [u8]), MessageError> {
        let key = self.varint()?;
        let bytes = match key & 7 {
            0 => {
                self.varint()?;
                &[]
            }
            1 => self.bytes(8)?,
            2 => {
                let length = self.varint()?;
                self.bytes(usize::try_from(length).map_err(|_| MessageError::Malformed)?)?
            }
            5 => self.bytes(4)?,
            // Groups nest, and nobody writes them.
            _ => return Err(MessageError::Malformed),
        };
        Ok((key >> 3, bytes))
    }

    fn bytes(&mut self, count: usize) -> Result<&'a [u8], MessageError> {
        let (bytes, rest) = self.rest.split_at_checked(count).ok_or(MessageError::Malformed)?;
        self.rest = rest;
        Ok(bytes)
    }

    fn varint(&mut self) -> Result<u64, MessageError> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.rest.split_first().ok_or(MessageError::Malformed)?;
            self.rest = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(MessageError::Malformed)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, &'a [u8]), MessageError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.rest = &[];
        }
        Some(field)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A name, bytes, and the fields in them.
    type Case<'a> = (&'a str, &'a [u8], Result<Vec<(u64, &'a [u8])>, MessageError>);

    #[test]
    #[rustfmt::skip] // A table is read by columns.
    fn a_message_has_these_fields() {
        let malformed = || Err(MessageError::Malformed);
        let table: &[Case<'_>] = &[
            ("nothing",               &[],                           Ok(vec![])),
            ("a number",              &[0x08, 0x05],                 Ok(vec![(1, &[])])),
            ("bytes",                 &[0x3a, 0x02, 7, 8],           Ok(vec![(7, &[7, 8])])),
            ("eight bytes, four",     &[0x09, 0,0,0,0,0,0,0,0, 0x0d, 0,0,0,0], Ok(vec![(1, &[0; 8]), (1, &[0; 4])])),
            ("two of one",            &[0x3a, 0x00, 0x3a, 0x00],     Ok(vec![(7, &[]), (7, &[])])),
            ("a length beyond",       &[0x3a, 0x02, 7],              malformed()),
            ("a length beyond all",   &[0x3a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1], malformed()),
            ("a number cut short",    &[0x08, 0x85],                 malformed()),
            ("an endless number",     &[0x08, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0], malformed()),
            ("a group",               &[0x0b, 0x0c],                 malformed()),
        ];
        for (name, bytes, expected) in table {
            let fields: Result<Vec<_>, _> = Fields::of(bytes).collect();
            assert_eq!(fields, *expected, "{name}");
        }
    }
}

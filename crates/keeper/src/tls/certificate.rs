//! A certificate, as far as it says who somebody is and who says so.
//!
//! Prevents a client that Apache ZooKeeper accepts from being turned away here: certificates of
//! X.509 version 1, which many small authorities and kazoo's own tests write, are read too.

use rustls_pki_types::{CertificateDer, UnixTime};

use super::der::{
    BIT_STRING, CONTEXT_0, Der, GENERALIZED_TIME, INTEGER, NotDer, SEQUENCE, UTC_TIME,
};

/// The parts of a certificate.
#[derive(Clone, Copy, Debug)]
pub(super) struct Certificate<'a> {
    /// One to three.
    pub(super) version: u8,
    /// What the issuer signed.
    pub(super) signed: &'a [u8],
    /// How, without the sequence's own bytes.
    pub(super) signature_algorithm: &'a [u8],
    /// The signature.
    pub(super) signature: &'a [u8],
    /// Who signed it.
    pub(super) issuer: &'a [u8],
    /// Whose it is.
    pub(super) subject: &'a [u8],
    /// Seconds since 1970.
    pub(super) valid: (i64, i64),
    /// The key, as a whole.
    pub(super) key_info: &'a [u8],
    /// The kind of the key, without the sequence's own bytes.
    pub(super) key_algorithm: &'a [u8],
    /// The key itself.
    pub(super) key: &'a [u8],
}

impl<'a> Certificate<'a> {
    pub(super) fn read(certificate: &'a CertificateDer<'_>) -> Result<Self, NotDer> {
        let mut outer = Der::new(certificate).inside(SEQUENCE)?;
        let signed = outer.expect(SEQUENCE)?;
        let signature_algorithm = outer.expect(SEQUENCE)?.body;
        let signature = bits(outer.expect(BIT_STRING)?.body)?;
        let mut inner = Der::new(signed.body);
        let version = match inner.peek() {
            Some(CONTEXT_0) => match inner.inside(CONTEXT_0)?.expect(INTEGER)?.body {
                &[number @ 0..=2] => number + 1,
                _ => return Err(NotDer),
            },
            _ => 1,
        };
        inner.expect(INTEGER)?;
        inner.expect(SEQUENCE)?;
        let issuer = inner.expect(SEQUENCE)?.whole;
        let mut validity = inner.inside(SEQUENCE)?;
        let valid = (time(&mut validity)?, time(&mut validity)?);
        let subject = inner.expect(SEQUENCE)?.whole;
        let key_info = inner.expect(SEQUENCE)?;
        let mut key = Der::new(key_info.body);
        Ok(Self {
            version,
            signed: signed.whole,
            signature_algorithm,
            signature,
            issuer,
            subject,
            valid,
            key_info: key_info.whole,
            key_algorithm: key.expect(SEQUENCE)?.body,
            key: bits(key.expect(BIT_STRING)?.body)?,
        })
    }

    /// Whether it is valid at this time.
    pub(super) fn is_valid_at(&self, now: UnixTime) -> bool {
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        (self.valid.0..=self.valid.1).contains(&now)
    }
}

/// Whole bytes of a bit string.
fn bits(body: &[u8]) -> Result<&[u8], NotDer> {
    match body {
        [0, bytes @ ..] => Ok(bytes),
        _ => Err(NotDer),
    }
}

/// Seconds since 1970.
fn time(der: &mut Der<'_>) -> Result<i64, NotDer> {
    let item = der.next()?;
    let digits = item.body.strip_suffix(b"Z").ok_or(NotDer)?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return Err(NotDer);
    }
    let number = |digits: &[u8]| {
        digits
            .iter()
            .fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0'))
    };
    let (year, rest) = match (item.tag, digits.len()) {
        // Two digits mean 1950 to 2049.
        (UTC_TIME, 12) => (number(&digits[..2]), &digits[2..]),
        (GENERALIZED_TIME, 14) => (number(&digits[..4]), &digits[4..]),
        _ => return Err(NotDer),
    };
    let year = match year {
        0..50 => 2000 + year,
        50..100 => 1900 + year,
        _ => year,
    };
    let part = |at: usize| number(&rest[at..at + 2]);
    let (month, day) = (part(0), part(2));
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return Err(NotDer);
    }
    let seconds = (part(4) * 60 + part(6)) * 60 + part(8);
    Ok(days(year, month, day) * 86_400 + seconds)
}

/// Days since 1970 of a date of the Gregorian calendar: Howard Hinnant's `days_from_civil`.
const fn days(year: i64, month: i64, day: i64) -> i64 {
    // A year that begins in March ends with the day that leap years add.
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let of_era = of_era * 365 + of_era / 4 - of_era / 100 + of_year;
    era * 146_097 + of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(tag: u8, text: &str) -> Result<i64, NotDer> {
        let length = u8::try_from(text.len()).expect("short");
        let bytes = [&[tag, length], text.as_bytes()].concat();
        time(&mut Der::new(&bytes))
    }

    #[test]
    fn times_are_those_of_the_calendar() {
        assert_eq!(at(UTC_TIME, "700101000000Z"), Ok(0));
        assert_eq!(at(UTC_TIME, "000229120000Z"), Ok(951_825_600));
        assert_eq!(at(GENERALIZED_TIME, "20380119031408Z"), Ok(1 << 31));
        assert_eq!(at(UTC_TIME, "491231235959Z"), Ok(2_524_607_999));
        assert_eq!(at(UTC_TIME, "500101000000Z"), Ok(-631_152_000));
        for wrong in ["700101000000", "701301000000Z", "70010100000xZ", ""] {
            assert_eq!(at(UTC_TIME, wrong), Err(NotDer), "{wrong}");
        }
    }
}

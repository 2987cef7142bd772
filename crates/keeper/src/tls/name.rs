//! A distinguished name as text: RFC 2253, as Java's `X500Principal.getName` writes it.
//!
//! Prevents an access list that grants nothing after a move: who a certificate names is compared
//! as text, so the text must be the same to the letter.

use std::fmt::Write as _;

use super::der::{Der, NotDer, OID, SEQUENCE, SET};

/// Kinds of strings that are written as text; others are written in hexadecimal.
const UTF8: u8 = 0x0c;
const PRINTABLE: u8 = 0x13;
const TELETEX: u8 = 0x14;
const IA5: u8 = 0x16;
const GENERAL: u8 = 0x1b;
const BMP: u8 = 0x1e;

/// The name's text, most specific part first.
pub(super) fn text(name: &[u8]) -> Result<String, NotDer> {
    let mut parts = Der::new(name).inside(SEQUENCE)?;
    let mut texts = Vec::new();
    while !parts.is_empty() {
        texts.push(part(parts.inside(SET)?)?);
    }
    texts.reverse();
    Ok(texts.join(","))
}

/// The most specific common name in it, if there is one that is text.
pub(super) fn common(name: &[u8]) -> Result<Option<String>, NotDer> {
    let mut parts = Der::new(name).inside(SEQUENCE)?;
    let mut common = None;
    while !parts.is_empty() {
        let mut attributes = parts.inside(SET)?;
        while !attributes.is_empty() {
            let mut attribute = attributes.inside(SEQUENCE)?;
            let kind = attribute.expect(OID)?.body;
            let value = attribute.next()?;
            if keyword(kind) == Some("CN") {
                common = string(value.tag, value.body);
            }
        }
    }
    Ok(common)
}

/// One part, which may have several attributes.
fn part(mut attributes: Der<'_>) -> Result<String, NotDer> {
    let mut texts = Vec::new();
    while !attributes.is_empty() {
        let mut attribute = attributes.inside(SEQUENCE)?;
        let kind = attribute.expect(OID)?.body;
        let value = attribute.next()?;
        let known = keyword(kind);
        let string = match known {
            Some(_) => string(value.tag, value.body),
            None => None,
        };
        let mut text = known.map_or_else(|| dotted(kind), str::to_owned);
        text.push('=');
        if let Some(string) = string {
            text.push_str(&escaped(&string));
        } else {
            text.push('#');
            for byte in value.whole {
                write!(text, "{byte:02x}").map_err(|_| NotDer)?;
            }
        }
        texts.push(text);
    }
    Ok(texts.join("+"))
}

/// The kinds that RFC 2253 has a word for.
const fn keyword(kind: &[u8]) -> Option<&'static str> {
    Some(match kind {
        [0x55, 4, 3] => "CN",
        [0x55, 4, 6] => "C",
        [0x55, 4, 7] => "L",
        [0x55, 4, 8] => "ST",
        [0x55, 4, 9] => "STREET",
        [0x55, 4, 10] => "O",
        [0x55, 4, 11] => "OU",
        [0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 1] => "UID",
        [0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25] => "DC",
        _ => return None,
    })
}

/// An object identifier in digits.
fn dotted(kind: &[u8]) -> String {
    let mut numbers = Vec::new();
    let mut number = 0_u64;
    for &byte in kind {
        number = number << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            if numbers.is_empty() {
                let first = (number / 40).min(2);
                numbers.push(first.to_string());
                number -= first * 40;
            }
            numbers.push(number.to_string());
            number = 0;
        }
    }
    numbers.join(".")
}

fn string(tag: u8, body: &[u8]) -> Option<String> {
    match tag {
        UTF8 | PRINTABLE | IA5 | GENERAL => String::from_utf8(body.to_vec()).ok(),
        // Java takes it for ISO 8859-1.
        TELETEX => Some(body.iter().copied().map(char::from).collect()),
        BMP => {
            let (pairs, _) = body.as_chunks::<2>();
            let units = pairs.iter().map(|pair| u16::from_be_bytes(*pair));
            String::from_utf16(&units.collect::<Vec<_>>()).ok()
        },
        _ => None,
    }
}

/// What means something in such a text stands after a backslash; so do blanks at both ends.
fn escaped(value: &str) -> String {
    const BLANKS: [char; 2] = [' ', '\r'];
    let first = value.len() - value.trim_start_matches(BLANKS).len();
    let last = value.trim_end_matches(BLANKS).len();
    let mut text = String::with_capacity(value.len());
    for (at, letter) in value.char_indices() {
        let is_special = match letter {
            ',' | '=' | '+' | '<' | '>' | '#' | ';' | '"' | '\\' => true,
            _ => at < first || at >= last,
        };
        if is_special {
            text.push('\\');
        }
        match letter {
            '\0' => text.push_str("\\00"),
            _ => text.push(letter),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn item(tag: u8, body: &[u8]) -> Vec<u8> {
        let length = u8::try_from(body.len()).expect("short");
        [&[tag, length], body].concat()
    }

    fn attribute(kind: &[u8], tag: u8, value: &[u8]) -> Vec<u8> {
        item(SEQUENCE, &[item(OID, kind), item(tag, value)].concat())
    }

    fn name(parts: &[&[Vec<u8>]]) -> String {
        let parts = parts.iter().map(|part| item(SET, &part.concat()));
        let parts: Vec<Vec<u8>> = parts.collect();
        text(&item(SEQUENCE, &parts.concat())).expect("a name")
    }

    #[test]
    fn a_name_is_written_as_java_writes_it() {
        // What `X500Principal.getName` of OpenJDK 17 says to the same bytes.
        let country = attribute(&[0x55, 4, 6], PRINTABLE, b"DE");
        let unit = attribute(&[0x55, 4, 11], UTF8, b" R+D, \"us\"");
        let common = attribute(&[0x55, 4, 3], UTF8, "Zo\u{eb}#1 ".as_bytes());
        assert_eq!(
            name(&[&[country], &[unit, common]]),
            "OU=\\ R\\+D\\, \\\"us\\\"+CN=Zo\u{eb}\\#1\\ ,C=DE"
        );
        let mail = attribute(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1], IA5, b"a@b");
        assert_eq!(name(&[&[mail]]), "1.2.840.113549.1.9.1=#1603614062");
        let of = |tag, value: &[u8]| name(&[&[attribute(&[0x55, 4, 3], tag, value)]]);
        assert_eq!(of(BMP, &[0, b'#', 0x20, 0xac]), "CN=\\#\u{20ac}");
        assert_eq!(of(UTF8, b"a=b;c<d>e\\f"), "CN=a\\=b\\;c\\<d\\>e\\\\f");
        assert_eq!(of(UTF8, b"  x  y  "), "CN=\\ \\ x  y\\ \\ ");
        assert_eq!(of(UTF8, b"a\0b\nc\r"), "CN=a\\00b\nc\\\r");
        assert_eq!(of(UTF8, b"   "), "CN=\\ \\ \\ ");
        assert_eq!(of(GENERAL, b"gen"), "CN=gen");
        assert_eq!(of(0x02, b"\x05"), "CN=#020105");
        assert_eq!(of(0x1c, b"\0\0\0a"), "CN=#1c0400000061");
        assert_eq!(name(&[]), "");
    }

    #[test]
    fn the_common_name_is_the_last_one_that_is_text() {
        let part = |value: &[u8]| item(SET, &attribute(&[0x55, 4, 3], UTF8, value));
        let name = item(SEQUENCE, &[part(b"all"), part(b"host-1")].concat());
        assert_eq!(common(&name), Ok(Some("host-1".to_owned())));
        assert_eq!(common(&item(SEQUENCE, &[])), Ok(None));
    }

    #[test]
    fn object_identifiers_are_written_in_digits() {
        assert_eq!(dotted(&[0x55, 4, 5]), "2.5.4.5");
        assert_eq!(dotted(&[0x88, 0x37, 3]), "2.999.3");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            drop(text(&bytes));
            drop(common(&bytes));
            drop(dotted(&bytes));
        }
    }
}

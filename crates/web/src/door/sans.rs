//! The names a certificate is for: its subjectAltName extension (RFC 5280, 4.2.1.6), read from DER
//! (X.690). Only what leads there is looked at; whether the certificate is good was judged before.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const SEQUENCE: u8 = 0x30;
const OCTET_STRING: u8 = 0x04;
const OBJECT_IDENTIFIER: u8 = 0x06;
/// `[3]` of a TBSCertificate: its extensions.
const EXTENSIONS: u8 = 0xa3;
/// 2.5.29.17
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];
const RFC822_NAME: u8 = 0x81;
const DNS_NAME: u8 = 0x82;
const URI: u8 = 0x86;
const IP_ADDRESS: u8 = 0x87;

/// A name, as text; addresses in their shortest form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Name {
    Text(String),
    Address(IpAddr),
}

impl Name {
    /// Letter for letter, as exporter-toolkit compares; an address may be written in any way.
    pub(super) fn is(&self, allowed: &str) -> bool {
        match self {
            Name::Text(text) => text == allowed,
            Name::Address(address) => allowed.parse() == Ok(*address),
        }
    }
}

/// DNS names, mail addresses, URIs and IP addresses. `None` when it is no certificate; empty when
/// it has no such names.
pub(super) fn of(certificate: &[u8]) -> Option<Vec<Name>> {
    let (certificate, _) = expect(certificate, SEQUENCE)?;
    let (mut fields, _) = expect(certificate, SEQUENCE)?;
    while !fields.is_empty() {
        let (tag, content, rest) = element(fields)?;
        if tag == EXTENSIONS {
            let (extensions, _) = expect(content, SEQUENCE)?;
            return in_extensions(extensions);
        }
        fields = rest;
    }
    Some(Vec::new())
}

fn in_extensions(mut extensions: &[u8]) -> Option<Vec<Name>> {
    while !extensions.is_empty() {
        let (extension, rest) = expect(extensions, SEQUENCE)?;
        let (identifier, mut value) = expect(extension, OBJECT_IDENTIFIER)?;
        if identifier == SUBJECT_ALT_NAME {
            // Whether it is critical may stand between.
            loop {
                let (tag, content, after) = element(value)?;
                if tag == OCTET_STRING {
                    let (names, _) = expect(content, SEQUENCE)?;
                    return in_names(names);
                }
                value = after;
            }
        }
        extensions = rest;
    }
    Some(Vec::new())
}

fn in_names(mut names: &[u8]) -> Option<Vec<Name>> {
    let mut found = Vec::new();
    while !names.is_empty() {
        let (tag, content, rest) = element(names)?;
        let text = || str::from_utf8(content).ok().filter(|text| text.is_ascii());
        match tag {
            RFC822_NAME | DNS_NAME | URI => found.push(Name::Text(text()?.to_owned())),
            IP_ADDRESS => found.push(Name::Address(address(content)?)),
            _ => {}
        }
        names = rest;
    }
    Some(found)
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        return Some(Ipv4Addr::from(four).into());
    }
    <[u8; 16]>::try_from(bytes).ok().map(|sixteen| Ipv6Addr::from(sixteen).into())
}

/// The content of an element that must have this tag, and what follows it.
fn expect(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, content, rest) = element(bytes)?;
    (found == tag).then_some((content, rest))
}

/// Tag, content and what follows. Tags above 30 do not occur on the way.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = bytes.split_first()?;
    let (first, mut rest) = rest.split_first()?;
    let mut length = usize::from(*first);
    if *first >= 0x80 {
        let count = usize::from(first & 0x7f);
        // Four bytes of length are more than any certificate has.
        if count == 0 || count > 4 {
            return None;
        }
        let (digits, after) = rest.split_at_checked(count)?;
        length = digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit));
        rest = after;
    }
    let (content, rest) = rest.split_at_checked(length)?;
    Some((*tag, content, rest))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, SanType};

    use super::*;

    fn certificate(names: Vec<SanType>) -> Vec<u8> {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.subject_alt_names = names;
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn every_kind_of_name_is_found_in_its_order() {
        let names = of(&certificate(vec![
            SanType::DnsName("scraper.example".try_into().unwrap()),
            SanType::IpAddress("192.0.2.7".parse().unwrap()),
            SanType::IpAddress("2001:db8::7".parse().unwrap()),
            SanType::Rfc822Name("ana@example.org".try_into().unwrap()),
            SanType::URI("spiffe://example.org/scraper".try_into().unwrap()),
        ]))
        .unwrap();
        let text = |text: &str| Name::Text(text.to_owned());
        assert_eq!(
            names,
            [
                text("scraper.example"),
                Name::Address("192.0.2.7".parse().unwrap()),
                Name::Address("2001:db8::7".parse().unwrap()),
                text("ana@example.org"),
                text("spiffe://example.org/scraper"),
            ]
        );
        assert!(names[2].is("2001:0db8:0:0::7"));
        assert!(!names[1].is("192.0.2.70"));
        assert!(!names[0].is("Scraper.example"), "as exporter-toolkit: letter for letter");
    }

    #[test]
    fn without_the_extension_there_are_no_names() {
        assert_eq!(of(&certificate(Vec::new())), Some(Vec::new()));
    }

    #[test]
    fn a_cut_or_bent_certificate_is_never_a_panic() {
        let whole = certificate(vec![SanType::DnsName("scraper.example".try_into().unwrap())]);
        for end in 0..whole.len() {
            assert_eq!(of(&whole[..end]), None, "cut at {end}");
        }
        for at in 0..whole.len() {
            for byte in [0, 0x7f, 0x80, 0x84, 0xff] {
                let mut bent = whole.clone();
                bent[at] = byte;
                of(&bent);
            }
        }
    }
}

//! From when to when a certificate counts: as much of DER as leads there, and no more.

use std::{path::Path, time::SystemTime};

use jiff::civil::DateTime;
use tokio_rustls::rustls::pki_types::{CertificateDer, pem::PemObject};

/// Tags: a sequence, the version (which may be left out), and the two kinds of time.
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// Of the first certificate in a PEM file.
pub(super) fn validity(file: &Path) -> Option<(SystemTime, SystemTime)> {
    let first = CertificateDer::pem_file_iter(file).ok()?.next()?.ok()?;
    of_der(&first)
}

fn of_der(der: &[u8]) -> Option<(SystemTime, SystemTime)> {
    let (certificate, _) = sequence(der)?;
    let (signed, _) = sequence(certificate)?;
    let rest = match element(signed)? {
        (VERSION, _, rest) => rest,
        (_, _, _) => signed,
    };
    let (_, _, after_serial) = element(rest)?;
    let (_, after_algorithm) = sequence(after_serial)?;
    let (_, after_issuer) = sequence(after_algorithm)?;
    let (validity, _) = sequence(after_issuer)?;
    let (tag, from, rest) = element(validity)?;
    let (last_tag, until, _) = element(rest)?;
    Some((time(tag, from)?, time(last_tag, until)?))
}

/// One element: its tag, what is in it, and what follows.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, length], rest) = bytes.split_first_chunk::<2>()?;
    let (length, rest) = match length {
        short @ 0..0x80 => (usize::from(short), rest),
        long => {
            // So many bytes of length; a certificate is shorter than 16 MiB.
            let (length, rest) =
                rest.split_at_checked(usize::from(long & 0x7f)).filter(|(length, _)| length.len() <= 3)?;
            (length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), rest)
        }
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

fn sequence(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    element(bytes).filter(|(tag, _, _)| *tag == SEQUENCE).map(|(_, content, rest)| (content, rest))
}

/// Certificates tell UTC, to the second. The years of the short form are 1950 to 2049.
fn time(tag: u8, text: &[u8]) -> Option<SystemTime> {
    let text = str::from_utf8(text).ok()?;
    let long = match tag {
        UTC_TIME if text >= "50" => format!("19{text}"),
        UTC_TIME => format!("20{text}"),
        GENERALIZED_TIME => text.to_owned(),
        _ => return None,
    };
    let civil = DateTime::strptime("%Y%m%d%H%M%SZ", &long).ok()?;
    civil.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|zoned| SystemTime::from(zoned.timestamp()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_time_are_read() {
        let seconds = |tag, text: &str| {
            time(tag, text.as_bytes())?.duration_since(SystemTime::UNIX_EPOCH).ok().map(|since| since.as_secs())
        };
        assert_eq!(seconds(UTC_TIME, "700101000001Z"), Some(1));
        assert_eq!(
            seconds(GENERALIZED_TIME, "21261103002615Z"),
            seconds(UTC_TIME, "261103002615Z").map(|s| s + 3_155_673_600)
        );
        for bad in ["", "70", "700101000001", "701301000001Z"] {
            assert_eq!(seconds(UTC_TIME, bad), None, "{bad}");
        }
    }

    #[test]
    fn what_is_cut_is_no_certificate() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tls/server.pem");
        let der = CertificateDer::from_pem_file(&file).expect("a certificate");
        assert!(of_der(&der).is_some());
        (0..der.len()).for_each(|length| assert_eq!(of_der(&der[..length]), None, "{length}"));
    }
}

//! Asserts: every record and payment comes back as it was written, and is written the same again. Whatever the bytes,
//! reading them never panics; what is read from them takes no more bytes than they were (no length is believed), and
//! is itself read back the same.

use payonce::journal::{decode_payment, decode_record, encode_payment, encode_record};

use super::{choices::Choices, records};

/// Round trips, and bytes that nobody wrote.
pub fn codec(bytes: &[u8]) {
    let mut c = Choices(bytes);
    match c.below(5) {
        0 => round_trip(&mut c),
        1 => hostile_frame(c.0),
        2 => {
            let kind = c.byte();
            hostile_frame(&framed(kind, c.0));
        }
        3 => hostile_row(c.0),
        _ => patched(&mut c),
    }
}

fn round_trip(c: &mut Choices<'_>) {
    let record = records::record(c);
    let frame = encode_record(&record).expect("it is short");
    let read = decode_record(&frame);
    assert_eq!(read.as_ref(), Ok(&record));
    assert_eq!(encode_record(&record).as_ref(), Some(&frame));
    let payment = records::payment(c);
    let row = encode_payment(&payment);
    assert_eq!(decode_payment(&row), Ok(payment));
}

fn framed(kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short input");
    [length.to_le_bytes().as_slice(), &[kind, 1], payload].concat()
}

fn hostile_frame(frame: &[u8]) {
    let Ok(record) = decode_record(frame) else { return };
    let again = encode_record(&record).expect("what fits in a frame fits in it again");
    assert!(again.len() <= frame.len(), "{} bytes were read as a record of {}", frame.len(), again.len());
    assert_eq!(decode_record(&again), Ok(record));
}

fn hostile_row(row: &[u8]) {
    let Ok(payment) = decode_payment(row) else { return };
    let again = encode_payment(&payment);
    assert!(again.len() <= row.len(), "{} bytes were read as a payment of {}", row.len(), again.len());
    assert_eq!(decode_payment(&again), Ok(payment));
}

/// A record's frame, and a payment's row, with up to three bytes changed.
fn patched(c: &mut Choices<'_>) {
    let patches = [(c.word(), c.byte()), (c.word(), c.byte()), (c.word(), c.byte())];
    let patch = |mut bytes: Vec<u8>| {
        for (at, value) in patches {
            let length = bytes.len();
            bytes[at % length] = value;
        }
        bytes
    };
    hostile_frame(&patch(encode_record(&records::record(c)).expect("it is short")));
    hostile_row(&patch(encode_payment(&records::payment(c))));
}

//! Files as gateways write them, and as they should not.

use proptest::{collection::vec, prelude::*};

use super::*;

const KEY: &str = "00000000-0000-8000-8000-000000000001";

fn read_as(text: &str, columns: &[&str], kinds: &[&str], amounts: Amounts) -> Result<Vec<Line>, String> {
    let columns: Vec<Column> = columns.iter().map(|one| Column::parse(one).expect("a column")).collect();
    let kinds: Vec<Renamed> = kinds.iter().map(|one| kind(one).expect("a kind")).collect();
    let mut lines = Vec::new();
    let words = Words { columns: &columns, kinds: &kinds, amounts };
    rows(text.as_bytes(), &words, &mut |line| lines.push(line)).map(|()| lines)
}

fn read(text: &str) -> Result<Vec<Line>, String> {
    read_as(text, &[], &[], Amounts::Minor)
}

#[test]
fn columns_come_in_any_order_and_others_are_ignored() {
    let text = format!(
        "\u{feff}At,note,AMOUNT,currency,kind,operation_key,gateway_reference\r\n\
         1970-01-01T00:00:05Z,\"two, \"\"coffees\"\"\nand cake\",1050,usd,charge,{KEY},ch_1\r\n\
         \r\n,,7,JPY,dispute,,dp_1"
    );
    let lines = read(&text).expect("readable");
    let [charge, dispute] = &lines[..] else { panic!("{lines:?}") };
    assert_eq!(charge.operation_key.map(|key| key.to_string()).as_deref(), Some(KEY));
    assert_eq!((charge.place, charge.reference.as_deref(), charge.amount), (2, Some("ch_1"), 1050));
    assert_eq!((charge.currency.as_str(), charge.at.map(|at| at.as_millis())), ("USD", Some(5000)));
    assert_eq!(charge.kind, Some(LineKind::Ours(Kind::Charge)));
    assert_eq!((dispute.place, dispute.operation_key, dispute.at), (5, None, None));
    assert_eq!(dispute.kind, Some(LineKind::Theirs("dispute".to_owned())));
}

#[test]
fn foreign_names_are_mapped_and_a_mapped_column_has_to_be_there() {
    let text = "Id,Metadata,Amount,Currency,Type\nch_1,not ours,10.50,usd,payment\nre_1,,-1.00,usd,refund\n";
    let columns = ["gateway_reference=Id", "operation_key=metadata", "kind=Type"];
    let lines = read_as(text, &columns, &["payment=charge"], Amounts::Major).expect("readable");
    let found: Vec<_> = lines.iter().map(|line| (line.amount, line.kind.clone(), line.reference.as_deref())).collect();
    let (charge, refund) = (Some(LineKind::Ours(Kind::Charge)), Some(LineKind::Ours(Kind::Refund)));
    assert_eq!(found, [(1050, charge, Some("ch_1")), (100, refund, Some("re_1"))]);
    let why = read_as(text, &["gateway_reference=Id", "at=Created"], &[], Amounts::Major).expect_err("no such column");
    assert!(why.contains("Created") && why.contains("Id, Metadata, Amount"), "{why}");
}

#[test]
fn a_key_that_is_not_ours_is_shown_as_the_reference() {
    let lines = read("operation_key,amount,currency\ncart-17,1,USD\n").expect("readable");
    assert_eq!(
        lines.first().map(|line| (line.operation_key, line.reference.as_deref())),
        Some((None, Some("cart-17")))
    );
}

#[test]
fn what_cannot_be_read_is_named_with_its_line() {
    let head = "gateway_reference,kind,amount,currency,at";
    for (row, why) in [
        ("ch_1,charge,10.50,USD,", "line 2: amount \"10.50\" is no amount of a charge in USD in minor units; if"),
        ("ch_1,charge,-1050,USD,", "no amount of a charge"),
        ("ch_1,,-1050,USD,", "no amount of a movement"),
        ("ch_1,charge,,USD,", "no amount"),
        ("ch_1,charge,99999999999999999999,USD,", "no amount"),
        ("ch_1,charge,1050,DOLLARS,", "\"DOLLARS\" is no ISO 4217 currency"),
        ("ch_1,charge,1050,,", "no ISO 4217 currency"),
        ("ch_1,charge,1050,USD,yesterday", "\"yesterday\" is not an RFC 3339 time"),
        ("ch_1,charge,1050,USD", "line 2: 4 values under 5 columns"),
        ("ch_1,\"charge,1050,USD,", "line 2: a quote is never closed"),
        ("ch_1,ch\"ar\"ge,1050,USD,", "line 2: a quote is out of place"),
        ("ch_1,\"charge\"?,1050,USD,", "line 2: a quote is out of place"),
    ] {
        let found = read(&format!("{head}\n{row}\n")).expect_err(row);
        assert!(found.contains(why), "{row}: {found}");
    }
    for (text, why) in [
        ("", "it is empty"),
        ("amount,currency\n", "neither a column operation_key nor gateway_reference"),
        ("operation_key,currency\n", "is called amount"),
        ("operation_key,amount,currency,amount\n", "more than one, is called amount"),
    ] {
        let found = read(text).expect_err(text);
        assert!(found.contains(why), "{text}: {found}");
    }
    assert!(rows(&b"operation_key,amount,currency\n\xff,1,USD\n"[..], &plain_words(), &mut |_| ()).is_err());
}

const fn plain_words() -> Words<'static> {
    Words { columns: &[], kinds: &[], amounts: Amounts::Minor }
}

#[test]
fn a_quote_that_is_never_closed_does_not_take_in_the_rest_of_the_file() {
    let endless = format!("operation_key,amount,currency\n\"{}", "x,1,USD\n".repeat(200_000));
    let why = read(&endless).expect_err("too long");
    assert!(why.contains("line 2: the row is longer than"), "{why}");
}

#[test]
fn only_our_columns_and_kinds_can_be_mapped() {
    for text in ["", "at", "when=Created", "=Created"] {
        assert!(Column::parse(text).is_err(), "{text}");
    }
    for text in ["", "payment", "payment=sale", "payment="] {
        assert!(kind(text).is_err(), "{text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    /// Whatever is quoted as the RFC says is read as it was.
    #[test]
    fn what_was_quoted_is_read_back(table in vec(vec("[a-z,\"\r\n \u{e9}]{0,6}", 2..4), 1..5)) {
        let quoted = |value: &String| format!("\"{}\"", value.replace('"', "\"\""));
        let row = |row: &Vec<String>| row.iter().map(quoted).collect::<Vec<_>>().join(",");
        for end in ["\n", "\r\n"] {
            let text: String = table.iter().map(|one| row(one) + end).collect();
            let mut rows = Rows { file: text.as_bytes(), line: 0, text: Vec::new() };
            let mut read = Vec::new();
            while let Some((_, row)) = rows.next().expect("well quoted") {
                read.push(row);
            }
            prop_assert_eq!(&read, &table);
        }
    }

    /// And nothing that comes in makes it panic.
    #[test]
    fn any_bytes_are_rows_or_refused(bytes in vec(any::<u8>(), 0..200)) {
        let mut rows = Rows { file: &bytes[..], line: 0, text: Vec::new() };
        while let Ok(Some(_)) = rows.next() {}
    }
}

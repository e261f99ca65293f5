//! For any book: the statement that follows from it settles clean, and each single change of it is found and named.

#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use std::time::Duration;

use payonce::{
    Amount, Currency, PaymentId, Timestamp,
    payment::{Kind, OperationKey},
    settle::{Belief, Entry, Finding, Line, LineKind, Settlement, What, Window},
};
use proptest::{collection::vec, prelude::*, sample::select};

const HOUR: u64 = 3_600_000;

const fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis)
}

/// The second day, an hour sharp; the book was read on the tenth.
fn window() -> Window {
    let margin = Duration::from_secs(3600);
    Window { from: Some(at(24 * HOUR)), to: at(48 * HOUR), margin, as_of: at(240 * HOUR) }
}

/// Money moves whenever; the gateway's clock is off by less than the margin.
#[derive(Clone, Debug)]
struct Moved {
    entry: Entry,
    line: Line,
    /// How the statement tells which operation a line is about.
    by_reference: bool,
}

fn moved() -> impl Strategy<Value = Moved> {
    let kind = select(&[Kind::Charge, Kind::Capture, Kind::Refund, Kind::Authorize, Kind::Void][..]);
    let currency = select(&["USD", "JPY", "KWD"][..]);
    let times = (0..72 * HOUR, 0..HOUR / 2, 0..HOUR);
    (kind, 1..1_000_000u64, currency, times, any::<bool>(), any::<bool>()).prop_map(
        |(kind, amount, currency, (earliest, span, skew), by_reference, with_kind)| {
            let currency = Currency::new(currency).expect("a currency");
            let entry = Entry {
                payment: PaymentId::from_bytes([0; 16]),
                number: 0,
                kind,
                operation_key: OperationKey::from_bytes([0; 16]),
                amount: Amount::new(amount).expect("legal"),
                currency,
                belief: Belief::Moved,
                earliest: at(earliest),
                latest: at(earliest + span),
            };
            let moment = at((earliest + span / 2 + skew).saturating_sub(HOUR / 2));
            let line = Line {
                place: 0,
                operation_key: None,
                reference: None,
                kind: with_kind.then_some(LineKind::Ours(kind)),
                amount,
                currency,
                at: Some(moment),
            };
            Moved { entry, line, by_reference }
        },
    )
}

/// Gives each operation names of its own.
fn book() -> impl Strategy<Value = Vec<Moved>> {
    vec(moved(), 1..30).prop_map(|mut book| {
        for (number, moved) in (1u128..).zip(&mut book) {
            moved.entry.payment = PaymentId::from_bytes(number.to_be_bytes());
            moved.entry.operation_key = OperationKey::from_bytes(number.to_be_bytes());
            moved.line.place = u64::try_from(number).expect("few");
            moved.line.reference = Some(format!("ref_{number}"));
            moved.line.operation_key = (!moved.by_reference).then_some(moved.entry.operation_key);
        }
        book
    })
}

/// What the gateway would send for this window.
fn statement(book: &[Moved]) -> Vec<Line> {
    book.iter().map(|moved| moved.line.clone()).filter(|line| window().covers(line.at)).collect()
}

fn settle(book: &[Moved], lines: Vec<Line>) -> Vec<Finding> {
    let mut settlement = Settlement::new(window());
    for (number, moved) in (1..).zip(book) {
        settlement.enter(moved.entry, Some(&format!("ref_{number}")));
    }
    let mut found: Vec<Finding> = lines.into_iter().map(|line| settlement.compare(line)).collect();
    found.extend(settlement.finish());
    found
}

fn differences(found: &[Finding]) -> Vec<&Finding> {
    found.iter().filter(|finding| finding.what.is_difference()).collect()
}

const fn moves(kind: Kind) -> bool {
    matches!(kind, Kind::Charge | Kind::Capture | Kind::Refund)
}

/// The place in the statement of some line that moves money.
fn pick(book: &[Moved], lines: &[Line], luck: usize) -> Option<usize> {
    let of_money = |line: &Line| book.iter().any(|moved| moved.line.place == line.place && moves(moved.entry.kind));
    let places: Vec<usize> = (0..lines.len()).filter(|place| of_money(&lines[*place])).collect();
    (!places.is_empty()).then(|| places[luck % places.len()])
}

/// Changes one line, and looks for exactly this one finding.
fn one_change(
    book: &[Moved],
    luck: usize,
    what: What,
    change: impl FnOnce(&mut Vec<Line>, usize),
) -> Result<(), TestCaseError> {
    let mut lines = statement(book);
    let Some(place) = pick(book, &lines, luck) else { return Ok(()) };
    let number = lines[place].place;
    change(&mut lines, place);
    let found = settle(book, lines);
    let differences = differences(&found);
    prop_assert_eq!(differences.iter().map(|finding| finding.what).collect::<Vec<_>>(), vec![what]);
    let named = differences[0].ours.map(|ours| u128::from_be_bytes(*ours.payment.as_bytes()));
    prop_assert_eq!(named, Some(u128::from(number)), "{:?}", differences);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn a_statement_that_follows_from_the_book_settles_clean(book in book()) {
        let lines = statement(&book);
        let of_money = lines.iter().filter(|line| moves(book[usize::try_from(line.place).expect("few") - 1].entry.kind));
        let expected = of_money.count();
        let found = settle(&book, lines);
        prop_assert_eq!(differences(&found), Vec::<&Finding>::new());
        prop_assert_eq!(found.iter().filter(|finding| finding.what == What::Matched).count(), expected);
    }

    #[test]
    fn the_order_of_the_lines_does_not_matter(book in book()) {
        let mut lines = statement(&book);
        lines.reverse();
        let found = settle(&book, lines);
        prop_assert_eq!(differences(&found), Vec::<&Finding>::new());
    }

    /// A dropped line is missed exactly where it had to be there; at the edges it is told as that.
    #[test]
    fn a_line_that_is_dropped_is_missing_there(book in book(), luck in any::<usize>()) {
        let mut lines = statement(&book);
        let before = settle(&book, lines.clone());
        if let Some(place) = pick(&book, &lines, luck) {
            let dropped = lines.remove(place);
            let entry = book[usize::try_from(dropped.place).expect("few") - 1].entry;
            let sure = entry.earliest >= at(25 * HOUR) && entry.latest < at(47 * HOUR);
            let found = settle(&book, lines);
            let differences = differences(&found);
            prop_assert_eq!(differences.len(), usize::from(sure));
            let what = found.iter().find(|finding| finding.ours == Some(entry)).map(|finding| finding.what);
            if sure {
                prop_assert_eq!(what, Some(What::MissingThere));
            } else {
                prop_assert!(matches!(what, Some(What::TooEarly | What::TooRecent) | None), "{:?}", what);
            }
            prop_assert!(!before.iter().any(|finding| finding.what == What::MissingThere));
        }
    }

    #[test]
    fn a_line_that_is_there_twice_is_twice(book in book(), luck in any::<usize>()) {
        one_change(&book, luck, What::Twice, |lines, place| lines.push(lines[place].clone()))?;
    }

    #[test]
    fn another_amount_is_found(book in book(), luck in any::<usize>(), by in 1..1_000_000u64) {
        one_change(&book, luck, What::AmountDiffers, |lines, place| lines[place].amount += by)?;
    }

    #[test]
    fn another_currency_is_found(book in book(), luck in any::<usize>()) {
        let euro = Currency::new("EUR").expect("a currency");
        one_change(&book, luck, What::CurrencyDiffers, |lines, place| lines[place].currency = euro)?;
    }

    /// A movement of no operation of ours, whatever names it.
    #[test]
    fn a_line_that_is_added_is_missing_here(
        book in book(),
        moment in 24 * HOUR..48 * HOUR,
        kind in select(&["charge", "capture", "refund", "dispute"][..]),
        keyed in any::<bool>(),
    ) {
        let mut lines = statement(&book);
        lines.push(Line {
            place: 999,
            operation_key: keyed.then(|| OperationKey::from_bytes([0xff; 16])),
            reference: Some("made by hand".to_owned()),
            kind: Some(LineKind::parse(kind)),
            amount: 1,
            currency: Currency::new("USD").expect("a currency"),
            at: Some(at(moment)),
        });
        let found = settle(&book, lines);
        let differences = differences(&found);
        prop_assert_eq!(differences.len(), 1);
        prop_assert_eq!(differences[0].what, What::MissingHere);
        prop_assert_eq!(differences[0].line.as_ref().map(|line| line.place), Some(999));
    }

    /// By our key the kind can differ; by a reference another kind is another operation.
    #[test]
    fn another_kind_is_found(book in book(), luck in any::<usize>()) {
        let keyed: Vec<Moved> = book.into_iter().map(|moved| {
            let line = Line { operation_key: Some(moved.entry.operation_key), ..moved.line };
            Moved { line, ..moved }
        }).collect();
        one_change(&keyed, luck, What::KindDiffers, |lines, place| {
            lines[place].kind = Some(LineKind::Ours(Kind::Void));
        })?;
    }
}

//! The whole table: every kind of entry against every kind of line.

use std::time::Duration;

use super::*;
use crate::payment::{Amount, Currency, PaymentId, Timestamp};

const KINDS: [Kind; 5] = [Kind::Charge, Kind::Authorize, Kind::Capture, Kind::Void, Kind::Refund];
const BELIEFS: [Belief; 3] = [Belief::Moved, Belief::MayHaveMoved, Belief::DidNotMove];

const fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis)
}

/// From 1000 to 2000, give or take 100; the book was read at 5000.
fn window() -> Window {
    Window { from: Some(at(1000)), to: at(2000), margin: Duration::from_millis(100), as_of: at(5000) }
}

fn usd() -> Currency {
    Currency::new("USD").expect("a currency")
}

fn key(number: u8) -> OperationKey {
    OperationKey::from_bytes([number; 16])
}

fn entry(number: u8, kind: Kind, belief: Belief) -> Entry {
    Entry {
        payment: PaymentId::from_bytes([number; 16]),
        number: 0,
        kind,
        operation_key: key(number),
        amount: Amount::new(1050).expect("legal"),
        currency: usd(),
        belief,
        earliest: at(1400),
        latest: at(1500),
    }
}

fn line(number: u8, kind: Kind) -> Line {
    Line {
        place: 1,
        operation_key: Some(key(number)),
        reference: None,
        kind: Some(LineKind::Ours(kind)),
        amount: 1050,
        currency: usd(),
        at: Some(at(1450)),
    }
}

fn of(entry: Entry) -> Settlement {
    let mut settlement = Settlement::new(window());
    settlement.enter(entry, Some("ch_1"));
    settlement
}

/// What one entry and some lines come to.
fn settled(entry: Entry, lines: &[Line]) -> Vec<What> {
    let mut settlement = of(entry);
    let mut found: Vec<What> = lines.iter().map(|line| settlement.compare(line.clone()).what).collect();
    found.extend(settlement.finish().map(|finding| finding.what));
    found
}

#[test]
fn every_kind_and_belief_against_every_kind_of_line() {
    for (kind, belief) in KINDS.into_iter().flat_map(|kind| BELIEFS.map(|belief| (kind, belief))) {
        for said in KINDS {
            let expected = match (said == kind, moves(kind), belief) {
                (false, _, _) => What::KindDiffers,
                (true, false, _) => What::NoMovement,
                (true, true, Belief::Moved) => What::Matched,
                (true, true, Belief::MayHaveMoved) => What::UndecidedHere,
                (true, true, Belief::DidNotMove) => What::DeniedHere,
            };
            assert_eq!(settled(entry(1, kind, belief), &[line(1, said)]), [expected], "{kind:?} {belief:?} {said:?}");
        }
    }
}

#[test]
fn every_kind_and_belief_without_a_line() {
    for (kind, belief) in KINDS.into_iter().flat_map(|kind| BELIEFS.map(|belief| (kind, belief))) {
        let expected: &[What] = match (moves(kind), belief) {
            (true, Belief::Moved) => &[What::MissingThere],
            (true, Belief::MayHaveMoved) => &[What::Unconfirmed],
            (false, _) | (_, Belief::DidNotMove) => &[],
        };
        assert_eq!(settled(entry(1, kind, belief), &[]), expected, "{kind:?} {belief:?}");
    }
}

#[test]
fn every_kind_of_line_without_an_entry() {
    let other = entry(2, Kind::Charge, Belief::DidNotMove);
    for kind in KINDS {
        let expected = if moves(kind) { What::MissingHere } else { What::NoMovement };
        assert_eq!(settled(other, &[line(1, kind)]), [expected], "{kind:?}");
    }
    let theirs = Line { kind: Some(LineKind::parse("payout")), ..line(1, Kind::Charge) };
    assert_eq!(settled(other, &[theirs]), [What::MissingHere]);
}

#[test]
fn of_several_differences_the_first_counts_and_none_is_missing_besides() {
    let ours = entry(1, Kind::Charge, Belief::Moved);
    let right = line(1, Kind::Charge);
    let euros = Line { currency: Currency::new("EUR").expect("a currency"), amount: 1, ..right.clone() };
    for (line, what) in [
        (Line { amount: 1051, ..right.clone() }, What::AmountDiffers),
        (Line { amount: 0, ..right.clone() }, What::AmountDiffers),
        (euros.clone(), What::CurrencyDiffers),
        (Line { kind: Some(LineKind::Ours(Kind::Refund)), ..euros }, What::KindDiffers),
    ] {
        for belief in BELIEFS {
            assert_eq!(settled(Entry { belief, ..ours }, std::slice::from_ref(&line)), [what], "{line:?} {belief:?}");
        }
    }
    assert_eq!(settled(ours, &[right.clone(), right.clone(), right]), [What::Matched, What::Twice, What::Twice]);
}

#[test]
fn an_entry_that_no_line_is_about_is_missing_only_where_it_had_to_be() {
    for (earliest, latest, moved, doubt) in [
        (800, 899, None, None),
        (800, 900, Some(What::TooEarly), None),
        (1099, 1200, Some(What::TooEarly), Some(What::TooEarly)),
        (1100, 1200, Some(What::MissingThere), Some(What::Unconfirmed)),
        (1100, 1899, Some(What::MissingThere), Some(What::Unconfirmed)),
        (1100, 1900, Some(What::TooRecent), Some(What::Unconfirmed)),
        (1900, 1950, Some(What::TooRecent), Some(What::TooRecent)),
        (2100, 2100, None, None),
    ] {
        for (belief, expected) in [(Belief::Moved, moved), (Belief::MayHaveMoved, doubt)] {
            let entry = Entry { earliest: at(earliest), latest: at(latest), ..entry(1, Kind::Charge, belief) };
            assert_eq!(settled(entry, &[]), expected.into_iter().collect::<Vec<_>>(), "{entry:?}");
        }
    }
}

#[test]
fn a_known_line_matches_whatever_its_time_and_an_unknown_one_is_ours_to_explain_only_in_the_window() {
    let ours = entry(1, Kind::Charge, Belief::Moved);
    for (moment, unknown) in [
        (Some(999), What::Outside),
        (Some(1000), What::MissingHere),
        (Some(1999), What::MissingHere),
        (Some(2000), What::Outside),
        (None, What::MissingHere),
    ] {
        let at = moment.map(at);
        assert_eq!(settled(ours, &[Line { at, ..line(1, Kind::Charge) }]), [What::Matched], "{moment:?}");
        let found = settled(ours, &[Line { at, ..line(2, Kind::Charge) }]);
        assert_eq!(found, [unknown, What::MissingThere], "{moment:?}");
    }
}

#[test]
fn what_happens_while_the_book_is_read_is_no_difference() {
    let mut settlement = Settlement::new(Window { to: at(5000), ..window() });
    settlement.enter(Entry { earliest: at(4901), ..entry(1, Kind::Charge, Belief::MayHaveMoved) }, None);
    settlement.enter(Entry { earliest: at(4900), ..entry(2, Kind::Charge, Belief::MayHaveMoved) }, None);
    let mut found = |line| settlement.compare(line).what;
    assert_eq!(found(line(1, Kind::Charge)), What::TooRecent);
    assert_eq!(found(line(2, Kind::Charge)), What::UndecidedHere);
    assert_eq!(found(Line { at: Some(at(4901)), ..line(3, Kind::Charge) }), What::TooRecent);
    assert_eq!(found(Line { at: Some(at(4900)), ..line(3, Kind::Charge) }), What::MissingHere);
}

fn by_reference(reference: &str, kind: Option<&str>) -> Line {
    let kind = kind.map(LineKind::parse);
    Line { operation_key: None, reference: Some(reference.to_owned()), kind, ..line(9, Kind::Charge) }
}

#[test]
fn without_our_key_a_line_is_known_by_reference_and_kind() {
    let ours = entry(1, Kind::Charge, Belief::Moved);
    for kind in [Some("charge"), Some("CHARGE"), None] {
        assert_eq!(settled(ours, &[by_reference("ch_1", kind)]), [What::Matched], "{kind:?}");
    }
    let nameless = Line { reference: None, ..by_reference("", Some("charge")) };
    for unknown in [by_reference("ch_2", Some("charge")), by_reference("ch_2", None), nameless] {
        let finding = of(ours).compare(unknown);
        assert_eq!((finding.what, finding.ours), (What::MissingHere, None));
    }
    // Our own key goes before: a reference may be anything.
    let foreign = Line { reference: Some("ch_1".to_owned()), ..line(2, Kind::Charge) };
    assert_eq!(of(ours).compare(foreign).what, What::MissingHere);
}

#[test]
fn what_was_done_to_a_charge_behind_our_back_is_missing_here_and_says_to_which_payment() {
    let ours = entry(1, Kind::Charge, Belief::Moved);
    let dispute = Line { kind: Some(LineKind::parse("dispute")), ..line(1, Kind::Charge) };
    for line in [by_reference("ch_1", Some("refund")), by_reference("ch_1", Some("dispute")), dispute] {
        let mut settlement = of(ours);
        let finding = settlement.compare(line);
        assert_eq!((finding.what, finding.ours), (What::MissingHere, Some(ours)), "{finding:?}");
        assert!(finding.next().contains(&format!("payonce show {}", ours.payment)), "{}", finding.next());
        assert_eq!(settlement.finish().count(), 1, "the charge itself is still to come");
    }
}

#[test]
fn an_entry_of_the_same_key_takes_the_place_of_the_first() {
    let mut settlement = of(entry(1, Kind::Charge, Belief::MayHaveMoved));
    settlement.enter(entry(1, Kind::Charge, Belief::Moved), Some("ch_1"));
    assert_eq!((settlement.len(), settlement.is_empty()), (1, false));
    assert_eq!(settlement.compare(line(1, Kind::Charge)).what, What::Matched);
}

#[test]
fn every_finding_has_a_word_of_its_own_and_says_in_one_line_what_to_do() {
    let words: std::collections::BTreeSet<&str> = What::ALL.map(What::as_str).into_iter().collect();
    assert_eq!(words.len(), What::ALL.len());
    for what in What::ALL {
        let with = |line| Finding { what, ours: Some(entry(1, Kind::Charge, Belief::Moved)), line };
        for finding in [with(None), with(Some(line(1, Kind::Charge))), Finding { what, ours: None, line: None }] {
            assert!(!finding.next().contains('\n') && (finding.ours.is_none() || finding.next().len() > 20));
        }
    }
}

#[test]
fn the_command_that_ends_a_doubt_can_be_pasted_whatever_the_gateway_calls_it() {
    let ours = entry(1, Kind::Charge, Belief::MayHaveMoved);
    let next = |reference: &str| {
        of(ours).compare(Line { reference: Some(reference.to_owned()), ..line(1, Kind::Charge) }).next()
    };
    let command = format!(
        "payonce resolve {} --operation 0 --as succeeded --actor YOU --reason 'on the statement'",
        ours.payment
    );
    assert_eq!(next("ch_1"), format!("{command} --gateway-reference ch_1"));
    assert_eq!(next("; rm -rf ~"), command);
}

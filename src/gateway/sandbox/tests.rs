//! The ledger's promises: it acts once, it tells the truth, and it survives.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{book::Verdict, *};
use crate::payment::Kind;

/// A folder of one test's own, removed when it ends well.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("payonce-sandbox-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        Folder(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("sandbox.ledger")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn key(n: u8) -> OperationKey {
    OperationKey::from_bytes([n; 16])
}

fn asked(kind: Kind, n: u8, amount: u64, charge: Option<u8>) -> Instruction {
    Instruction {
        kind,
        operation_key: key(n),
        amount: Amount::new(amount).expect("legal"),
        currency: Currency::new("USD").expect("legal"),
        charge: charge.map(key),
        source: "acct alice".to_owned(),
        destination: "acct_bob".to_owned(),
    }
}

/// In one word: the verdict's status, its reason to decline, or why it was not even considered.
fn word(told: Told) -> &'static str {
    match told {
        Told::Decided { verdict: verdict @ (Verdict::Succeeded | Verdict::Pending { .. }), .. } => verdict.status(),
        Told::Decided { verdict: Verdict::Challenged { .. }, .. } => "challenged",
        Told::Decided { verdict: verdict @ Verdict::Declined(_), .. } => verdict.words().0,
        Told::Rejected { code, .. } => code,
        Told::Unwritable => "unwritable",
    }
}

fn counts(ledger: &mut Ledger, now: u64) -> (u64, u64, u64) {
    let Summary { operations, movements, moved_twice } = ledger.summary(at(now));
    (operations, movements, moved_twice)
}

#[test]
fn one_key_acts_once_and_answers_the_same() {
    let mut ledger = Ledger::in_memory();
    let charge = asked(Kind::Charge, 1, 100, None);
    let first = ledger.act(&charge, Manner::default(), at(1));
    assert_eq!(word(first), "succeeded");
    let declining = Manner { declines: true, ..Manner::default() };
    assert_eq!(ledger.act(&charge, declining, at(2)), first);
    assert_eq!(ledger.find(key(1), at(3)), Some(first));
    assert_eq!(word(ledger.act(&asked(Kind::Charge, 1, 101, None), Manner::default(), at(4))), "idempotency_conflict");
    assert_eq!(counts(&mut ledger, 5), (1, 1, 0));
}

/// So that an oracle that trusts the ledger can fail.
#[test]
fn a_forgotten_key_moves_money_twice_and_the_summary_says_so() {
    let mut ledger = Ledger::in_memory();
    let forgetting = Manner { forgets: true, ..Manner::default() };
    ledger.act(&asked(Kind::Charge, 1, 100, None), forgetting, at(1));
    assert_eq!(counts(&mut ledger, 1), (1, 1, 0));
    ledger.act(&asked(Kind::Charge, 1, 100, None), forgetting, at(2));
    assert_eq!(counts(&mut ledger, 2), (1, 2, 1));
    ledger.act(&asked(Kind::Charge, 1, 100, None), forgetting, at(3));
    assert_eq!(counts(&mut ledger, 3), (1, 3, 1));
}

#[test]
fn what_is_pending_moves_money_when_it_settles_and_not_before() {
    let mut ledger = Ledger::in_memory();
    let pending = Manner { settles_at: Some(at(50)), ..Manner::default() };
    assert_eq!(word(ledger.act(&asked(Kind::Charge, 1, 100, None), pending, at(10))), "pending");
    ledger.act(&asked(Kind::Charge, 2, 100, None), Manner::default(), at(20));
    assert_eq!(counts(&mut ledger, 49), (2, 1, 0));
    assert_eq!(ledger.find(key(1), at(49)).map(word), Some("pending"));
    assert_eq!(ledger.find(key(1), at(50)).map(word), Some("succeeded"));
    assert_eq!(counts(&mut ledger, 50), (2, 2, 0));
    let statement = ledger.statement(0, 9, at(50));
    let told: Vec<_> = statement.iter().map(|moved| (moved.number, moved.at, moved.operation_key)).collect();
    assert_eq!(told, [(1, at(20), key(2)), (2, at(50), key(1))]);
    assert_eq!(ledger.statement(1, 9, at(50)), statement[1..]);
    assert_eq!(ledger.statement(0, 1, at(50)), statement[..1]);
    assert_eq!(ledger.statement(2, 9, at(50)), []);
}

#[test]
fn what_is_hidden_is_denied_to_inquiries_only() {
    let mut ledger = Ledger::in_memory();
    let hidden = Manner { hidden_until: Some(at(50)), ..Manner::default() };
    ledger.act(&asked(Kind::Charge, 1, 100, None), hidden, at(10));
    assert_eq!(ledger.find(key(1), at(49)), None);
    assert_eq!(ledger.find(key(1), at(50)).map(word), Some("succeeded"));
    assert_eq!(word(ledger.act(&asked(Kind::Charge, 1, 100, None), Manner::default(), at(20))), "succeeded");
    assert_eq!(counts(&mut ledger, 20), (1, 1, 0));
}

#[test]
fn no_more_is_captured_or_refunded_than_there_is() {
    let mut ledger = Ledger::in_memory();
    let steps = [
        (asked(Kind::Authorize, 1, 100, None), "succeeded"),
        (asked(Kind::Refund, 2, 1, Some(1)), "amount_too_large"),
        (asked(Kind::Capture, 3, 101, Some(1)), "amount_too_large"),
        (asked(Kind::Capture, 4, 60, Some(1)), "succeeded"),
        (asked(Kind::Capture, 5, 41, Some(1)), "amount_too_large"),
        (asked(Kind::Void, 6, 40, Some(1)), "not_voidable"),
        (asked(Kind::Refund, 7, 50, Some(4)), "succeeded"),
        (asked(Kind::Refund, 8, 11, Some(1)), "amount_too_large"),
        (asked(Kind::Refund, 9, 10, Some(1)), "succeeded"),
        (asked(Kind::Authorize, 10, 100, None), "succeeded"),
        (asked(Kind::Void, 11, 100, Some(10)), "succeeded"),
        (asked(Kind::Void, 12, 100, Some(10)), "not_voidable"),
        (asked(Kind::Capture, 13, 100, Some(10)), "voided"),
        (asked(Kind::Charge, 14, 100, None), "succeeded"),
        (asked(Kind::Capture, 15, 1, Some(14)), "amount_too_large"),
        (asked(Kind::Void, 16, 100, Some(14)), "not_voidable"),
        (asked(Kind::Refund, 17, 100, Some(14)), "succeeded"),
        (asked(Kind::Refund, 18, 1, Some(14)), "amount_too_large"),
        (asked(Kind::Refund, 19, 1, Some(99)), "unknown_charge"),
        (asked(Kind::Refund, 20, 1, None), "unknown_charge"),
        (asked(Kind::Refund, 21, 1, Some(9)), "unknown_charge"),
        (asked(Kind::Capture, 24, 1, Some(11)), "unknown_charge"),
        (Instruction { source: "acct_declined_card".to_owned(), ..asked(Kind::Charge, 22, 1, None) }, "card_declined"),
        (asked(Kind::Refund, 23, 1, Some(22)), "invalid_charge"),
    ];
    for (step, expected) in steps {
        assert_eq!(word(ledger.act(&step, Manner::default(), at(1))), expected, "{step:?}");
    }
    // Two refunds under way cannot exceed it together.
    ledger.act(&asked(Kind::Charge, 30, 100, None), Manner::default(), at(1));
    let pending = Manner { settles_at: Some(at(50)), ..Manner::default() };
    assert_eq!(word(ledger.act(&asked(Kind::Refund, 31, 60, Some(30)), pending, at(1))), "pending");
    assert_eq!(word(ledger.act(&asked(Kind::Refund, 32, 60, Some(30)), pending, at(1))), "amount_too_large");
}

/// What waits, for time or for its payer.
fn waiting() -> [(Manner, &'static str); 2] {
    let plain = Manner::default();
    [
        (Manner { settles_at: Some(at(50)), ..plain }, "pending"),
        (Manner { challenged_until: Some(at(50)), ..plain }, "challenged"),
    ]
}

#[test]
fn a_void_ends_what_has_not_happened_yet_and_moves_nothing() {
    for (number, (manner, waits)) in waiting().into_iter().enumerate() {
        for kind in [Kind::Charge, Kind::Authorize] {
            let folder = Folder::new(&format!("void-{number}-{}", kind.as_str()));
            let mut ledger = Ledger::open(&folder.0).expect("opens");
            let act = |ledger: &mut Ledger, asked: &Instruction, manner, now| word(ledger.act(asked, manner, at(now)));
            assert_eq!(act(&mut ledger, &asked(kind, 1, 100, None), manner, 10), waits);
            let declining = Manner { declines: true, ..Manner::default() };
            assert_eq!(act(&mut ledger, &asked(Kind::Void, 2, 100, Some(1)), declining, 20), "card_declined");
            assert_eq!(ledger.find(key(1), at(20)).map(word), Some(waits), "a void that was declined ends nothing");
            let void = asked(Kind::Void, 3, 100, Some(1));
            assert_eq!(act(&mut ledger, &void, Manner::default(), 30), "succeeded");
            for reopened in [false, true] {
                if reopened {
                    drop(ledger);
                    ledger = Ledger::open(&folder.0).expect("opens again");
                }
                assert_eq!(ledger.find(key(1), at(90)).map(word), Some("voided"));
                assert_eq!(act(&mut ledger, &asked(kind, 1, 100, None), Manner::default(), 90), "voided");
                assert_eq!(act(&mut ledger, &void, Manner::default(), 90), "succeeded", "the same key again");
                assert_eq!(
                    act(&mut ledger, &asked(Kind::Void, 4, 100, Some(1)), Manner::default(), 90),
                    "invalid_charge"
                );
                assert_eq!(
                    act(&mut ledger, &asked(Kind::Capture, 5, 1, Some(1)), Manner::default(), 90),
                    "invalid_charge"
                );
                assert_eq!(ledger.answer(key(1), true, at(90)), None);
                assert_eq!(counts(&mut ledger, 90), (3, 0, 0), "nothing has moved, and nothing will");
            }
        }
    }
}

#[test]
fn a_void_that_is_pending_itself_ends_its_charge_at_once() {
    let mut ledger = Ledger::in_memory();
    let [(pending, _), _] = waiting();
    ledger.act(&asked(Kind::Charge, 1, 100, None), pending, at(10));
    let later = Manner { settles_at: Some(at(70)), ..Manner::default() };
    assert_eq!(word(ledger.act(&asked(Kind::Void, 2, 100, Some(1)), later, at(20))), "pending");
    assert_eq!(ledger.find(key(1), at(60)).map(word), Some("voided"));
    assert_eq!(ledger.find(key(2), at(70)).map(word), Some("succeeded"));
    assert_eq!(counts(&mut ledger, 70), (2, 0, 0));
}

#[test]
fn a_void_that_comes_after_what_was_pending_has_settled_finds_it_settled() {
    let mut ledger = Ledger::in_memory();
    let [(pending, _), _] = waiting();
    ledger.act(&asked(Kind::Authorize, 1, 100, None), pending, at(10));
    ledger.act(&asked(Kind::Charge, 2, 100, None), pending, at(10));
    assert_eq!(word(ledger.act(&asked(Kind::Void, 3, 100, Some(1)), Manner::default(), at(50))), "succeeded");
    assert_eq!(word(ledger.act(&asked(Kind::Void, 4, 100, Some(2)), Manner::default(), at(50))), "not_voidable");
    assert_eq!(counts(&mut ledger, 50), (4, 3, 0), "held, let go of, and charged");
}

#[test]
fn a_challenge_ends_as_its_payer_answers_or_when_nobody_does() {
    let folder = Folder::new("challenge");
    let mut ledger = Ledger::open(&folder.0).expect("opens");
    let [_, (challenged, _)] = waiting();
    for n in 1..=3 {
        assert_eq!(word(ledger.act(&asked(Kind::Charge, n, 100, None), challenged, at(10))), "challenged");
    }
    assert_eq!(counts(&mut ledger, 20), (3, 0, 0));
    assert_eq!(ledger.answer(key(1), true, at(20)).map(word), Some("succeeded"));
    assert_eq!(ledger.answer(key(2), false, at(20)).map(word), Some("challenge_failed"));
    assert_eq!((ledger.answer(key(1), false, at(21)), ledger.answer(key(9), true, at(21))), (None, None));
    assert_eq!(ledger.find(key(3), at(49)).map(word), Some("challenged"));
    drop(ledger);
    let mut ledger = Ledger::open(&folder.0).expect("opens again");
    for reopened in [false, true] {
        if reopened {
            drop(ledger);
            ledger = Ledger::open(&folder.0).expect("opens again");
        }
        let words: Vec<_> = (1..=3).map(|n| ledger.find(key(n), at(50)).map(word)).collect();
        assert_eq!(words, [Some("succeeded"), Some("challenge_failed"), Some("challenge_expired")]);
        assert_eq!(ledger.answer(key(3), true, at(50)), None, "too late");
        assert_eq!(counts(&mut ledger, 50), (3, 1, 0));
    }
}

/// Everything that a ledger can hold, in one.
fn eventful(folder: &Path) -> Ledger {
    let mut ledger = Ledger::open(folder).expect("opens");
    let plain = Manner::default();
    let pending = |until| Manner { settles_at: Some(at(until)), ..plain };
    ledger.act(&asked(Kind::Charge, 1, 100, None), plain, at(1));
    ledger.act(&asked(Kind::Charge, 2, 100, None), Manner { declines: true, ..plain }, at(2));
    ledger.act(&asked(Kind::Charge, 3, 100, None), pending(4), at(3));
    ledger.act(&asked(Kind::Charge, 4, 100, None), pending(1_000), at(5));
    ledger.act(&asked(Kind::Refund, 5, 60, Some(1)), plain, at(6));
    ledger.act(&asked(Kind::Charge, 6, 100, None), plain, at(7));
    ledger.act(&asked(Kind::Charge, 6, 100, None), Manner { forgets: true, ..plain }, at(8));
    ledger
}

#[test]
fn a_ledger_says_after_reopening_what_it_said_before() {
    let folder = Folder::new("reopen");
    let mut before = eventful(&folder.0);
    let account = before.account().to_owned();
    let told: Vec<_> = (1..=6).map(|n| before.find(key(n), at(10))).collect();
    let statement = before.statement(0, 99, at(10));
    assert_eq!(counts(&mut before, 10), (6, 5, 1));
    drop(before);

    let mut after = Ledger::open(&folder.0).expect("opens again");
    assert_eq!(after.account(), account);
    assert_eq!((1..=6).map(|n| after.find(key(n), at(10))).collect::<Vec<_>>(), told);
    assert_eq!(after.statement(0, 99, at(10)), statement);
    assert_eq!(word(after.act(&asked(Kind::Charge, 1, 100, None), Manner::default(), at(11))), "succeeded");
    assert_eq!(word(after.act(&asked(Kind::Charge, 2, 100, None), Manner::default(), at(11))), "card_declined");
    assert_eq!(word(after.act(&asked(Kind::Refund, 7, 41, Some(1)), Manner::default(), at(11))), "amount_too_large");
    assert_eq!(word(after.act(&asked(Kind::Charge, 1, 99, None), Manner::default(), at(11))), "idempotency_conflict");
    assert_eq!(counts(&mut after, 1_000), (7, 6, 1));
}

#[test]
fn a_torn_last_line_is_dropped_at_every_byte_and_the_ledger_goes_on() {
    let whole = Folder::new("whole");
    drop(eventful(&whole.0));
    let bytes = fs::read(whole.file()).expect("is there");
    let torn = Folder::new("torn");
    fs::create_dir_all(&torn.0).expect("made");
    for len in 0..bytes.len() {
        fs::write(torn.file(), &bytes[..len]).expect("written");
        let lines = bytes[..len].iter().filter(|byte| **byte == b'\n').count();
        let mut ledger = Ledger::open(&torn.0).unwrap_or_else(|why| panic!("cut at {len}: {why}"));
        let (before, _, _) = counts(&mut ledger, 4);
        assert!(lines > 1 || before == 0, "cut at {len}");
        ledger.act(&asked(Kind::Charge, 77, 5, None), Manner::default(), at(9));
        drop(ledger);
        let (after, _, _) = counts(&mut Ledger::open(&torn.0).expect("opens again"), 4);
        assert_eq!(after, before + 1, "cut at {len}");
    }
}

#[test]
fn a_damaged_line_refuses_to_open_and_is_named() {
    let folder = Folder::new("damaged");
    drop(eventful(&folder.0));
    let text = fs::read_to_string(folder.file()).expect("is there");
    for (damaged, line) in [
        (text.replacen("payonce-sandbox 1", "payonce-sandbox 2", 1), "line 1 "),
        (text.replacen("declined:card_declined", "declined:whatever", 1), "line 3 "),
        (text.replacen("settled", "moved", 1), "line 5 "),
    ] {
        fs::write(folder.file(), &damaged).expect("written");
        let refused = Ledger::open(&folder.0).map(|_| ()).expect_err(line).to_string();
        assert!(refused.contains(line) && refused.contains("sandbox.ledger"), "{refused}");
        assert_eq!(fs::read_to_string(folder.file()).expect("still there"), damaged);
    }
}

#[test]
fn a_ledger_is_open_only_once() {
    let folder = Folder::new("lock");
    let first = Ledger::open(&folder.0).expect("opens");
    assert!(Ledger::open(&folder.0).is_err());
    drop(first);
    assert!(Ledger::open(&folder.0).is_ok());
}

#[test]
fn sandboxes_have_accounts_of_their_own() {
    assert_ne!(Ledger::in_memory().account(), Ledger::in_memory().account());
}

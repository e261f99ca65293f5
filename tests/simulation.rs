//! Whole worlds from seeds: every promise, after every step.

use payonce::sim::{Options, Points, every_crash_point, run, scripts};

/// Seeds that once broke a promise, or showed a gateway that broke its contract, and with how many payments.
const REGRESSIONS: [(u64, u32); 5] = [(163, 30), (603, 100), (799, 100), (1612, 100), (3343, 100)];

#[test]
fn no_promise_is_broken_in_any_simulated_world() {
    let (mut crashes, mut elsewhere) = (0, 0);
    for (seed, payments) in REGRESSIONS.into_iter().chain((0..260).map(|seed| (seed, 30))) {
        let report = run(seed, Options { payments, ..Options::default() });
        assert_eq!(report.violation, None, "seed {seed}");
        crashes += report.crashes;
        elsewhere += report.elsewhere;
    }
    assert!(crashes > 150 && elsewhere > 150, "{crashes} crashes, {elsewhere} sendings to another gateway");
}

#[test]
fn the_same_seed_lives_the_same_world_twice() {
    for seed in 1_000..1_010 {
        let (one, two) = (run(seed, Options::default()), run(seed, Options::default()));
        assert_eq!((one.trace, one.events, one.sendings), (two.trace, two.events, two.sendings));
    }
}

/// Every second step here, chosen by chance; every one with `PAYONCE_POINTS_ONE_IN=1`, and by `payonce simulate --points`.
#[test]
fn no_promise_is_broken_at_any_crash_point() {
    let one_in = std::env::var("PAYONCE_POINTS_ONE_IN")
        .ok()
        .and_then(|said| said.parse().ok())
        .map_or(2, |said: u64| said.max(1));
    let (done, all) = std::sync::mpsc::channel();
    for script in 0..scripts() {
        let done = done.clone();
        std::thread::spawn(move || done.send(every_crash_point(script, 1, one_in)));
    }
    drop(done);
    // As they end: the first that breaks a promise is told at once.
    let mut points = Points::default();
    for one in all {
        points = points.plus(one);
        assert_eq!(points.violation, None);
    }
    assert!(points.points > 100_000, "{points:?}");
    assert!(points.refused > 0, "rot that is never seen was never there: {points:?}");
}

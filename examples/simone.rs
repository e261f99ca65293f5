//! scratch
use payonce::sim::{Options, run};
fn main() {
    let a: Vec<u64> = std::env::args().skip(1).map(|s| s.parse().unwrap()).collect();
    let (from, to, events, pays, tell) = (a[0], a[1], a[2], a[3], a[4]);
    for seed in from..to {
        let t = std::time::Instant::now();
        let r = run(
            seed,
            Options { payments: pays as u32, tell: tell > 0, events: if events == 0 { u64::MAX } else { events } },
        );
        if tell > 1 || (tell > 0 && r.violation.is_some()) {
            for l in &r.story {
                println!("{l}");
            }
        }
        println!(
            "seed {seed} {:?} events {} crashes {} rec {} sends {} inq {} settled {} parked {} steps {:?} days {:.1} {:?}",
            t.elapsed(),
            r.events,
            r.crashes,
            r.crashes_in_recovery,
            r.sendings,
            r.inquiries,
            r.settled,
            r.parked,
            r.checks,
            r.virtual_ms as f64 / 86400000.0,
            r.violation
        );
        if r.violation.is_some() {
            break;
        }
    }
}

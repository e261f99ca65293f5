//! Many decisions of one person, one by one.

use std::{
    collections::BTreeMap,
    io::{self, BufRead, IsTerminal, Write},
    process::ExitCode,
};

use serde_json::{Value, json};

use super::{
    ResolveArgs, path,
    wanted::{Open, find, of_payment},
};
use crate::{
    client::{Ask, Refusal, field},
    exit,
    output::{say, table},
};

/// What became of the decisions.
#[derive(Default)]
struct Done {
    resolved: Vec<Value>,
    refused: Vec<Value>,
}

/// Lists, asks, and decides.
pub(super) fn run(args: &ResolveArgs) -> ExitCode {
    let found = match find(args) {
        Ok(found) => found,
        Err(refusal) => return refusal.show(),
    };
    if !args.target.json {
        list(&found);
    }
    if args.dry_run || found.is_empty() {
        return tell(args, &found, &Done::default());
    }
    if !args.yes && !is_meant(args, found.len()) {
        eprintln!("payonce: nothing was decided: say yes, or --yes where nobody can be asked");
        return exit::usage();
    }
    tell(args, &found, &decide(args, &found))
}

fn list(found: &[Open]) {
    let row = |open: &Open| {
        let reason = open.reason.clone().unwrap_or_else(|| "-".to_owned());
        let amount = format!("{} {}", open.amount, open.currency);
        let operation = format!("{} {}", open.number, open.kind);
        vec![
            open.payment.clone(),
            operation,
            amount,
            open.state.clone(),
            reason,
            open.gateway.clone(),
            open.created_at.clone(),
        ]
    };
    if !found.is_empty() {
        let header = ["payment", "operation", "amount", "state", "reason", "gateway", "created"];
        table(&header, &found.iter().map(row).collect::<Vec<_>>());
        say("");
    }
    let mut sums: BTreeMap<&str, u128> = BTreeMap::new();
    for open in found {
        *sums.entry(&open.currency).or_default() += u128::from(open.amount);
    }
    let sums: Vec<String> = sums.iter().map(|(currency, sum)| format!(", {sum} {currency}")).collect();
    say(format_args!("{} operations{}", found.len(), sums.concat()));
}

/// Asks whoever sits at the terminal. Nobody there: no.
fn is_meant(args: &ResolveArgs, count: usize) -> bool {
    if !io::stdin().is_terminal() {
        return false;
    }
    eprint!("Record {count} times, for ever, that {} says `{}`? Type yes: ", args.actor, args.verdict.as_str());
    let mut line = String::new();
    let _ = io::stderr().flush();
    io::stdin().lock().read_line(&mut line).is_ok() && line.trim() == "yes"
}

fn decide(args: &ResolveArgs, found: &[Open]) -> Done {
    let mut done = Done::default();
    for open in found {
        let named = |more: (&str, &str)| json!({"payment": open.payment, "operation": open.number, more.0: more.1});
        match one(args, open) {
            Ok(state) => done.resolved.push(named(("state", &state))),
            Err(why) => {
                eprintln!("payonce: {} operation {}: {why}", open.payment, open.number);
                done.refused.push(named(("why", &why)));
            }
        }
    }
    done
}

/// Decides about one, if it still is what was listed. Where the payment stands then, or why not.
fn one(args: &ResolveArgs, open: &Open) -> Result<String, String> {
    let why = |refusal: Refusal| refusal.to_string();
    if !of_payment(&args.target, &open.payment).map_err(why)?.contains(open) {
        return Err("it has changed since it was listed, and was left alone".to_owned());
    }
    let told = args.target.ask(Ask::post(path(&open.payment), args.decision(Some(open.number)))).map_err(why)?;
    Ok(field(&told.value, "state").unwrap_or_default().to_owned())
}

fn tell(args: &ResolveArgs, found: &[Open], done: &Done) -> ExitCode {
    if args.target.json {
        let listed = found.iter().map(|open| {
            json!({
                "payment": open.payment, "operation": open.number, "kind": open.kind, "amount": open.amount,
                "currency": open.currency, "state": open.state, "park_reason": open.reason, "gateway": open.gateway,
                "created_at": open.created_at,
            })
        });
        say(json!({
            "dry_run": args.dry_run, "found": listed.collect::<Vec<_>>(), "resolved": done.resolved,
            "refused": done.refused,
        }));
    } else if args.dry_run {
        say(format_args!("nothing was done: without --dry-run each would be resolved as {}", args.verdict.as_str()));
    } else if !found.is_empty() {
        let (resolved, refused) = (done.resolved.len(), done.refused.len());
        say(format_args!("{resolved} resolved as {}, {refused} could not be", args.verdict.as_str()));
    }
    if done.refused.is_empty() { ExitCode::SUCCESS } else { exit::failed() }
}

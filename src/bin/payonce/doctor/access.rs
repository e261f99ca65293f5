//! Who is let in, and how: the API keys, the certificate and its key, and whether others on this machine can get at them.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    time::{Duration, SystemTime},
};

use payonce::config::Settings;

use super::{Check, certificate};

/// Enough to get a new one, holidays included.
const SOON: Duration = Duration::from_secs(14 * 24 * 3600);
const MEND: &str = "mend it: `payonce serve` refuses it too";
/// Others than the owner and the group, reading or writing; and writing, of anybody but the owner.
const READ_BY_OTHERS: u32 = 0o006;
const WRITTEN_BY_OTHERS: u32 = 0o022;

pub(super) fn look(settings: &Settings, checks: &mut Vec<Check>) {
    checks.push(keys(settings));
    if let Some(file) = &settings.keys_file {
        let advice = "chmod go-w: whoever writes it lets himself in";
        checks.extend(open_to(file, WRITTEN_BY_OTHERS, "keys file", advice));
    }
    match settings.tls() {
        Err(error) => checks.push(Check::problem("certificate", error.to_string(), MEND)),
        Ok(None) if settings.listen.ip().to_canonical().is_loopback() => {}
        Ok(None) => {
            let advice = "set tls_cert and tls_key, unless something in front of it ends TLS";
            checks.push(Check::warning("certificate", "none: what is said can be read on the way", advice));
        }
        Ok(Some(_)) => {
            checks.extend(settings.tls_cert.as_deref().map(|file| validity(file, SystemTime::now())));
            let open = settings.tls_key.as_deref().and_then(|file| {
                open_to(file, READ_BY_OTHERS, "certificate's key", "chmod o-rwx: whoever reads it can pose as it")
            });
            checks.extend(open);
        }
    }
}

fn keys(settings: &Settings) -> Check {
    let what = "callers";
    match settings.keys() {
        Err(error) => Check::problem(what, error.to_string(), MEND),
        Ok(Some(keys)) if keys.is_empty() => {
            Check::warning(what, "nobody: the file has no API key", "`payonce keys add` makes one")
        }
        Ok(Some(keys)) => Check::fine(what, format!("{} API keys", keys.len())),
        Ok(None) if settings.listen.ip().to_canonical().is_loopback() => {
            Check::fine(what, "whoever is on this machine: there are no API keys")
        }
        Ok(None) => {
            let found = format!("whoever can connect to {}: there are no API keys", settings.listen);
            Check::problem(
                what,
                found,
                "`payonce serve` refuses it, but for --insecure-no-keys: make keys, set keys_file",
            )
        }
    }
}

/// What others may do with a file that they should not.
fn open_to(file: &Path, mask: u32, what: &str, advice: &'static str) -> Option<Check> {
    let mode = fs::metadata(file).ok()?.permissions().mode() & 0o777;
    (mode & mask != 0).then(|| Check::warning(what, format!("{} (mode {mode:o})", file.display()), advice))
}

/// When the first certificate of a file, which is the one that is shown, counts.
fn validity(file: &Path, now: SystemTime) -> Check {
    let what = "certificate";
    let Some((from, until)) = certificate::validity(file) else {
        return Check::warning(what, "when it ends cannot be read", "look yourself: `openssl x509 -noout -dates`");
    };
    match (from.duration_since(now), until.duration_since(now)) {
        (Ok(wait), _) if !wait.is_zero() => Check::problem(
            what,
            format!("does not count for another {} h", wait.as_secs() / 3600 + 1),
            "check the clock, or get another",
        ),
        (_, Err(over)) => {
            let found = format!("ended {} days ago", over.duration().as_secs() / 86_400);
            Check::problem(
                what,
                found,
                "get a new one: callers refuse this one; it is read again when the file changes",
            )
        }
        (_, Ok(left)) => {
            let found = format!("counts for another {} days", left.as_secs() / 86_400);
            match left < SOON {
                true => Check::warning(what, found, "get a new one: it is read again when the file changes"),
                false => Check::fine(what, found),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Standing;

    #[test]
    fn a_certificate_is_warned_about_before_it_ends_and_a_problem_after() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tls/server.pem");
        let (from, until) = certificate::validity(&file).expect("a certificate");
        let day = Duration::from_secs(24 * 3600);
        for (now, standing) in [
            (from - day, Standing::Problem),
            (from + day, Standing::Fine),
            (until - 15 * day, Standing::Fine),
            (until - 13 * day, Standing::Warning),
            (until + day, Standing::Problem),
        ] {
            assert_eq!(validity(&file, now).standing, standing, "{now:?}");
        }
    }
}

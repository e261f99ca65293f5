//! API keys: who may do what, for whom. Of their secrets only hashes are held.

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

use sha2::{Digest, Sha256};

use super::rate::Bucket;
use crate::payment::Tenant;

/// What a secret begins with, so that people and scanners recognise it.
const PREFIX: &str = "payonce_";
/// How many random bytes follow it: nobody guesses 256 bits, so a fast hash of them is as good as a slow one.
const RANDOM: usize = 32;
/// The longest name of a key, in characters.
const MAX_NAME: usize = 64;

/// What a key may do. Each may do what those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Looks.
    ReadOnly,
    /// Pays, captures, voids and refunds.
    Caller,
    /// Also asks gateways, resolves by a person's word, and tries webhooks again.
    Operator,
}

impl Role {
    /// All of them, from the least on.
    pub const ALL: [Role; 3] = [Role::ReadOnly, Role::Caller, Role::Operator];

    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Role::ReadOnly => "read-only",
            Role::Caller => "caller",
            Role::Operator => "operator",
        }
    }

    /// Reads a role.
    pub fn parse(text: &str) -> Result<Role, String> {
        let named = Role::ALL.into_iter().find(|role| role.as_str() == text);
        named.ok_or_else(|| format!("must be read-only, caller or operator, not {text:?}"))
    }
}

/// Whose payments a key is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tenants {
    /// One tenant's. Nobody else's exist for it.
    One(Tenant),
    /// Everybody's, and the daemon's own numbers with them: for whoever runs it.
    All,
}

impl Tenants {
    /// Reads a tenant, or `*` for all.
    pub fn parse(text: &str) -> Result<Tenants, String> {
        match text {
            "*" => Ok(Tenants::All),
            one => Tenant::new(one).map(Tenants::One).map_err(|invalid| format!("{}, or \"*\" for all", invalid.why)),
        }
    }

    /// Whether a payment of this tenant is among them.
    pub(in crate::http) fn hold(&self, tenant: &Tenant) -> bool {
        match self {
            Tenants::One(one) => one == tenant,
            Tenants::All => true,
        }
    }
}

impl fmt::Display for Tenants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Tenants::One(tenant) => tenant.as_str(),
            Tenants::All => "*",
        })
    }
}

/// The SHA-256 of a secret.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SecretHash([u8; 32]);

impl SecretHash {
    /// Of a secret.
    pub fn of(secret: &str) -> SecretHash {
        SecretHash(Sha256::digest(secret.as_bytes()).into())
    }

    /// Reads 64 hexadecimal digits.
    pub fn parse(text: &str) -> Result<SecretHash, &'static str> {
        let wrong = "must be the 64 hexadecimal digits of a SHA-256";
        let digits: Option<Vec<u8>> =
            text.chars().map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
        let digits = digits.filter(|digits| digits.len() == 64).ok_or(wrong)?;
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = pair.iter().fold(0, |byte, digit| byte << 4 | digit);
        }
        Ok(SecretHash(bytes))
    }

    /// Takes as long wherever they differ.
    fn is(&self, other: &SecretHash) -> bool {
        let differs = self.0.iter().zip(&other.0).fold(0, |differs, (a, b)| black_box(differs | (a ^ b)));
        differs == 0
    }
}

impl fmt::Display for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHash(..)")
    }
}

/// Makes a secret. It is in no other place than what is returned.
pub fn mint() -> Result<String, String> {
    let mut random = [0; RANDOM];
    let source = tokio_rustls::rustls::crypto::ring::default_provider().secure_random;
    source.fill(&mut random).map_err(|_| "the system has no random bytes".to_owned())?;
    Ok(format!("{PREFIX}{}", base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, random)))
}

/// One key, without its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey {
    /// What people call it.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// For whom.
    pub tenants: Tenants,
    /// Of its secret.
    pub sha256: SecretHash,
    /// How many requests a second it may make; `None`: as many as the daemon's `rate_per_key` says.
    pub rate: Option<u32>,
}

impl ApiKey {
    /// What is wrong with it, if anything is.
    pub fn check(&self) -> Result<(), String> {
        let legal = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if self.name.is_empty() || self.name.len() > MAX_NAME || !self.name.chars().all(legal) {
            return Err("name must be 1 to 64 of letters, digits, '-', '_' and '.'".to_owned());
        }
        if self.role == Role::Caller && self.tenants == Tenants::All {
            return Err("a caller pays as one tenant: \"*\" is for operator and read-only".to_owned());
        }
        match self.rate {
            Some(0) => Err("rate must be a number of requests a second from 1 on".to_owned()),
            Some(_) | None => Ok(()),
        }
    }
}

/// All keys that are let in.
#[derive(Debug, Default)]
pub struct Keys {
    /// By the first half of the hash: which one it would be. Whether it is, the whole hash says.
    known: HashMap<[u8; 16], Arc<Known>>,
}

/// A key, and how much it has asked lately.
#[derive(Debug)]
pub(in crate::http) struct Known {
    pub(in crate::http) key: ApiKey,
    bucket: Option<Bucket>,
}

impl Keys {
    /// Of these, each with at most `rate` requests a second where it has no rate of its own.
    pub fn new(keys: Vec<ApiKey>, rate: Option<u32>) -> Result<Keys, String> {
        let mut known = HashMap::with_capacity(keys.len());
        let mut names = BTreeSet::new();
        let began = Instant::now();
        for key in keys {
            key.check().map_err(|why| format!("keys {}: {why}", key.name))?;
            if !names.insert(key.name.clone()) {
                return Err(format!("keys {}: there are two of this name", key.name));
            }
            let bucket = key.rate.or(rate).map(|rate| Bucket::new(rate, began));
            let (place, name) = (half(&key.sha256), key.name.clone());
            if known.insert(place, Arc::new(Known { key, bucket })).is_some() {
                return Err(format!("keys {name}: another key has the same secret"));
            }
        }
        Ok(Keys { known })
    }

    /// The key of a secret.
    pub(in crate::http) fn find(&self, secret: &str) -> Option<&Arc<Known>> {
        let hash = SecretHash::of(secret);
        self.known.get(&half(&hash)).filter(|known| known.key.sha256.is(&hash))
    }

    /// Whether a key that was let in still would be, for the same.
    pub(in crate::http) fn still_hold(&self, key: &ApiKey) -> bool {
        let now = self.known.get(&half(&key.sha256)).map(|known| &known.key);
        now.is_some_and(|now| now.sha256 == key.sha256 && now.role == key.role && now.tenants == key.tenants)
    }

    /// The tenants of which there are keys, and the one of before there were any.
    pub(in crate::http) fn tenants(&self) -> Vec<Tenant> {
        let mut tenants = vec![Tenant::default()];
        for known in self.known.values() {
            match &known.key.tenants {
                Tenants::One(tenant) if !tenants.contains(tenant) => tenants.push(tenant.clone()),
                Tenants::One(_) | Tenants::All => {}
            }
        }
        tenants
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether nobody is let in.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }
}

impl Known {
    /// Counts one request; how long to wait, if that is one too many.
    pub(in crate::http) fn count(&self) -> Result<(), Duration> {
        self.bucket.as_ref().map_or(Ok(()), |bucket| bucket.take(Instant::now()))
    }
}

fn half(hash: &SecretHash) -> [u8; 16] {
    let mut half = [0; 16];
    half.iter_mut().zip(&hash.0).for_each(|(to, from)| *to = *from);
    half
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str, secret: &str, tenants: &str) -> ApiKey {
        ApiKey {
            name: name.to_owned(),
            role: Role::Operator,
            tenants: Tenants::parse(tenants).expect("legal"),
            sha256: SecretHash::of(secret),
            rate: None,
        }
    }

    #[test]
    fn a_secret_is_found_by_its_hash_and_nothing_else_is() {
        let keys = Keys::new(vec![key("a", "s1", "shop"), key("b", "s2", "*")], None).expect("legal");
        assert_eq!(keys.find("s1").map(|known| known.key.name.as_str()), Some("a"));
        assert_eq!(keys.find("s2").map(|known| known.key.name.as_str()), Some("b"));
        for other in ["", "s", "s11", "S1", &SecretHash::of("s1").to_string()] {
            assert!(keys.find(other).is_none(), "{other}");
        }
        let names: Vec<String> = keys.tenants().iter().map(|tenant| tenant.as_str().to_owned()).collect();
        assert_eq!(names, ["default", "shop"]);
    }

    #[test]
    fn a_hash_that_agrees_in_its_first_half_only_lets_nobody_in() {
        let mut near = key("a", "s1", "shop");
        near.sha256.0[31] ^= 1;
        let keys = Keys::new(vec![near], None).expect("legal");
        assert!(keys.find("s1").is_none());
    }

    /// A hash, a look-up, and a comparison of 32 bytes: far from a turn of the disk, in a slow build too.
    #[test]
    fn a_key_is_found_in_microseconds_however_many_there_are() {
        let keys = Keys::new((0..1000).map(|n| key(&format!("k{n}"), &format!("s{n}"), "*")).collect(), None);
        let (keys, secret) = (keys.expect("legal"), mint().expect("random bytes"));
        let began = Instant::now();
        let found = (0..1000).filter(|_| keys.find("s999").is_some() && keys.find(&secret).is_none()).count();
        let each = began.elapsed() / 2000;
        assert!(found == 1000 && each < Duration::from_micros(500), "{each:?}");
    }

    #[test]
    fn minted_secrets_are_long_and_never_the_same() {
        let minted: BTreeSet<String> = (0..100).map(|_| mint().expect("random bytes")).collect();
        assert_eq!(minted.len(), 100);
        assert!(minted.iter().all(|secret| secret.starts_with(PREFIX) && secret.len() == PREFIX.len() + 43));
    }

    #[test]
    fn hashes_are_read_as_they_are_written() {
        let hash = SecretHash::of("s1");
        assert_eq!(SecretHash::parse(&hash.to_string()), Ok(hash));
        for wrong in ["", "00", &hash.to_string()[1..], &format!("{hash}0"), &format!("{hash}").replace('a', "g")] {
            assert!(SecretHash::parse(wrong).is_err(), "{wrong}");
        }
        assert_eq!(format!("{:?}", key("a", "s1", "*").sha256), "SecretHash(..)");
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let caller = ApiKey { role: Role::Caller, ..key("a", "s", "*") };
        let idle = ApiKey { rate: Some(0), ..key("a", "s", "*") };
        for wrong in [caller, idle, key("", "s", "*"), key("a b", "s", "*"), key(&"a".repeat(65), "s", "*")] {
            assert!(Keys::new(vec![wrong.clone()], None).is_err(), "{wrong:?}");
        }
        for (second, why) in [(key("a", "s2", "*"), "of this name"), (key("b", "s1", "*"), "the same secret")] {
            let refused = Keys::new(vec![key("a", "s1", "*"), second], None).expect_err(why);
            assert!(refused.contains(why), "{refused}");
        }
    }
}

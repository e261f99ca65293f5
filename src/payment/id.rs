//! Names. Each is a function of what the caller said, so that even after a lost disk we ask under the same name.

use std::{cmp::Ordering, fmt, sync::Arc};

use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::order::Invalid;

/// Separates the hashes of one purpose from those of another. Frozen: a change would make every payment a new one.
const PAYMENT_DOMAIN: &str = "payonce payment 1";
const OPERATION_DOMAIN: &str = "payonce operation 1";

/// Who a caller is: keys of different tenants never meet. Never changes once used.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tenant(Arc<str>);

impl Tenant {
    /// The longest tenant id, in characters: it is part of every payment's record.
    pub const MAX: usize = 64;

    /// 1 to 64 of `a-z`, `0-9`, `-` and `_`.
    pub fn new(name: &str) -> Result<Tenant, Invalid> {
        let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
        if name.is_empty() || name.len() > Tenant::MAX || !name.chars().all(legal) {
            return Err(Invalid::new("tenant", "must be 1 to 64 of a-z, 0-9, '-' and '_'"));
        }
        Ok(Tenant(name.into()))
    }

    /// The characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Tenant {
    fn default() -> Tenant {
        Tenant("default".into())
    }
}

/// The caller's name for a payment or an operation: 1 to 255 visible ASCII characters, compared exactly.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IdempotencyKey(Arc<str>);

impl IdempotencyKey {
    /// The longest key, in characters.
    pub const MAX: usize = 255;

    /// Checks length and characters.
    pub fn new(key: &str) -> Result<IdempotencyKey, Invalid> {
        if key.is_empty() || key.len() > IdempotencyKey::MAX || !key.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(Invalid::new("idempotency_key", "must be 1 to 255 visible ASCII characters"));
        }
        Ok(IdempotencyKey(key.into()))
    }

    /// The characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Keeps two installs apart that share one account at a gateway: it goes into every operation key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Namespace(Arc<str>);

impl Namespace {
    /// The longest namespace, in characters.
    pub const MAX: usize = 64;

    /// Up to 64 visible ASCII characters; empty is the default.
    pub fn new(name: &str) -> Result<Namespace, Invalid> {
        if name.len() > Namespace::MAX || !name.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(Invalid::new("namespace", "must be up to 64 visible ASCII characters"));
        }
        Ok(Namespace(name.into()))
    }

    /// The characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A payment's id: a UUIDv8 made of tenant and key.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PaymentId([u8; 16]);

/// The order of its bytes, compared as one number: it is looked up in memory many times a turn.
impl Ord for PaymentId {
    fn cmp(&self, other: &PaymentId) -> Ordering {
        u128::from_be_bytes(self.0).cmp(&u128::from_be_bytes(other.0))
    }
}

impl PartialOrd for PaymentId {
    fn partial_cmp(&self, other: &PaymentId) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PaymentId {
    /// SHA-256 over the length-prefixed domain, tenant and key. A key that is exactly a hyphenated UUIDv7 or an
    /// upper-case ULID lends its 48 leading bits, a time, so that payments made in order are stored in order.
    pub fn derive(tenant: &Tenant, key: &IdempotencyKey) -> PaymentId {
        let mut bytes = digest(&[PAYMENT_DOMAIN.as_bytes(), tenant.as_str().as_bytes(), key.as_str().as_bytes()]);
        if let Some(time) = uuid_v7_time(key.as_str()).or_else(|| ulid_time(key.as_str())) {
            bytes.iter_mut().zip(time).for_each(|(byte, t)| *byte = t);
        }
        PaymentId(version_8(bytes))
    }

    /// From its 16 bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> PaymentId {
        PaymentId(bytes)
    }

    /// Its 16 bytes: their order is the order of `list`.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Reads the hyphenated form.
    pub fn parse(text: &str) -> Option<PaymentId> {
        parse_hyphenated(text).map(PaymentId)
    }
}

impl fmt::Display for PaymentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Uuid::from_bytes(self.0).hyphenated().fmt(f)
    }
}

impl fmt::Debug for PaymentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// How many bytes of a payment's id its operations' keys begin with. What is left is 62 bits of hash, against the few
/// payments that share such a beginning.
const SHARED: usize = 8;

/// The idempotency key under which a gateway is asked for one operation. Never random, never an arrival number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OperationKey([u8; 16]);

impl OperationKey {
    /// Its first half is the payment id's, so that who is told of an operation finds its payment without an index; the
    /// second is SHA-256 over the length-prefixed domain, namespace, payment id, kind and the operation's own
    /// idempotency key.
    pub fn derive(
        namespace: &Namespace,
        payment: &PaymentId,
        kind: super::operation::Kind,
        key: &IdempotencyKey,
    ) -> OperationKey {
        let mut bytes = digest(&[
            OPERATION_DOMAIN.as_bytes(),
            namespace.as_str().as_bytes(),
            payment.as_bytes(),
            kind.as_str().as_bytes(),
            key.as_str().as_bytes(),
        ]);
        bytes.iter_mut().zip(payment.as_bytes()).take(SHARED).for_each(|(to, from)| *to = *from);
        OperationKey(version_8(bytes))
    }

    /// The least id that a payment with an operation of this key can have: all that share its first half follow it.
    pub fn first_candidate(&self) -> PaymentId {
        let mut bytes = [0; 16];
        bytes.iter_mut().zip(self.0).take(SHARED).for_each(|(to, from)| *to = from);
        PaymentId(bytes)
    }

    /// Whether a payment's id is one that an operation of this key can belong to.
    pub fn may_belong_to(&self, payment: &PaymentId) -> bool {
        self.0.iter().zip(payment.as_bytes()).take(SHARED).all(|(ours, its)| ours == its)
    }

    /// From its 16 bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> OperationKey {
        OperationKey(bytes)
    }

    /// Its 16 bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Reads the hyphenated form.
    pub fn parse(text: &str) -> Option<OperationKey> {
        parse_hyphenated(text).map(OperationKey)
    }
}

impl fmt::Display for OperationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Uuid::from_bytes(self.0).hyphenated().fmt(f)
    }
}

impl fmt::Debug for OperationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The first 16 bytes of SHA-256 over the parts, each behind its length (8 bytes, big-endian).
pub(super) fn digest(parts: &[&[u8]]) -> [u8; 16] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(part);
    }
    let mut short = [0; 16];
    short.iter_mut().zip(hash.finalize()).for_each(|(to, from)| *to = from);
    short
}

/// Sets the version (8) and variant bits of RFC 9562.
fn version_8(bytes: [u8; 16]) -> [u8; 16] {
    *uuid::Builder::from_custom_bytes(bytes).as_uuid().as_bytes()
}

fn parse_hyphenated(text: &str) -> Option<[u8; 16]> {
    let well_formed = text.len() == 36 && !text.bytes().any(|b| b.is_ascii_uppercase());
    well_formed.then(|| Uuid::try_parse(text).ok()).flatten().map(Uuid::into_bytes)
}

/// The 48 bits of time of a 36-character hyphenated UUIDv7, in either case.
fn uuid_v7_time(key: &str) -> Option<[u8; 6]> {
    let uuid = (key.len() == 36).then(|| Uuid::try_parse(key).ok()).flatten()?;
    let seven = uuid.get_version_num() == 7 && uuid.get_variant() == uuid::Variant::RFC4122;
    seven.then(|| uuid.as_bytes().first_chunk().copied()).flatten()
}

/// The 48 bits of time of a 26-character upper-case ULID: ten characters of Crockford's base 32, the first up to 7.
fn ulid_time(key: &str) -> Option<[u8; 6]> {
    const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    if key.len() != 26 || !key.starts_with(|first| ('0'..='7').contains(&first)) {
        return None;
    }
    let mut time = 0u64;
    for (place, byte) in key.bytes().enumerate() {
        let digit = ALPHABET.iter().position(|symbol| *symbol == byte)?;
        if place < 10 {
            time = (time << 5) | u64::try_from(digit).ok()?;
        }
    }
    time.to_be_bytes().last_chunk().copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payment::operation::Kind;

    fn id_of(key: &str) -> String {
        PaymentId::derive(&Tenant::default(), &IdempotencyKey::new(key).expect("a legal key")).to_string()
    }

    /// Golden vectors. If one changes, every payment ever made changes its name: money would move again.
    #[test]
    fn payment_ids_and_operation_keys_never_change() {
        assert_eq!(id_of("order-1234"), "c4d27dc8-fc8b-8dba-b307-ab7b907f7933");
        assert_eq!(id_of("01890a5d-ac96-774b-bcce-b302099a8057"), "01890a5d-ac96-84fa-b6e6-043421b4a969");
        assert_eq!(id_of("01H455VB4PEX5VSKNK084SN02Q"), "01890a5d-ac96-82b2-ab69-500e777e0f9b");
        let payment = PaymentId::from_bytes([7; 16]);
        let key = IdempotencyKey::new("order-1234").expect("a legal key");
        let charge = OperationKey::derive(&Namespace::default(), &payment, Kind::Charge, &key);
        assert_eq!(charge.to_string(), "07070707-0707-8707-8b80-9d9bd73b6931");
    }

    #[test]
    fn payments_are_in_the_order_of_their_bytes() {
        let ids =
            [[0; 16], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9], [1; 16], [0xff; 16]].map(PaymentId::from_bytes);
        assert!(ids.is_sorted());
        assert_eq!(ids[0].partial_cmp(&ids[1]), Some(Ordering::Less));
        assert_eq!(ids[3].partial_cmp(&ids[2]), Some(Ordering::Greater));
    }

    #[test]
    fn an_operation_may_belong_to_the_payments_whose_first_half_its_key_has() {
        let key = OperationKey::from_bytes([7; 16]);
        let with = |place: usize| {
            let mut bytes = [7; 16];
            bytes[place] = 8;
            PaymentId::from_bytes(bytes)
        };
        assert!(key.may_belong_to(&with(8)) && key.may_belong_to(&key.first_candidate()));
        assert!(!key.may_belong_to(&with(7)) && !key.may_belong_to(&with(0)));
    }

    #[test]
    fn keys_that_only_resemble_a_uuid_v7_or_a_ulid_lend_no_time() {
        for key in [
            "01890a5dac96774bbcceb302099a8057",
            "01890a5d-ac96-474b-bcce-b302099a8057",
            "{01890a5d-ac96-774b-bcce-b302099a805}",
            "01890a5d-ac96-774b-0cce-b302099a8057",
            "01h455vb4pex5vsknk084sn02q",
            "81H455VB4PEX5VSKNK084SN02Q",
            "01H455VB4PEX5VSKNK084SN02U",
            "01H455VB4PEX5VSKNK084SN02",
        ] {
            assert!(!id_of(key).starts_with("01890a5d-ac96"), "{key}");
        }
    }

    #[test]
    fn parts_that_join_to_the_same_characters_do_not_share_an_id() {
        let of = |tenant, key| {
            PaymentId::derive(&Tenant::new(tenant).expect("legal"), &IdempotencyKey::new(key).expect("legal"))
        };
        assert_ne!(of("ab", "c"), of("a", "bc"));
    }

    #[test]
    fn illegal_keys_are_refused() {
        let long = "k".repeat(256);
        for key in ["", " ", "a b", "caf\u{e9}", "tab\t", "\u{7f}", long.as_str()] {
            assert!(IdempotencyKey::new(key).is_err(), "{key:?}");
        }
        assert!(IdempotencyKey::new(&"k".repeat(255)).is_ok());
    }

    #[test]
    fn ids_are_read_back_from_exactly_what_they_are_shown_as() {
        let shown = "c4d27dc8-fc8b-8dba-b307-ab7b907f7933";
        let (payment, operation) = (PaymentId::parse(shown), OperationKey::parse(shown));
        assert_eq!(payment.map(|id| format!("{id} {id:?}")), Some(format!("{shown} {shown}")));
        assert_eq!(operation.map(|key| format!("{key} {key:?}")), Some(format!("{shown} {shown}")));
        for other in ["", "c4d27dc8fc8b8dbab307ab7b907f7933", &shown.to_uppercase(), &format!("{shown} ")] {
            assert_eq!((PaymentId::parse(other), OperationKey::parse(other)), (None, None), "{other:?}");
        }
    }

    #[test]
    fn everything_that_names_an_operation_changes_its_key() {
        let of = |namespace, payment, kind, key| {
            let key = IdempotencyKey::new(key).expect("legal");
            OperationKey::derive(&Namespace::new(namespace).expect("legal"), &PaymentId([payment; 16]), kind, &key)
        };
        let one = of("a", 7, Kind::Charge, "order-1");
        assert_eq!(one, of("a", 7, Kind::Charge, "order-1"));
        assert_ne!(one, of("b", 7, Kind::Charge, "order-1"));
        assert_ne!(one, of("a", 8, Kind::Charge, "order-1"));
        assert_ne!(one, of("a", 7, Kind::Authorize, "order-1"));
        assert_ne!(one, of("a", 7, Kind::Charge, "order-2"));
    }

    #[test]
    fn names_keep_their_characters_and_illegal_ones_are_refused() {
        assert_eq!(Tenant::new("shop_1-b").as_ref().map(Tenant::as_str), Ok("shop_1-b"));
        assert_eq!(Tenant::default().as_str(), "default");
        let long = "a".repeat(65);
        for name in ["", "Shop", "a b", "shop.1", "caf\u{e9}", long.as_str()] {
            assert!(Tenant::new(name).is_err(), "{name:?}");
        }
        assert!(Tenant::new(&long[1..]).is_ok() && Namespace::new(&long[1..]).is_ok());
        assert_eq!(Namespace::new("prod:eu").as_ref().map(Namespace::as_str), Ok("prod:eu"));
        assert_eq!(Namespace::default().as_str(), "");
        for name in ["a b", "caf\u{e9}", long.as_str()] {
            assert!(Namespace::new(name).is_err(), "{name:?}");
        }
        assert_eq!(IdempotencyKey::new("order-1234").expect("legal").to_string(), "order-1234");
    }
}

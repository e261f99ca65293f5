//! The list of keys, as text: no secret is in it. A line a key, its fields apart by tabs, and the CRC-32 of all before.
//!
//! ```text
//! payonce sealed 1
//! key <TAB> id <TAB> whose <TAB> number <TAB> check value
//! erased <TAB> id <TAB> whose <TAB> number <TAB> when, in ms <TAB> by whom <TAB> why
//! told   <TAB> the same, once the journal says so too
//! crc <TAB> of the bytes before this line
//! ```

use crate::payment::{Audit, Deed, Person, Timestamp};

use super::KeyId;

/// In place of a tenant, whose names have no such character: what is no tenant's.
pub(super) const NOBODY: &str = "*";

const FIRST: &str = "payonce sealed 1\n";

/// Every key there ever was, oldest first.
#[derive(Debug, Default, PartialEq)]
pub(super) struct List(pub(super) Vec<Listed>);

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Listed {
    pub(super) id: KeyId,
    pub(super) owner: String,
    /// Of this owner's keys, from 1.
    pub(super) number: u32,
    pub(super) fate: Fate,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Fate {
    InUse {
        check: [u8; 8],
    },
    /// `told`: the journal says so too.
    Erased {
        at: Timestamp,
        person: Person,
        told: bool,
    },
}

impl Listed {
    pub(super) fn is_erased(&self) -> bool {
        matches!(self.fate, Fate::Erased { .. })
    }

    /// As a deed, if it is an erasure that the journal does not tell of yet; or any, with `all`.
    pub(super) fn deed(&self, all: bool) -> Option<Audit> {
        let Fate::Erased { at, person, told } = &self.fate else { return None };
        if *told && !all {
            return None;
        }
        let deed = Deed::Erase { tenant: self.owner.clone() };
        Some(Audit { at: *at, key: None, person: person.clone(), deed, carried: false })
    }

    /// For people.
    pub(super) fn whose(&self) -> String {
        if self.owner == NOBODY { "what is no tenant's".to_owned() } else { format!("tenant {}", self.owner) }
    }

    fn parse(line: &str) -> Option<Listed> {
        let fields: Vec<&str> = line.split('\t').collect();
        let (fate, rest) = match fields.as_slice() {
            ["key", rest @ .., check] => (Fate::InUse { check: unhex(check)? }, rest),
            [word @ ("erased" | "told"), rest @ .., at, actor, reason] => {
                let told = *word == "told";
                let person = Person { actor: (*actor).to_owned(), reason: (*reason).to_owned() };
                (Fate::Erased { at: Timestamp::from_millis(at.parse().ok()?), person, told }, rest)
            }
            _ => return None,
        };
        let [id, owner, number] = rest else { return None };
        let (id, number) = (KeyId(unhex(id)?), number.parse().ok()?);
        (id == KeyId::of(owner, number)).then(|| Listed { id, owner: (*owner).to_owned(), number, fate })
    }

    fn to_line(&self) -> String {
        let Listed { id, owner, number, fate } = self;
        match fate {
            Fate::InUse { check } => format!("key\t{id}\t{owner}\t{number}\t{}\n", hex(check)),
            Fate::Erased { at, person, told } => {
                let word = if *told { "told" } else { "erased" };
                let (actor, reason) = (one_line(&person.actor), one_line(&person.reason));
                format!("{word}\t{id}\t{owner}\t{number}\t{}\t{actor}\t{reason}\n", at.as_millis())
            }
        }
    }
}

impl List {
    /// The number of the next key of an owner.
    pub(super) fn next_number(&self, owner: &str) -> u32 {
        let numbers = self.0.iter().filter(|listed| listed.owner == owner).map(|listed| listed.number);
        numbers.max().map_or(1, |last| last.saturating_add(1))
    }

    /// The newest key of an owner.
    pub(super) fn last_of_mut(&mut self, owner: &str) -> Option<&mut Listed> {
        self.0.iter_mut().rfind(|listed| listed.owner == owner)
    }

    pub(super) fn to_text(&self) -> String {
        let mut text = FIRST.to_owned();
        self.0.iter().for_each(|listed| text.push_str(&listed.to_line()));
        let crc = crc32fast::hash(text.as_bytes());
        text.push_str(&format!("crc\t{crc:08x}\n"));
        text
    }

    /// `None`: this is not what was written.
    pub(super) fn parse(bytes: &[u8]) -> Option<List> {
        let text = str::from_utf8(bytes).ok()?;
        let lines = text.strip_prefix(FIRST)?.split_inclusive('\n').filter(|line| !line.starts_with("crc\t"));
        let list = List(lines.map(|line| Listed::parse(line.strip_suffix('\n')?)).collect::<Option<_>>()?);
        (list.to_text() == text).then_some(list)
    }
}

/// What a person wrote, in one field of one line.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let bytes: Option<Vec<u8>> =
        pairs.iter().map(|pair| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok()).collect();
    if rest.is_empty() { bytes?.try_into().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list() -> List {
        let listed =
            |owner: &str, number, fate| Listed { id: KeyId::of(owner, number), owner: owner.to_owned(), number, fate };
        let person = Person { actor: "jo".to_owned(), reason: "the contract ended".to_owned() };
        List(vec![
            listed(NOBODY, 1, Fate::InUse { check: [0xab; 8] }),
            listed("shop", 1, Fate::Erased { at: Timestamp::from_millis(7), person, told: false }),
            listed("shop", 2, Fate::InUse { check: [1; 8] }),
        ])
    }

    /// Frozen, with the names of key files.
    #[test]
    fn the_list_is_text_that_is_read_back() {
        let text = list().to_text();
        assert_eq!(
            text,
            "payonce sealed 1\n\
             key\t0c1b00c4aaec81974d5a6965b30b4837\t*\t1\tabababababababab\n\
             erased\tf09c8e026e7d16954b79edc186d490b9\tshop\t1\t7\tjo\tthe contract ended\n\
             key\t75ac619453d2e32a54605146682b4ca1\tshop\t2\t0101010101010101\n\
             crc\t6319b083\n"
        );
        assert_eq!(List::parse(text.as_bytes()), Some(list()));
        assert_eq!(List::parse(List::default().to_text().as_bytes()), Some(List::default()));
        assert_eq!((list().next_number("shop"), list().next_number("other")), (3, 1));
    }

    #[test]
    fn a_list_with_any_byte_changed_or_missing_is_none() {
        let text = list().to_text().into_bytes();
        for place in 0..text.len() {
            let mut changed = text.clone();
            changed[place] ^= 1;
            assert_eq!(List::parse(&changed), None, "byte {place}");
            assert_eq!(List::parse(&text[..place]), None, "{place} bytes");
        }
    }

    #[test]
    fn what_a_person_wrote_stays_in_its_field() {
        let person = Person { actor: "a\tb".to_owned(), reason: "c\nerased".to_owned() };
        let fate = Fate::Erased { at: Timestamp::from_millis(7), person, told: false };
        let listed = Listed { id: KeyId::of("shop", 1), owner: "shop".to_owned(), number: 1, fate };
        let read = List::parse(List(vec![listed]).to_text().as_bytes()).expect("one line");
        let Fate::Erased { person, .. } = &read.0[0].fate else { panic!("erased") };
        assert_eq!((person.actor.as_str(), person.reason.as_str()), ("a b", "c erased"));
    }

    #[test]
    fn an_erasure_is_a_deed_until_it_is_told_and_any_is_where_all_are_asked_for() {
        let [in_use, mut erased, _] = list().0.try_into().expect("three");
        assert_eq!((in_use.deed(false), in_use.deed(true)), (None, None));
        let person = Person { actor: "jo".to_owned(), reason: "the contract ended".to_owned() };
        let deed = Deed::Erase { tenant: "shop".to_owned() };
        let deed = Some(Audit { at: Timestamp::from_millis(7), key: None, person, deed, carried: false });
        assert_eq!((erased.deed(false), erased.deed(true)), (deed.clone(), deed.clone()));
        if let Fate::Erased { told, .. } = &mut erased.fate {
            *told = true;
        }
        assert_eq!((erased.deed(false), erased.deed(true)), (None, deed));
    }

    #[test]
    fn people_are_told_whose_a_key_is() {
        let whose: Vec<String> = list().0.iter().map(Listed::whose).collect();
        assert_eq!(whose, ["what is no tenant's", "tenant shop", "tenant shop"]);
    }
}

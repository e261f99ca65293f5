//! Keys for personal data: one for each tenant, and one for what is no tenant's. What is sealed under a key is erased when
//! the key is destroyed, wherever copies of it are.
//!
//! `tenant-keys/` holds the keys, a file each, named by a hash of whose it is and of its number. `sealed`, beside it, holds
//! no secret: it lists every key there ever was, with a check value, or with who destroyed it and why. That file alone
//! decides: a key that is listed and not there, or is another one, is a reason not to start; only what is listed as erased
//! is erased. A key is durable, then listed durably, and only then used; it is listed as erased, durably, before it goes.
//!
//! Knows nothing of what is sealed.

#[cfg(feature = "erasure")]
mod cipher;

#[cfg(not(feature = "erasure"))]
#[path = "no_cipher.rs"]
mod cipher;

mod file;

mod list;

use std::{
    collections::BTreeMap,
    fmt, io,
    sync::{Arc, OnceLock, PoisonError, RwLock},
};

use sha2::{Digest, Sha256};

use crate::{
    disk::Disk,
    payment::{Audit, Person, Tenant, Timestamp},
};

use super::{OpenError, codec::Malformed, damage::is_full, level::says_sealed};
use cipher::Cipher;
use list::{Fate, List, Listed};

/// The folder of the keys, in the data folder. Back it up apart from the rest, or not at all: whoever has both can read.
pub const KEYS: &str = "tenant-keys";

/// The list of the keys, in the data folder.
pub const SEALED: &str = "sealed";

/// Frozen: key files are named by it.
const DOMAIN: &str = "payonce tenant key 1";

/// Which key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct KeyId(pub(super) [u8; 16]);

impl KeyId {
    fn of(owner: &str, number: u32) -> KeyId {
        let mut hash = Sha256::new();
        for part in [DOMAIN.as_bytes(), owner.as_bytes(), &number.to_le_bytes()] {
            hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_le_bytes());
            hash.update(part);
        }
        KeyId(hash.finalize().first_chunk().copied().unwrap_or_default())
    }

    fn path(self) -> String {
        format!("{KEYS}/{self}")
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A key in use.
pub(super) struct Key {
    pub(super) id: KeyId,
    cipher: Cipher,
}

impl Key {
    /// What it makes of a text, which can be opened only together with what it is bound to. The same again is the same:
    /// a store that is rebuilt equals the one that was.
    pub(super) fn close(&self, bound: &[u8], plain: &[u8]) -> ([u8; NONCE], Vec<u8>) {
        self.cipher.close(bound, plain)
    }
}

/// The bytes of a nonce.
pub(super) const NONCE: usize = 24;

/// The keys of a data folder in which personal data is sealed.
pub struct Seal {
    disk: Arc<dyn Disk>,
    /// Whether everything is taken as erased, because nobody asked for the keys.
    shut: bool,
    /// From which new keys are made, once a start has brought it.
    seed: OnceLock<[u8; 32]>,
    keys: RwLock<Keys>,
}

#[derive(Default)]
struct Keys {
    list: List,
    /// `None`: erased.
    known: BTreeMap<KeyId, Option<Arc<Key>>>,
    /// Whose key is in use.
    current: BTreeMap<String, Arc<Key>>,
    /// What failed in such a way that nobody knows what is durable.
    broken: Option<String>,
}

/// What an erasure did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Erased {
    /// The key is destroyed, and listed as erased.
    Now,
    /// It had been before, and no other has been made since.
    Before,
    /// There was none: nothing of this tenant was ever sealed.
    NothingSealed,
}

impl Seal {
    /// The keys of a folder, all of them there and right; `None` where nothing is sealed. Changes nothing.
    pub(super) fn read(disk: &Arc<dyn Disk>) -> Result<Option<Arc<Seal>>, OpenError> {
        Seal::read_without(disk, None)
    }

    /// The same, where the key of one tenant may be gone already: what is sealed under it is taken as erased.
    pub(super) fn read_without(disk: &Arc<dyn Disk>, gone: Option<&Tenant>) -> Result<Option<Arc<Seal>>, OpenError> {
        let keys = Keys::read(disk.as_ref(), gone)?;
        if keys.is_none() && says_sealed(disk)? {
            return Err(refused(format!("{SEALED} is not there")));
        }
        Ok(keys.map(|keys| Arc::new(Seal::of(disk, keys))))
    }

    fn of(disk: &Arc<dyn Disk>, keys: Keys) -> Seal {
        Seal { disk: Arc::clone(disk), shut: false, seed: OnceLock::new(), keys: RwLock::new(keys) }
    }

    /// Without any key, and never to be sealed with.
    pub(super) fn shut(disk: &Arc<dyn Disk>) -> Arc<Seal> {
        Arc::new(Seal { shut: true, ..Seal::of(disk, Keys::default()) })
    }

    /// Begins to seal, durably and for good.
    pub(super) fn begin(disk: &Arc<dyn Disk>) -> Result<Arc<Seal>, OpenError> {
        if Cipher::new(&[0; 32]).is_none() {
            return Err(OpenError::Sealed(NOT_BUILT.to_owned()));
        }
        let keys = Keys::default();
        keys.write(disk.as_ref()).map_err(OpenError::disk(format!("beginning {SEALED}")))?;
        Ok(Arc::new(Seal::of(disk, keys)))
    }

    /// Brings what new keys are made from, and destroys again what an erasure that was cut short left.
    pub(super) fn start(&self, seed: [u8; 32]) -> io::Result<()> {
        let _ = self.seed.set(seed);
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let mut erased = keys.list.0.iter().filter(|listed| listed.is_erased()).peekable();
        if erased.peek().is_none() {
            return Ok(());
        }
        erased.try_for_each(|listed| file::overwrite(self.disk.as_ref(), &listed.id.path()))?;
        sync_keys(self.disk.as_ref())
    }

    /// The key in use of a tenant, or of what is no tenant's. If there is none, one is made, and durable when this returns.
    pub(super) fn key_of(&self, owner: Option<&Tenant>) -> io::Result<Arc<Key>> {
        let owner = owner.map_or(list::NOBODY, Tenant::as_str);
        if let Some(key) = self.keys.read().unwrap_or_else(PoisonError::into_inner).current.get(owner) {
            return Ok(Arc::clone(key));
        }
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        match keys.current.get(owner) {
            Some(key) => Ok(Arc::clone(key)),
            None => self.make(&mut keys, owner),
        }
    }

    /// Whether a tenant, or what is no tenant's, has its key, or there was space to make one. What else may go wrong is told
    /// when it is used.
    pub fn has_room_for(&self, tenant: Option<&Tenant>) -> bool {
        self.key_of(tenant).err().is_none_or(|error| !is_full(&error))
    }

    fn make(&self, keys: &mut Keys, owner: &str) -> io::Result<Arc<Key>> {
        if self.shut {
            return Err(io::Error::other("this journal was opened to be looked at only"));
        }
        if let Some(why) = &keys.broken {
            return Err(io::Error::other(why.clone()));
        }
        let made = self.make_durable(keys, owner);
        if let Err(error) = &made
            && !is_full(error)
        {
            keys.broken = Some(format!("making a key in {KEYS} failed: {error}"));
        }
        made
    }

    fn make_durable(&self, keys: &mut Keys, owner: &str) -> io::Result<Arc<Key>> {
        let disk = self.disk.as_ref();
        let number = keys.list.next_number(owner);
        let id = KeyId::of(owner, number);
        let seed = self.seed.get().ok_or_else(|| io::Error::other("nothing to make a key from"))?;
        let secret = cipher::derive(seed, &id.0);
        disk.make_dir(KEYS)?;
        // Over one that is not listed, if there is one: a process that was killed in between has never used it.
        file::write(disk, &id.path(), &file::key_file(id, &secret))?;
        file::sync_names(disk, &[KEYS, ""])?;
        let cipher = Cipher::new(&secret).ok_or_else(|| io::Error::other(NOT_BUILT))?;
        let fate = Fate::InUse { check: cipher.check() };
        keys.list.0.push(Listed { id, owner: owner.to_owned(), number, fate });
        if let Err(error) = keys.write(disk) {
            keys.list.0.pop();
            return Err(error);
        }
        let key = Arc::new(Key { id, cipher });
        keys.known.insert(id, Some(Arc::clone(&key)));
        keys.current.insert(owner.to_owned(), Arc::clone(&key));
        Ok(key)
    }

    /// What was sealed; `None`: it was erased.
    pub(super) fn open(
        &self,
        id: KeyId,
        bound: &[u8],
        nonce: &[u8; NONCE],
        sealed: &[u8],
    ) -> Result<Option<Vec<u8>>, Malformed> {
        if self.shut {
            return Ok(None);
        }
        let Some(key) = self.known(id)? else { return Ok(None) };
        let opened = key.cipher.open(bound, nonce, sealed);
        let why = || Malformed(format!("personal data sealed under key {id} was changed: its seal is broken"));
        opened.map(Some).ok_or_else(why)
    }

    /// Listed meanwhile, if it is not known: the folder may be read beside the process that writes it.
    fn known(&self, id: KeyId) -> Result<Option<Arc<Key>>, Malformed> {
        let find = |keys: &Keys| keys.known.get(&id).cloned();
        if let Some(known) = find(&self.keys.read().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(known);
        }
        let read = Keys::read(self.disk.as_ref(), None).map_err(|error| Malformed(error.to_string()))?;
        let unlisted = || Malformed(format!("personal data is sealed under key {id}, which {SEALED} does not list"));
        read.as_ref().and_then(find).ok_or_else(unlisted)
    }

    /// The erasures that the journal does not tell of yet, as operators' deeds; or `all`, where this may be another journal
    /// than the one that was told.
    pub fn untold(&self, all: bool) -> Vec<Audit> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        keys.list.0.iter().filter_map(|listed| listed.deed(all)).collect()
    }

    /// The journal tells of all erasures now, durably.
    pub fn note_told(&self) -> io::Result<()> {
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        let untold = keys.list.0.iter_mut().filter_map(|listed| match &mut listed.fate {
            Fate::Erased { told, .. } if !*told => Some(told),
            Fate::Erased { .. } | Fate::InUse { .. } => None,
        });
        let noted = untold.map(|told| *told = true).count();
        if noted == 0 { Ok(()) } else { keys.write(self.disk.as_ref()) }
    }

    /// Destroys the key of a tenant, durably: what was sealed under it is erased. `at` and `person` are kept in the list.
    pub fn erase(&self, tenant: &Tenant, at: Timestamp, person: &Person) -> io::Result<Erased> {
        let disk = self.disk.as_ref();
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        let Some(listed) = keys.list.last_of_mut(tenant.as_str()) else { return Ok(Erased::NothingSealed) };
        let id = listed.id;
        if listed.is_erased() {
            return destroy(disk, id).map(|()| Erased::Before);
        }
        listed.fate = Fate::Erased { at, person: person.clone(), told: false };
        keys.write(disk)?;
        keys.known.insert(id, None);
        keys.current.remove(tenant.as_str());
        destroy(disk, id).map(|()| Erased::Now)
    }
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seal")
    }
}

impl Keys {
    fn read(disk: &dyn Disk, gone: Option<&Tenant>) -> Result<Option<Keys>, OpenError> {
        let reading = |path: &str| OpenError::disk(format!("reading {path}"));
        let Some(text) = file::read(disk, SEALED).map_err(reading(SEALED))? else {
            return match disk.list(KEYS) {
                // No key was ever made before there was a list.
                Ok(names) if !names.is_empty() => Err(refused(format!("there are keys in {KEYS}, and no {SEALED}"))),
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(reading(KEYS)(error)),
                Ok(_) | Err(_) => Ok(None),
            };
        };
        let list = List::parse(&text).ok_or_else(|| refused(format!("{SEALED} is damaged")))?;
        let mut keys = Keys::default();
        for listed in &list.0 {
            let Fate::InUse { check } = &listed.fate else {
                keys.known.insert(listed.id, None);
                continue;
            };
            let path = listed.id.path();
            let secret = file::read_key(disk, &path, listed.id).map_err(reading(&path))?;
            if secret.is_none() && gone.is_some_and(|gone| gone.as_str() == listed.owner) {
                keys.known.insert(listed.id, None);
                continue;
            }
            let whose = || format!("{path}, the key of {}", listed.whose());
            let secret = secret.ok_or_else(|| refused(format!("{} is not there", whose())))?;
            let cipher = Cipher::new(&secret).ok_or_else(|| OpenError::Sealed(NOT_BUILT.to_owned()))?;
            if cipher.check() != *check {
                return Err(refused(format!("{} is another one than was listed", whose())));
            }
            let key = Arc::new(Key { id: listed.id, cipher });
            keys.known.insert(listed.id, Some(Arc::clone(&key)));
            keys.current.insert(listed.owner.clone(), key);
        }
        keys.list = list;
        Ok(Some(keys))
    }

    fn write(&self, disk: &dyn Disk) -> io::Result<()> {
        file::write(disk, SEALED, self.list.to_text().as_bytes())?;
        file::sync_names(disk, &[""])
    }
}

const NOT_BUILT: &str = "personal data is sealed here, and this payonce was built without the feature `erasure`";

fn refused(why: String) -> OpenError {
    OpenError::Sealed(format!(
        "personal data is sealed here, and its keys are not as they should be: {why}. Nothing was changed. Bring {SEALED} \
         and {KEYS} back from where they are kept, both of one time. A key that is missing is not an erasure: only \
         `payonce erase` is, also of a tenant whose key is gone"
    ))
}

/// Overwritten before it is removed: on a disk that writes in place nothing is left of it.
fn destroy(disk: &dyn Disk, id: KeyId) -> io::Result<()> {
    file::overwrite(disk, &id.path())?;
    sync_keys(disk)
}

/// Also where nothing was there any more: a name may come back otherwise.
fn sync_keys(disk: &dyn Disk) -> io::Result<()> {
    match disk.sync_dir(KEYS) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        synced => synced,
    }
}

#[cfg(feature = "erasure")]
#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        disk::OsDisk,
        journal::samples::seal,
        sim::{Fault, SimDisk},
    };

    fn tenant(name: &str) -> Tenant {
        Tenant::new(name).expect("legal")
    }

    fn erase(seal: &Seal, name: &str) -> io::Result<Erased> {
        let person = Person { actor: "jo".to_owned(), reason: "the contract ended".to_owned() };
        seal.erase(&tenant(name), Timestamp::from_millis(5), &person)
    }

    /// A folder with the keys of two tenants.
    fn two() -> (Arc<SimDisk>, Arc<dyn Disk>, Arc<Seal>) {
        let sim = Arc::new(SimDisk::new());
        let disk: Arc<dyn Disk> = sim.clone();
        let seal = seal(&disk);
        for name in ["shop", "other"] {
            seal.key_of(Some(&tenant(name))).expect("space");
        }
        (sim, disk, seal)
    }

    fn read(disk: &Arc<dyn Disk>) -> Arc<Seal> {
        Seal::read(disk).expect("whole").expect("sealed")
    }

    #[test]
    fn erasures_are_untold_until_the_journal_is_noted_to_tell_of_them_and_that_is_written_once() {
        let (sim, disk, seal) = two();
        assert_eq!(erase(&seal, "shop").expect("a disk"), Erased::Now);
        assert_eq!((seal.untold(false).len(), seal.untold(true).len()), (1, 1));
        assert_eq!(read(&disk).untold(false), seal.untold(false));
        seal.note_told().expect("a disk");
        let steps = sim.steps();
        for seal in [&seal, &read(&disk)] {
            assert_eq!((seal.untold(false).len(), seal.untold(true).len()), (0, 1));
            seal.note_told().expect("nothing to do");
        }
        assert_eq!(sim.steps(), steps);
    }

    #[test]
    fn an_erasure_that_failed_at_any_step_is_not_said_to_be_done_and_can_be_repeated() {
        for step in 0.. {
            let (sim, disk, seal) = two();
            sim.fail_at(sim.steps() + step, Fault::Io);
            let erased = erase(&seal, "shop").is_ok();
            sim.make_space();
            let seal = Seal::read_without(&disk, Some(&tenant("shop"))).expect("readable").expect("sealed");
            erase(&seal, "shop").expect("a disk");
            assert_eq!(disk.list(KEYS).expect("there").len(), 1, "step {step}");
            if erased {
                assert!(step > 10, "a step less");
                break;
            }
        }
    }

    #[test]
    fn an_erased_key_whose_file_came_back_is_destroyed_again_by_a_start_and_by_whoever_asks() {
        let (_, disk, seal) = two();
        assert_eq!(erase(&seal, "shop").expect("a disk"), Erased::Now);
        let path = KeyId::of("shop", 1).path();
        let back = || file::write(disk.as_ref(), &path, &[7; 60]);
        let gone = || file::read(disk.as_ref(), &path).expect("a disk").is_none();
        back().expect("space");
        assert_eq!((erase(&seal, "shop").expect("a disk"), gone()), (Erased::Before, true));
        back().expect("space");
        read(&disk).start([42; 32]).expect("a disk");
        assert!(gone());
    }

    #[test]
    fn keys_without_their_list_are_refused() {
        let (_, disk, _) = two();
        disk.remove(SEALED).expect("there");
        let refused = Seal::read(&disk).expect_err("no list").to_string();
        assert!(refused.contains("there are keys in tenant-keys, and no sealed"), "{refused}");
    }

    #[test]
    fn a_key_that_is_missing_is_let_pass_for_its_own_tenant_only() {
        let (_, disk, _) = two();
        disk.remove(&KeyId::of("shop", 1).path()).expect("there");
        let read = |gone: Option<&str>| Seal::read_without(&disk, gone.map(tenant).as_ref());
        assert!(read(Some("shop")).is_ok());
        for gone in [Some("other"), None] {
            let refused = read(gone).expect_err("missing").to_string();
            assert!(refused.contains("the key of tenant shop is not there"), "{refused}");
        }
    }

    #[test]
    fn there_is_no_room_for_a_key_only_where_the_disk_is_full() {
        let (sim, _, seal) = two();
        sim.fail_at(sim.steps(), Fault::Full);
        assert!(seal.has_room_for(Some(&tenant("shop"))), "it has its key");
        assert!(!seal.has_room_for(None));
        sim.make_space();
        assert!(seal.has_room_for(None));
        sim.fail_at(sim.steps(), Fault::Io);
        assert!(seal.has_room_for(Some(&tenant("third"))), "what is wrong is told when it is used");
    }

    #[test]
    fn shut_everything_is_taken_as_erased_and_nothing_can_be_sealed() {
        let (sim, disk, seal) = two();
        let key = seal.key_of(None).expect("space");
        let (nonce, sealed) = key.close(b"place", b"alice");
        assert_eq!(seal.open(key.id, b"place", &nonce, &sealed).expect("whole").as_deref(), Some(&b"alice"[..]));
        let (shut, steps) = (Seal::shut(&disk), sim.steps());
        assert_eq!(shut.open(key.id, b"place", &nonce, &sealed), Ok(None));
        let refused = shut.key_of(None).err().expect("shut").to_string();
        assert!(refused.contains("to be looked at only"), "{refused}");
        assert_eq!(sim.steps(), steps);
    }

    #[test]
    fn a_folder_of_keys_that_is_not_there_holds_none_and_one_that_cannot_be_read_is_refused() {
        let root = std::env::temp_dir().join(format!("payonce-keys-folder-{}", std::process::id()));
        let disk: Arc<dyn Disk> = Arc::new(OsDisk::new(&root).expect("made"));
        assert!(Seal::read(&disk).expect("nothing is sealed").is_none());
        destroy(disk.as_ref(), KeyId::of("shop", 1)).expect("nothing is there to destroy");
        disk.create(KEYS).expect("space");
        let refused = Seal::read(&disk).expect_err("no folder").to_string();
        assert!(refused.contains("reading tenant-keys"), "{refused}");
        std::fs::remove_dir_all(&root).expect("ours");
    }
}

//! What survives the process, one file a receiver: `webhooks/NAME.state` in the data folder.
//!
//! ```text
//! 0   8  "payohook"
//! 8   4  format: 1                     (little endian)
//! 12  4  CRC32 of everything behind it (little endian)
//! 16     JSON: {"cursor":..,"waiting":[..],"dead":[..]}
//! ```
//!
//! Written whole: a new file, fsync, rename, fsync of the folder; so after any crash either the old or the new one is
//! there. A failed write changes nothing, and the next one starts with a new file. One that cannot be read is never
//! guessed at: what was delivered would be lost, or told again from the beginning.

use std::{fmt, io};

use serde::{Deserialize, Serialize};

use super::plan::{Failure, Kept, Letter, State};
use crate::{
    disk::{Access, Disk},
    payment::{PaymentId, Timestamp},
    runtime::Lsn,
};

const FOLDER: &str = "webhooks";
const MAGIC: &[u8; 8] = b"payohook";
const FORMAT: u32 = 1;

/// Why a state cannot be used.
#[derive(Debug)]
pub enum StateError {
    /// The disk says no.
    Disk(io::Error),
    /// The file is not what was written.
    Damaged {
        /// In the data folder.
        path: String,
        /// What is wrong.
        why: String,
    },
    /// More was delivered than the journal holds: it belongs to another journal, or to a later copy of this one.
    Ahead {
        /// How far it says that its receiver was told.
        cursor: Lsn,
        /// The journal's end.
        end: Lsn,
    },
}

impl fmt::Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StateError::Disk(error) => write!(f, "the state of a webhook cannot be read or written: {error}"),
            StateError::Ahead { cursor, end } => write!(
                f,
                "its state says that it was told up to record {cursor}, and the journal ends at {end}: they do not belong \
                 together. Bring the newer journal back; or remove its file in webhooks/, and the receiver is told from now \
                 on, or with from_start = true from the beginning"
            ),
            StateError::Damaged { path, why } => write!(
                f,
                "{path} is damaged ({why}): how far its receiver was told is not known. Put an undamaged copy back; or \
                 remove it, and the receiver is told from now on, or with from_start = true from the beginning"
            ),
        }
    }
}

impl std::error::Error for StateError {}

impl From<io::Error> for StateError {
    fn from(error: io::Error) -> StateError {
        StateError::Disk(error)
    }
}

fn path(name: &str) -> String {
    format!("{FOLDER}/{name}.state")
}

/// Reads a receiver's state. `None`: there is none yet.
pub(super) fn read(disk: &dyn Disk, name: &str) -> Result<Option<State>, StateError> {
    let path = path(name);
    let file = match disk.open(&path, Access::Read) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let bytes = read_whole(disk, file);
    disk.close(file);
    decode(&bytes?).map(Some).map_err(|why| StateError::Damaged { path, why })
}

fn read_whole(disk: &dyn Disk, file: crate::disk::Handle) -> io::Result<Vec<u8>> {
    let length = usize::try_from(disk.len(file)?).map_err(|_| io::Error::other("the file is too long"))?;
    let mut bytes = vec![0; length];
    let read = disk.read_at(file, 0, &mut bytes)?;
    bytes.truncate(read);
    Ok(bytes)
}

/// Writes a receiver's state. When this returns it survives the machine.
pub(super) fn write(disk: &dyn Disk, name: &str, state: &State) -> io::Result<()> {
    disk.make_dir(FOLDER)?;
    disk.sync_dir("")?;
    let (path, new) = (path(name), format!("{FOLDER}/{name}.tmp"));
    // What an earlier write has left half done.
    match disk.remove(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let file = disk.create(&new)?;
    let written = disk.write_at(file, 0, &encode(state)).and_then(|()| disk.sync_all(file));
    disk.close(file);
    written?;
    disk.rename(&new, &path)?;
    disk.sync_dir(FOLDER)
}

fn encode(state: &State) -> Vec<u8> {
    // Writing strings and numbers to memory cannot fail.
    let payload = serde_json::to_vec(&Written::from(state)).unwrap_or_default();
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&FORMAT.to_le_bytes());
    bytes.extend_from_slice(&crc32fast::hash(&payload).to_le_bytes());
    bytes.extend_from_slice(&payload);
    bytes
}

fn decode(bytes: &[u8]) -> Result<State, String> {
    let short = || "it is too short".to_owned();
    let (magic, rest) = bytes.split_first_chunk::<8>().ok_or_else(short)?;
    let (format, rest) = rest.split_first_chunk::<4>().ok_or_else(short)?;
    let (crc, payload) = rest.split_first_chunk::<4>().ok_or_else(short)?;
    if magic != MAGIC {
        return Err("it does not begin like one".to_owned());
    }
    match u32::from_le_bytes(*format) {
        FORMAT => {}
        other => return Err(format!("its format is {other}, and this version knows {FORMAT}")),
    }
    if u32::from_le_bytes(*crc) != crc32fast::hash(payload) {
        return Err("its checksum is wrong".to_owned());
    }
    let written: Written = serde_json::from_slice(payload).map_err(|error| error.to_string())?;
    State::try_from(written)
}

/// As written in format 1.
#[derive(Serialize, Deserialize)]
struct Written {
    cursor: u64,
    waiting: Vec<WrittenLetter>,
    dead: Vec<WrittenLetter>,
}

#[derive(Serialize, Deserialize)]
struct WrittenLetter {
    lsn: u64,
    payment: String,
    id: String,
    kind: String,
    body: String,
    failure: Option<WrittenFailure>,
}

#[derive(Serialize, Deserialize)]
struct WrittenFailure {
    times: u32,
    since: u64,
    why: String,
}

impl From<&State> for Written {
    fn from(state: &State) -> Written {
        let letters = |list: &[Kept]| list.iter().map(WrittenLetter::from).collect();
        Written { cursor: state.cursor.get(), waiting: letters(&state.waiting), dead: letters(&state.dead) }
    }
}

impl TryFrom<Written> for State {
    type Error = String;

    fn try_from(written: Written) -> Result<State, String> {
        let letters = |list: Vec<WrittenLetter>| list.into_iter().map(Kept::try_from).collect::<Result<_, _>>();
        Ok(State { cursor: Lsn::new(written.cursor), waiting: letters(written.waiting)?, dead: letters(written.dead)? })
    }
}

impl From<&Kept> for WrittenLetter {
    fn from(kept: &Kept) -> WrittenLetter {
        let Letter { lsn, payment, id, kind, body } = kept.letter.clone();
        let failure = kept.failure.as_ref().map(|failure| WrittenFailure {
            times: failure.times,
            since: failure.since.as_millis(),
            why: failure.why.clone(),
        });
        WrittenLetter { lsn: lsn.get(), payment: payment.to_string(), id, kind, body, failure }
    }
}

impl TryFrom<WrittenLetter> for Kept {
    type Error = String;

    fn try_from(written: WrittenLetter) -> Result<Kept, String> {
        let WrittenLetter { lsn, payment, id, kind, body, failure } = written;
        let payment = PaymentId::parse(&payment).ok_or_else(|| format!("{payment:?} is no payment's id"))?;
        let failure = failure.map(|WrittenFailure { times, since, why }| Failure {
            times,
            since: Timestamp::from_millis(since),
            why,
        });
        Ok(Kept { letter: Letter { lsn: Lsn::new(lsn), payment, id, kind, body }, failure })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::{Damage, Fault, Loss, Rng, SimDisk};

    fn kept(lsn: u64) -> Kept {
        let failure = lsn.is_multiple_of(2).then(|| Failure {
            times: 3,
            since: Timestamp::from_millis(9),
            why: "HTTP 500".to_owned(),
        });
        let letter = Letter {
            lsn: Lsn::new(lsn),
            payment: PaymentId::from_bytes([7; 16]),
            id: format!("evt_{lsn}"),
            kind: "payment.succeeded".to_owned(),
            body: "{\"a\":\"\u{e9}\"}".to_owned(),
        };
        Kept { letter, failure }
    }

    fn state(cursor: u64) -> State {
        State { cursor: Lsn::new(cursor), waiting: vec![kept(1), kept(2)], dead: vec![kept(4)] }
    }

    #[test]
    fn what_was_written_is_read() {
        let disk = SimDisk::new();
        assert_eq!(read(&disk, "shop").expect("readable"), None);
        write(&disk, "shop", &state(5)).expect("written");
        write(&disk, "shop", &state(6)).expect("written");
        assert_eq!(read(&disk, "shop").expect("readable"), Some(state(6)));
        assert_eq!(read(&disk, "other").expect("readable"), None);
    }

    #[test]
    fn every_damaged_bit_and_every_cut_is_refused_by_name() {
        let whole = encode(&state(5));
        for bit in 0..whole.len() * 8 {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&bytes).is_err(), "bit {bit}");
        }
        for length in 0..whole.len() {
            assert!(decode(&whole[..length]).is_err(), "{length} bytes");
        }
        let disk = SimDisk::new();
        let file = disk.create("webhooks/shop.state").expect("created");
        disk.write_at(file, 0, b"payohook, but no more").expect("written");
        let error = read(&disk, "shop").expect_err("damaged").to_string();
        assert!(error.starts_with("webhooks/shop.state is damaged"), "{error}");
    }

    #[test]
    fn after_a_crash_at_any_step_of_a_write_the_old_or_the_new_one_is_there() {
        let start = SimDisk::new();
        write(&start, "shop", &state(5)).expect("written");
        let whole = start.fork();
        let before = whole.steps();
        write(&whole, "shop", &state(6)).expect("written");
        let steps = whole.steps() - before;
        assert!(steps >= 5, "a file, bytes, two fsyncs and a name: {steps}");
        let mut found = [0, 0];
        let losses: Vec<Loss> = Damage::ALL.into_iter().map(Loss::Machine).chain([Loss::Process]).collect();
        for step in 0..=steps {
            for (seed, loss) in (0..8).flat_map(|seed| losses.iter().map(move |loss| (seed, *loss))) {
                let disk = start.fork();
                disk.fail_at(before + step, Fault::Stop);
                let written = write(&disk, "shop", &state(6));
                disk.crash(loss, &mut Rng::new(seed));
                let after = read(&disk, "shop").expect("readable").expect("there").cursor.get();
                assert!(after == 5 || after == 6, "step {step}: {after}");
                assert!(written.is_err() || after == 6, "step {step}: it was said to be written");
                found[usize::from(after == 6)] += 1;
                write(&disk, "shop", &state(7)).expect("what was left half done is no hindrance");
            }
        }
        assert!(found[0] > 0 && found[1] > 0, "both were seen: {found:?}");
    }
}

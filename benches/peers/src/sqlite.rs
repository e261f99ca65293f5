//! The table in SQLite. SQLite has one writer at a time, and a commit costs an fsync: so one thread writes, and all
//! steps that wait when it is free share its next commit.

use std::{path::Path, process, thread};

use rusqlite::{Connection, OptionalExtension, params};
use tokio::sync::{
    mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    oneshot,
};

use crate::{
    Failed, Options,
    once::{self, Begun, Table},
};

/// FULL: with WAL, a lower level leaves commits in memory until the next checkpoint.
const OPEN: &str = "PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    CREATE TABLE IF NOT EXISTS payments(key TEXT PRIMARY KEY, request TEXT NOT NULL, answer TEXT) WITHOUT ROWID;";
const BEGIN: &str = "INSERT INTO payments(key, request) VALUES (?1, ?2) ON CONFLICT(key) DO NOTHING";
const KNOWN: &str = "SELECT request, answer FROM payments WHERE key = ?1";
const FINISH: &str = "UPDATE payments SET answer = ?2 WHERE key = ?1";
/// More than this in one commit makes the first of them wait for longer, and saves nothing any more.
const LARGEST_COMMIT: usize = 1024;

enum Step {
    Begin { key: String, order: String, told: oneshot::Sender<Begun> },
    Finish { key: String, answer: String, told: oneshot::Sender<()> },
}

/// Who waits for a step, and what to say once it is durable.
enum Done {
    Begun(oneshot::Sender<Begun>, Begun),
    Finished(oneshot::Sender<()>),
}

impl Done {
    /// Nobody may be listening any more, and that is fine.
    fn tell(self) {
        match self {
            Self::Begun(told, begun) => drop(told.send(begun)),
            Self::Finished(told) => drop(told.send(())),
        }
    }
}

struct Writer(Connection);

impl Writer {
    fn open(path: &Path) -> rusqlite::Result<Self> {
        let database = Connection::open(path)?;
        database.execute_batch(OPEN)?;
        Ok(Self(database))
    }

    fn run(&self, mut steps: UnboundedReceiver<Step>) -> rusqlite::Result<()> {
        while let Some(first) = steps.blocking_recv() {
            let mut waiting = vec![first];
            while waiting.len() < LARGEST_COMMIT
                && let Ok(next) = steps.try_recv()
            {
                waiting.push(next);
            }
            self.commit(waiting)?.into_iter().for_each(Done::tell);
        }
        Ok(())
    }

    fn commit(&self, steps: Vec<Step>) -> rusqlite::Result<Vec<Done>> {
        self.0.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        let done = steps.into_iter().map(|step| self.apply(step)).collect::<rusqlite::Result<_>>()?;
        self.0.prepare_cached("COMMIT")?.execute([])?;
        Ok(done)
    }

    fn apply(&self, step: Step) -> rusqlite::Result<Done> {
        match step {
            Step::Begin { key, order, told } => Ok(Done::Begun(told, self.begin(&key, &order)?)),
            Step::Finish { key, answer, told } => {
                self.0.prepare_cached(FINISH)?.execute(params![key, answer])?;
                Ok(Done::Finished(told))
            }
        }
    }

    fn begin(&self, key: &str, order: &str) -> rusqlite::Result<Begun> {
        if self.0.prepare_cached(BEGIN)?.execute([key, order])? == 1 {
            return Ok(Begun::New);
        }
        let known = |row: &rusqlite::Row<'_>| Ok(Begun::Known { order: row.get(0)?, answer: row.get(1)? });
        let found = self.0.prepare_cached(KNOWN)?.query_row([key], known).optional()?;
        found.ok_or(rusqlite::Error::QueryReturnedNoRows)
    }
}

struct Sqlite(UnboundedSender<Step>);

impl Table for Sqlite {
    async fn begin(&self, key: &str, order: &str) -> Result<Begun, Failed> {
        let (told, begun) = oneshot::channel();
        self.0.send(Step::Begin { key: key.to_owned(), order: order.to_owned(), told })?;
        Ok(begun.await?)
    }

    async fn finish(&self, key: &str, answer: &str) -> Result<(), Failed> {
        let (told, finished) = oneshot::channel();
        self.0.send(Step::Finish { key: key.to_owned(), answer: answer.to_owned(), told })?;
        Ok(finished.await?)
    }
}

/// `--listen IP:PORT --gateway IP:PORT --database FILE`
pub async fn serve(options: &Options) -> Result<(), Failed> {
    let writer = Writer::open(options.need::<String>("database")?.as_ref())?;
    let (sender, steps) = unbounded_channel();
    thread::spawn(move || {
        if let Err(why) = writer.run(steps) {
            // What is durable and what is not is then not known: nothing more may be answered.
            eprintln!("sqlite: {why}");
            process::exit(1);
        }
    });
    once::serve(options, Sqlite(sender)).await
}

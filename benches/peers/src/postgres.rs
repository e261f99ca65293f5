//! The table in PostgreSQL, over a small pool of connections. Each step is a statement, and so a commit, of its own:
//! PostgreSQL itself lets commits of several connections share a flush.

use std::sync::{Mutex, PoisonError};

use tokio::sync::Semaphore;
use tokio_postgres::{Client, NoTls, Statement};

use crate::{
    Failed, Options,
    once::{self, Begun, Table},
};

const TABLE: &str = "CREATE TABLE IF NOT EXISTS payments(key text PRIMARY KEY, request text NOT NULL, answer text)";
const BEGIN: &str = "INSERT INTO payments(key, request) VALUES ($1, $2) ON CONFLICT (key) DO NOTHING";
const KNOWN: &str = "SELECT request, answer FROM payments WHERE key = $1";
const FINISH: &str = "UPDATE payments SET answer = $2 WHERE key = $1";
/// Well below the hundred that PostgreSQL takes as it is installed.
const CONNECTIONS: usize = 32;

/// A connection, and what is prepared on it.
struct Line {
    client: Client,
    begin: Statement,
    known: Statement,
    finish: Statement,
}

impl Line {
    async fn open(database: &str) -> Result<Self, Failed> {
        let (client, connection) = tokio_postgres::connect(database, NoTls).await?;
        tokio::spawn(async move {
            if let Err(why) = connection.await {
                eprintln!("postgres: {why}");
            }
        });
        client.batch_execute(TABLE).await?;
        let begin = client.prepare(BEGIN).await?;
        let known = client.prepare(KNOWN).await?;
        let finish = client.prepare(FINISH).await?;
        Ok(Self { client, begin, known, finish })
    }

    async fn begin(&self, key: &str, order: &str) -> Result<Begun, tokio_postgres::Error> {
        if self.client.execute(&self.begin, &[&key, &order]).await? == 1 {
            return Ok(Begun::New);
        }
        let row = self.client.query_one(&self.known, &[&key]).await?;
        Ok(Begun::Known { order: row.try_get(0)?, answer: row.try_get(1)? })
    }
}

/// There is an idle line for each permit of `free`.
struct Pool {
    idle: Mutex<Vec<Line>>,
    free: Semaphore,
}

impl Pool {
    async fn open(database: &str, connections: usize) -> Result<Self, Failed> {
        let mut idle = Vec::new();
        for _ in 0..connections {
            idle.push(Line::open(database).await?);
        }
        Ok(Self { idle: Mutex::new(idle), free: Semaphore::new(connections) })
    }

    async fn take(&self) -> Result<Line, Failed> {
        self.free.acquire().await?.forget();
        let line = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        line.ok_or_else(|| "no connection is idle".into())
    }

    fn give_back(&self, line: Line) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        self.free.add_permits(1);
    }
}

impl Table for Pool {
    async fn begin(&self, key: &str, order: &str) -> Result<Begun, Failed> {
        let line = self.take().await?;
        let begun = line.begin(key, order).await;
        self.give_back(line);
        Ok(begun?)
    }

    async fn finish(&self, key: &str, answer: &str) -> Result<(), Failed> {
        let line = self.take().await?;
        let changed = line.client.execute(&line.finish, &[&key, &answer]).await;
        self.give_back(line);
        if changed? == 1 { Ok(()) } else { Err("the payment's row is gone".into()) }
    }
}

/// `--listen IP:PORT --gateway IP:PORT --database "host=.. port=.. user=.. dbname=.."`, and `--connections N`
pub async fn serve(options: &Options) -> Result<(), Failed> {
    let connections = options.or("connections", CONNECTIONS)?;
    let pool = Pool::open(&options.need::<String>("database")?, connections).await?;
    once::serve(options, pool).await
}

//! A statement from a file: comma-separated values as in RFC 4180, under a line that names the columns.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read},
    path::Path,
};

use clap::ValueEnum;
use payonce::{
    Currency,
    payment::{Kind, OperationKey},
    settle::{Line, LineKind, minor_units},
};

use super::instant;

/// The longest row, in bytes: a quote that is never closed must not take in the rest of the file.
const LONGEST_ROW: u64 = 1 << 20;

/// How amounts are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Amounts {
    /// 1050: in minor units
    Minor,
    /// 10.50: by the currency's exponent, without rounding
    Major,
}

/// What we look for in a row.
const NAMES: [&str; 6] = ["operation_key", "gateway_reference", "kind", "amount", "currency", "at"];

/// What one of our columns is called in the file.
#[derive(Clone, Debug)]
pub(super) struct Column {
    ours: &'static str,
    theirs: String,
}

impl Column {
    pub(super) fn parse(text: &str) -> Result<Column, String> {
        let (ours, theirs) = text.split_once('=').ok_or("write COLUMN=NAME, such as at=Created")?;
        let known = NAMES.into_iter().find(|name| *name == ours);
        let ours = known.ok_or_else(|| format!("the columns are {}", NAMES.join(", ")))?;
        Ok(Column { ours, theirs: theirs.to_owned() })
    }
}

/// What one of our kinds is called in the file.
pub(super) type Renamed = (String, Kind);

/// Reads such as `payment=charge`.
pub(super) fn kind(text: &str) -> Result<Renamed, String> {
    let (theirs, ours) = text.split_once('=').ok_or("write NAME=KIND, such as payment=charge")?;
    match LineKind::parse(ours) {
        LineKind::Ours(kind) => Ok((theirs.to_owned(), kind)),
        LineKind::Theirs(_) => Err("the kinds are charge, authorize, capture, void and refund".to_owned()),
    }
}

/// How the file says it.
pub(super) struct Words<'a> {
    pub(super) columns: &'a [Column],
    pub(super) kinds: &'a [Renamed],
    pub(super) amounts: Amounts,
}

/// Reads the file to its end, or to the first row that cannot be read.
pub(super) fn read(path: &Path, words: &Words<'_>, take: &mut impl FnMut(Line)) -> Result<(), String> {
    let file = File::open(path).map_err(|error| format!("{}: {error}", path.display()))?;
    rows(BufReader::new(file), words, take).map_err(|why| format!("{}: {why}", path.display()))
}

fn rows(file: impl BufRead, words: &Words<'_>, take: &mut impl FnMut(Line)) -> Result<(), String> {
    let mut rows = Rows { file, line: 0, text: Vec::new() };
    let header = rows.next()?.ok_or("it is empty: its first line has to name the columns")?.1;
    let columns = Columns::find(&header, words.columns)?;
    while let Some((place, row)) = rows.next()? {
        if row.len() != header.len() {
            return Err(format!("line {place}: {} values under {} columns", row.len(), header.len()));
        }
        take(columns.line(place, &row, words).map_err(|why| format!("line {place}: {why}"))?);
    }
    Ok(())
}

/// Where our columns are in a row, in the order of [`NAMES`].
struct Columns([Option<usize>; 6]);

impl Columns {
    fn find(header: &[String], renamed: &[Column]) -> Result<Columns, String> {
        let mut places = [None; 6];
        for (ours, place) in NAMES.into_iter().zip(&mut places) {
            let given = renamed.iter().find(|column| column.ours == ours);
            let name = given.map_or(ours, |column| &column.theirs);
            let mut called = header.iter().enumerate().filter(|(_, theirs)| theirs.trim().eq_ignore_ascii_case(name));
            *place = called.next().map(|(place, _)| place);
            let needed = given.is_some() || matches!(ours, "amount" | "currency");
            if called.next().is_some() || (needed && place.is_none()) {
                return Err(format!("no column, or more than one, is called {name}; there are: {}", header.join(", ")));
            }
        }
        if let [None, None, ..] = places {
            let why = "neither a column operation_key nor gateway_reference; name one with --column. There are";
            return Err(format!("{why}: {}", header.join(", ")));
        }
        Ok(Columns(places))
    }

    fn line(&self, place: u64, row: &[String], words: &Words<'_>) -> Result<Line, String> {
        let [key, reference, kind, amount, currency, at] = self.0.map(|column| {
            let value = column.and_then(|column| row.get(column)).map(|value| value.trim());
            value.filter(|value| !value.is_empty())
        });
        let code = currency.unwrap_or_default().to_ascii_uppercase();
        let currency = Currency::new(&code).map_err(|_| format!("{code:?} is no ISO 4217 currency"))?;
        let kind = kind.map(|word| {
            let renamed = words.kinds.iter().find(|(theirs, _)| theirs.eq_ignore_ascii_case(word));
            renamed.map_or_else(|| LineKind::parse(word), |(_, kind)| LineKind::Ours(*kind))
        });
        let amount = amount_of(amount.unwrap_or_default(), currency, kind.as_ref(), words.amounts)?;
        let at = at.map(|at| instant(at).map_err(|why| format!("at {at:?} is {why}"))).transpose()?;
        Ok(Line {
            place,
            operation_key: key.and_then(OperationKey::parse),
            reference: reference.or(key).map(str::to_owned),
            kind,
            amount,
            currency,
            at,
        })
    }
}

/// An amount. What is no charge and no capture may be written as negative: it went the other way.
fn amount_of(text: &str, currency: Currency, kind: Option<&LineKind>, amounts: Amounts) -> Result<u64, String> {
    let positive = matches!(kind, None | Some(LineKind::Ours(Kind::Charge | Kind::Authorize | Kind::Capture)));
    let digits = if positive { text } else { text.strip_prefix('-').unwrap_or(text) };
    let (amount, how) = match amounts {
        Amounts::Minor if digits.bytes().all(|byte| byte.is_ascii_digit()) => (digits.parse().ok(), "in minor units"),
        Amounts::Minor => (None, "in minor units; if it is a decimal number, say --amounts major"),
        Amounts::Major => (minor_units(digits, currency), "with as many decimals as the currency has"),
    };
    let word = kind.map_or("movement", LineKind::as_str);
    amount.ok_or_else(|| format!("amount {text:?} is no amount of a {word} in {currency} {how}"))
}

/// The rows of a file, with the line in which each begins. Empty lines are skipped.
struct Rows<R> {
    file: R,
    line: u64,
    text: Vec<u8>,
}

impl<R: BufRead> Rows<R> {
    fn next(&mut self) -> Result<Option<(u64, Vec<String>)>, String> {
        loop {
            let begins = self.line.saturating_add(1);
            if !self.read_row(begins)? {
                return Ok(None);
            }
            let text = str::from_utf8(&self.text).map_err(|_| format!("line {begins}: it is not UTF-8"))?;
            let text = if begins == 1 { text.trim_start_matches('\u{feff}') } else { text };
            let text = text.strip_suffix('\n').unwrap_or(text);
            let text = text.strip_suffix('\r').unwrap_or(text);
            if !text.is_empty() {
                let row = values(text).ok_or_else(|| format!("line {begins}: a quote is out of place"))?;
                return Ok(Some((begins, row)));
            }
        }
    }

    /// Reads lines until every quote is closed; whether there were any.
    fn read_row(&mut self, begins: u64) -> Result<bool, String> {
        self.text.clear();
        let mut left = LONGEST_ROW;
        let mut open = false;
        while left > 0 {
            let start = self.text.len();
            let read = (&mut self.file).take(left).read_until(b'\n', &mut self.text);
            let read = read.map_err(|error| format!("line {begins}: {error}"))?;
            let fresh = self.text.get(start..).unwrap_or_default();
            open ^= fresh.iter().filter(|byte| **byte == b'"').count() % 2 == 1;
            let ended = fresh.ends_with(b"\n");
            self.line = self.line.saturating_add(u64::from(ended));
            match (read, open) {
                (0, true) => return Err(format!("line {begins}: a quote is never closed")),
                (0, false) => return Ok(!self.text.is_empty()),
                (_, false) if ended => return Ok(true),
                (_, true | false) => left = left.saturating_sub(u64::try_from(read).unwrap_or(u64::MAX)),
            }
        }
        Err(format!("line {begins}: the row is longer than {LONGEST_ROW} bytes; is a quote not closed?"))
    }
}

/// The values of one row; `None`: a quote is where none may be.
fn values(row: &str) -> Option<Vec<String>> {
    let mut values = Vec::new();
    let mut rest = row;
    loop {
        let value;
        (value, rest) = match rest.strip_prefix('"') {
            Some(quoted) => unquoted(quoted)?,
            None => plain(rest)?,
        };
        values.push(value);
        match rest.strip_prefix(',') {
            Some(next) => rest = next,
            None => return rest.is_empty().then_some(values),
        }
    }
}

/// A value without quotes, and what follows it.
fn plain(text: &str) -> Option<(String, &str)> {
    let (value, behind) = text.split_at(text.find(',').unwrap_or(text.len()));
    (!value.contains('"')).then(|| (value.to_owned(), behind))
}

/// A quoted value behind its first quote, and what follows its last.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut rest = text;
    loop {
        let (part, behind) = rest.split_once('"')?;
        value.push_str(part);
        match behind.strip_prefix('"') {
            Some(next) => {
                value.push('"');
                rest = next;
            }
            None => return Some((value, behind)),
        }
    }
}

#[cfg(test)]
mod tests;

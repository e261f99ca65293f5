//! Where a secret is. It is looked up only where it is used, and never kept.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use super::ConfigError;

/// The most that is read of a secret's file: a few secrets fit.
const MAX_SECRET: u64 = 4096;

/// Where a secret may be. The variable counts before the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Source {
    /// In a variable of the environment.
    pub variable: Option<String>,
    /// In a file.
    pub file: Option<PathBuf>,
    /// Whether there has to be one.
    pub needed: bool,
    /// The key that can name a file, for whoever misses it.
    pub file_key: String,
}

impl Source {
    /// The secret, without the blanks around it. What is wrong is said without it.
    pub fn read(&self) -> Result<Option<String>, ConfigError> {
        if let Some(Ok(text)) = self.variable.as_ref().map(std::env::var) {
            return Ok(Some(text.trim().to_owned()));
        }
        if let Some(file) = &self.file {
            let cannot = |error| ConfigError::new(format!("{}: cannot be read: {error}", file.display()));
            return text_of(file).map(|text| Some(text.trim().to_owned())).map_err(cannot);
        }
        match &self.variable {
            Some(variable) if self.needed => {
                Err(ConfigError::new(format!("a secret is missing: set {variable}, or {}", self.file_key)))
            }
            Some(_) | None => Ok(None),
        }
    }

    /// Whether a place was named at all.
    pub(super) fn is_named(&self) -> bool {
        self.variable.is_some() || self.file.is_some()
    }
}

fn text_of(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(MAX_SECRET).read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_that_has_to_be_there_is_missed_by_name() {
        let file_key = "credential_file".to_owned();
        let missing = Source { variable: Some("PAYONCE_TEST_NOT_SET".to_owned()), needed: true, file_key, file: None };
        let why = missing.read().expect_err("not set").to_string();
        assert_eq!(why, "a secret is missing: set PAYONCE_TEST_NOT_SET, or credential_file");
        assert_eq!(Source { needed: false, ..missing }.read(), Ok(None), "it may do without");
        let gone = Source { file: Some(PathBuf::from("/nowhere/at/all")), ..Source::default() };
        assert!(gone.read().is_err_and(|why| why.to_string().starts_with("/nowhere/at/all: cannot be read")));
    }
}

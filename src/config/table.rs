//! Lists of tables, such as `[[gateways]]`, and what stands in them. An error names the table and the key.

use super::{Source, unknown};

/// One table, whose keys are all known.
pub(super) struct Table<'a>(&'a toml::Table);

/// Reads each table of a list. `one` makes something of it, and says its name, which no other may have.
pub(super) fn each<T>(
    list: &str,
    value: &toml::Value,
    keys: &[&str],
    one: impl Fn(&Table<'_>) -> Result<(String, T), String>,
) -> Result<Vec<T>, String> {
    let wrong = || format!("{list} must be tables, each under [[{list}]]");
    let mut names = Vec::new();
    let mut all = Vec::new();
    for (number, table) in value.as_array().ok_or_else(wrong)?.iter().enumerate() {
        let table = table.as_table().ok_or_else(wrong)?;
        let name = table.get("name").and_then(toml::Value::as_str);
        let which = name.map_or_else(|| format!("{list} number {}", number + 1), |name| format!("{list} {name}"));
        let read = Table::known(table, keys).and_then(|table| one(&table));
        let (name, read) = read.map_err(|why| format!("{which}: {why}"))?;
        if names.contains(&name) {
            return Err(format!("{which}: there are two of this name"));
        }
        names.push(name);
        all.push(read);
    }
    Ok(all)
}

impl<'a> Table<'a> {
    fn known(table: &'a toml::Table, keys: &[&str]) -> Result<Table<'a>, String> {
        match table.keys().find(|key| !keys.contains(&key.as_str())) {
            Some(key) => Err(format!("{key} {}", unknown(key, keys))),
            None => Ok(Table(table)),
        }
    }

    pub(super) fn get(&self, key: &str) -> Option<&toml::Value> {
        self.0.get(key)
    }

    pub(super) fn text(&self, key: &str) -> Result<Option<String>, String> {
        let text = |value: &toml::Value| value.as_str().map(str::to_owned).ok_or(format!("{key} must be a text"));
        self.get(key).map(text).transpose()
    }

    pub(super) fn needed(&self, key: &str) -> Result<String, String> {
        self.text(key)?.ok_or_else(|| format!("needs a {key}"))
    }

    /// False, if nothing is said.
    pub(super) fn flag(&self, key: &str) -> Result<bool, String> {
        let flag = |value: &toml::Value| value.as_bool().ok_or(format!("{key} must be true or false"));
        self.get(key).map_or(Ok(false), flag)
    }

    /// Empty, if nothing is said; never empty, if something is. `such`: what it may look like.
    pub(super) fn list<T>(
        &self,
        key: &str,
        such: &str,
        item: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Vec<T>, String> {
        let Some(value) = self.get(key) else { return Ok(Vec::new()) };
        let wrong = || format!("{key} must be a list of {such}");
        let list = value.as_array().filter(|list| !list.is_empty()).ok_or_else(wrong)?;
        let read = |value: &toml::Value| item(value.as_str().ok_or_else(wrong)?).map_err(|why| format!("{key}: {why}"));
        list.iter().map(read).collect()
    }

    /// Where a secret is: `OF_env` names a variable, `OF_file` a file.
    pub(super) fn source(&self, of: &str) -> Result<Source, String> {
        let file_key = format!("{of}_file");
        let (variable, file) = (self.text(&format!("{of}_env"))?, self.text(&file_key)?);
        if variable.is_some() && file.is_some() {
            return Err(format!("say {of}_env or {file_key}, not both"));
        }
        Ok(Source { needed: variable.is_some(), variable, file: file.map(Into::into), file_key })
    }
}

//! The file of API keys: `[[keys]]` tables of names, roles, tenants and hashes. Nothing in it opens anything; but whoever
//! can write it can let himself in.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use super::{
    ConfigError,
    table::{self, Table},
};
use crate::http::auth::{ApiKey, Keys, Role, SecretHash, Tenants};

const KEYS: [&str; 5] = ["name", "role", "tenant", "sha256", "rate"];

const HEAD: &str = "# API keys of payonce, as `payonce keys` writes them: of each secret only its SHA-256. The daemon reads \
                    this again\n# when it changes. Comments are not kept.\n";

/// Reads the keys of a file.
pub fn read_keys(path: &Path) -> Result<Vec<ApiKey>, ConfigError> {
    let fail = |why: String| ConfigError::new(format!("{}: {why}", path.display()));
    let text = fs::read_to_string(path).map_err(|error| fail(format!("cannot be read: {error}")))?;
    parse(&text).map_err(fail)
}

/// Changes the keys of a file, which is made if it is not there; all of the change, or nothing of it.
pub fn change_keys(
    path: &Path,
    change: impl FnOnce(&mut Vec<ApiKey>) -> Result<(), String>,
) -> Result<(), ConfigError> {
    let fail = |why: String| ConfigError::new(format!("{}: {why}", path.display()));
    let cannot = |error: io::Error| fail(format!("cannot be written: {error}"));
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let new = PathBuf::from(name);
    // Two who change it at once would lose what one of them did.
    let opened = OpenOptions::new().write(true).create_new(true).open(&new);
    let mut file = opened.map_err(|error| {
        if error.kind() == io::ErrorKind::AlreadyExists {
            let new = new.display();
            return fail(format!(
                "{new} is there: somebody else is changing the keys, or was stopped while at it; then remove it"
            ));
        }
        cannot(error)
    })?;
    let changed = || {
        let mut keys = if path.exists() { read_keys(path)? } else { Vec::new() };
        change(&mut keys).map_err(fail)?;
        Keys::new(keys.clone(), None).map_err(fail)?;
        file.write_all(render(&keys).as_bytes()).and_then(|()| file.sync_all()).map_err(cannot)?;
        fs::rename(&new, path).map_err(cannot)?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(cannot)
    };
    changed().inspect_err(|_| drop(fs::remove_file(&new)))
}

fn parse(text: &str) -> Result<Vec<ApiKey>, String> {
    let file: toml::Table = text.parse().map_err(|error| format!("is not valid TOML: {error}"))?;
    if let Some(other) = file.keys().find(|key| *key != "keys") {
        return Err(format!("{other} is not known; there are [[keys]] only"));
    }
    let Some(tables) = file.get("keys") else { return Ok(Vec::new()) };
    table::each("keys", tables, &KEYS, |table| one(table).map(|key| (key.name.clone(), key)))
}

fn one(table: &Table<'_>) -> Result<ApiKey, String> {
    let about = |key: &'static str| move |why: String| format!("{key} {why}");
    let rate = |value: &toml::Value| {
        let number = value.as_integer().and_then(|number| u32::try_from(number).ok());
        number.ok_or("rate must be a number of requests a second from 1 on")
    };
    let key = ApiKey {
        name: table.needed("name")?,
        role: Role::parse(&table.needed("role")?).map_err(about("role"))?,
        tenants: Tenants::parse(&table.needed("tenant")?).map_err(about("tenant"))?,
        sha256: SecretHash::parse(&table.needed("sha256")?).map_err(|why| format!("sha256 {why}"))?,
        rate: table.get("rate").map(rate).transpose()?,
    };
    key.check().map(|()| key)
}

/// Every text in it is of characters that stand for themselves.
fn render(keys: &[ApiKey]) -> String {
    let one = |key: &ApiKey| {
        let (name, role, tenant) = (&key.name, key.role.as_str(), &key.tenants);
        let rate = key.rate.map_or(String::new(), |rate| format!("rate = {rate}\n"));
        let sha256 = key.sha256;
        format!(
            "\n[[keys]]\nname = \"{name}\"\nrole = \"{role}\"\ntenant = \"{tenant}\"\nsha256 = \"{sha256}\"\n{rate}"
        )
    };
    format!("{HEAD}{}", keys.iter().map(one).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> ApiKey {
        let (role, tenants) = (Role::Caller, Tenants::parse("shop_1").expect("legal"));
        ApiKey { name: name.to_owned(), role, tenants, sha256: SecretHash::of(name), rate: Some(7) }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let all = ApiKey { role: Role::Operator, tenants: Tenants::All, rate: None, ..key("b.2-_") };
        let keys = vec![key("a"), all];
        assert_eq!(parse(&render(&keys)), Ok(keys));
        assert_eq!(parse(&render(&[])), Ok(Vec::new()));
    }

    #[test]
    fn a_change_that_fails_changes_nothing() {
        let path = std::env::temp_dir().join(format!("payonce-keys-{}.toml", std::process::id()));
        change_keys(&path, |keys| {
            keys.push(key("a"));
            Ok(())
        })
        .expect("made");
        for change in [
            |_: &mut Vec<ApiKey>| Err("no".to_owned()),
            |keys: &mut Vec<ApiKey>| {
                keys.push(key("a"));
                Ok(())
            },
        ] {
            assert!(change_keys(&path, change).is_err());
            assert_eq!(read_keys(&path), Ok(vec![key("a")]));
        }
        let new = PathBuf::from(format!("{}.new", path.display()));
        assert!(!new.exists());
        fs::write(&new, "").expect("writable");
        let busy = change_keys(&path, |_| Ok(())).expect_err("somebody else is at it").to_string();
        assert!(busy.contains("somebody else is changing"), "{busy}");
        [path, new].iter().for_each(|path| fs::remove_file(path).expect("removable"));
    }

    #[test]
    fn what_is_wrong_with_a_key_is_said_with_its_name() {
        let good = render(&[key("a")]);
        for (text, why) in [
            (good.replace("caller", "king"), "keys a: role must be read-only, caller or operator"),
            (good.replace("shop_1", "Shop"), "keys a: tenant must be 1 to 64"),
            (good.replace("shop_1", "*"), "keys a: a caller pays as one tenant"),
            (good.replace("rate = 7", "rate = 0"), "keys a: rate must be"),
            (good.replace("rate = 7", "rate = '7'"), "keys a: rate must be"),
            (good.replace("rate", "rats"), "keys a: rats is not known; did you mean rate?"),
            (good.replace("sha256 = \"", "sha256 = \"z"), "keys a: sha256 must be the 64"),
            (format!("{good}{}", good.replace(HEAD, "")), "keys a: there are two"),
            ("key = 1".to_owned(), "key is not known"),
            ("keys = 1".to_owned(), "keys must be tables"),
        ] {
            let refused = parse(&text).expect_err(why);
            assert!(refused.starts_with(why), "{refused}");
        }
    }
}

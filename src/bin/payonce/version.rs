//! Which payonce this is: its version, and the commit that it was built from, if whoever built it said so. Never when or
//! where: the same source makes the same program.

use std::sync::LazyLock;

/// Such as `0.1.0`, or `0.1.0 (5f54e53740a2)` if `PAYONCE_COMMIT` was set for the build.
pub(crate) fn version() -> &'static str {
    static VERSION: LazyLock<String> = LazyLock::new(|| with(option_env!("PAYONCE_COMMIT").unwrap_or_default()));
    VERSION.as_str()
}

fn with(commit: &str) -> String {
    let version = env!("CARGO_PKG_VERSION");
    if commit.is_empty() { version.to_owned() } else { format!("{version} ({commit})") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_is_told_where_it_is_known() {
        assert_eq!(with(""), env!("CARGO_PKG_VERSION"));
        assert_eq!(with("5f54e53740a2"), format!("{} (5f54e53740a2)", env!("CARGO_PKG_VERSION")));
    }
}

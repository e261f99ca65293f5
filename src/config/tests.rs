//! Each key, in each of its three spellings, and what is refused.

use std::time::Duration;

use super::*;
use crate::payment::{Deduplication, Inquiry};

fn from_environment(pairs: &[(&str, &str)]) -> Result<Settings, String> {
    let mut settings = Settings::default();
    let pairs = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    settings.read_environment(pairs).map(|()| settings).map_err(|error| error.to_string())
}

fn from_file(name: &str, text: &str) -> Result<Settings, String> {
    let path = std::env::temp_dir().join(format!("payonce-config-{}-{name}.toml", std::process::id()));
    fs::write(&path, text).expect("writable");
    let read = Settings::default().tap_file(&path);
    fs::remove_file(&path).expect("removable");
    read.map_err(|error| error.to_string().replace(&path.display().to_string(), "FILE"))
}

impl Settings {
    fn tap_file(mut self, path: &Path) -> Result<Settings, ConfigError> {
        self.read_file(path).map(|()| self)
    }
}

#[test]
fn every_key_is_set_from_the_file() {
    let settings = from_file(
        "whole",
        "stripe_api_key_file = '/k'\nstripe_return_url = 'https://r'\nstripe_off_session = true\n\
         data = '/d'\nlisten = '[::1]:1'\ngateway = 'http://h:1/p'\ngateway_account = 'a'\nnamespace = 'n'\n\
         late_success = 'refund'\nlate_void = 'adopt'\nseal_personal_data = true\nqueue = 1\ngateway_slots = 2\nsegment_bytes = 3\nstore_cache_bytes = 4\nstore_filter_bytes = 9\nbatch_bytes = 7\ncheckpoint_bytes = 8\n\
         keys_file = '/f'\nrate_per_key = 5\nconnections = 6\ntls_cert = '/c'\ntls_key = '/p'\ntls_client_ca = '/a'\n\
         [gateway_contract]\ndedup = 'none'\nnot_found_times = 5\n",
    )
    .expect("valid");
    assert_eq!(settings.data, PathBuf::from("/d"));
    assert_eq!(settings.listen.to_string(), "[::1]:1");
    assert_eq!(settings.gateway.choice, GatewayChoice::Http("http://h:1/p".to_owned()));
    assert_eq!(settings.gateway.credential.file, Some(PathBuf::from("/k")));
    assert_eq!((settings.gateway.return_url.as_deref(), settings.gateway.off_session), (Some("https://r"), true));
    let options = settings.options(true);
    assert_eq!((options.queue, options.gateway_slots, options.moved, options.seal_personal_data), (1, 2, true, true));
    assert_eq!((options.segment_bytes, options.store_cache_bytes, options.namespace.as_str()), (3, 4, "n"));
    assert_eq!((options.batch_bytes, options.checkpoint_bytes, options.store_filter_bytes), (7, 8, 9));
    assert_eq!(options.policies, Policies { late_success: Late::Refund, late_void: Late::Adopt });
    assert_eq!((settings.rate_per_key, settings.connections), (Some(5), Some(6)));
    let files = [&settings.keys_file, &settings.tls_cert, &settings.tls_key, &settings.tls_client_ca];
    assert_eq!(files.map(|file| file.clone().expect("set")), ["/f", "/c", "/p", "/a"].map(PathBuf::from));
    let contract = settings.contract(&Contract::standard(Identity::default())).expect("valid");
    assert_eq!(contract.deduplication, Deduplication::None);
    assert!(matches!(contract.inquiry, Inquiry::ByKey { not_found_times: 5, .. }));
}

#[test]
fn a_misspelt_key_is_refused_with_the_nearest_name() {
    assert_eq!(from_file("near", "lisen = 'x'"), Err("FILE: lisen is not known; did you mean listen?".to_owned()));
    assert_eq!(
        from_file("hyphen", "gateway-account = 'x'"),
        Err("FILE: gateway-account is not known; did you mean gateway_account?".to_owned())
    );
    assert!(from_file("far", "colour = 1").is_err_and(|why| why.contains("known are data, listen,")));
    assert!(
        from_environment(&[("PAYONCE_LISTN", "x")])
            .is_err_and(|why| why == "PAYONCE_LISTN is not known; did you mean listen?")
    );
    assert!(from_file("contract", "gateway_contract = 'dedupe=24h'").is_err_and(|why| why.contains("known: dedup=")));
}

#[test]
fn what_an_orchestrator_sets_is_left_alone() {
    let foreign = [("PAYONCE_PORT", "tcp://10.0.0.1:7411"), ("PAYONCE_SERVICE_HOST", "10.0.0.1"), ("HOME", "/")];
    assert_eq!(from_environment(&foreign), Ok(Settings::default()));
    assert_eq!(from_environment(&[("PAYONCE_LOG", "debug"), ("PAYONCE_URL", "x")]), Ok(Settings::default()));
}

#[test]
fn stripe_is_named_alone_or_with_the_url_of_a_stand_in() {
    assert_eq!(gateway("stripe"), Ok(GatewayChoice::Stripe("https://api.stripe.com".to_owned())));
    assert_eq!(gateway("stripe:http://h:1"), Ok(GatewayChoice::Stripe("http://h:1".to_owned())));
    for other in ["stripe:", "stripes", "stripe:h", "stripe:http://k@h"] {
        assert!(gateway(other).is_err(), "{other}");
    }
}

#[test]
fn flags_win_over_the_environment() {
    let mut settings = from_environment(&[("PAYONCE_LISTEN", "127.0.0.1:1")]).expect("valid");
    assert_eq!(settings.listen.port(), 1);
    settings.set_flag("listen", "127.0.0.1:2").expect("valid");
    assert_eq!(settings.listen.port(), 2);
    let error = settings.set_flag("listen", "here").expect_err("no address").to_string();
    assert!(error.starts_with("--listen must be an address and a port"), "{error}");
}

#[test]
fn a_policy_is_one_of_two_words_and_nothing_said_is_the_default() {
    let mut settings = from_environment(&[("PAYONCE_LATE_SUCCESS", "refund")]).expect("valid");
    let set = Policies { late_success: Late::Refund, ..Policies::default() };
    assert_eq!(settings.options(false).policies, set);
    for word in ["", "Adopt", "void", "true"] {
        let error = settings.set_flag("late_void", word).expect_err(word).to_string();
        assert!(error.starts_with("--late-void must be \"adopt\""), "{error}");
    }
    assert_eq!(settings.options(false).policies, set, "a refused word changes nothing");
}

#[test]
fn what_is_no_gateway_is_refused() {
    for url in ["", "ftp://h", "http://", "http://u:p@h", "http://h?x=1", "h:1", "/path", "Sandbox"] {
        assert!(gateway(url).is_err(), "{url}");
    }
}

#[test]
fn contracts_are_overridden_in_the_words_of_the_manual() {
    let mut settings = Settings::default();
    for pair in [
        "dedup=none",
        "inquiry=no",
        "inquiry=yes",
        "max_processing=5s",
        "not_found_lag=1s",
        "deadline=2s",
        "not_found_times=3",
        "park_after=24h",
        "dedup=12h",
    ] {
        settings.set_flag("gateway_contract", pair).expect(pair);
    }
    let contract = settings.contract(&Contract::standard(Identity::default())).expect("valid");
    assert_eq!(contract.deduplication, Deduplication::ByKey { ttl: Duration::from_secs(12 * 3600) });
    assert_eq!(contract.inquiry, Inquiry::ByKey { not_found_lag: Duration::from_secs(1), not_found_times: 3 });
    assert_eq!(contract.max_processing, Duration::from_secs(5));
    for pair in ["dedup", "dedup=", "dedup=0s", "dedup=1", "dedup=1.5h", "inquiry=maybe", "not_found_times=0", "x=1"] {
        assert!(settings.set_flag("gateway_contract", pair).is_err(), "{pair}");
    }
}

#[test]
fn what_shuts_others_out_is_never_silently_left_away() {
    let set = |pairs: &[(&str, &str)]| from_environment(pairs).expect("valid");
    assert!(
        set(&[("PAYONCE_KEYS_FILE", "/nowhere/at/all")]).keys().is_err(),
        "a file that is not there lets nobody in"
    );
    for (keys, why) in [
        (&[("PAYONCE_TLS_CERT", "/c")][..], "tls_cert needs tls_key too"),
        (&[("PAYONCE_TLS_KEY", "/k")], "tls_key needs tls_cert too"),
        (&[("PAYONCE_TLS_CLIENT_CA", "/a")], "tls_client_ca needs tls_cert and tls_key too"),
    ] {
        assert_eq!(set(keys).tls().expect_err(why).to_string(), why);
    }
    assert!(set(&[("PAYONCE_TLS_CERT", "/c"), ("PAYONCE_TLS_KEY", "/k")]).tls().is_err());
    assert!(Settings::default().tls().is_ok_and(|tls| tls.is_none()));
    assert!(from_environment(&[("PAYONCE_RATE_PER_KEY", "0")]).is_err());
}

#[test]
fn the_example_names_every_key() {
    let example = include_str!("../../deploy/payonce.toml");
    let mut settings = Settings::default();
    settings.read_toml(example).expect("valid as it is");
    assert_eq!(settings, Settings::default(), "what is not commented out is the default");
    let whole = |line: &&str| !line.trim_start_matches("# ").starts_with("[[");
    for key in KEYS {
        let says = |line: &str| line.trim_start_matches("# ").starts_with(&format!("{key} = "));
        // What stands behind a table's head is that table's.
        assert_eq!(example.lines().take_while(whole).filter(|line| says(line)).count(), 1, "{key}");
    }
}

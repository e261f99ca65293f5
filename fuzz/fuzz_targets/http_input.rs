#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| payonce_fuzz::http_input(bytes));

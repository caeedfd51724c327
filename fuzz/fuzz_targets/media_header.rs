#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tertulia_fuzz::media_header::try_out(bytes));

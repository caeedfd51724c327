#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tertulia_fuzz::plain_text::try_out(bytes));

//! See `camring_fuzz::run_and_chunk`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    camring_fuzz::run_and_chunk(data);
});

//! See `camring_fuzz::index`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    camring_fuzz::index(data);
});

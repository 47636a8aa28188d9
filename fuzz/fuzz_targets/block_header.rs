//! See `camring_fuzz::block_header`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    camring_fuzz::block_header(data);
});

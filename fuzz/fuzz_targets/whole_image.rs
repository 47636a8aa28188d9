//! See `camring_fuzz::whole_image`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    camring_fuzz::whole_image(data);
});

//! The `camring` program.
fn main() {}

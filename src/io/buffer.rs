//! Memory for direct I/O.

/// Aligned memory.
#[derive(Debug)]
pub struct Buffer(Vec<u8>);

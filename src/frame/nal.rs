//! NAL units of H.264 and H.265.

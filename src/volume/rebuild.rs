//! Rebuilding the directory of a volume from its device.

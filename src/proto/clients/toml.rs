//! Entries in TOML files.

//! Entries in JSON files.

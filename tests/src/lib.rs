//! Whole-product tests live in `it/`; this crate is empty so that the test binary has a home.

//! What the fuzz targets do, one module for each crate that they are about.

#[path = "entries/policy.rs"]
pub mod policy;

#[path = "entries/proxy.rs"]
pub mod proxy;

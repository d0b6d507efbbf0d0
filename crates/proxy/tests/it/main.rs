//! The data plane end to end: agents on one side, recording upstreams on the other, the proxy between them.

mod abuse;
mod attacks;
mod bodies;
mod doors;
mod fixture;
mod paths;
mod pool;
mod refusals;
mod revocation;
mod upgrades;

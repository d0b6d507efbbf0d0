//! The data plane end to end: agents on one side, recording upstreams on the other, the proxy between them.

mod fixture;
mod paths;

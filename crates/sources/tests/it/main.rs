//! Sources against servers on loopback.


//! Whole-product tests: the real binary, real clients, over real sockets.

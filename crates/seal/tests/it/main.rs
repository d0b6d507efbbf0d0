//! What sealing promises, checked from outside.

mod hashes;
mod sealing;

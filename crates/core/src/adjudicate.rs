//! Chooses among redundant answers: majority, plurality, unanimity, weights.
//!
//! Prevents one wrong answer from being believed.

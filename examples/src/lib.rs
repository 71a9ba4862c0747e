//! Runnable examples for ripcord.

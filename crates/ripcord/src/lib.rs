//! Request context: cancellation, deadlines and values.

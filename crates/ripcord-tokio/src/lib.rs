//! Binds ripcord contexts to the tokio runtime.

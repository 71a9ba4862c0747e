//! Binds ripcord contexts to the smol runtime.

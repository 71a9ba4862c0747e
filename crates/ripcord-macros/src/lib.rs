//! The attribute macro of ripcord, `#[ripcord::main]`; it is used through the crate `ripcord`.

mod entry;

use proc_macro::TokenStream;

/// Runs an async `main` on tokio, recorded if the environment asks for it.
///
/// It does what `#[tokio::main]` does, and takes the same `flavor` and `worker_threads`. With the feature
/// `trace` of `ripcord` it also does what that cannot: it tells the recorder of the runtime's
/// threads, so that a trace knows who woke a task. Where `RIPCORD_TRACE` names a file, the process is
/// recorded from its beginning to its end; otherwise nothing is recorded, and nothing costs anything.
///
/// A recording that cannot be made is said on standard error, and the program runs without it.
///
/// # Examples
/// ```
/// #[ripcord::main]
/// async fn main() -> Result<(), Box<dyn std::error::Error>> {
///     let seven = ripcord::spawn(async { 7 }).await?;
///     assert_eq!(seven, 7);
///     Ok(())
/// }
/// ```
///
/// On one thread, that of `main`:
/// ```
/// #[ripcord::main(flavor = "current_thread")]
/// async fn main() {
///     ripcord::spawn(async {}).await.expect("it ran");
/// }
/// ```
///
/// What is not known is refused where it stands:
/// ```compile_fail
/// #[ripcord::main(threads = 4)]
/// async fn main() {}
/// ```
/// ```compile_fail
/// #[ripcord::main]
/// fn main() {}
/// ```
///
/// # Limitations
/// The future of `main` is no task of tokio's: it runs on the thread of `main`, and nobody can abort it. A
/// trace has it as a task `main`, under a context of that name that is not the current one: `Ctx::current()`
/// is the background in `main`, recorded or not. When `main` returns, tasks are dropped, and blocking work that runs is waited for, as
/// with tokio's macro.
///
/// # Panics
/// The function panics if the operating system gives the runtime no thread.
#[proc_macro_attribute]
pub fn main(args: TokenStream, item: TokenStream) -> TokenStream {
    entry::expand(args.into(), item.into())
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}

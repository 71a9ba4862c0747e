//! What `#[ripcord::main]` becomes: a call of the one function that does the work.
//!
//! ```text
//! #[ripcord::main(worker_threads = 3)]        fn main() -> u8 {
//! async fn main() -> u8 { 7 }           ─►        ::ripcord::macro_support::main(false, Some(3), async move { 7 })
//!                                             }
//! ```
//!
//! Everything that can be a function is one, in `ripcord`: what a macro writes is compiled in the crate
//! of its user, where an error has no line of ours and a change needs a new build.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::parse::Parser as _;
use syn::punctuated::Punctuated;
use syn::{Error, Expr, ItemFn, Lit, LitInt, MetaNameValue, Result, Token};

/// What stands in the parentheses of the attribute.
#[derive(Default)]
struct Options {
    is_one_thread: bool,
    workers: Option<LitInt>,
}

/// The function, not async any more.
///
/// # Errors
/// What is not known or cannot be, at its place.
pub(crate) fn expand(args: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let options = Options::parse(args)?;
    let mut function: ItemFn = syn::parse2(item)?;
    let Some(asyncness) = function.sig.asyncness.take() else {
        return Err(Error::new_spanned(
            function.sig.fn_token,
            "`#[ripcord::main]` runs an `async fn`: add `async`",
        ));
    };
    if let Some(input) = function.sig.inputs.first() {
        return Err(Error::new_spanned(input, "`main` takes no arguments"));
    }
    let is_one_thread = options.is_one_thread;
    let workers = options.workers.map_or_else(
        || quote!(::core::option::Option::None),
        |workers| quote!(::core::option::Option::Some(#workers)),
    );
    let ItemFn {
        attrs,
        vis,
        sig,
        block,
    } = function;
    let body = quote!(#asyncness move #block);
    // At the name of the function: that is where a trace says the task `main` was spawned.
    let call = quote_spanned! {sig.ident.span()=>
        ::ripcord::macro_support::main(#is_one_thread, #workers, #body)
    };
    Ok(quote! {
        #(#attrs)*
        #vis #sig {
            #call
        }
    })
}

impl Options {
    fn parse(args: TokenStream) -> Result<Self> {
        let mut options = Self::default();
        let parser = Punctuated::<MetaNameValue, Token![,]>::parse_terminated;
        for arg in parser.parse2(args)? {
            if arg.path.is_ident("flavor") {
                options.is_one_thread = is_one_thread(&arg.value)?;
            } else if arg.path.is_ident("worker_threads") {
                options.workers = Some(number(&arg.value)?);
            } else {
                return Err(Error::new_spanned(
                    arg.path,
                    "unknown; there are `flavor` and `worker_threads`",
                ));
            }
        }
        match &options.workers {
            Some(workers) if options.is_one_thread => Err(Error::new_spanned(
                workers,
                "`worker_threads` needs the flavor \"multi_thread\"",
            )),
            _ => Ok(options),
        }
    }
}

/// The literal that an argument is; `None` for an expression, which is not known yet.
fn literal(value: &Expr) -> Option<&Lit> {
    match value {
        Expr::Lit(literal) => Some(&literal.lit),
        _ => None,
    }
}

/// Which runtime: tokio's names, so that one attribute can take the place of the other.
fn is_one_thread(value: &Expr) -> Result<bool> {
    if let Some(Lit::Str(text)) = literal(value) {
        match &*text.value() {
            "current_thread" => return Ok(true),
            "multi_thread" => return Ok(false),
            _ => {}
        }
    }
    Err(Error::new_spanned(
        value,
        "a flavor is \"multi_thread\" or \"current_thread\"",
    ))
}

/// How many workers; a runtime of none could not run anything.
fn number(value: &Expr) -> Result<LitInt> {
    if let Some(Lit::Int(number)) = literal(value)
        && number.base10_parse::<usize>()? > 0
    {
        return Ok(number.clone());
    }
    Err(Error::new_spanned(value, "a number of threads, from 1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(args: TokenStream, item: TokenStream) -> String {
        match expand(args, item) {
            Ok(tokens) => panic!("it was taken: {tokens}"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        let main = || {
            quote!(
                async fn main() {}
            )
        };
        let cases = [
            (quote!(threads = 4), main(), "unknown; there are"),
            (quote!(flavor = "fast"), main(), "a flavor is"),
            (quote!(flavor = 4), main(), "a flavor is"),
            (quote!(worker_threads = 0), main(), "a number of threads"),
            (quote!(worker_threads = "4"), main(), "a number of threads"),
            (
                quote!(flavor = "current_thread", worker_threads = 4),
                main(),
                "needs the flavor",
            ),
            (
                quote!(),
                quote!(
                    fn main() {}
                ),
                "add `async`",
            ),
            (
                quote!(),
                quote!(
                    async fn main(a: u8) {}
                ),
                "no arguments",
            ),
        ];
        for (args, item, expect) in cases {
            let error = error(args.clone(), item);
            assert!(error.contains(expect), "{args}: {error}");
        }
    }

    #[test]
    fn what_stands_around_the_body_stays() {
        let item = quote!(
            #[allow(dead_code)]
            pub(crate) async fn main() -> u8 {
                7
            }
        );
        let tokens = expand(quote!(worker_threads = 3), item).expect("it is right");
        let args = quote!(false, ::core::option::Option::Some(3), async move { 7 });
        let expect = quote!(
            #[allow(dead_code)]
            pub(crate) fn main() -> u8 { ::ripcord::macro_support::main(#args) }
        );
        assert_eq!(tokens.to_string(), expect.to_string());
    }
}

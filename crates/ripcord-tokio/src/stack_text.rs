//! How an await stack reads in a recording: a few short frames, each either of the program or of a library.
//!
//! A recording has a thousand bytes for a stack, and what a reader asks is where in *his* code a task waits,
//! and what he called there. So of the frames between only the innermost is kept, the standard library is left
//! out, and paths of libraries begin with the library: `tokio-1.54.1/src/sync/mutex.rs`.
//!
//! ```text
//! tokio::sync::mutex::lock in tokio-1.54.1/src/sync/mutex.rs:430:9      what the program called
//! shop::risk::check at src/risk.rs:88:17                                where it did
//! shop::risk::handle at src/risk.rs:31:5                                and how it came there
//! ```
//!
//! # Limitations
//! Whose a file is, is told by its path. A dependency by path, as in a workspace, is the program's own.
//! Line tables alone name inlined functions without their module, and async bodies `{async_fn#0}`: for
//! libraries the module is taken from the path, for the program the name is shown as it is.

use crate::stack::{Frame, is_machinery};

/// Frames of the program that are kept, from the innermost on.
///
/// With two of a library they fit into what a recording keeps of a stack, unless paths are very long; the
/// outermost would be the task's own body, which the spawn tells anyway.
const OWN_MAX: usize = 8;

/// The frames of one leaf, the innermost first: of the program `function at file:line:column`, of
/// libraries `function in library/file:line:column`.
pub(crate) fn text(leaf: &[Frame]) -> Vec<String> {
    // Each frame with whose it is; the standard library is left out here, once for all questions below.
    let frames: Vec<(Kind, &Frame)> = leaf
        .iter()
        .map(|frame| (Kind::of(frame), frame))
        .filter(|(kind, _)| !matches!(kind, Kind::Standard))
        .collect();
    let first_own = frames.iter().position(|(kind, _)| *kind == Kind::Own);
    let libraries = first_own.unwrap_or(frames.len());
    let mut kept = Vec::new();
    for (at, (kind, frame)) in frames.iter().enumerate() {
        let is_wanted = match kind {
            Kind::Own => true,
            // The leaf, and what the program called to get there.
            _ => at < libraries && (at == 0 || at + 1 == libraries),
        };
        if is_wanted {
            kept.push(line(kind, frame));
        }
    }
    kept.truncate(OWN_MAX + 2);
    kept
}

/// Whose a frame is.
#[derive(PartialEq, Eq)]
enum Kind {
    /// Of the program: neither of a registry, nor of a git checkout, nor of ripcord.
    Own,
    /// Of a dependency, or of ripcord: with the path from its folder on.
    Library(String),
    /// Of the standard library: glue that says nothing of where a task waits.
    Standard,
}

impl Kind {
    /// By the path of the file, since names of inlined functions say nothing.
    ///
    /// cargo keeps dependencies below `registry/src/<index>/` and `git/checkouts/<repository>/<commit>/`;
    /// the compiler calls its own library `/rustc/<commit>/library/` where its source is not installed, and
    /// `rustlib/src/` where it is.
    fn of(frame: &Frame) -> Self {
        let Some(file) = &frame.file else {
            // Without a file nobody knows; the name may say something.
            return Self::Library(String::new());
        };
        let file = file.replace('\\', "/");
        if file.contains("/rustc/") || file.contains("/rustlib/src/") {
            return Self::Standard;
        }
        for (root, folders) in [("/registry/src/", 1), ("cargo/git/checkouts/", 2)] {
            if let Some((_, rest)) = file.split_once(root) {
                let skipped = rest.splitn(folders + 1, '/').nth(folders);
                return Self::Library(skipped.unwrap_or(rest).to_owned());
            }
        }
        if is_machinery(&frame.function, &file) {
            let from = file.find("ripcord-").unwrap_or(0);
            return Self::Library(file.get(from..).unwrap_or(&file).to_owned());
        }
        Self::Own
    }
}

/// One frame as it stands in a recording; the word between function and place says whose it is.
fn line(kind: &Kind, frame: &Frame) -> String {
    let (line, column) = (frame.line.unwrap_or(0), frame.column.unwrap_or(0));
    match (kind, &frame.file) {
        (Kind::Library(path), Some(_)) => {
            let what = within(path, &plain(&frame.function));
            format!("{what} in {path}:{line}:{column}")
        }
        (_, Some(file)) => format!("{} at {file}:{line}:{column}", plain(&frame.function)),
        (_, None) => plain(&frame.function),
    }
}

/// A function without the types that it was made for, which can be longer than all else in the line: `a::<T>::b` is `a::b`, and
/// `<a::B as c::D>::e` is `a::B::e`.
fn plain(function: &str) -> String {
    let (head, rest) = match function.strip_prefix('<') {
        Some(inner) => match inner.split_once(" as ") {
            Some((own, rest)) => (own, rest.rsplit_once('>').map_or("", |(_, method)| method)),
            None => ("", function),
        },
        None => ("", function),
    };
    let mut depth = 0_usize;
    let mut out = String::with_capacity(function.len());
    for letter in head.chars().chain(rest.chars()) {
        match letter {
            '<' => depth += 1,
            '>' => depth = depth.saturating_sub(1),
            _ if depth == 0 => out.push(letter),
            _ => {}
        }
    }
    let out = out.replace("::::", "::");
    let out = out.trim_matches(':');
    if out.is_empty() {
        return "closure".to_owned();
    }
    out.to_owned()
}

/// Line tables alone name an inlined function without its module; the path of the file has it.
fn within(path: &str, function: &str) -> String {
    // What is awaited is the future; that it is polled goes without saying.
    let function = function.strip_suffix("::poll").unwrap_or(function);
    if function.contains("::") && !function.starts_with('{') {
        return function.to_owned();
    }
    let (library, file) = path.split_once("/src/").unwrap_or(("", path));
    let name = match library.rsplit_once('-') {
        Some((name, version)) if version.starts_with(|first: char| first.is_ascii_digit()) => name,
        _ => library,
    };
    let name = name.rsplit('/').next().unwrap_or(name).replace('-', "_");
    let module = file.trim_end_matches(".rs").trim_end_matches("/mod");
    let mut parts = vec![name];
    parts.extend(
        module
            .split('/')
            .filter(|part| *part != "lib")
            .map(str::to_owned),
    );
    // An async body or a closure has no name of its own, and what is awaited is polled.
    if !function.starts_with('{') && function != "closure" && function != "poll" {
        parts.push(function.to_owned());
    }
    parts.retain(|part| !part.is_empty());
    parts.join("::")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(function: &str, place: &str) -> Frame {
        let (file, rest) = place.split_once(':').expect("file:line:column");
        let (line, column) = rest.split_once(':').expect("line:column");
        Frame {
            function: function.to_owned(),
            file: Some(file.to_owned()),
            line: line.parse().ok(),
            column: column.parse().ok(),
        }
    }

    const REGISTRY: &str = "/home/me/.cargo/registry/src/some-index";
    const STD: &str = "/rustc/5980/library";

    #[test]
    fn what_was_called_and_where_is_kept() {
        let leaf = [
            frame(
                "into_waker",
                &format!("{REGISTRY}/tokio-1.54.1/src/sync/task/atomic_waker.rs:381:14"),
            ),
            frame(
                "call_once<core::task::wake::Waker, a::b<c>>",
                &format!("{STD}/core/src/panic/unwind_safe.rs:274:9"),
            ),
            frame(
                "poll_elapsed",
                &format!("{REGISTRY}/tokio-1.54.1/src/runtime/time/entry.rs:10:2"),
            ),
            frame(
                "<tokio::time::sleep::Sleep as core::future::future::Future>::poll",
                &format!("{REGISTRY}/tokio-1.54.1/src/time/sleep.rs:431:18"),
            ),
            frame(
                "poll<(), F>",
                &format!("{STD}/core/src/future/poll_fn.rs:151:9"),
            ),
            frame("{async_fn#0}", "src/inventory.rs:49:9"),
            frame("poll<F>", "crates/ripcord-core/src/run.rs:136:44"),
            frame("shop::inventory::reserve", "src/inventory.rs:33:12"),
        ];
        let expect = [
            "tokio::sync::task::atomic_waker::into_waker in tokio-1.54.1/src/sync/task/atomic_waker.rs:381:14",
            "tokio::time::sleep::Sleep in tokio-1.54.1/src/time/sleep.rs:431:18",
            "{async_fn#0} at src/inventory.rs:49:9",
            "shop::inventory::reserve at src/inventory.rs:33:12",
        ];
        assert_eq!(text(&leaf), expect);
    }

    #[test]
    fn a_stack_without_own_frames_has_its_two_ends() {
        let of = |name: &str| {
            frame(
                name,
                &format!("{REGISTRY}/hyper-1.12.0/src/proto/h1/mod.rs:7:9"),
            )
        };
        let leaf = [of("read"), of("fill"), of("{closure#1}<T>")];
        let expect = [
            "hyper::proto::h1::read in hyper-1.12.0/src/proto/h1/mod.rs:7:9",
            "hyper::proto::h1 in hyper-1.12.0/src/proto/h1/mod.rs:7:9",
        ];
        assert_eq!(text(&leaf), expect);
        assert!(text(&[]).is_empty());
    }

    #[test]
    fn types_are_left_out_of_names() {
        for (function, expect) in [
            ("a::b", "a::b"),
            ("a<B<C>, D>::e<F>", "a::e"),
            ("<a::B<C> as d::E<F>>::g", "a::B::g"),
            ("<a::B>::c", "c"),
            ("<T>", "closure"),
            ("{async_fn#0}<T>", "{async_fn#0}"),
            ("", "closure"),
            ("a<<<", "a"),
            (">>a", "a"),
        ] {
            assert_eq!(plain(function), expect, "{function}");
        }
    }

    #[test]
    fn a_deep_stack_is_cut_at_its_far_end() {
        let own = |at: usize| frame("f", &format!("src/a.rs:{at}:1"));
        let leaf: Vec<Frame> = (0..50).map(own).collect();
        let text = text(&leaf);
        assert_eq!(text.len(), 10);
        assert_eq!(text[0], "f at src/a.rs:0:1");
    }
}

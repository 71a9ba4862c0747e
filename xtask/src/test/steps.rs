//! The table of steps. To add one, add an entry; nothing else has to change.
//!
//! A step stands here from the day that its crate or file exists, never before: there is no way to
//! skip one. A deep one takes longer than anybody waits before a commit, or needs a tool that rustup
//! does not bring: it runs only when it is named.

use std::ffi::OsString;
use std::path::Path;

use crate::out::{Failure, Format, Sink, Verdict};
use crate::test::interop;
use crate::{conformance, layers, tidy};

/// One thing that must hold.
#[derive(Clone, Copy)]
pub(crate) struct Step {
    /// For the command line.
    pub(crate) name: &'static str,
    /// For the heading and the list.
    pub(crate) about: &'static str,
    /// Left out of a run that names no step.
    pub(crate) is_deep: bool,
    pub(crate) work: Work,
}

/// What a step does.
#[derive(Clone, Copy)]
pub(crate) enum Work {
    /// A command of xtask itself.
    Own(fn(&Path, Format, Sink) -> Result<Verdict, Failure>),
    Cargo(Cargo),
}

/// Makes ready what a run needs, and gives the environment that leads to it.
pub(crate) type Prepare = fn(&Path) -> Result<Vec<(&'static str, OsString)>, Failure>;

/// A run of cargo.
#[derive(Clone, Copy)]
pub(crate) struct Cargo {
    pub(crate) args: &'static [&'static str],
    /// Run instead of `args` when cargo-nextest is installed.
    pub(crate) nextest: Option<&'static [&'static str]>,
    /// Rustup component that brings the subcommand.
    pub(crate) component: Option<&'static str>,
    /// Private cfg to build with, in a target folder of that name without its prefix.
    pub(crate) cfg: Option<&'static str>,
    /// Environment; takes the place of what is set.
    pub(crate) env: &'static [(&'static str, &'static str)],
    pub(crate) prepare: Option<Prepare>,
    pub(crate) output: Output,
}

/// What is done with the output of a run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Output {
    /// Shown.
    Shown,
    /// Shown, and the test results in it are added up.
    Counted,
    /// Not shown: must be JSON, one value or one per line.
    Json,
}

const fn cargo(args: &'static [&'static str]) -> Cargo {
    Cargo {
        args,
        nextest: None,
        component: None,
        cfg: None,
        env: &[],
        prepare: None,
        output: Output::Shown,
    }
}

const LOOM: Cargo = Cargo {
    cfg: Some("ripcord_loom"),
    output: Output::Counted,
    ..cargo(&[
        "test",
        "--package",
        "ripcord-core",
        "--package",
        "ripcord-tracer",
        "--release",
        "--test",
        "loom*",
    ])
};

/// `rust-version` in the root manifest.
const MSRV: &str = "1.90";

/// Every step, quick ones first, and the deep ones at the end.
pub(crate) const STEPS: &[Step] = &[
    Step {
        name: "fmt",
        about: "the code is formatted",
        is_deep: false,
        work: Work::Cargo(Cargo {
            component: Some("rustfmt"),
            ..cargo(&["fmt", "--all", "--check"])
        }),
    },
    Step {
        name: "layers",
        about: "imports follow the rings",
        is_deep: false,
        work: Work::Own(layers::run),
    },
    Step {
        name: "tidy",
        about: "the conventions hold",
        is_deep: false,
        work: Work::Own(tidy::run),
    },
    Step {
        name: "conformance",
        about: "every clause of the specification has a test",
        is_deep: false,
        work: Work::Own(conformance::run),
    },
    Step {
        name: "clippy",
        about: "no lint fires",
        is_deep: false,
        work: Work::Cargo(Cargo {
            component: Some("clippy"),
            ..cargo(&[
                "clippy",
                "--workspace",
                "--all-targets",
                "--",
                "-D",
                "warnings",
            ])
        }),
    },
    Step {
        name: "clippy-interop",
        about: "nor in the tests that plain cargo leaves out",
        is_deep: false,
        work: Work::Cargo(Cargo {
            component: Some("clippy"),
            ..cargo(&[
                "clippy",
                "--workspace",
                "--test",
                "interop",
                "--",
                "-D",
                "warnings",
            ])
        }),
    },
    Step {
        name: "unit",
        about: "unit and integration tests",
        is_deep: false,
        work: Work::Cargo(Cargo {
            nextest: Some(&["nextest", "run", "--workspace"]),
            output: Output::Counted,
            ..cargo(&["test", "--workspace", "--all-targets"])
        }),
    },
    Step {
        name: "doc-tests",
        about: "examples in the documentation run",
        is_deep: false,
        work: Work::Cargo(Cargo {
            output: Output::Counted,
            ..cargo(&["test", "--workspace", "--doc"])
        }),
    },
    Step {
        name: "interop",
        about: "other implementations of the same standards read and write the same",
        is_deep: false,
        work: Work::Cargo(Cargo {
            prepare: Some(interop::prepare),
            output: Output::Counted,
            // Every test target of this name: they say `test = false`, so that only this runs them.
            ..cargo(&["test", "--workspace", "--test", "interop"])
        }),
    },
    Step {
        name: "scale",
        about: "a million levels, children and hooks, and nothing left behind",
        is_deep: false,
        work: Work::Cargo(Cargo {
            output: Output::Counted,
            ..cargo(&[
                "test",
                "--package",
                "ripcord-core",
                "--release",
                "--test",
                "scale",
                "--test",
                "leaks",
            ])
        }),
    },
    Step {
        name: "loom",
        about: "every interleaving of the small protocols of core and recorder",
        is_deep: false,
        work: Work::Cargo(Cargo {
            env: &[("LOOM_MAX_PREEMPTIONS", "2")],
            ..LOOM
        }),
    },
    Step {
        name: "shuttle",
        about: "random schedules of what scopes and wakers keep book of",
        is_deep: false,
        work: Work::Cargo(Cargo {
            cfg: Some("ripcord_shuttle"),
            output: Output::Counted,
            ..cargo(&[
                "test",
                "--package",
                "ripcord-tokio",
                "--release",
                "--test",
                "shuttle*",
            ])
        }),
    },
    Step {
        name: "unstable",
        about: "tasks that ripcord did not spawn, where tokio tells of them",
        is_deep: false,
        work: Work::Cargo(Cargo {
            cfg: Some("tokio_unstable"),
            output: Output::Counted,
            ..cargo(&["test", "--package", "ripcord-tokio", "--test", "unstable"])
        }),
    },
    Step {
        name: "shuttle-ring",
        about: "random schedules of writers and readers of the recorder's ring",
        is_deep: false,
        work: Work::Cargo(Cargo {
            cfg: Some("ripcord_shuttle"),
            output: Output::Counted,
            ..cargo(&[
                "test",
                "--package",
                "ripcord-tracer",
                "--release",
                "--test",
                "shuttle_ring",
            ])
        }),
    },
    Step {
        name: "docs",
        about: "the documentation builds without a warning",
        is_deep: false,
        work: Work::Cargo(Cargo {
            env: &[("RUSTDOCFLAGS", "-D warnings")],
            ..cargo(&["doc", "--workspace", "--no-deps"])
        }),
    },
    Step {
        name: "demo",
        about: "the demo runs and speaks JSON",
        is_deep: false,
        work: Work::Cargo(Cargo {
            output: Output::Json,
            ..cargo(&[
                "run",
                "--release",
                "--",
                "demo",
                "--seconds",
                "3",
                "--format",
                "json",
            ])
        }),
    },
    Step {
        name: "loom-deep",
        about: "the same with three preemptions instead of two: some 15 minutes",
        is_deep: true,
        work: Work::Cargo(Cargo {
            env: &[("LOOM_MAX_PREEMPTIONS", "3")],
            ..LOOM
        }),
    },
    Step {
        name: "msrv",
        about: "everything builds with the oldest Rust that is promised; it has to be installed: rustup toolchain install 1.90",
        is_deep: true,
        work: Work::Cargo(Cargo {
            // A target folder of its own, as the flags of a cfg would have.
            cfg: Some("ripcord_msrv"),
            env: &[("RUSTUP_TOOLCHAIN", MSRV)],
            ..cargo(&["check", "--workspace", "--all-features"])
        }),
    },
    Step {
        name: "peers",
        about: "the benchmark with dial9, which needs Rust 1.91 and is part of no other build",
        is_deep: true,
        work: Work::Cargo(Cargo {
            cfg: Some("ripcord_dial9"),
            output: Output::Counted,
            ..cargo(&["test", "--package", "ripcord-bench"])
        }),
    },
    Step {
        name: "memcheck",
        about: "no invalid access and no lost block, by valgrind, which has to be installed",
        is_deep: true,
        work: Work::Cargo(Cargo {
            output: Output::Counted,
            ..cargo(&[
                "test",
                "--config",
                "target.'cfg(unix)'.runner = 'valgrind --quiet --error-exitcode=1 --leak-check=full --show-leak-kinds=definite --errors-for-leak-kinds=definite --fair-sched=yes'",
                "--package",
                "ripcord-core",
                "--test",
                "basics",
                "--test",
                "cause",
                "--test",
                "deadlines",
                "--test",
                "hooks",
                "--test",
                "merges",
                "--test",
                "phases",
                "--test",
                "run",
                "--test",
                "shields",
                "--test",
                "sources",
                "--test",
                "values",
                "--test",
                "waiting",
            ])
        }),
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_typeable() {
        for (index, step) in STEPS.iter().enumerate() {
            let plain = |b: u8| b.is_ascii_lowercase() || b == b'-';
            assert!(step.name.bytes().all(plain), "{}", step.name);
            assert!(
                STEPS[index + 1..]
                    .iter()
                    .all(|other| other.name != step.name)
            );
        }
    }

    #[test]
    fn the_oldest_rust_is_the_one_that_is_promised() {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml");
        let manifest = std::fs::read_to_string(manifest).unwrap();
        assert!(manifest.contains(&format!("rust-version = \"{MSRV}\"")));
    }

    #[test]
    fn steps_with_their_own_flags_have_a_private_cfg() {
        // tokio's own: what it changes in tokio is what the step is about.
        const OF_OTHERS: [&str; 1] = ["tokio_unstable"];
        for step in STEPS {
            if let Work::Cargo(Cargo { cfg: Some(cfg), .. }) = step.work {
                let is_known = cfg.starts_with("ripcord_") || OF_OTHERS.contains(&cfg);
                assert!(is_known, "{}", step.name);
            }
        }
    }
}

//! The static probes are in the program that is built, with their arguments.

#![cfg(all(
    feature = "usdt",
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]

use object::{Object as _, ObjectSection as _};
use ripcord_tracer::Recorder;
use std::collections::BTreeMap;

/// Provider, name and how many arguments, of the notes in a program.
///
/// A note is the lengths of its name and of its content, its type, the name, the content; each padded to
/// four bytes. The content is three addresses and three texts that end in a zero.
fn probes(notes: &[u8], address_bytes: usize) -> BTreeMap<(String, String), usize> {
    let mut found = BTreeMap::new();
    let mut rest = notes;
    let word = |bytes: &[u8], at: usize| {
        let word: [u8; 4] = bytes[at..at + 4].try_into().expect("four bytes");
        usize::try_from(u32::from_le_bytes(word)).expect("it fits")
    };
    while rest.len() >= 12 {
        let (name, content) = (word(rest, 0), word(rest, 4));
        assert_eq!(word(rest, 8), 3, "the type of such a note");
        let begin = 12 + name.next_multiple_of(4);
        let texts = &rest[begin + 3 * address_bytes..begin + content];
        let texts: Vec<_> = texts
            .split(|byte| *byte == 0)
            .map(|text| String::from_utf8_lossy(text).into_owned())
            .collect();
        let arguments = texts[2].split_whitespace().count();
        found.insert((texts[0].clone(), texts[1].clone()), arguments);
        rest = &rest[(begin + content.next_multiple_of(4)).min(rest.len())..];
    }
    found
}

#[test]
fn the_notes_of_a_program_list_the_probes() {
    // What is linked is what is used: an observer has all of them.
    drop(Recorder::builder().build().observer());
    let path = std::env::current_exe().expect("this program has a file");
    let file = std::fs::read(path).expect("it can be read");
    let elf = object::File::parse(&*file).expect("it is an ELF file");
    let notes = elf.section_by_name(".note.stapsdt").expect("it has probes");
    let found = probes(notes.data().expect("it is not compressed"), 8);
    let found: Vec<_> = found
        .iter()
        .filter(|((provider, _), _)| provider == "ripcord")
        .map(|((_, name), arguments)| (&**name, *arguments))
        .collect();
    let expect = [
        ("cancel", 2),
        ("ctx_end", 1),
        ("ctx_new", 2),
        ("ctx_seen", 2),
        ("job_start", 1),
        ("poll_end", 2),
        ("poll_start", 2),
        ("task_end", 2),
        ("task_spawn", 4),
        ("wake", 2),
    ];
    assert_eq!(found, expect);
}

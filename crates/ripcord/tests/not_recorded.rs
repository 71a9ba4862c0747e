//! A program that goes on although it cannot be recorded, in a process of its own.

#![cfg(feature = "trace")]

use ripcord::tasks::current_task;
use ripcord::trace::{Recording, RecordingError};
use std::process::Command;

const CHILD: &str = "RIPCORD_TEST_CHILD";

#[test]
fn a_program_whose_file_cannot_be_made_is_not_recorded() {
    if std::env::var_os(CHILD).is_some() {
        let error = Recording::from_env().expect_err("the file is there");
        assert!(matches!(error, RecordingError::File(..)), "{error:?}");
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let told = runtime.expect("a runtime").block_on(async {
            let task = ripcord::spawn(async { current_task() });
            task.await.expect("it ran")
        });
        assert_eq!(told, None, "no task is told of");
        return;
    }
    let name = format!("ripcord-not-recorded-{}", std::process::id());
    let file = std::env::temp_dir().join(name);
    std::fs::write(&file, "mine").expect("a file");
    let test = std::env::current_exe().expect("this test");
    let child = Command::new(test)
        .args([
            "--exact",
            "a_program_whose_file_cannot_be_made_is_not_recorded",
        ])
        .env(CHILD, "1")
        .env("RIPCORD_TRACE", &file)
        .output()
        .expect("it starts");
    let kept = std::fs::read(&file).expect("it is there");
    std::fs::remove_file(&file).expect("it was made here");
    assert!(child.status.success(), "{child:?}");
    assert_eq!(kept, b"mine");
}

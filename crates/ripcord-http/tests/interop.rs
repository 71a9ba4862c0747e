//! A peer that vanishes without a word: no FIN, no RST, the network is simply gone.
//!
//! Two network namespaces of the test's own, with a cable between them that is pulled. It needs the
//! right to make them (root on Linux, and `ip` of iproute2); where it is not given, the test says so
//! and proves nothing. So it is no part of a plain `cargo test`; `cargo xtask test interop` runs it.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]
#![allow(
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "the two processes of the test talk over standard output"
)]

mod common;

use axum::Router;
use axum::routing::get;
use common::{channel, soon};
use ripcord_core::Kind;
use ripcord_http::{HttpLayer, KeepAlive, RequestCtx, Server};
use ripcord_propagation::Propagation;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Set in the process that serves, inside its namespace.
const INSIDE: &str = "RIPCORD_TEST_NAMESPACE";
const ADDRESS: &str = "10.213.7.1";
const LISTENING: &str = "listening";
const BEGAN: &str = "began";
const GONE: &str = "peer gone";

/// Network namespaces that are taken down at the end, whatever happens.
struct Namespaces {
    names: [String; 2],
}

fn ip(words: &str) -> Result<(), String> {
    let output = Command::new("ip").args(words.split(' ')).output();
    let output = output.map_err(|error| format!("failed to run `ip`: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let error = String::from_utf8_lossy(&output.stderr);
    Err(format!("`ip {words}` failed: {}", error.trim()))
}

impl Namespaces {
    fn new() -> Result<Self, String> {
        let id = std::process::id();
        let names = [format!("ripcord-s-{id}"), format!("ripcord-c-{id}")];
        let made = Self { names };
        let [server, client] = &made.names;
        ip(&format!("netns add {server}"))?;
        ip(&format!("netns add {client}"))?;
        ip(&format!(
            "-n {server} link add cable type veth peer name cable netns {client}"
        ))?;
        for (name, host) in [(server, 1), (client, 2)] {
            ip(&format!("-n {name} addr add 10.213.7.{host}/30 dev cable"))?;
            ip(&format!("-n {name} link set lo up"))?;
            ip(&format!("-n {name} link set cable up"))?;
        }
        Ok(made)
    }

    fn run(name: &str, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", name, program]).args(args);
        command
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        for name in &self.names {
            let _ = ip(&format!("netns del {name}"));
        }
    }
}

/// A process that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

//= P25
#[test]
fn a_peer_that_vanishes_is_noticed_by_keep_alive() {
    if std::env::var_os(INSIDE).is_some() {
        return serve();
    }
    let namespaces = match Namespaces::new() {
        Ok(namespaces) => namespaces,
        Err(reason) => {
            eprintln!("not proven: network namespaces are not to be had here: {reason}");
            return;
        }
    };
    let [server, client] = &namespaces.names;
    let program = std::env::current_exe().unwrap();
    let name = "a_peer_that_vanishes_is_noticed_by_keep_alive";
    let mut serving = Namespaces::run(
        server,
        program.to_str().unwrap(),
        &[name, "--exact", "--nocapture"],
    );
    let serving = serving.env(INSIDE, "1").stdout(Stdio::piped()).spawn();
    let mut serving = Running(serving.unwrap());
    let mut said = BufReader::new(serving.0.stdout.take().unwrap()).lines();
    let mut hear = |expect: &str| {
        let found = said.by_ref().any(|line| line.unwrap().contains(expect));
        assert!(found, "the server ended without saying `{expect}`");
    };

    hear(LISTENING);
    let script = format!(
        "exec 3<>/dev/tcp/{ADDRESS}/8080; printf 'GET / HTTP/1.1\\r\\nhost: a\\r\\n\\r\\n' >&3; read -u 3"
    );
    let asking = Namespaces::run(client, "bash", &["-c", &script]).spawn();
    let _asking = Running(asking.unwrap());
    hear(BEGAN);
    ip(&format!("-n {client} link set cable down")).unwrap();
    hear(GONE);
    assert!(serving.0.wait().unwrap().success());
}

/// The server's side, in its namespace: ends when its one client is gone.
#[tokio::main(flavor = "current_thread")]
async fn serve() {
    let (teller, mut listener) = channel();
    let (ctx, guard) = ripcord_tokio::root().name("server").build();
    let app = Router::new().route(
        "/",
        get(async move |RequestCtx(ctx): RequestCtx| {
            teller.watch(&ctx);
            std::future::pending::<()>().await;
        }),
    );
    let app = app.layer(HttpLayer::new(&ctx, Propagation::default()));
    let socket = tokio::net::TcpListener::bind((ADDRESS, 8080))
        .await
        .unwrap();
    // As short as the kernel allows: gone after two seconds of silence.
    let second = Duration::from_secs(1);
    let server = Server::new(&ctx).keep_alive(KeepAlive::new(second, second, 1));
    let server = tokio::spawn(server.serve(socket, app));
    println!("{LISTENING}");
    let request = listener.began().await;
    assert!(!request.is_done());
    println!("{BEGAN}");
    let cause = listener.ended().await;
    assert_eq!(cause.kind(), Kind::PeerGone, "{cause:?}");
    println!("{GONE}");
    guard.cancel("the test is over");
    soon("the end", server).await.unwrap().unwrap();
}

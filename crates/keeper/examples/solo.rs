//! One member in memory, for clients of the ZooKeeper protocol.
//!
//! `cargo run -p mainstay-keeper --example solo -- [zoo.cfg] [name=value …]`; without a file it
//! listens on 127.0.0.1:2181. Nothing outlives it.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "an example talks to whoever runs it"
)]

use std::error::Error;

use mainstay_keeper::replica::Solo;
use mainstay_keeper::serve::{Desk, Listeners, serve, wall_ms};
use mainstay_keeper::tls::Tls;
use mainstay_keeper::zoo_cfg::{Mistake, ZooCfg, jaas_users, my_id};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut text = "dataDir=/tmp\nclientPort=2181\n4lw.commands.whitelist=*\n".to_owned();
    let mut jaas = None;
    for argument in std::env::args().skip(1) {
        match argument.split_once('=') {
            Some(("java.security.auth.login.config", path)) => jaas = Some(path.to_owned()),
            Some(_) => text.extend([&*argument, "\n"]),
            None => text = std::fs::read_to_string(argument)? + "\n",
        }
    }
    let config = ZooCfg::read(&text).map_err(|mistakes| {
        let told: Vec<String> = mistakes.iter().map(Mistake::to_string).collect();
        told.join("\n")
    })?;
    for key in config.unknown.keys() {
        eprintln!("zoo.cfg: {key} means nothing here");
    }
    let users = jaas.map(std::fs::read_to_string).transpose()?;
    let users = jaas_users(&users.unwrap_or_default());
    let member = std::fs::read_to_string(config.data_dir.join("myid"));
    let member = my_id(member.as_deref().unwrap_or("1"))?;

    let desk = Desk::new(config.settings(member, users));
    let replica = Solo::new(desk.sink(), wall_ms);
    let host = config.client_address.as_deref().unwrap_or("127.0.0.1");
    let port = config.client_port.unwrap_or(2181);
    let plain = TcpListener::bind((host, port)).await?;
    println!("one member in memory at {}", plain.local_addr()?);
    let tls = config.tls()?.map(Tls::load).transpose()?;
    let secure = match config.secure_client_port {
        Some(port) => Some(TcpListener::bind((host, port)).await?),
        None => None,
    };
    let listeners = Listeners {
        plain: Some(plain),
        secure,
        tls,
        admin: None,
    };
    let mut end = signal(SignalKind::terminate())?;
    tokio::select! {
        never = serve(desk, replica, listeners) => match never {},
        _ = end.recv() => {},
    }
    Ok(())
}

//! Claims about moving here and back.

use mainstay_zk_proto::jute::Jute as _;

use super::*;

/// An empty folder that goes with the test.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder can be made")
}

#[test]
fn what_was_exported_is_imported_the_same() {
    let (name, bytes) = export(&State::new());
    assert_eq!(name, "snapshot.0");
    let folder = folder();
    let inner = folder.path().join(VERSION_FOLDER);
    fs::create_dir(&inner).expect("makes");
    fs::write(inner.join(&name), &bytes).expect("writes");
    let imported = import(folder.path(), folder.path()).expect("good");
    assert_eq!(imported.state.tree().digest(), State::new().tree().digest());
    assert_eq!((imported.replayed, imported.skipped.len()), (0, 0));
}

#[test]
fn every_damaged_byte_of_a_snapshot_is_noticed() {
    let (_, good) = export(&State::new());
    // Behind the seal only a marker follows.
    for byte in 16..good.len() - 5 {
        let mut damaged = good.clone();
        damaged[byte] ^= 1;
        assert!(snapshot::read(&damaged, 0).is_err(), "byte {byte}");
    }
}

#[test]
fn a_folder_without_anything_of_zookeepers_is_refused_with_its_name() {
    let folder = folder();
    let error = import(folder.path(), folder.path()).expect_err("nothing there");
    let folder = folder.path().display().to_string();
    assert!(error.to_string().contains(&folder), "{error}");
}

/// A log with these records, each with its checksum.
fn log(records: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::new();
    for number in [0x5A4B_4C47_i32, 2] {
        number.write(&mut out);
    }
    0_i64.write(&mut out);
    for record in records {
        i64::from(adler2::adler32_slice(record)).write(&mut out);
        record.as_slice().write(&mut out);
        out.push(b'B');
    }
    out
}

fn record(zxid: i64, kind: i32, body: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    7_i64.write(&mut out);
    0_i32.write(&mut out);
    zxid.write(&mut out);
    (1_000 * zxid).write(&mut out);
    kind.write(&mut out);
    body(&mut out);
    out
}

fn create(zxid: i64, path: &str, is_ephemeral: bool) -> Vec<u8> {
    record(zxid, 1, |out| {
        path.write(out);
        Some(&b"x"[..]).write(out);
        vec![mainstay_zk_proto::acl::Acl::OPEN].write(out);
        is_ephemeral.write(out);
        (-1_i32).write(out);
    })
}

fn replayed(bytes: &[u8]) -> Result<(u64, Raw), ImportError> {
    let mut raw = Raw::empty();
    let count = transaction::replay(bytes, Path::new("log.1"), (0, true), &mut raw)?;
    Ok((count, raw))
}

#[test]
fn a_log_is_replayed_and_its_torn_end_is_not() {
    let session = record(1, -10, |out| 4_000_i32.write(out));
    let whole = log(&[session, create(2, "/a", false), create(3, "/a/e", true)]);
    let (count, raw) = replayed(&whole).expect("good");
    assert_eq!(
        (count, raw.zxid, raw.sessions.get(&7)),
        (3, 3, Some(&4_000))
    );
    let state = raw.into_state().expect("complete");
    assert_eq!(state.tree().ephemerals(7, ""), ["/a/e"]);
    assert_eq!(state.tree().stat("/a").expect("there").cversion, 1);

    let (count, _) = replayed(&whole[..whole.len() - 3]).expect("its end is torn");
    assert_eq!(count, 2);
}

#[test]
fn the_end_of_a_session_takes_its_nodes_and_a_failed_multi_does_nothing() {
    let failed = record(3, 14, |out| {
        2_i32.write(out);
        2_i32.write(out);
        let mut delete = Vec::new();
        "/e".write(&mut delete);
        delete.as_slice().write(out);
        (-1_i32).write(out);
        [0_u8, 0, 0, 0].as_slice().write(out);
    });
    let (_, raw) = replayed(&log(&[create(1, "/e", true), failed.clone()])).expect("good");
    assert!(raw.nodes.contains_key("/e"));
    let closed = record(4, -11, |_| {});
    let (_, raw) = replayed(&log(&[create(1, "/e", true), failed, closed])).expect("good");
    assert!(!raw.nodes.contains_key("/e"));
}

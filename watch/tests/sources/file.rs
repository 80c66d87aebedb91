//! Recordings: finished, growing, cut short, replaced, and what is none.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::net::UnixListener;

use super::*;

fn append(path: &Path, text: &str) {
    OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
}

#[tokio::test]
async fn a_finished_recording_is_read_to_its_end() {
    let dir = dir();
    let path = dir.path().join("run.jsonl");
    append(&path, &lines(1, 3));
    append(
        &path,
        "not json\n\n{\"summary\":{\"ok\":true}}\n{\"seq\":4,\"ti",
    );
    let told = Reader::file(&path, Options::default()).all().await;
    insta::assert_snapshot!(plain(&told, &dir), @r#"
    0 connecting the recording DIR/run.jsonl (-)
    0 connected
    0 garbage 1: not json
    0 events 1 2 3 summary of [] on -, dropped 0
    0 broken true
    0 ended
    "#);
}

#[tokio::test]
async fn a_merged_recording_keeps_its_nodes_and_lives() {
    let dir = dir();
    let path = dir.path().join("run.jsonl");
    for (seq, place) in [(1, "n1"), (2, "n1"), (1, "n2"), (3, "n1")] {
        let more = format!(",\"node\":\"{place}\",\"instance\":\"life-of-{place}\"");
        append(&path, &(line(seq, seq, &more) + "\n"));
    }
    let text = fs::read(&path).unwrap();
    let mut read = Vec::new();
    let mut reader = Reader::file(&path, Options::default());
    let mut told = Vec::new();
    while let Some(update) = reader.next().await {
        if let Update::Events(chunk) = &update {
            read.extend_from_slice(chunk.text());
        }
        told.push(in_words(&update));
    }
    assert_eq!(read, text, "the lines were changed");
    insta::assert_snapshot!(told[2..].join("\n"), @"
    0 events 1 2 of [life-of-n1] on n1, dropped 0
    0 events 1 of [life-of-n2] on n2, dropped 0
    0 events 3 of [life-of-n1] on n1, dropped 0
    0 broken false
    0 ended
    ");
    let after = Options {
        after: vec!["life-of-n1:2".parse().unwrap()],
        ..Options::default()
    };
    assert_eq!(Reader::file(&path, after).seqs(2).await, [1, 3]);
}

#[tokio::test]
async fn a_recording_of_no_bytes_has_no_events() {
    let dir = dir();
    let path = dir.path().join("run.jsonl");
    append(&path, "");
    let told = Reader::file(&path, Options::default()).all().await;
    insta::assert_snapshot!(plain(&told, &dir), @"
    0 connecting the recording DIR/run.jsonl (-)
    0 connected
    0 broken false
    0 ended
    ");
}

#[tokio::test]
async fn growth_is_followed_also_in_the_middle_of_a_line() {
    let dir = dir();
    let path = dir.path().join("run.jsonl");
    append(&path, &lines(1, 2));
    let mut reader = Reader::file(&path, following());
    assert_eq!(reader.seqs(2).await, [1, 2]);
    let text = lines(3, 4);
    let (begin, end) = text.split_at(text.len() - 30);
    append(&path, begin);
    assert_eq!(reader.seqs(1).await, [3]);
    reader.until("0 broken true").await;
    append(&path, end);
    assert_eq!(reader.seqs(1).await, [4]);
    reader.until("0 broken false").await;
    // The line feed alone is missing: the event is there, once.
    let text = lines(5, 6);
    append(&path, text.trim_end());
    assert_eq!(reader.seqs(2).await, [5, 6]);
    append(&path, &format!("\n{}", lines(7, 7)));
    assert_eq!(reader.seqs(1).await, [7]);
    tokio::time::timeout(PATIENCE, reader.0.stop())
        .await
        .unwrap();
}

#[tokio::test]
async fn growth_is_seen_where_nobody_tells_of_it() {
    let dir = dir();
    // News of the link's directory say nothing of the file behind it.
    let real = dir.path().join("elsewhere");
    fs::create_dir(&real).unwrap();
    let (path, link) = (real.join("run.jsonl"), dir.path().join("link.jsonl"));
    append(&path, &lines(1, 1));
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let mut options = following();
    options.pace.look = Duration::from_millis(10);
    let mut reader = Reader::file(&link, options);
    assert_eq!(reader.seqs(1).await, [1]);
    append(&path, &lines(2, 2));
    assert_eq!(reader.seqs(1).await, [2]);
}

#[tokio::test]
async fn a_recording_that_begins_anew_is_another_life() {
    let dir = dir();
    // Of the ends that it saw this is not about.
    let but_ends = |told: String| {
        let lines = told.lines().filter(|line| !line.contains(" broken "));
        lines.collect::<Vec<_>>().join("\n")
    };
    let path = dir.path().join("run.jsonl");
    append(&path, &lines(1, 3));
    append(&path, "{\"seq\":4,");
    let mut reader = Reader::file(&path, following());
    reader.until("0 events 1 2 3 of []").await;
    // Cut short in place.
    File::create(&path)
        .unwrap()
        .write_all(lines(1, 1).as_bytes())
        .unwrap();
    let told = but_ends(reader.until("0 events").await);
    assert_eq!(
        told,
        "0 garbage 1: {\"seq\":4,\n0 events 1 of [#2] on -, dropped 0"
    );
    // Another file under the name; the old one's last words count.
    let mut old = OpenOptions::new().append(true).open(&path).unwrap();
    let new = dir.path().join("new");
    append(&new, &lines(1, 2));
    old.write_all(lines(2, 2).as_bytes()).unwrap();
    fs::rename(&new, &path).unwrap();
    assert_eq!(
        but_ends(reader.until("0 events 1 2").await),
        "0 events 2 of [#2] on -, dropped 0\n0 events 1 2 of [#3] on -, dropped 0"
    );
    // Removed, and made again.
    fs::remove_file(&path).unwrap();
    let lost = but_ends(reader.until("0 lost").await);
    assert_eq!(plain(&lost, &dir), "0 lost: DIR/run.jsonl was removed");
    append(&new, &lines(7, 7));
    fs::rename(&new, &path).unwrap();
    let told = but_ends(reader.until("0 events").await);
    assert!(
        told.ends_with("0 events 7 of [#4] on -, dropped 0"),
        "{told}"
    );
}

#[tokio::test]
async fn a_recording_may_come_later() {
    let dir = dir();
    let path = dir.path().join("run.jsonl");
    let mut reader = Reader::file(&path, following());
    let lost = reader.until("0 lost").await;
    assert_eq!(
        plain(&lost, &dir),
        "0 connecting the recording DIR/run.jsonl (-)\n\
         0 lost: cannot read DIR/run.jsonl: No such file or directory"
    );
    append(&path, &lines(1, 1));
    assert_eq!(reader.seqs(1).await, [1]);
}

#[tokio::test]
async fn what_is_no_recording_is_named() {
    let dir = dir();
    let socket = dir.path().join("e.sock");
    let _listener = UnixListener::bind(&socket).unwrap();
    let missing = dir.path().join("missing.jsonl");
    let mut told = Vec::new();
    for path in [dir.path(), &socket, &missing] {
        told.push(Reader::file(path, Options::default()).all().await);
    }
    let not_a_dir = socket.join("run.jsonl");
    told.push(Reader::file(&not_a_dir, Options::default()).all().await);
    insta::assert_snapshot!(plain(&told.join("\n"), &dir), @"
    0 connecting the recording DIR (-)
    0 failed: DIR is a directory: name one recording in it
    0 connecting the recording DIR/e.sock (-)
    0 failed: DIR/e.sock is a socket: write unix:// before its absolute path
    0 connecting the recording DIR/missing.jsonl (-)
    0 failed: cannot read DIR/missing.jsonl: No such file or directory
    0 connecting the recording DIR/e.sock/run.jsonl (-)
    0 failed: cannot read DIR/e.sock/run.jsonl: Not a directory
    ");
}

#[tokio::test]
async fn a_named_pipe_is_read_until_its_writer_ends() {
    let dir = dir();
    let path = dir.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&path).status();
    assert!(made.unwrap().success());
    let writer = path.clone();
    let writing = std::thread::spawn(move || {
        let mut pipe = OpenOptions::new().write(true).open(writer).unwrap();
        pipe.write_all(lines(1, 2).as_bytes()).unwrap();
    });
    let told = Reader::file(&path, Options::default()).all().await;
    writing.join().unwrap();
    assert!(told.contains("events 1 2 of"), "{told}");
    assert!(told.ends_with("0 ended"), "{told}");
    // A reader that gives up does not wait for a writer.
    let mut reader = Reader::file(&path, Options::default());
    reader.until("0 connected").await;
    tokio::time::timeout(PATIENCE, reader.0.stop())
        .await
        .unwrap();
}

#[tokio::test]
async fn a_gigabyte_without_a_line_feed_is_one_bad_line() {
    let dir = dir();
    let path = dir.path().join("run.jsonl");
    let file = File::create(&path).unwrap();
    file.set_len(1 << 30).unwrap();
    append(&path, &format!("\n{}", lines(1, 1)));
    let told = Reader::file(&path, Options::default()).all().await;
    insta::assert_snapshot!(plain(&told, &dir), @"
    0 connecting the recording DIR/run.jsonl (-)
    0 connected
    0 garbage 1: a line of more than 256 KiB
    0 events 1 of [] on -, dropped 0
    0 broken false
    0 ended
    ");
}

#[tokio::test]
async fn a_slow_reader_gets_all_of_a_recording() {
    let dir = dir();
    let path = dir.path().join("run.jsonl");
    // More than the channel holds.
    let count = 100_000;
    append(&path, &lines(1, count));
    let mut reader = Reader::file(&path, Options::default());
    reader.until("0 connected").await;
    let (mut next, mut most) = (1, 0);
    while next <= count {
        let chunk = reader.chunk().await;
        most = most.max(chunk.text().len());
        for line in chunk.lines() {
            assert_eq!(line.seq, next);
            next += 1;
        }
        assert_eq!(chunk.dropped(), 0);
        tokio::task::yield_now().await;
    }
    assert!(most < 600_000, "{most}");
}

#[tokio::test]
async fn a_large_recording_tells_how_far_it_is_read() {
    let dir = dir();
    let path = dir.path().join("run.jsonl");
    append(&path, &lines(1, 50_000));
    let size = path.metadata().unwrap().len();
    let mut reader = Reader::file(&path, Options::default());
    let (mut told, mut events) = (Vec::new(), 0);
    while let Some(update) = reader.any().await {
        match update {
            Update::Reading { read, of, .. } => {
                assert_eq!(of, size);
                told.push(read);
            }
            Update::Events(chunk) => events += chunk.len(),
            _ => {}
        }
    }
    assert_eq!(events, 50_000);
    assert!((10..100).contains(&told.len()), "{told:?}");
    assert!(told.is_sorted_by(|a, b| a < b) && told.last() < Some(&size));
}

//! Real namespaces. Every part runs in a process of its own, which moves first.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::process::ExitCode;

fn main() -> ExitCode {
    #[cfg(target_os = "linux")]
    return linux::main();
    #[cfg(not(target_os = "linux"))]
    {
        println!("skipped: network namespaces are Linux's");
        ExitCode::SUCCESS
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use std::fs;
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::path::Path;
    use std::process::{Child, Command, ExitCode, Stdio};

    use ndra_netns::{Links, MacVlan, Mount, UPLINK};

    const PARTS: [(&str, fn()); 7] = [
        ("node", node),
        ("pods", pods),
        ("mounts", mounts),
        ("own_mounts", own_mounts),
        ("shared", shared),
        ("aside", aside),
        ("join", join),
    ];

    pub(super) fn main() -> ExitCode {
        if let Some(code) = ndra_netns::helper() {
            return code;
        }
        let part = std::env::var("NDRA_TEST_PART").unwrap_or_default();
        match &part[..] {
            "" => {}
            "sits" => return sits(),
            part => {
                PARTS.iter().find(|(name, _)| *name == part).unwrap().1();
                return ExitCode::SUCCESS;
            }
        }
        if let Err(why) = ndra_netns::probe() {
            if std::env::var_os("NDRA_REQUIRE_REAL").is_some_and(|value| value == "1") {
                println!("failed: {why}");
                return ExitCode::FAILURE;
            }
            println!("skipped: {why}");
            return ExitCode::SUCCESS;
        }
        let before = here();
        for (name, _) in PARTS {
            assert!(myself(name).status().unwrap().success(), "{name}");
            println!("ok {name}");
        }
        assert_eq!(here(), before, "the host is as it was");
        ExitCode::SUCCESS
    }

    fn myself(part: &str) -> Command {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.env("NDRA_TEST_PART", part);
        command
    }

    /// Links and mounts that this process sees.
    fn here() -> (String, String) {
        let links = fs::read_to_string("/proc/self/net/dev").unwrap();
        let mut names: Vec<&str> = links.lines().filter_map(|l| l.split(':').next()).collect();
        names.sort_unstable();
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        (names.join("\n"), mounts)
    }

    fn isolate() {
        ndra_netns::isolate(&[]).unwrap();
    }

    /// A socket library's view: on a thread, for `main` serves no runtime here either.
    fn links<T: Send>(look: impl FnOnce(&Links) -> T + Send) -> T {
        look(&Links::open().unwrap())
    }

    fn node() {
        isolate();
        let (all, addresses) = links(|l| (l.list().unwrap(), l.addresses(UPLINK).unwrap()));
        let names: Vec<(&str, bool)> = all.iter().map(|l| (&l.name[..], l.up)).collect();
        assert_eq!(names.len(), 3, "{names:?}");
        assert!(names.iter().all(|(_, up)| *up), "{names:?}");
        assert_eq!(addresses, [("192.0.2.2".parse().unwrap(), 24)]);
        let eth0 = all.iter().find(|l| l.name == UPLINK).unwrap().index;
        assert_eq!(links(|l| l.default_route().unwrap()), Some(eth0));
        // `lo` carries traffic.
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        TcpStream::connect(server.local_addr().unwrap()).unwrap();
    }

    fn pods() {
        isolate();
        let dir = tempfile::tempdir().unwrap();
        let paths = ["a", "b"].map(|name| dir.path().join(name));
        for (path, last) in paths.iter().zip([1, 2]) {
            ndra_netns::create(path).unwrap();
            assert!(ndra_netns::create(path).is_err(), "there already");
            assert!(ndra_netns::has_interface(path, "lo").unwrap());
            let netns = fs::File::open(path).unwrap();
            links(|l| {
                let master = l.find(UPLINK).unwrap().unwrap().index;
                let wanted = MacVlan {
                    name: "net1",
                    master,
                    mode: "bridge",
                    mac: Some([2, 0, 0, 0, 0, last]),
                    mtu: None,
                };
                l.add_macvlan(&wanted, Some(&netns)).unwrap();
                let twice = l.add_macvlan(&wanted, Some(&netns)).unwrap_err();
                assert_eq!(twice.raw_os_error(), Some(17), "{twice}");
            });
            ndra_netns::inside(path, || {
                let links = Links::open().unwrap();
                links
                    .add_address("net1", [10, 1, 1, last].into(), 24)
                    .unwrap();
                links.up("net1").unwrap();
                let link = links.find("net1").unwrap().unwrap();
                assert_eq!(link.mac, [2, 0, 0, 0, 0, last]);
                assert!(link.up && link.macvlan.is_some());
                let own = [([10, 1, 1, last].into(), 24)];
                assert_eq!(links.addresses("net1").unwrap(), own);
            })
            .unwrap();
        }
        // A socket stays where it was opened.
        let server = ndra_netns::inside(&paths[0], || TcpListener::bind("10.1.1.1:80")).unwrap();
        let server = server.unwrap();
        let client = ndra_netns::inside(&paths[1], || TcpStream::connect("10.1.1.1:80")).unwrap();
        client.unwrap().write_all(b"hello").unwrap();
        let mut heard = String::new();
        let (mut stream, from) = server.accept().unwrap();
        stream.read_to_string(&mut heard).unwrap();
        assert_eq!((&heard[..], from.ip()), ("hello", [10, 1, 1, 2].into()));
        for path in &paths {
            ndra_netns::remove(path).unwrap();
            ndra_netns::remove(path).unwrap();
            assert!(!path.exists());
            assert!(ndra_netns::has_interface(path, "net1").is_err());
        }
    }

    fn mounts() {
        let dir = tempfile::tempdir().unwrap();
        let (from, at) = (dir.path().join("from"), dir.path().join("at"));
        fs::create_dir(&at).unwrap();
        fs::write(&from, "hidden").unwrap();
        let outside = at.join("inner/file");
        let seen = outside.clone();
        ndra_netns::isolate(&[Mount::Empty(at.clone()), Mount::Bind { from, at: outside }])
            .unwrap();
        assert_eq!(fs::read_to_string(seen).unwrap(), "hidden");
        // The file system below is as it was: unmounted, the directory is empty.
        nix::mount::umount2(&at, nix::mount::MntFlags::MNT_DETACH).unwrap();
        assert_eq!(fs::read_dir(&at).unwrap().count(), 0);
    }

    fn own_mounts() {
        isolate();
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().join("at");
        fs::create_dir(&at).unwrap();
        let file = dir.path().join("token");
        fs::write(&file, "secret").unwrap();
        let mounts = [
            Mount::Empty(at.clone()),
            Mount::Directory(at.join("a")),
            Mount::Bind {
                from: file,
                at: at.join("a/token"),
            },
        ];
        let program = ndra_netns::in_mounts(&mounts, "cat").unwrap();
        let output = output(program, &at.join("a/token"));
        assert_eq!(output, "secret");
        assert!(!at.join("a").exists(), "nobody else sees it");
        let missing = ndra_netns::in_mounts(&[], "/no/such/program").unwrap();
        let said = { missing }.output().unwrap();
        assert!(!said.status.success());
        let said = String::from_utf8(said.stderr).unwrap();
        assert!(
            said.starts_with("cannot start /no/such/program: no such"),
            "{said}"
        );
    }

    /// A program with mounts of its own that waits for its standard input to close.
    fn waits() -> Child {
        let mut program = ndra_netns::in_mounts(&[], "cat").unwrap();
        program.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = program.spawn().unwrap();
        // It has its mounts when it answers.
        child.stdin.as_mut().unwrap().write_all(b"here\n").unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap())
            .read_line(&mut line)
            .unwrap();
        assert_eq!(line, "here\n");
        child
    }

    fn sees(child: &Child, path: &Path) -> bool {
        let mounts = fs::read_to_string(format!("/proc/{}/mounts", child.id())).unwrap();
        mounts.contains(path.to_str().unwrap())
    }

    fn shared() {
        isolate();
        let dir = tempfile::tempdir().unwrap();
        assert!(!ndra_netns::shares(&dir.path().join("no/such")).unwrap());
        let [before, after] = ["before", "after"].map(|name| dir.path().join(name));
        let apart = waits();
        ndra_netns::create(&before).unwrap();
        assert!(!sees(&apart, &before), "nothing is shared without asking");
        ndra_netns::share().unwrap();
        assert!(ndra_netns::shares(&dir.path().join("no/such")).unwrap());
        let follower = waits();
        ndra_netns::create(&after).unwrap();
        assert!(sees(&follower, &before) && sees(&follower, &after));
        assert!(!sees(&apart, &after));
        ndra_netns::remove(&after).unwrap();
        assert!(!sees(&follower, &after), "it goes there, too");
        ndra_netns::remove(&before).unwrap();
        end(apart);
        end(follower);
    }

    fn aside() {
        isolate();
        ndra_netns::share().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().join("at");
        fs::create_dir(&at).unwrap();
        let outside = fs::File::open("/proc/self/ns/mnt").unwrap();
        ndra_netns::aside(&[Mount::Empty(at.clone())]).unwrap();
        fs::write(at.join("own"), "").unwrap();
        let [theirs, ours] = ["theirs", "ours"].map(|name| dir.path().join(name));
        let follower = waits();
        ndra_netns::create(&ours).unwrap();
        assert!(sees(&follower, &ours), "children follow");
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        assert!(mounts.contains(at.to_str().unwrap()));
        nix::sched::setns(outside, nix::sched::CloneFlags::CLONE_NEWNS).unwrap();
        assert!(!at.join("own").exists(), "nothing is seen outside");
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        assert!(!mounts.contains(ours.to_str().unwrap()));
        ndra_netns::create(&theirs).unwrap();
        assert!(sees(&follower, &theirs), "what is mounted outside is seen");
        ndra_netns::remove(&theirs).unwrap();
        end(follower);
    }

    fn output(mut program: Command, argument: &Path) -> String {
        let output = program.arg(argument).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Lives in namespaces of its own until its standard input closes.
    fn sits() -> ExitCode {
        isolate();
        println!("here");
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        ExitCode::SUCCESS
    }

    fn join() {
        let mut other = myself("sits");
        other.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut other = other.spawn().unwrap();
        let mut line = String::new();
        let said = other.stdout.take().unwrap();
        BufReader::new(said).read_line(&mut line).unwrap();
        assert_eq!(line, "here\n");
        let before = std::env::current_dir().unwrap();
        ndra_netns::join(other.id()).unwrap();
        ndra_netns::join(other.id()).unwrap();
        assert!(links(|l| l.find(UPLINK).unwrap()).is_some());
        assert_eq!(std::env::current_dir().unwrap(), before);
        end(other);
        let gone = ndra_netns::join(u32::MAX).unwrap_err().to_string();
        assert!(gone.starts_with("cannot move to where process 4294967295 lives"));
    }

    fn end(mut child: Child) {
        drop(child.stdin.take());
        assert!(child.wait().unwrap().success());
    }
}

//! Nothing leaves the machine unasked: with the defaults the one packet goes to the host's own
//! default gateway.

use std::{
    fs,
    process::Command,
    time::{Duration, Instant},
};

use crate::world::{FAROL, Farol, needs, rounds};

#[test]
fn with_the_defaults_nothing_is_addressed_beyond_the_gateway() {
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("trace");
    let mut command = Command::new(needs("strace"));
    command.args(["-f", "-e", "trace=network", "-o"]).arg(&trace).arg(FAROL).arg("run");
    let farol = Farol::spawn(command, folder.path(), &[]);
    farol.wait_until_ready();
    // Long enough for the slow lane and the probe; the full minute in the long form.
    let seconds = u64::try_from(rounds(15, 65)).unwrap();
    let end = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < end {
        assert_eq!(farol.get("/metrics").status, 200);
        std::thread::sleep(Duration::from_millis(500));
    }
    // The tracer hands the signal on to nobody: the program itself is told.
    let children = format!("/proc/{0}/task/{0}/children", farol.child.id());
    let program = fs::read_to_string(children).unwrap();
    assert!(Command::new("kill").args(["-TERM", program.trim()]).status().unwrap().success());
    let mut farol = farol;
    farol.child.wait().unwrap();

    let allowed = gateways();
    let trace = fs::read_to_string(&trace).unwrap();
    let addressed: Vec<&str> = trace.lines().filter_map(address).collect();
    assert!(
        addressed.iter().any(|address| address.starts_with("127.")),
        "the trace shows this test's own requests, so it would show others"
    );
    for address in addressed {
        let is_own = address.starts_with("127.") || matches!(address, "0.0.0.0" | "::1" | "::");
        assert!(
            is_own || allowed.iter().any(|gateway| gateway == address),
            "{address} in:\n{trace}"
        );
    }
}

/// The address that a traced call names, if it names one.
fn address(call: &str) -> Option<&str> {
    let after = call
        .split("inet_addr(\"")
        .nth(1)
        .or_else(|| call.split("inet_pton(AF_INET6, \"").nth(1))?;
    after.split('"').next()
}

/// The default gateways by `/proc/net/route`, read here independently of the program.
fn gateways() -> Vec<String> {
    let routes = fs::read_to_string("/proc/net/route").unwrap();
    routes
        .lines()
        .skip(1)
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let is_default =
                fields.get(1) == Some(&"00000000") && fields.get(7) == Some(&"00000000");
            let gateway = u32::from_str_radix(fields.get(2)?, 16).ok()?;
            is_default.then(|| std::net::Ipv4Addr::from(gateway.swap_bytes()).to_string())
        })
        .collect()
}

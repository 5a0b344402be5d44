//! Takes a network interface down and up again, by netlink: no program is needed for it.
//!
//! The one that carries the default route is refused, since the way in may be cut with it. Whatever goes
//! wrong once it is down, it is tried several times to get it up again.

use std::{path::Path, sync::Arc};

use rustix::{
    event::Timespec,
    io::Errno,
    net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType},
    thread::CapabilitySet,
};

use super::{
    BuiltIn, Fault, Field, FieldKind, Fields, Job, MINUTE, NotGranted, Outcome, Surroundings,
    Treatment, fields::Default, grant, restart_unit::pick,
};

pub(super) const BUILT_IN: BuiltIn = BuiltIn {
    name: "restart_interface",
    about: "Takes one of `interfaces` down and up again: the one that the alert's label `device` names, \
            else the only one. Routes that no network manager restores are lost with it.",
    cooldown: MINUTE.saturating_mul(30),
    is_default: false,
    fields: &[
        Field {
            name: "interfaces",
            kind: FieldKind::Texts,
            default: None,
            help: "Interfaces that may be restarted.",
        },
        Field {
            name: "allow_default_route",
            kind: FieldKind::Bool,
            default: Some(Default::Bool(false)),
            help: "Whether also the one that carries the default route.",
        },
    ],
    build,
};

#[derive(Clone, Debug, PartialEq, Eq)]
struct RestartInterface {
    interfaces: Vec<String>,
    allow_default_route: bool,
}

fn build(fields: &Fields) -> Result<Arc<dyn Treatment>, Fault> {
    let interfaces = fields.texts("interfaces");
    if interfaces.is_empty() {
        return Err(Fault::new("interfaces", "is empty"));
    }
    if let Some(wrong) = interfaces.iter().find(|name| !is_name(name)) {
        return Err(Fault::new("interfaces", format!("{wrong} is not an interface's name")));
    }
    let allow_default_route = fields.bool("allow_default_route");
    Ok(Arc::new(RestartInterface { interfaces, allow_default_route }))
}

/// The kernel takes up to 15 bytes; a part of a path is none.
fn is_name(name: &str) -> bool {
    let is_inner = |c: char| c.is_ascii_alphanumeric() || "-_.@:".contains(c);
    (1..16).contains(&name.len())
        && name.chars().all(is_inner)
        && name != "."
        && name != ".."
        && name != "lo"
        && !name.starts_with('-')
}

impl Treatment for RestartInterface {
    fn what(&self) -> String {
        format!("take {} down and up again", self.interfaces.join(" or "))
    }

    fn granted(&self, _surroundings: &Surroundings) -> Result<(), NotGranted> {
        grant::needs(CapabilitySet::NET_ADMIN, "CAP_NET_ADMIN", "setting an interface")
    }

    fn rehearse(&self, job: &Job<'_>) -> Outcome {
        match self.find(job) {
            Ok((name, _)) => Outcome::good(format!("would take {name} down and up again")),
            Err(why) => Outcome::bad(why),
        }
    }

    fn run(&self, job: &Job<'_>) -> Outcome {
        match self.find(job) {
            Ok((name, index)) => restart(name, &mut |is_up| set(index, is_up), &pause, job),
            Err(why) => Outcome::bad(why),
        }
    }
}

impl RestartInterface {
    fn find(&self, job: &Job<'_>) -> Result<(&str, i32), String> {
        let name = pick(&self.interfaces, job.alert, &["device", "interface"], |_| true)?;
        let path = Path::new("/sys/class/net").join(name).join("ifindex");
        let text =
            std::fs::read(&path).map_err(|_| format!("there is no interface {name} here"))?;
        let index = String::from_utf8_lossy(&text).trim().parse();
        let index = index.map_err(|_| format!("{} holds no number", path.display()))?;
        if !self.allow_default_route && carries_default_route(name) {
            return Err(format!(
                "{name} carries the default route: the way in would be cut; allow_default_route: true \
                 allows it"
            ));
        }
        Ok((name, index))
    }
}

fn carries_default_route(name: &str) -> bool {
    let read = |path: &str| {
        let bytes = std::fs::read(path).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    default_routes(&read("/proc/net/route"), &read("/proc/net/ipv6_route"))
        .iter()
        .any(|device| device == name)
}

fn default_routes(v4: &str, v6: &str) -> Vec<String> {
    let fields = |line: &str| line.split_ascii_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let is = |fields: &[String], at: usize, value: &str| {
        fields.get(at).is_some_and(|field| field == value)
    };
    let of_v4 = v4.lines().map(fields).filter_map(|fields| {
        (is(&fields, 1, "00000000") && is(&fields, 7, "00000000"))
            .then(|| fields.first().cloned())
            .flatten()
    });
    let of_v6 = v6.lines().map(fields).filter_map(|fields| {
        let is_all = fields.first().is_some_and(|to| to.bytes().all(|byte| byte == b'0'));
        (is_all && is(&fields, 1, "00")).then(|| fields.last().cloned()).flatten()
    });
    of_v4.chain(of_v6).filter(|device| device != "lo").collect()
}

const TRIES: usize = 5;
const PAUSE: Timespec = Timespec { tv_sec: 0, tv_nsec: 500_000_000 };

fn pause() {
    rustix::event::poll(&mut [], Some(&PAUSE)).ok();
}

fn restart(
    name: &str,
    set: &mut dyn FnMut(bool) -> Result<(), Errno>,
    pause: &dyn Fn(),
    job: &Job<'_>,
) -> Outcome {
    if job.leash.is_asked() {
        return Outcome::bad(format!("{name} was left alone: there was no time left"));
    }
    if let Err(error) = set(false) {
        return Outcome::bad(format!("{name} could not be taken down: {error}"));
    }
    pause();
    // The leash is not asked here: a machine without its interface is worse than a late end.
    let mut last = Errno::IO;
    for _ in 0..TRIES {
        match set(true) {
            Ok(()) => return Outcome::good(format!("took {name} down and up again")),
            Err(error) => last = error,
        }
        pause();
    }
    Outcome::bad(format!(
        "{name} IS DOWN and could not be taken up again: {last}; ip link set {name} up"
    ))
}

const REQUEST: usize = 32;
const NEWLINK: u16 = 16;
const ERROR: u16 = 2;
/// A request that wants an answer.
const FLAGS: u16 = 0x1 | 0x4;
const UP: u32 = 1;

/// `RTM_NEWLINK` of `rtnetlink(7)`: a header of 16 bytes, an `ifinfomsg` of as many.
fn request(index: i32, is_up: bool) -> [u8; REQUEST] {
    let mut bytes = Vec::with_capacity(REQUEST);
    bytes.extend(32_u32.to_ne_bytes());
    bytes.extend(NEWLINK.to_ne_bytes());
    bytes.extend(FLAGS.to_ne_bytes());
    bytes.extend(1_u32.to_ne_bytes());
    bytes.extend(0_u32.to_ne_bytes());
    // Family and padding, type.
    bytes.extend([0; 4]);
    bytes.extend(index.to_ne_bytes());
    bytes.extend(if is_up { UP } else { 0 }.to_ne_bytes());
    bytes.extend(UP.to_ne_bytes());
    bytes.try_into().expect("it is of 32 bytes")
}

fn set(index: i32, is_up: bool) -> Result<(), Errno> {
    let socket = rustix::net::socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        // NETLINK_ROUTE is 0, the protocol of none named.
        None,
    )?;
    let wait = Some(std::time::Duration::from_secs(5));
    rustix::net::sockopt::set_socket_timeout(&socket, rustix::net::sockopt::Timeout::Recv, wait)?;
    rustix::net::send(&socket, &request(index, is_up), SendFlags::empty())?;
    let mut answer = [0; 4096];
    let (length, _) = rustix::net::recv(&socket, &mut answer[..], RecvFlags::empty())?;
    read_answer(answer.get(..length).unwrap_or_default())
}

/// An error message; with the number 0 it is none.
fn read_answer(answer: &[u8]) -> Result<(), Errno> {
    let kind = answer.get(4..6).and_then(|bytes| bytes.try_into().ok()).map(u16::from_ne_bytes);
    let code = answer.get(16..20).and_then(|bytes| bytes.try_into().ok()).map(i32::from_ne_bytes);
    match (kind, code) {
        (Some(ERROR), Some(0)) => Ok(()),
        (Some(ERROR), Some(code)) => Err(Errno::from_raw_os_error(code.saturating_neg())),
        _ => Err(Errno::BADMSG),
    }
}

#[cfg(test)]
mod tests {
    use farol_model::Timestamp;

    use super::*;
    use crate::remedy::Leash;

    fn restarted(set: &mut dyn FnMut(bool) -> Result<(), Errno>) -> Outcome {
        let leash = Leash::default();
        let surroundings = Surroundings::default();
        let now = Timestamp::from_millis(0);
        let job = Job { name: "x", now, alert: None, leash: &leash, surroundings: &surroundings };
        restart("eth1", set, &|| {}, &job)
    }

    #[test]
    fn an_interface_that_does_not_come_up_is_tried_again() {
        let mut calls = Vec::new();
        let outcome = restarted(&mut |is_up| {
            calls.push(is_up);
            if calls.len() < 3 && is_up { Err(Errno::BUSY) } else { Ok(()) }
        });
        assert!(outcome.ok, "{outcome:?}");
        assert_eq!(calls, [false, true, true]);
    }

    #[test]
    fn one_that_could_not_be_taken_down_is_let_alone() {
        let mut calls = 0;
        let outcome = restarted(&mut |_| {
            calls += 1;
            Err(Errno::PERM)
        });
        assert!(!outcome.ok && calls == 1, "{outcome:?}");
    }

    #[test]
    fn the_interface_of_the_default_route_is_known_from_the_kernels_tables() {
        let v4 = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\n\
                  eth0\t00000000\t0101A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
                  eth1\t0000A8C0\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n";
        let zero = "0".repeat(32);
        let v6 = format!(
            "{zero} 00 {zero} 00 {zero} 00000400 00000001 00000000 00000003     eth2\n\
             {zero} 00 {zero} 00 {zero} ffffffff 00000001 00000000 00200200       lo\n"
        );
        assert_eq!(default_routes(v4, &v6), ["eth0", "eth2"]);
    }

    #[test]
    fn an_answer_is_an_error_or_none() {
        let answer = |code: i32| {
            let mut bytes = vec![36, 0, 0, 0];
            bytes.extend(ERROR.to_ne_bytes());
            bytes.extend([0; 10]);
            bytes.extend(code.to_ne_bytes());
            bytes
        };
        assert_eq!(read_answer(&answer(0)), Ok(()));
        assert_eq!(read_answer(&answer(-1)), Err(Errno::PERM));
        assert_eq!(read_answer(b"short"), Err(Errno::BADMSG));
    }

    #[test]
    fn the_kernel_understands_the_question() {
        // No such interface: whoever may set one is told so, and whoever may not, that.
        let error = set(i32::MAX, true).unwrap_err();
        assert!([Errno::NODEV, Errno::PERM].contains(&error), "{error:?}");
    }

    #[test]
    fn a_name_is_one_and_not_a_path_and_the_loopback_is_none_to_restart() {
        for (name, expected) in [
            ("eth0", true),
            ("enp3s0f1", true),
            ("br-1a2b", true),
            ("eth0.100", true),
            ("lo", false),
            ("..", false),
            ("../eth0", false),
            ("", false),
            ("a-name-far-too-long", false),
            ("-eth0", false),
        ] {
            assert_eq!(is_name(name), expected, "{name}");
        }
    }
}

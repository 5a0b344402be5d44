//! The kernel's list of TCP sockets by netlink: sock_diag(7), include/uapi/linux/inet_diag.h,
//! net/ipv4/inet_diag.c.
//!
//! It tells what `/proc/net/tcp` does at a fraction of the cost: empty places of the kernel's table,
//! of which a large machine has half a million, are passed over without a lock and without a line.
//! The answer is of the network namespace that asks, and of no other.

use std::{os::fd::OwnedFd, time::Duration};

use rustix::{
    io::Errno,
    net::{
        AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send,
        socket_with,
        sockopt::{Timeout, set_socket_timeout},
    },
};

/// What is told of one socket; a state is a number of include/net/tcp_states.h.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Socket {
    pub(super) state: u8,
    pub(super) rx_queue: u32,
    pub(super) tx_queue: u32,
}

/// An open netlink socket. After an error it is of no more use: what is left of an answer would be
/// taken for the next one's.
pub(super) struct SockDiag {
    socket: OwnedFd,
    buffer: Vec<u8>,
    sequence: u32,
}

const IPV4: u8 = 2;
const IPV6: u8 = 10;
const TCP: u8 = 6;
const ALL_STATES: u32 = u32::MAX;

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const REQUEST_A_DUMP: u16 = 0x301;

const HEADER: usize = 16;
const REQUEST: usize = HEADER + 56;
/// The kernel answers from memory, at once.
const PATIENCE: Duration = Duration::from_secs(1);
/// The kernel fills what it is given, up to 32 KiB a message.
const BUFFER_BYTES: usize = 32 * 1024;

impl SockDiag {
    pub(super) fn open() -> Result<SockDiag, Errno> {
        let (kind, flags) = (SocketType::RAW, SocketFlags::CLOEXEC);
        let protocol = Some(netlink::SOCK_DIAG);
        let socket = socket_with(AddressFamily::NETLINK, kind, flags, protocol)?;
        set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE))?;
        Ok(SockDiag { socket, buffer: vec![0; BUFFER_BYTES], sequence: 0 })
    }

    pub(super) fn each_tcp(&mut self, mut each: impl FnMut(Socket)) -> Result<(), Errno> {
        self.each_of(IPV4, &mut each)?;
        match self.each_of(IPV6, &mut each) {
            // A kernel without IPv6 is whole without it.
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn each_of(&mut self, family: u8, each: &mut impl FnMut(Socket)) -> Result<(), Errno> {
        self.sequence = self.sequence.wrapping_add(1);
        send(&self.socket, &request(family, self.sequence), SendFlags::empty())?;
        loop {
            let (_, length) = match recv(&self.socket, &mut self.buffer[..], RecvFlags::empty()) {
                Err(Errno::INTR) => continue,
                other => other?,
            };
            let received = self.buffer.get(..length).ok_or(Errno::MSGSIZE)?;
            if read_messages(received, self.sequence, each)? == Answer::Whole {
                return Ok(());
            }
        }
    }
}

/// `nlmsghdr` and `inet_diag_req_v2`.
fn request(family: u8, sequence: u32) -> [u8; REQUEST] {
    let mut bytes = [0; REQUEST];
    let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    put(0, &(REQUEST as u32).to_ne_bytes());
    put(4, &SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    put(6, &REQUEST_A_DUMP.to_ne_bytes());
    put(8, &sequence.to_ne_bytes());
    put(HEADER, &[family, TCP]);
    put(HEADER + 4, &ALL_STATES.to_ne_bytes());
    bytes
}

#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Whole,
    GoesOn,
}

/// The messages of one reading, each aligned to four bytes.
fn read_messages(
    mut bytes: &[u8],
    sequence: u32,
    each: &mut impl FnMut(Socket),
) -> Result<Answer, Errno> {
    while !bytes.is_empty() {
        let length = number(bytes, 0).ok_or(Errno::BADMSG)? as usize;
        let message = bytes.get(..length).filter(|it| it.len() >= HEADER).ok_or(Errno::BADMSG)?;
        if number(message, 8) != Some(sequence) {
            return Err(Errno::BADMSG);
        }
        match u16::from_ne_bytes([message[4], message[5]]) {
            NLMSG_DONE => return Ok(Answer::Whole),
            NLMSG_ERROR => {
                let code = number(message, HEADER).ok_or(Errno::BADMSG)?.cast_signed();
                return Err(Errno::from_raw_os_error(code.checked_neg().unwrap_or(0)));
            }
            SOCK_DIAG_BY_FAMILY => each(socket(message).ok_or(Errno::BADMSG)?),
            _ => {}
        }
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(Answer::GoesOn)
}

/// `inet_diag_msg`: family, state, two bytes more, 48 of addresses, a time, and the queues.
fn socket(message: &[u8]) -> Option<Socket> {
    const QUEUES: usize = HEADER + 56;
    let state = *message.get(HEADER + 1)?;
    let (rx_queue, tx_queue) = (number(message, QUEUES)?, number(message, QUEUES + 4)?);
    Some(Socket { state, rx_queue, tx_queue })
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..)?.first_chunk::<4>()?;
    Some(u32::from_ne_bytes(*four))
}

/// For the fuzzer.
pub(super) fn parse_everything(bytes: &[u8]) {
    let sequence = number(bytes, 8).unwrap_or_default();
    read_messages(bytes, sequence, &mut |_| {}).ok();
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    const ESTABLISHED: u8 = 1;
    const LISTEN: u8 = 10;

    #[test]
    fn the_kernel_tells_of_a_listener_and_of_both_ends_of_a_connection() {
        let mut diag = SockDiag::open().unwrap();
        let mut count = || {
            let mut counts = [0; 256];
            diag.each_tcp(|socket| counts[usize::from(socket.state)] += 1).unwrap();
            (counts[usize::from(LISTEN)], counts[usize::from(ESTABLISHED)])
        };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let server = listener.accept().unwrap();
        // Others have sockets too, in this and in other tests.
        let (listeners, established) = count();
        assert!(listeners >= 1 && established >= 2, "{listeners} {established}");
        drop((client, server, listener));
    }

    fn message(kind: u16, sequence: u32, payload: &[u8]) -> Vec<u8> {
        let length = HEADER + payload.len();
        let mut bytes = (length as u32).to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend([0, 0]);
        bytes.extend(sequence.to_ne_bytes());
        bytes.extend([0; 4]);
        bytes.extend(payload);
        bytes.resize(length.next_multiple_of(4), 0);
        bytes
    }

    fn read(bytes: &[u8]) -> (Result<Answer, Errno>, Vec<Socket>) {
        let mut sockets = Vec::new();
        (read_messages(bytes, 7, &mut |socket| sockets.push(socket)), sockets)
    }

    #[test]
    fn messages_are_read_one_after_the_other_to_the_last() {
        let mut payload = [0; 72];
        payload[1] = LISTEN;
        payload[56..60].copy_from_slice(&5_u32.to_ne_bytes());
        payload[60..64].copy_from_slice(&128_u32.to_ne_bytes());
        let socket = Socket { state: LISTEN, rx_queue: 5, tx_queue: 128 };
        let mut bytes = message(SOCK_DIAG_BY_FAMILY, 7, &payload);
        bytes.extend(message(SOCK_DIAG_BY_FAMILY, 7, &payload));
        assert_eq!(read(&bytes), (Ok(Answer::GoesOn), vec![socket; 2]));
        bytes.extend(message(NLMSG_DONE, 7, &[0; 4]));
        assert_eq!(read(&bytes).0, Ok(Answer::Whole));
    }

    #[test]
    fn a_refusal_is_told_and_what_is_no_answer_is_an_error() {
        let no_such_family = message(NLMSG_ERROR, 7, &(-2_i32).to_ne_bytes());
        assert_eq!(read(&no_such_family).0, Err(Errno::NOENT));
        let of_another_question = message(NLMSG_DONE, 6, &[0; 4]);
        for bytes in [&of_another_question[..], &[1], &[0; 16], &[255; 16]] {
            assert_eq!(read(bytes).0, Err(Errno::BADMSG), "{bytes:?}");
        }
        let too_short = message(SOCK_DIAG_BY_FAMILY, 7, &[2, 1]);
        assert_eq!(read(&too_short), (Err(Errno::BADMSG), vec![]));
    }
}

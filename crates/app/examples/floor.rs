//! The floor under a scrape: a server that does nothing but write so many bytes for each request, one
//! connection after the other. `make bench` measures it beside Farol, because the kernel's share of a
//! scrape differs more between machines (and hours) than Farol's does. usage: floor BYTES

#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a tool of the benchmark")]

use std::{
    io::{Read, Write},
    net::TcpListener,
};

fn main() {
    let bytes: usize = std::env::args().nth(1).unwrap().parse().unwrap();
    let mut answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {bytes}\r\n\r\n").into_bytes();
    answer.resize(answer.len() + bytes, b'x');
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    println!("farol listening on http://{}", listener.local_addr().unwrap());
    for stream in listener.incoming() {
        let mut stream = stream.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut request = [0; 4096];
        while stream.read(&mut request).is_ok_and(|read| read > 0) {
            stream.write_all(&answer).unwrap();
        }
    }
}

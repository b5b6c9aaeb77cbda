//! A server on loopback that answers as a test wants.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use awg_install::config::Url;

pub const BODY: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyz";

/// Answers the n-th request (from 1) whose headers are `lines`; a closed connection ends the answer.
type Answer = dyn Fn(usize, &[String], &mut TcpStream) + Send + Sync;

pub struct Server {
    pub url: Url,
    /// Host and port.
    pub address: String,
    /// The first line of each request and its headers, in small letters.
    pub requests: Arc<Mutex<Vec<Vec<String>>>>,
}

pub fn serve(answer: impl Fn(usize, &[String], &mut TcpStream) + Send + Sync + 'static) -> Server {
    let answer: Arc<Answer> = Arc::new(answer);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let url = format!("http://{address}/file").parse().unwrap();
    let requests = Arc::new(Mutex::new(Vec::new()));
    let seen = requests.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let lines = head(&stream);
            let number = {
                let mut seen = seen.lock().unwrap();
                seen.push(lines.clone());
                seen.len()
            };
            answer(number, &lines, &mut stream);
        }
    });
    Server { url, address, requests }
}

/// Hands each connection to `talk` as it is.
pub fn accept(talk: impl Fn(&mut TcpStream) + Send + Sync + 'static) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let url = format!("http://{address}/file").parse().unwrap();
    std::thread::spawn(move || listener.incoming().for_each(|stream| talk(&mut stream.unwrap())));
    Server { url, address, requests: Arc::default() }
}

/// The lines of a request up to the empty one, in small letters. The client sends no more before it is answered.
pub fn head(stream: impl std::io::Read) -> Vec<String> {
    BufReader::new(stream).lines().map_while(|l| l.ok().filter(|l| !l.is_empty())).map(|l| l.to_lowercase()).collect()
}

impl Server {
    pub fn count(&self) -> usize {
        self.requests.lock().unwrap().len()
    }

    /// The Range of each request.
    pub fn ranges(&self) -> Vec<String> {
        let range = |lines: &Vec<String>| {
            lines.iter().find_map(|l| l.strip_prefix("range: bytes=")).unwrap_or("none").to_string()
        };
        self.requests.lock().unwrap().iter().map(range).collect()
    }
}

pub fn say(stream: &mut impl Write, status: &str, headers: &str, body: &[u8], announced: usize) {
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {announced}\r\nConnection: close\r\n{headers}\r\n");
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
}

pub fn whole(stream: &mut impl Write) {
    say(stream, "200 OK", "", BODY, BODY.len());
}

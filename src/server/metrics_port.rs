//! `/metrics` and `/healthz`, on a listener and a thread of their own: the shards' ports stay the clients', and reading
//! costs the shards nothing, since what they report lies ready.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::exposition;
use crate::connection::http::Decoder;
use crate::driver::Control;
use crate::wire::http::{Method, Response};

/// Time one client has for its request and its answer; the others wait meanwhile.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long accepting rests when the system has no room for a connection.
const REST: Duration = Duration::from_millis(100);

/// Listens on `address` and answers until the process ends. Returns the real address.
pub fn serve(address: SocketAddr, control: Arc<Control>) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(address)?;
    let address = listener.local_addr()?;
    let answer_all = move || {
        for stream in listener.incoming() {
            match stream {
                // A client that fails to ask or to listen harms itself only.
                Ok(mut stream) => drop(answer(&mut stream, &control)),
                Err(_) => thread::sleep(REST),
            }
        }
    };
    thread::Builder::new().name("metrics".to_owned()).spawn(answer_all)?;
    Ok(address)
}

fn answer(stream: &mut TcpStream, control: &Control) -> io::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut decoder = Decoder::default();
    let (mut bytes, mut out) = ([0; 4096], Vec::new());
    loop {
        match decoder.head() {
            Ok(None) => {}
            Ok(Some(head)) => {
                put_answer(head.method, head.path, control, &mut out);
                break;
            }
            Err(_) => {
                put(400, "text/plain", "This is no request.\n", false, &mut out);
                break;
            }
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        let n = stream.read(&mut bytes)?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        decoder.push(&bytes[..n]);
    }
    stream.write_all(&out)
}

fn put_answer(method: Method, path: &str, control: &Control, out: &mut Vec<u8>) {
    let head_only = match method {
        Method::Get => false,
        Method::Head => true,
        _ => return put(405, "text/plain", "Only GET is possible here.\n", false, out),
    };
    match path {
        "/metrics" => put(200, exposition::CONTENT_TYPE, &exposition::text(&control.reports()), head_only, out),
        "/healthz" if control.is_draining() => put(503, "text/plain", "draining\n", head_only, out),
        "/healthz" => put(200, "text/plain", "serving\n", head_only, out),
        _ => put(404, "text/plain", "Here are /metrics and /healthz.\n", head_only, out),
    }
}

fn put(status: u16, content_type: &str, body: &str, head_only: bool, out: &mut Vec<u8>) {
    Response { status, content_type, body: body.as_bytes(), extra: "", close: true, head_only }.put(out);
}

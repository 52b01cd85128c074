//! Socket.IO v5 in the default namespace: events, calls with acknowledgement.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::engine::{Packet, Session, Via};
use super::{LIMIT, Server};

/// The greeting of the rooms application; read with [`Client::any_event`] only.
const GREETINGS: [&str; 2] = ["connection_established", "authenticated"];

pub struct Client<'a> {
    pub session: Session<'a>,
    /// The Socket.IO id.
    pub id: String,
    /// For recovery, when the server offers it.
    pub pid: Option<String>,
    inbox: VecDeque<Event>,
    acks: Vec<(u64, Vec<Value>)>,
    next_ack: u64,
    /// The offset of the last event that had one.
    pub offset: Option<String>,
}

#[derive(Clone, Debug)]
pub struct Event {
    pub name: String,
    pub args: Vec<Value>,
    /// The same arguments as they were written.
    pub raw: Vec<String>,
}

impl Event {
    /// The one payload; recovery may add an offset behind it.
    #[track_caller]
    pub fn payload(&self) -> &Value {
        self.args.first().expect("an event with a payload")
    }
}

impl<'a> Client<'a> {
    /// Connects; a refusal fails the test.
    #[track_caller]
    pub fn connect(server: &'a Server, via: Via) -> Client<'a> {
        Client::connect_with(server, via, &json!({}))
    }

    /// Connects with an auth payload.
    #[track_caller]
    pub fn connect_with(server: &'a Server, via: Via, auth: &Value) -> Client<'a> {
        Client::try_connect(server, via, auth).unwrap_or_else(|refusal| panic!("the connection was refused: {refusal}"))
    }

    /// Connects, or gives the payload of the connect error.
    pub fn try_connect(server: &'a Server, via: Via, auth: &Value) -> Result<Client<'a>, Value> {
        Client::on_session(Session::open(server, via, "/socket.io/"), auth)
    }

    /// Connects on an Engine.IO session that is open already.
    #[track_caller]
    pub fn on_session(mut session: Session<'a>, auth: &Value) -> Result<Client<'a>, Value> {
        session.send(&match auth {
            Value::Null => "40".to_string(),
            auth => format!("40{auth}"),
        });
        let answer = session.recv();
        if let Some(refusal) = answer.text().strip_prefix("44") {
            return Err(super::json::parse(refusal));
        }
        let answer = answer.text().strip_prefix("40").expect("a CONNECT packet");
        let answer = super::json::parse(answer);
        let text = |key: &str| answer[key].as_str().map(str::to_string);
        Ok(Client {
            session,
            id: text("sid").expect("a sid"),
            pid: text("pid"),
            inbox: VecDeque::new(),
            acks: Vec::new(),
            next_ack: 0,
            offset: None,
        })
    }

    /// Sends an event with one payload.
    #[track_caller]
    pub fn emit(&mut self, event: &str, payload: Value) {
        self.session.send(&format!("42{}", json!([event, payload])));
    }

    /// Sends a packet as it is.
    #[track_caller]
    pub fn raw(&mut self, packet: &str) {
        self.session.send(packet);
    }

    /// Sends an event and waits for its acknowledgement, which has one argument.
    #[track_caller]
    pub fn call(&mut self, event: &str, payload: Value) -> Value {
        self.call_raw(&json!([event, payload]).to_string())
    }

    /// As [`Client::call`] for arguments (event name included) written by the caller.
    #[track_caller]
    pub fn call_raw(&mut self, arguments: &str) -> Value {
        let id = self.start_call(arguments);
        self.ack(id)
    }

    /// Sends an event with an ack id, to be awaited by [`Client::ack`].
    #[track_caller]
    pub fn start_call(&mut self, arguments: &str) -> u64 {
        let id = self.next_ack;
        self.next_ack += 1;
        self.session.send(&format!("42{id}{arguments}"));
        id
    }

    /// The one argument of an acknowledgement.
    #[track_caller]
    pub fn ack(&mut self, id: u64) -> Value {
        let start = Instant::now();
        loop {
            if let Some(at) = self.acks.iter().position(|(got, _)| *got == id) {
                let (_, mut args) = self.acks.remove(at);
                assert_eq!(args.len(), 1, "an ack has one argument: {args:?}");
                return args.remove(0);
            }
            assert!(start.elapsed() < LIMIT, "no acknowledgement");
            self.receive();
        }
    }

    /// The acknowledgements that came and were not asked for.
    pub fn unclaimed_acks(&self) -> usize {
        self.acks.len()
    }

    /// The next event, the greeting left out.
    #[track_caller]
    pub fn event(&mut self) -> Event {
        loop {
            let event = self.any_event();
            if !GREETINGS.contains(&event.name.as_str()) {
                return event;
            }
        }
    }

    /// The next event, be it the greeting.
    #[track_caller]
    pub fn any_event(&mut self) -> Event {
        let start = Instant::now();
        loop {
            if let Some(event) = self.inbox.pop_front() {
                return event;
            }
            assert!(start.elapsed() < LIMIT, "no event came");
            self.receive();
        }
    }

    /// The payload of the next event, which must have this name.
    #[track_caller]
    pub fn expect(&mut self, name: &str) -> Value {
        let event = self.event();
        assert_eq!(event.name, name, "{:?}", event.args);
        event.payload().clone()
    }

    /// The payload of the next event with this name, others left out.
    #[track_caller]
    pub fn find(&mut self, name: &str) -> Value {
        loop {
            let event = self.event();
            if event.name == name {
                return event.payload().clone();
            }
        }
    }

    /// The `code` of the next event, which must be an `error`.
    #[track_caller]
    pub fn expect_error(&mut self) -> String {
        let error = self.expect("error");
        assert!(!error["error"].as_str().unwrap_or("").is_empty(), "{error}");
        error["details"]["code"].as_str().unwrap_or_else(|| panic!("no code: {error}")).to_string()
    }

    /// Asserts that no event has come and none comes for a while, the greeting left out.
    #[track_caller]
    pub fn is_quiet(&mut self, duration: Duration) {
        let deadline = Instant::now() + duration;
        loop {
            self.inbox.retain(|event| !GREETINGS.contains(&event.name.as_str()));
            assert!(self.inbox.is_empty(), "unexpected: {:?}", self.inbox);
            let left = deadline.saturating_duration_since(Instant::now());
            match self.session.recv_within(left) {
                Some(packet) => self.take(packet),
                None => return,
            }
        }
    }

    /// Reads one packet.
    #[track_caller]
    fn receive(&mut self) {
        let packet = self.session.recv();
        self.take(packet);
    }

    #[track_caller]
    fn take(&mut self, packet: Packet) {
        let Packet::Text(text) = &packet else { panic!("unexpected {packet:?}") };
        if let Some(event) = text.strip_prefix("42") {
            let event = parse_event(event);
            let last = event.args.get(1..).and_then(|rest| rest.last());
            if let Some(offset) = last.and_then(Value::as_str) {
                self.offset = Some(offset.to_string());
            }
            self.inbox.push_back(event);
        } else if let Some(ack) = text.strip_prefix("43") {
            let (id, args) = ack.split_at(ack.find('[').expect("an ack has arguments"));
            let args = super::json::parse(args);
            let args = args.as_array().expect("an array").clone();
            self.acks.push((id.parse().expect("an ack id"), args));
        } else {
            panic!("unexpected {text}");
        }
    }
}

/// Parses what follows `42`; the server does not ask for acknowledgements.
#[track_caller]
fn parse_event(text: &str) -> Event {
    let raw: Vec<Box<RawValue>> = serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"));
    let mut args: Vec<Value> = raw.iter().map(|arg| super::json::parse(arg.get())).collect();
    let name = args.remove(0);
    Event {
        name: name.as_str().expect("an event name").to_string(),
        args,
        raw: raw[1..].iter().map(|arg| arg.get().to_string()).collect(),
    }
}

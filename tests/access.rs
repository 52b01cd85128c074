//! Access: the token, the entity, and that secrets stay secret.

mod common;

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

use common::engine::{BOTH, Session};
use common::rooms::{failure, join, message, now_ms, uuid};
use common::{Client, Server, Via, WebSocket, each_worker_count, http};

const TOKEN: &str = "0f3b-a-token-nobody-knows";
const WITH_TOKEN: &[&str] = &["--auth-token", TOKEN];
const X_API_KEY: &str = "X-API-KEY: 0f3b-a-token-nobody-knows\r\n";
const WORKERS: [usize; 2] = [1, 4];

/// A session whose handshake had more headers.
fn session<'a>(server: &'a Server, via: Via, headers: &str) -> Session<'a> {
    match via {
        Via::Polling => Session::Polling(common::Polling::open_with(server, "/socket.io/", headers)),
        Via::WebSocket => {
            let target = "/socket.io/?EIO=4&transport=websocket";
            Session::on(WebSocket::try_open(server, target, headers).expect("an upgrade"))
        }
    }
}

#[test]
fn a_socket_needs_the_token_on_either_transport() {
    each_worker_count(&WORKERS, WITH_TOKEN, |server| {
        for via in BOTH {
            for auth in [Value::Null, json!({}), json!({"token": "wrong"}), json!({"apiKey": [TOKEN]})] {
                let refused = Client::try_connect(server, via, &auth).err();
                assert_eq!(refused, Some(json!({"message": "Invalid or missing API Key"})), "{auth}");
            }
            for auth in [json!({"token": TOKEN}), json!({"apiKey": TOKEN})] {
                join(&mut Client::connect_with(server, via, &auth), &uuid());
            }
            let mut client = Client::on_session(session(server, via, X_API_KEY), &Value::Null).expect("access");
            join(&mut client, &uuid());
            let refused = Client::on_session(session(server, via, "X-API-KEY: wrong\r\n"), &Value::Null).err();
            assert_eq!(refused, Some(json!({"message": "Invalid or missing API Key"})));
        }
    });
}

#[test]
fn the_entity_may_have_to_be_named() {
    each_worker_count(&WORKERS, &["--require-entity-id"], |server| {
        for via in BOTH {
            for auth in [Value::Null, json!({"entityId": "someone"})] {
                let refused = Client::try_connect(server, via, &auth).err();
                assert_eq!(refused, Some(json!({"message": "Valid entityId required"})), "{auth}");
            }
            join(&mut Client::connect_with(server, via, &json!({"entityId": uuid()})), &uuid());
        }
    });
}

#[test]
fn a_preflight_allows_the_headers_that_give_access() {
    each_worker_count(&[1], WITH_TOKEN, |server| {
        let headers = "Origin: https://a.example\r\nAccess-Control-Request-Method: GET\r\n\
                       Access-Control-Request-Headers: authorization,x-api-key\r\n";
        let response = http::once(server, "OPTIONS", "/socket.io/", headers, b"").expect(204);
        let allowed = response.header("access-control-allow-headers").unwrap_or("").to_lowercase();
        assert!(allowed.contains("x-api-key") && allowed.contains("authorization"), "{allowed}");
    });
}

#[test]
fn a_token_of_the_environment_counts_and_is_printed_nowhere() {
    let flags = ["--workers", "1", "--log-level", "trace"];
    let server = Server::try_start_with(&flags, &[("SOCKEYE_AUTH_TOKEN", TOKEN)]).expect("a start");
    for auth in [json!({"token": TOKEN}), json!({"token": "wrong"})] {
        let _ = Client::try_connect(&server, Via::WebSocket, &auth);
    }
    assert!(Client::try_connect(&server, Via::WebSocket, &Value::Null).is_err());
    Client::on_session(session(&server, Via::Polling, X_API_KEY), &Value::Null).expect("access");
    let log = server.log();
    let line = log.lines().find(|line| line.trim_start().starts_with("auth-token "));
    assert_eq!(line.and_then(|line| line.split_whitespace().nth(1)), Some("on"));
    server.signal(rustix::process::Signal::TERM);
    assert!(server.exit_status(common::LIMIT).success());
    assert!(!server.log().contains(TOKEN), "{}", server.log());
}

#[test]
fn an_empty_token_is_an_error() {
    for (flags, variables) in [(&["--auth-token", ""][..], &[][..]), (&[], &[("SOCKEYE_AUTH_TOKEN", "")])] {
        let exited = Server::try_start_with(flags, variables).err().expect("no start");
        assert!(exited.output.contains("must not be empty"), "{}", exited.output);
    }
}

const SECRET: &str = "a secret of no fewer than 32 bytes";
const WITH_JWT: &[&str] = &["--jwt-secret", SECRET];

/// A token that ends after so many seconds.
fn token(mut claims: Value, seconds: u64) -> String {
    claims["exp"] = json!(now_ms() / 1_000 + seconds);
    encode(&Header::default(), &claims, &EncodingKey::from_secret(SECRET.as_bytes())).expect("a token")
}

#[test]
fn claims_bound_a_socket_and_come_back_with_it() {
    each_worker_count(&WORKERS, WITH_JWT, |server| {
        for via in BOTH {
            for headers in [false, true] {
                let (user, room) = (uuid(), uuid());
                let claims = json!({"sub": user, "rooms": [room]});
                let connect = |claims: &Value, pid: Option<&str>| {
                    let token = token(claims.clone(), 600);
                    let mut auth = json!({"entityId": user});
                    let mut bearer = String::new();
                    match headers {
                        true => bearer = format!("Authorization: Bearer {token}\r\n"),
                        false => auth["token"] = json!(token),
                    }
                    if let Some(pid) = pid {
                        auth["pid"] = json!(pid);
                    }
                    Client::on_session(session(server, via, &bearer), &auth).expect("access")
                };
                let mut client = connect(&claims, None);
                join(&mut client, &room);
                failure(&client.call("join", json!({"roomId": uuid()})), "forbidden");
                let (id, pid) = (client.id.clone(), client.pid.clone());
                drop(client);

                let other = json!({"sub": user, "rooms": "*"});
                assert_ne!(connect(&other, pid.as_deref()).id, id, "with other claims");
                // Where it was closed without a word the server may still hold it for connected.
                let mut client = connect(&claims, pid.as_deref());
                assert_eq!(client.id, id);
                failure(&client.call("message", message(&uuid(), &user, "hi")), "forbidden");
                failure(&client.call("message", message(&room, &uuid(), "hi")), "forbidden");
                assert_eq!(client.call("message", message(&room, &user, "hi"))["ok"], true);
            }
        }
    });
}

#[test]
fn a_socket_ends_with_its_token() {
    each_worker_count(&WORKERS, WITH_JWT, |server| {
        let auth = json!({"token": token(json!({"sub": uuid()}), 2)});
        let mut client = Client::connect_with(server, Via::WebSocket, &auth);
        assert_eq!(client.any_event().name, "connection_established");
        assert_eq!(client.expect_error(), "forbidden");
        assert_eq!(client.session.recv().text(), "41");
        let refused = Client::try_connect(server, Via::WebSocket, &auth).err();
        assert_eq!(refused, Some(json!({"message": "Token expired"})));
    });
}

#[test]
fn keys_are_read_from_files() {
    let directory = std::env::temp_dir().join(format!("sockeye-keys-{}", uuid()));
    std::fs::create_dir(&directory).expect("a directory");
    let file = |name: &str, text: &str| {
        let path = directory.join(name);
        std::fs::write(&path, text).expect("a file");
        path.display().to_string()
    };
    let pair = Ed25519KeyPair::generate().expect("a key");
    let public: PublicKeyX509Der<'_> = pair.public_key().as_der().expect("a key");
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(public.as_ref()));
    let private = pair.to_pkcs8v1().expect("a key");
    let signed = |algorithm, key: &EncodingKey| {
        let claims = json!({"sub": uuid(), "exp": now_ms() / 1_000 + 600});
        json!({"token": encode(&Header::new(algorithm), &claims, key).expect("a token")})
    };
    let by_key = signed(Algorithm::EdDSA, &EncodingKey::from_ed_der(private.as_ref()));
    let by_secret = signed(Algorithm::HS256, &EncodingKey::from_secret(SECRET.as_bytes()));
    let by_public_key = signed(Algorithm::HS256, &EncodingKey::from_secret(pem.as_bytes()));
    for (flag, path, good, bad) in [
        ("--jwt-public-key", file("public.pem", &pem), &by_key, &by_public_key),
        ("--jwt-secret-file", file("secret", &format!("{SECRET}\n")), &by_secret, &by_key),
    ] {
        let server = Server::start(&["--workers", "1", flag, &path]);
        Client::connect_with(&server, Via::WebSocket, good);
        let refused = Client::try_connect(&server, Via::WebSocket, bad).err();
        assert_eq!(refused, Some(json!({"message": "Invalid token"})), "{flag}");
        assert!(!server.log().contains(SECRET));
    }
    for (flag, path, why) in [
        ("--jwt-public-key", file("none.pem", "not a key"), "is not a public key"),
        ("--jwt-secret-file", file("empty", "\n"), "is empty"),
        ("--jwt-secret-file", directory.join("missing").display().to_string(), "No such file"),
    ] {
        let exited = Server::try_start(&[flag, &path]).err().expect("no start");
        assert!(exited.output.contains(why) && exited.output.contains(&path), "{}", exited.output);
    }
    std::fs::remove_dir_all(directory).expect("our own directory");
}

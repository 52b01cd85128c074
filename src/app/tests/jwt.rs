//! Signed tokens: which are taken, and what they say.

use crate::app::{Claims, Invalid, Role, Rooms, Verifier};
use crate::engine::Now;
use crate::rooms::RoomId;
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::{self, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    Ed25519KeyPair, KeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use uuid::Uuid;

const SECRET: &[u8] = b"a secret of no fewer than 32 bytes";
const USER: &str = "0b0b0b0b-0000-4000-8000-000000000001";
const NOW: Now = Now { mono_ms: 1_000, unix_ms: 1_700_000_000_000 };
/// Ten seconds later.
const EXP: u64 = 1_700_000_010;

fn pem(label: &str, der: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
}

fn public_pem(der: PublicKeyX509Der<'_>) -> String {
    pem("PUBLIC KEY", der.as_ref())
}

/// An RSA key: what signs with it, its private and its public part in PEM.
fn rsa_key() -> (EncodingKey, String, String) {
    let pair = rsa::KeyPair::generate(KeySize::Rsa2048).unwrap();
    let private: Pkcs8V1Der<'_> = pair.as_der().unwrap();
    let private = pem("PRIVATE KEY", private.as_ref());
    (EncodingKey::from_rsa_pem(private.as_bytes()).unwrap(), private, public_pem(pair.public_key().as_der().unwrap()))
}

fn ec_key(algorithm: &'static EcdsaSigningAlgorithm) -> (EncodingKey, String) {
    let pair = EcdsaKeyPair::generate(algorithm).unwrap();
    let private = pair.to_pkcs8v1().unwrap();
    (EncodingKey::from_ec_der(private.as_ref()), public_pem(pair.public_key().as_der().unwrap()))
}

fn ed_key() -> (EncodingKey, String) {
    let pair = Ed25519KeyPair::generate().unwrap();
    let private = pair.to_pkcs8v1().unwrap();
    (EncodingKey::from_ed_der(private.as_ref()), public_pem(pair.public_key().as_der().unwrap()))
}

fn token(algorithm: Algorithm, key: &EncodingKey, claims: &Value) -> String {
    encode(&Header::new(algorithm), claims, key).unwrap()
}

fn signed(claims: &Value) -> String {
    token(Algorithm::HS256, &EncodingKey::from_secret(SECRET), claims)
}

fn verify(token: &str) -> Result<Claims, Invalid> {
    Verifier::shared(SECRET).verify(token.as_bytes(), NOW)
}

fn listed(names: &[&str]) -> Rooms {
    Rooms::Listed(names.iter().map(|name| RoomId::any(name).unwrap()).collect())
}

#[test]
fn claims_mean_what_the_readme_says() {
    let user = Uuid::try_parse(USER).ok();
    let room = "0a0a0a0a-0000-4000-8000-000000000001";
    for (claims, role, rooms, reads_logs) in [
        (json!({"sub": USER, "exp": EXP}), Role::User, listed(&[]), false),
        (json!({"sub": USER.to_uppercase(), "role": "user", "exp": EXP, "rooms": "*"}), Role::User, Rooms::All, false),
        (json!({"sub": USER, "exp": EXP, "rooms": [room, "b", "a"]}), Role::User, listed(&[room, "a", "b"]), false),
        (json!({"sub": USER, "exp": EXP, "rooms": room}), Role::User, listed(&[room]), false),
        (json!({"sub": USER, "exp": EXP, "rooms": ["*"]}), Role::User, Rooms::All, false),
        (json!({"sub": USER, "role": "agent", "exp": EXP}), Role::Agent, listed(&[]), false),
        (json!({"sub": USER, "role": "admin", "exp": EXP}), Role::Admin, Rooms::All, false),
        (json!({"sub": USER, "role": "admin", "exp": EXP, "rooms": []}), Role::Admin, listed(&[]), false),
        (json!({"sub": USER, "exp": EXP, "permissions": ["x", "logs"]}), Role::User, listed(&[]), true),
        (
            json!({"sub": USER, "exp": EXP, "aud": "b", "iss": "a", "more": {"deep": [1]}}),
            Role::User,
            listed(&[]),
            false,
        ),
    ] {
        let expected = Claims { subject: user, role, rooms, reads_logs, expires_ms: EXP * 1_000 };
        assert_eq!(verify(&signed(&claims)), Ok(expected), "{claims}");
    }
    let nobody = verify(&signed(&json!({"sub": "an agent", "role": "agent", "exp": EXP})));
    assert_eq!(nobody.map(|claims| claims.subject), Ok(None));
}

#[test]
fn claims_that_are_wrong_give_no_access() {
    for claims in [
        json!({"exp": EXP}),
        json!({"sub": "someone", "exp": EXP}),
        json!({"sub": 7, "exp": EXP}),
        json!({"sub": USER}),
        json!({"sub": USER, "exp": null}),
        json!({"sub": USER, "exp": EXP.to_string()}),
        json!({"sub": USER, "exp": -1}),
        json!({"sub": USER, "exp": EXP, "nbf": "x"}),
        json!({"sub": USER, "exp": EXP, "nbf": -1}),
        json!({"sub": USER, "exp": EXP, "role": "root"}),
        json!({"sub": USER, "exp": EXP, "role": ["admin"]}),
        json!({"sub": USER, "exp": EXP, "rooms": [""]}),
        json!({"sub": USER, "exp": EXP, "rooms": [7]}),
        json!({"sub": USER, "exp": EXP, "rooms": {}}),
        json!({"sub": USER, "exp": EXP, "permissions": "logs"}),
        json!([]),
        json!("*"),
        json!(null),
    ] {
        assert_eq!(verify(&signed(&claims)), Err(Invalid::Token), "{claims}");
    }
    let twice = URL_SAFE_NO_PAD.encode(format!(r#"{{"sub":"{USER}","role":"user","role":"admin","exp":{EXP}}}"#));
    assert_eq!(verify(&sign(r#"{"alg":"HS256"}"#, &twice)), Err(Invalid::Token));
}

#[test]
fn a_token_holds_from_its_beginning_to_its_end_and_no_longer() {
    let now = NOW.unix_ms / 1_000;
    for (exp, nbf, outcome) in [
        (json!(now), json!(0), Err(Invalid::Expired)),
        (json!(now - 100), json!(now + 100), Err(Invalid::Expired)),
        (json!(now + 1), json!(now), Ok((now + 1) * 1_000)),
        (json!(now + 1), json!(now + 1), Err(Invalid::Early)),
        (json!(now as f64 + 0.5), json!(null), Ok(now * 1_000 + 500)),
        (json!(1e300), json!(null), Ok(253_402_300_799_000)),
        (json!(1e300), json!(1e300), Err(Invalid::Early)),
    ] {
        let claims = json!({"sub": USER, "exp": exp, "nbf": nbf});
        assert_eq!(verify(&signed(&claims)).map(|claims| claims.expires_ms), outcome, "{claims}");
    }
}

#[test]
fn public_keys_verify_with_the_algorithm_that_is_theirs() {
    let claims = json!({"sub": USER, "exp": EXP});
    let ((rsa, private, rsa_public), (ec, ec_public), (ed, ed_public)) =
        (rsa_key(), ec_key(&ECDSA_P256_SHA256_FIXED_SIGNING), ed_key());
    let keys = [
        (Algorithm::RS256, &rsa, &rsa_public),
        (Algorithm::ES256, &ec, &ec_public),
        (Algorithm::EdDSA, &ed, &ed_public),
    ];
    for (algorithm, _, public) in keys {
        let verifier = Verifier::public(public.as_bytes()).unwrap();
        for (other, key, _) in keys {
            let is_same = algorithm == other;
            let outcome = verifier.verify(token(other, key, &claims).as_bytes(), NOW);
            assert_eq!(outcome.is_ok(), is_same, "{other:?} with a key for {algorithm:?}");
        }
        // The public key taken for a shared secret.
        for secret in [public.as_bytes(), public.trim().as_bytes()] {
            for hmac in [Algorithm::HS256, Algorithm::HS512] {
                let forged = token(hmac, &EncodingKey::from_secret(secret), &claims);
                assert_eq!(verifier.verify(forged.as_bytes(), NOW), Err(Invalid::Token));
            }
        }
    }
    let verifier = Verifier::public(rsa_public.as_bytes()).unwrap();
    for other in [Algorithm::RS384, Algorithm::RS512, Algorithm::PS256] {
        assert_eq!(verifier.verify(token(other, &rsa, &claims).as_bytes(), NOW), Err(Invalid::Token), "{other:?}");
    }
    let (_, p384) = ec_key(&ECDSA_P384_SHA384_FIXED_SIGNING);
    for no_key in [p384.as_str(), &private, "", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "x"] {
        assert!(Verifier::public(no_key.as_bytes()).is_none(), "{no_key}");
    }
}

/// A token with any header and payload (the latter in base64), signed with the secret.
fn sign(header: &str, payload: &str) -> String {
    let message = format!("{}.{payload}", URL_SAFE_NO_PAD.encode(header));
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, SECRET);
    let signature = aws_lc_rs::hmac::sign(&key, message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

#[test]
fn what_a_header_says_changes_nothing() {
    let payload = URL_SAFE_NO_PAD.encode(json!({"sub": USER, "exp": EXP}).to_string());
    assert!(verify(&sign(r#"{"alg":"HS256","typ":"JWT","kid":"a"}"#, &payload)).is_ok());
    for header in [
        r#"{"alg":"none"}"#,
        r#"{"alg":"None"}"#,
        r#"{"alg":"hs256"}"#,
        r#"{"alg":"HS384"}"#,
        r#"{"alg":"RS256"}"#,
        r#"{"alg":["HS256"]}"#,
        r#"{"alg":null}"#,
        r#"{"typ":"JWT"}"#,
        r#"{"alg":"HS256","crit":["b64"],"b64":false}"#,
        r#"{"alg":"HS256","crit":[]}"#,
        r#"{"alg":"HS256","alg":"none"}"#,
        "[]",
        "",
    ] {
        assert_eq!(verify(&sign(header, &payload)), Err(Invalid::Token), "{header}");
    }
    let unsigned = format!("{}.{payload}.", URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#));
    assert_eq!(verify(&unsigned), Err(Invalid::Token));
}

#[test]
fn no_change_to_a_token_goes_unnoticed() {
    let good = signed(&json!({"sub": USER, "exp": EXP, "rooms": "*"}));
    assert!(verify(&good).is_ok());
    for at in 0..good.len() {
        for byte in [b'A', b'_', b'.', b'=', b' ', 0, 0xff] {
            let mut bytes = good.clone().into_bytes();
            let before = std::mem::replace(&mut bytes[at], byte);
            let outcome = Verifier::shared(SECRET).verify(&bytes, NOW);
            assert_eq!(outcome.is_ok(), before == byte, "{byte} at {at}");
        }
        assert_eq!(verify(&good[..at]), Err(Invalid::Token), "{at} bytes");
        assert_eq!(verify(&format!("{}{}", &good[..at], &good[at + 1..])), Err(Invalid::Token), "without byte {at}");
    }
    let long = "a".repeat(100_000);
    let deep = format!("{}.{}.a", URL_SAFE_NO_PAD.encode("[".repeat(5_000)), "a");
    for bad in ["", ".", "..", "...", "a.b.c", &format!("{good}."), &format!(".{good}"), &long, &deep] {
        assert_eq!(verify(bad), Err(Invalid::Token), "{bad:.40}");
    }
    let other = Verifier::shared(b"another secret of more than 32 bytes");
    assert_eq!(other.verify(good.as_bytes(), NOW), Err(Invalid::Token));
}

#[test]
fn deep_claims_of_a_signed_token_cost_no_stack() {
    let payload = URL_SAFE_NO_PAD.encode(format!(
        r#"{{"sub":"{USER}","exp":{EXP},"more":{}1{}}}"#,
        "[".repeat(2_000),
        "]".repeat(2_000)
    ));
    // Whatever it is taken for, it is taken without recursion.
    let _ = verify(&sign(r#"{"alg":"HS256"}"#, &payload));
}

#[test]
fn keys_are_not_shown() {
    assert_eq!(format!("{:?}", Verifier::shared(SECRET)), "Verifier([HS256])");
}

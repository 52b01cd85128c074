use super::*;

/// A packet in owned form: kind, attachments, namespace, acknowledgement id, data.
type Owned = (PacketType, u32, String, Option<u64>, String);

fn decoded(text: &str) -> Result<Owned, DecodeError> {
    let mut text = text.as_bytes().to_vec();
    decode(&mut text).map(|packet| {
        let data = String::from_utf8(packet.data.to_vec()).expect("data is UTF-8");
        (packet.kind, packet.attachments, packet.namespace.to_owned(), packet.ack_id, data)
    })
}

#[test]
fn packets_of_the_specification() {
    use PacketType::*;
    let cases = [
        ("0", Connect, 0, "/", None, ""),
        (r#"0{"token":"123"}"#, Connect, 0, "/", None, r#"{"token":"123"}"#),
        ("0/admin,", Connect, 0, "/admin", None, ""),
        (r#"0/admin,{"sid":"oSO0OpakMV_3jnilAAAA"}"#, Connect, 0, "/admin", None, r#"{"sid":"oSO0OpakMV_3jnilAAAA"}"#),
        ("0/admin", Connect, 0, "/admin", None, ""),
        ("0/admin?token=1234&uid=abcd,", Connect, 0, "/admin", None, ""),
        ("1", Disconnect, 0, "/", None, ""),
        ("1/admin,", Disconnect, 0, "/admin", None, ""),
        (r#"2["foo"]"#, Event, 0, "/", None, r#"["foo"]"#),
        (r#"212["foo"]"#, Event, 0, "/", Some(12), r#"["foo"]"#),
        (r#"2/admin,["bar"]"#, Event, 0, "/admin", None, r#"["bar"]"#),
        (r#"2/admin,13["bar"]"#, Event, 0, "/admin", Some(13), r#"["bar"]"#),
        ("3/admin,13[\"bar\"]", Ack, 0, "/admin", Some(13), "[\"bar\"]"),
        ("312[]", Ack, 0, "/", Some(12), "[]"),
        ("29007199254740991[1]", Event, 0, "/", Some(9_007_199_254_740_991), "[1]"),
        (
            r#"51-["baz",{"_placeholder":true,"num":0}]"#,
            BinaryEvent,
            1,
            "/",
            None,
            r#"["baz",{"_placeholder":true,"num":0}]"#,
        ),
        (r#"52-/admin,["baz"]"#, BinaryEvent, 2, "/admin", None, r#"["baz"]"#),
        (r#"510-7["baz"]"#, BinaryEvent, 10, "/", Some(7), r#"["baz"]"#),
        (r#"61-15["bar"]"#, BinaryAck, 1, "/", Some(15), r#"["bar"]"#),
    ];
    for (text, kind, attachments, namespace, ack_id, data) in cases {
        assert_eq!(decoded(text), Ok((kind, attachments, namespace.into(), ack_id, data.into())), "{text}");
    }
}

#[test]
fn bad_packets_are_refused() {
    use DecodeError::*;
    let cases = [
        ("", Type),
        ("abc", Type),
        ("7", Type),
        ("-1", Type),
        (r#"4{"message":"Not authorized"}"#, Type),
        ("2{}", Data),
        (r#"2abc["foo"]"#, Data),
        ("2", Data),
        ("212", Data),
        ("2\"foo\"", Data),
        ("2/admin", Data),
        ("2-1[1]", Data),
        ("2 [1]", Data),
        ("3{}", Data),
        ("0[]", Data),
        ("0abc", Data),
        ("1{}", Data),
        ("1[]", Data),
        ("29007199254740992[1]", AckId),
        ("299999999999999999999999[1]", AckId),
        ("21e3[1]", Data),
        ("5[\"a\"]", Attachments),
        ("5-[\"a\"]", Attachments),
        ("50-[\"a\"]", Attachments),
        ("51[\"a\"]", Attachments),
        ("51", Attachments),
        ("51.0-[\"a\"]", Attachments),
        ("5+1-[\"a\"]", Attachments),
        ("5 1-[\"a\"]", Attachments),
        ("50x1-[\"a\"]", Attachments),
        ("5--1-[\"a\"]", Attachments),
        ("511-[\"a\"]", TooManyAttachments),
        ("599999999999999999999-[\"a\"]", TooManyAttachments),
        ("61-{}", Data),
    ];
    for (text, error) in cases {
        assert_eq!(decoded(text), Err(error), "{text}");
    }
}

#[test]
fn prefixes_are_those_of_the_specification() {
    use PacketType::*;
    let cases = [
        ("0", Connect, 0, "/", None),
        ("2", Event, 0, "/", None),
        ("2/custom,", Event, 0, "/custom", None),
        ("51-/custom,12", BinaryEvent, 1, "/custom", Some(12)),
        ("30", Ack, 0, "/", Some(0)),
        ("44", ConnectError, 0, "/", Some(4)),
        ("61-3", BinaryAck, 1, "/", Some(3)),
        ("1/a,", Disconnect, 0, "/a", None),
    ];
    for (expected, kind, attachments, namespace, ack_id) in cases {
        let mut out = Vec::new();
        put_prefix(&mut out, kind, attachments, namespace, ack_id);
        assert_eq!(String::from_utf8(out).as_deref(), Ok(expected));
    }
}

#[test]
fn arguments_are_split_from_the_name() {
    let cases = [
        (r#"["foo"]"#, "foo", "", 0),
        (r#"["foo",1]"#, "foo", "1", 1),
        (r#" [ "foo" , {"a":[1,2]} , null ] "#, "foo", r#"{"a":[1,2]} , null"#, 2),
        (r#"["f\u006fo\n","]"]"#, "foo\n", r#""]""#, 1),
        (r#"[1,{}]"#, "1", "{}", 1),
        (r#"[-1.5e3]"#, "-1.5e3", "", 0),
        (r#"["",[]]"#, "", "[]", 1),
        (r#"["é","€"]"#, "é", r#""€""#, 1),
    ];
    for (data, name, rest, count) in cases {
        assert_eq!(validate_args(data), Ok(Args { name: name.into(), rest, count }), "{data}");
    }
    assert_eq!(validate_ack_args("[]"), Ok(("", 0)));
    assert_eq!(validate_ack_args(r#"[ {"ok":true} , 2 ]"#), Ok((r#"{"ok":true} , 2"#, 2)));
    assert_eq!(validate_ack_args(r#"["connect"]"#), Ok((r#""connect""#, 1)));
}

#[test]
fn bad_arguments_are_refused() {
    use DecodeError::*;
    let not_json =
        ["", "[", "[]]", "[\"a\"", "[\"a\",]", "[,]", "[\"a\" 1]", "{}", "\"a\"", "1", "[\"a\",01]", "[\"a\"]x"];
    for data in not_json.into_iter().chain(["[\"a\",\u{1}]", "[\"\n\"]", "[tru]", "[\"a\",{1:2}]", "[\"\\x\"]", "[1e]"])
    {
        assert_eq!(validate_args(data), Err(Data), "{data}");
        assert_eq!(validate_ack_args(data), Err(Data), "{data}");
    }
    for data in ["[]", "[null]", "[true]", "[{}]", "[[\"a\"]]"] {
        assert_eq!(validate_args(data), Err(EventName), "{data}");
        assert!(validate_ack_args(data).is_ok(), "{data}");
    }
    for name in RESERVED_EVENTS.iter().chain(&["\\u0063onnect"]) {
        assert_eq!(validate_args(&format!("[\"{name}\"]")), Err(EventName), "{name}");
    }
}

#[test]
fn hostile_json_neither_recurses_nor_overflows() {
    let deep = 100_000;
    let closed = format!("[\"a\",{}{}]", "[".repeat(deep), "]".repeat(deep));
    assert_eq!(validate_args(&closed).map(|args| args.count), Ok(1));
    assert_eq!(check_placeholders(&closed, 1), Ok(()));
    let objects = format!("[\"a\",{}1{}]", "{\"k\":".repeat(deep), "}".repeat(deep));
    assert_eq!(validate_args(&objects).map(|args| args.count), Ok(1));
    assert_eq!(check_placeholders(&objects, 1), Ok(()));
    for unclosed in [format!("[\"a\",{}", "[".repeat(deep)), format!("[\"a\",{}", "{\"k\":".repeat(deep))] {
        assert_eq!(validate_args(&unclosed), Err(DecodeError::Data));
        assert_eq!(check_placeholders(&unclosed, 1), Ok(()), "no placeholder is seen");
    }
    let keys: Vec<String> = (0..1_000_000).map(|key| format!("\"{key}\":{key}")).collect();
    let wide = format!("[\"a\",{{{}}}]", keys.join(","));
    assert_eq!(validate_args(&wide).map(|args| args.count), Ok(1));
    assert_eq!(check_placeholders(&wide, 1), Ok(()));
    let huge =
        format!("[\"a\",{},-{}.{}e{}]", "9".repeat(1_000), "1".repeat(1_000), "7".repeat(1_000), "9".repeat(1_000));
    assert_eq!(validate_args(&huge).map(|args| args.count), Ok(2));
    let many = format!("[\"a\"{}]", ",0".repeat(1_000_000));
    assert_eq!(validate_args(&many).map(|args| args.count), Ok(1_000_000));
}

#[test]
fn placeholders_name_an_attachment() {
    let good = [
        r#"["a"]"#,
        r#"["a",{"_placeholder":true,"num":0}]"#,
        r#"["a",{"_placeholder":true,"num":1},[{"x":{"num":0,"_placeholder":true}}]]"#,
        r#"["a",{ "_placeholder" : true , "num" : 1 , "x" : {} }]"#,
        r#"["a",{"_placeholder":false,"num":7},{"_placeholder":1},{"_placeholder":"true","num":9},{"num":9}]"#,
        r#"["{\"_placeholder\":true,\"num\":9}","\\"]"#,
        r#"["a",{"_placeholder":true,"_placeholder":null}]"#,
        r#"["a",{"_placeholder":true,"num":9,"num":1}]"#,
        r#"["a",{"x":"_placeholder","y":true},{"_placeholder":[true]}]"#,
    ];
    for data in good {
        assert_eq!(check_placeholders(data, 2), Ok(()), "{data}");
    }
    let bad = [
        r#"["a",{"_placeholder":true}]"#,
        r#"["a",{"_placeholder":true,"num":2}]"#,
        r#"["a",{"num":2,"_placeholder":true}]"#,
        r#"["a",{"_placeholder":true,"num":-1}]"#,
        r#"["a",{"_placeholder":true,"num":0.5}]"#,
        r#"["a",{"_placeholder":true,"num":1e0}]"#,
        r#"["a",{"_placeholder":true,"num":"0"}]"#,
        r#"["a",{"_placeholder":true,"num":"splice"}]"#,
        r#"["a",{"_placeholder":true,"num":[0]}]"#,
        r#"["a",{"_placeholder":true,"num":{"num":0}}]"#,
        r#"["a",{"_placeholder":true,"num":99999999999999999999999}]"#,
        r#"["a",{"_placeholder":true,"num":0,"num":null}]"#,
        r#"["a",{"x":{"_placeholder":true,"num":2},"x":0}]"#,
        r#"["a",{"\u005fplaceholder":true,"\u006Eum":2}]"#,
        r#"["a",{"x":[{"y":{"_placeholder":true,"num":2}}]},{"_placeholder":true,"num":0}]"#,
        r#"{"_placeholder":true,"num":2}"#,
        r#"["\"",{"_placeholder":true,"num":2}]"#,
    ];
    for data in bad {
        assert_eq!(check_placeholders(data, 2), Err(DecodeError::Placeholder), "{data}");
    }
}

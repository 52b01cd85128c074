//! The answers of the floor program.

pub(super) const UPGRADED: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ";
pub(super) const CONNECTED: &[u8] = br#"40{"sid":"AAAAAAAAAAAAAAAAAAAA"}"#;
pub(super) const JOIN_ACK: &[u8] = br#"[{"ok":true,"roomId":"00000000-0000-7000-8000-000000000000","members":1}]"#;
pub(super) const MESSAGE_ACK: &[u8] =
    br#"[{"ok":true,"id":"00000000-0000-7000-8000-000000000000","createdAt":1700000000000}]"#;
/// What stands around the text of a broadcast, in the documented order of keys.
pub(super) const TEXT_HEAD: &[u8] =
    br#"{"senderId":"00000000-0000-7000-8000-000000000000","senderName":"Bench","text":""#;
pub(super) const TEXT_TAIL: &[u8] = br#"","roomId":"00000000-0000-7000-8000-000000000000","serverId":"00000000-0000-0000-0000-000000000000","createdAt":1700000000000,"source":"socketio_client","id":"00000000-0000-7000-8000-000000000000","thought":"","actions":[],"attachments":[],"channelId":"00000000-0000-7000-8000-000000000000","messageServerId":"00000000-0000-0000-0000-000000000000"}"#;
pub(super) const PING_FRAME: &[u8] = &[0x81, 1, b'2'];
pub(super) const CLOSE_FRAME: &[u8] = &[0x88, 2, 0x03, 0xE8];

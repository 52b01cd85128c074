//! What a socket may not do, and the end of its token.

use super::Agents;
use super::fault::{Code, Fault};
use super::grant::Grant;
use super::mail::Asker;
use crate::rooms::RoomId;
use crate::socket::{Context, SocketKey};
use uuid::Uuid;

/// What a socket was granted, and when that is looked at again.
#[derive(Debug, Default)]
pub struct Permission {
    pub grant: Grant,
    /// In `mono_ms`; 0: not at all.
    look_ms: u64,
}

/// A token's end is waited for in steps of this length, so that no timer outlives its socket for long.
const LOOK_MS: u64 = 60_000;

impl From<Grant> for Permission {
    fn from(grant: Grant) -> Self {
        Self { grant, look_ms: 0 }
    }
}

/// Refuses what is about a room that the socket may not be in.
pub fn check_room(cx: &Context<'_, Agents>, asker: Asker, room: &RoomId) -> Result<(), Fault> {
    check(cx, asker, |grant| grant.allows_room(room), "This room is not among those of your token.")
}

/// Refuses what is said for somebody the socket may not speak for.
pub fn check_sender(cx: &Context<'_, Agents>, asker: Asker, user: Uuid) -> Result<(), Fault> {
    check(cx, asker, |grant| grant.allows_sender(user), "Your token is another user's.")
}

fn check(
    cx: &Context<'_, Agents>,
    asker: Asker,
    allows: impl FnOnce(&Grant) -> bool,
    sentence: &'static str,
) -> Result<(), Fault> {
    if cx.hub.data(asker.socket).is_some_and(|client| allows(&client.permission.grant)) {
        return Ok(());
    }
    Err(Fault::new(Code::Forbidden, sentence))
}

/// Sees to it that a socket does not outlive its token.
pub fn watch(cx: &mut Context<'_, Agents>, socket: SocketKey) {
    let now = cx.now();
    let Some(permission) = cx.hub.data_mut(socket).map(|client| &mut client.permission) else { return };
    let Some(remaining_ms) = permission.grant.remaining_ms(now) else { return };
    let at_ms = now.mono_ms + remaining_ms.min(LOOK_MS);
    if permission.look_ms == 0 || at_ms < permission.look_ms {
        permission.look_ms = at_ms;
        cx.remind(at_ms, socket);
    }
}

/// The time came to look whether a socket's token still holds.
pub fn look(cx: &mut Context<'_, Agents>, socket: SocketKey) {
    let now = cx.now();
    let is_away = cx.is_away(socket);
    let Some(permission) = cx.hub.data_mut(socket).map(|client| &mut client.permission) else { return };
    // Another look was set for an earlier time and has been taken.
    if now.mono_ms < permission.look_ms {
        return;
    }
    permission.look_ms = 0;
    // Who comes back has to present a token anew.
    if is_away {
        return;
    }
    if permission.grant.remaining_ms(now).is_some_and(|ms| ms > 0) {
        return watch(cx, socket);
    }
    cx.emit(socket, |out| {
        out.extend_from_slice(br#"["error",{"#);
        Fault::new(Code::Forbidden, "Your token has expired.").put(out, "connect");
        out.extend_from_slice(b"}]");
    });
    cx.disconnect(socket);
}

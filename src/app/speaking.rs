//! What agents say over sockets of their own, besides messages: pieces of messages, and that they are done.

use super::Agents;
use super::broadcast;
use super::client::identity;
use super::events::{self, Refusal};
use super::fault::{Code, Fault};
use super::mail::{Asker, Complete, Delivery, Mail, Stream};
use super::permission::check_room;
use crate::rooms::RoomId;
use crate::socket::Context;
use crate::wire::prepared::Prepared;
use std::sync::Arc;
use uuid::Uuid;

impl Agents {
    /// An agent is done with a message.
    pub(super) fn say_complete(
        &mut self,
        cx: &mut Context<'_, Self>,
        asker: Asker,
        said: events::Complete,
    ) -> Result<(), Refusal> {
        let events::Complete { room, server } = said;
        let agent = self.agent_of(cx, asker, &room)?;
        let home = cx.home(&room);
        cx.post(home, Mail::Complete(Box::new(Complete { room, server, agent: Some(agent), asker: Some(asker) })));
        Ok(())
    }

    /// An agent says a piece of a message.
    pub(super) fn pass_on(
        &mut self,
        cx: &mut Context<'_, Self>,
        asker: Asker,
        stream: &events::Stream<'_>,
    ) -> Result<(), Refusal> {
        let agent = self.agent_of(cx, asker, &stream.room)?;
        self.check_rate(cx, asker)?;
        let room = stream.room.clone();
        let frame = Prepared::event(|out| broadcast::put_stream(out, stream, agent));
        cx.post_to_room(&stream.room, frame.frame_len(), Mail::Stream(Box::new(Stream { room, frame, asker })));
        Ok(())
    }

    /// The agent whose own a socket is, if it may speak in a room.
    fn agent_of(&self, cx: &Context<'_, Self>, asker: Asker, room: &RoomId) -> Result<Uuid, Refusal> {
        let not_agent = || Fault::new(Code::Forbidden, "Only a socket that connected with auth.agentId may send this.");
        let agent = identity(cx, asker.socket).agent.ok_or_else(not_agent)?;
        check_room(cx, asker, room)?;
        self.check_joined(cx, asker, room)?;
        Ok(agent)
    }

    /// At the home: a piece of what an agent is saying.
    pub(super) fn stream(&mut self, cx: &mut Context<'_, Self>, from: usize, stream: Stream) {
        let Stream { room, frame, asker } = stream;
        let now_ms = cx.now().mono_ms;
        self.world.change(&room, |room| room.agent_spoke_ms = now_ms);
        cx.hub.fan_out(&room, None, &Delivery::Frame(Arc::new(frame)));
        cx.post(from, Mail::Done(room, asker));
    }
}

//! `POST /logs`: what agents log, for those who read it (contract A6).

use super::problem::Problem;
use super::{body, query};
use crate::app::Agents;
use crate::app::fault::{Code, Fault};
use crate::app::grant::Grant;
use crate::app::json::{ParseError, Value};
use crate::app::logs::Line;
use crate::app::mail::Mail;
use crate::engine::Answer;
use crate::socket::Context;
use crate::wire::http::Head;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Lines of one call.
pub const LINES_MAX: usize = 1_000;

impl Agents {
    /// One line or an array of them. All are taken, or none.
    pub(super) fn post_logs(
        &mut self,
        cx: &mut Context<'_, Self>,
        grant: &Grant,
        head: &Head<'_>,
        body: &[u8],
    ) -> Result<Answer, Problem> {
        if !grant.allows_agent() {
            return Err(Problem::new(403, "Your token is not an agent's."));
        }
        query::check_content_type(head)?;
        let mut parser = self.parser.take().unwrap_or_default();
        let now_ms = cx.now().unix_ms;
        let lines = parser.read(body, |root| lines(root, now_ms));
        self.parser = Some(parser);
        let lines: Arc<[Line]> = match lines {
            Ok(lines) => lines?.into(),
            Err(ParseError::Malformed) => return Err(body::no_object().into()),
            Err(ParseError::Number) => return Err(Problem::new(400, "A number in the body is out of range.")),
        };
        for agent in lines.iter().filter_map(|line| line.agent).collect::<BTreeSet<_>>() {
            self.heard(cx, agent);
        }
        for shard in 0..cx.hub.shards() {
            cx.post(shard, Mail::Logs(Arc::clone(&lines)));
        }
        let json = format!(r#"{{"success":true,"data":{{"accepted":{}}}}}"#, lines.len());
        Ok(Answer::Json { status: 202, headers: "", json })
    }
}

fn lines(root: Value<'_>, now_ms: u64) -> Result<Vec<Line>, Fault> {
    let Some(elements) = root.elements() else { return Ok(vec![Line::of_agent(root, now_ms)?]) };
    if elements.count() > LINES_MAX {
        return Err(Fault::limit(Code::TooLarge, "the array", LINES_MAX, "log lines"));
    }
    elements.map(|line| Line::of_agent(line, now_ms)).collect()
}

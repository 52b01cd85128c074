//! Who may make a call (contract B2): all that is asked of a caller is asked here.

use super::mail::{Operation, Question};
use super::problem::Problem;
use crate::app::Access;
use crate::app::grant::Grant;
use crate::engine::Now;
use crate::wire::http::Head;

/// What the headers of a request permit.
///
/// # Errors
/// 401.
pub fn admit(access: &Access, now: Now, head: &Head<'_>) -> Result<Grant, Problem> {
    access.admit_call(now, head).map_err(|denied| Problem::new(401, denied.message()))
}

/// Whether a call may do what it is about to do. Agents speak and work; everybody may read the rooms they may be in. Where
/// the call does not say which room it is about, the shards that are asked see to that.
///
/// # Errors
/// 403.
pub fn check(grant: &Grant, operation: &Operation) -> Result<(), Problem> {
    let (room, needs_agent) = match operation {
        Operation::Publish(publish) => {
            if !grant.allows_sender(publish.sender) {
                return Err(Problem::new(403, "Your token is another user's."));
            }
            (Some(&publish.room), operation.agent().is_some())
        }
        Operation::AskHome(room, question) => {
            let reads =
                matches!(question, Question::Details(_) | Question::Participants(_) | Question::Messages { .. });
            (Some(room), !reads)
        }
        Operation::AskAll(_) => (None, true),
    };
    if needs_agent && !grant.allows_agent() {
        return Err(Problem::new(403, "Your token is not an agent's."));
    }
    if room.is_some_and(|room| !grant.allows_room(room)) {
        return Err(other_room());
    }
    Ok(())
}

/// A call about a room that the caller may not be in.
pub fn other_room() -> Problem {
    Problem::new(403, "This room is not among those of your token.")
}

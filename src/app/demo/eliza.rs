//! What the demo agent says: keywords and set phrases, after the idea of J. Weizenbaum's ELIZA (CACM 9, 1966). It
//! understands nothing.

/// Words of a message that are looked at.
const WORDS_MAX: usize = 64;
/// Letters of a word that are looked at.
const LETTERS_MAX: usize = 32;
/// Words of a message that are said back.
const ECHO_MAX: usize = 12;

/// What is said to a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Why.
    pub thought: String,
    pub text: String,
}

/// Words in a row that are listened for, and what can be said to them. `*`: the words that follow, turned around.
struct Rule {
    /// The rule of the highest rank counts, of several the one whose words come first.
    rank: u8,
    words: &'static [&'static str],
    /// When something follows.
    with: &'static [&'static str],
    /// When nothing does, or where there is nothing else to say.
    without: &'static [&'static str],
}

const fn rule(
    rank: u8,
    words: &'static [&'static str],
    with: &'static [&'static str],
    without: &'static [&'static str],
) -> Rule {
    Rule { rank, words, with, without }
}

const RULES: &[Rule] = &[
    rule(9, &["bye"], &[], &["Goodbye. It was good to be asked.", "See you, and thank you for trying me."]),
    rule(9, &["goodbye"], &[], &["Goodbye. Come back when you like."]),
    rule(
        8,
        &["are", "you"],
        &["Would it matter to you if I were *?", "I am a demo of a few rules. Whether I am * is more than they say."],
        &["I am a demo, and a small one."],
    ),
    rule(
        9,
        &["who", "are", "you"],
        &[],
        &["I am the demo agent of this server: a few keywords and set phrases, no model behind them."],
    ),
    rule(7, &["computer"], &[], &["Do machines worry you?", "Why do you mention computers to one?"]),
    rule(7, &["robot"], &[], &["Would you rather talk to somebody made of more than rules?"]),
    rule(6, &["i", "feel"], &["How long have you felt *?", "What makes you feel *?"], &["Tell me how you feel."]),
    rule(
        6,
        &["i", "am"],
        &["What is it like to be *?", "Do you think you will always be *?"],
        &["You are, of course. What else?"],
    ),
    rule(6, &["i'm"], &["What is it like to be *?", "Since when are you *?"], &["You are what?"]),
    rule(
        6,
        &["i", "want"],
        &["What would change if you got *?", "Suppose you never got *. What then?"],
        &["What do you want most?"],
    ),
    rule(6, &["i", "need"], &["What do you need * for?", "Who could give you *?"], &["What do you need?"]),
    rule(
        6,
        &["i", "can't"],
        &["What stops you, if you try to *?", "Could you * once, and no longer?"],
        &["What stops you?"],
    ),
    rule(6, &["i", "think"], &["Are you sure that *?", "What if it were not so that *?"], &["What do you think?"]),
    rule(6, &["i", "remember"], &["What brings * to mind now?"], &["What comes back to you?"]),
    rule(5, &["my"], &["Your *. Go on.", "Your *: what else comes to mind?"], &["Yours?"]),
    rule(5, &["you"], &["We were to talk about you, not about me.", "What makes you say that of me?"], &["Why me?"]),
    rule(4, &["because"], &["Is that the only reason?", "And if * were no reason at all?"], &["Because of what?"]),
    rule(4, &["why"], &["Why do you think *?", "What would an answer change for you?"], &["Why not?"]),
    rule(4, &["how"], &["What would it help you to know?"], &["How would you like it?"]),
    rule(4, &["what"], &["What do you think yourself?"], &["What indeed?"]),
    rule(3, &["always"], &[], &["Always? Think of a time when it was otherwise."]),
    rule(3, &["never"], &[], &["Never is long. Not once?"]),
    rule(3, &["sorry"], &[], &["There is nothing to be sorry for: I am a demo."]),
    rule(2, &["hello"], &[], &["Hello. What is on your mind?", "Hello. How are things with you?"]),
    rule(2, &["hi"], &[], &["Hi. What would you like to talk about?"]),
    rule(1, &["yes"], &[], &["You seem sure. Why?", "I see. And then?"]),
    rule(1, &["no"], &[], &["Why not?", "Is that a no to all of it?"]),
];

/// What is said when no rule has anything.
const OTHERWISE: &[&str] =
    &["Go on.", "Tell me more about that.", "I see. What does that suggest to you?", "How does that make you feel?"];

/// Words that change when somebody's words are said back.
const TURNED: [(&str, &str); 16] = [
    ("i", "you"),
    ("me", "you"),
    ("my", "your"),
    ("mine", "yours"),
    ("myself", "yourself"),
    ("am", "are"),
    ("i'm", "you're"),
    ("i've", "you've"),
    ("i'd", "you'd"),
    ("i'll", "you'll"),
    ("you", "me"),
    ("your", "my"),
    ("yours", "mine"),
    ("yourself", "myself"),
    ("you're", "I'm"),
    ("you've", "I've"),
];

/// What to say to `text`. `roll`: a random number that chooses among several answers.
pub fn reply(text: &str, roll: usize) -> Reply {
    let clauses = clauses(text);
    let mut best: Option<(&Rule, &[String])> = None;
    for clause in &clauses {
        for rule in RULES {
            let is_better = best.is_none_or(|(best, _)| rule.rank > best.rank);
            if let Some(rest) = is_better.then(|| after(clause, rule.words)).flatten() {
                best = Some((rule, rest));
            }
        }
    }
    let Some((rule, rest)) = best else {
        let thought = "Demo: no rule of mine has a word of this.".to_owned();
        return Reply { thought, text: choose(OTHERWISE, roll).to_owned() };
    };
    let rest = turned(rest);
    let answers = if rest.is_empty() || rule.with.is_empty() { rule.without } else { rule.with };
    let thought = format!("Demo: the rule for \u{201c}{}\u{201d}.", rule.words.join(" "));
    Reply { thought, text: choose(answers, roll).replace('*', &rest) }
}

fn choose<'a>(answers: &[&'a str], roll: usize) -> &'a str {
    answers.get(roll % answers.len().max(1)).copied().unwrap_or("Go on.")
}

/// The clauses of a text, each its words in small letters.
fn clauses(text: &str) -> Vec<Vec<String>> {
    let mut clauses = vec![Vec::new()];
    for piece in text.split_whitespace().take(WORDS_MAX) {
        let letters = piece.chars().take(LETTERS_MAX).flat_map(char::to_lowercase);
        let letters = letters.map(|c| if c == '\u{2019}' { '\'' } else { c });
        let word: String = letters.filter(|&c| c.is_alphanumeric() || c == '\'').collect();
        if let Some(clause) = clauses.last_mut().filter(|_| !word.is_empty()) {
            clause.push(word);
        }
        if piece.ends_with(['.', ',', ';', ':', '!', '?']) {
            clauses.push(Vec::new());
        }
    }
    clauses
}

/// What follows the first place where `words` stand in a clause.
fn after<'a>(clause: &'a [String], words: &[&str]) -> Option<&'a [String]> {
    let at = clause.windows(words.len()).position(|window| window.iter().eq(words.iter()))?;
    clause.get(at + words.len()..)
}

/// Somebody's words as they are said back. Who comes first does something, who comes later has something done to him.
fn turned(words: &[String]) -> String {
    let turn = |(at, word): (usize, &String)| match TURNED.iter().find(|(from, _)| from == word) {
        Some(_) if at == 0 && word == "you" => "I".to_owned(),
        Some(&(_, to)) => to.to_owned(),
        None => word.clone(),
    };
    words.iter().take(ECHO_MAX).enumerate().map(turn).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keywords_have_their_answers_and_words_are_turned_around() {
        for (text, roll, expected) in [
            ("Hello!", 0, "Hello. What is on your mind?"),
            ("I feel sad about my dog.", 0, "How long have you felt sad about your dog?"),
            ("i feel sad, and you know it", 1, "What makes you feel sad?"),
            ("Well, I\u{2019}m tired of you", 0, "What is it like to be tired of me?"),
            ("My Sister never calls", 0, "Your sister never calls. Go on."),
            (
                "Who are you?",
                1,
                "I am the demo agent of this server: a few keywords and set phrases, no model behind them.",
            ),
            ("I think you like my hat", 0, "Are you sure that I like your hat?"),
            ("Are you clever", 0, "Would it matter to you if I were clever?"),
            ("I think you're right", 0, "Are you sure that I'm right?"),
            ("my", 3, "Yours?"),
            ("übermut tut selten gut", 1, "Tell me more about that."),
            ("", 0, "Go on."),
            ("...", 4, "Go on."),
            ("*", 0, "Go on."),
        ] {
            assert_eq!(reply(text, roll).text, expected, "{text}");
        }
        assert_eq!(reply("I need sleep", 0).thought, "Demo: the rule for \u{201c}i need\u{201d}.");
    }

    #[test]
    fn every_rule_has_an_answer_for_every_roll_and_can_be_reached() {
        for rule in RULES {
            assert!(!rule.without.is_empty() && !rule.without.iter().any(|answer| answer.contains('*')));
            for roll in [0, 1, 2, usize::MAX] {
                for rest in ["", " the rest of it"] {
                    let text = reply(&format!("{}{rest}", rule.words.join(" ")), roll).text;
                    assert!(!text.is_empty() && !text.contains('*'), "{text}");
                }
            }
        }
    }

    #[test]
    fn what_is_said_back_is_bounded_whatever_is_said() {
        for text in ["my ".repeat(100_000), format!("my {}", "x".repeat(1 << 20)), "\u{1f41f}".repeat(10_000)] {
            let said = reply(&text, 1);
            assert!(said.text.len() <= 100 + ECHO_MAX * (1 + 4 * LETTERS_MAX), "{}", said.text.len());
        }
    }
}

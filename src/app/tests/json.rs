//! What is written as JSON is read again as what it was.

use crate::app::json::put_str;
use proptest::prelude::*;

proptest! {
    #[test]
    fn any_string_is_written_as_json(text in any::<String>(), plain in "[ -~]{0,200}", control in "[\u{0}-\u{1f}\"\\\\]{0,40}") {
        for text in [text.clone(), format!("{plain}{text}{plain}{control}"), format!("{control}{plain}")] {
            let mut json = Vec::new();
            put_str(&mut json, &text);
            prop_assert!(!json.iter().any(|byte| *byte < b' '));
            prop_assert_eq!(serde_json::from_slice::<String>(&json).ok(), Some(text));
        }
    }
}

#[test]
fn every_character_is_written_so_that_it_is_read_again_wherever_it_stands() {
    let characters =
        (0..=0xff).chain(['\u{2028}', '\u{2122}', '\u{ffff}', '😀'].map(u32::from)).filter_map(char::from_u32);
    for character in characters {
        for at in 0..=17 {
            let text = format!("{}{character}{}", "a".repeat(at), "b".repeat(17 - at));
            let mut out = Vec::new();
            put_str(&mut out, &text);
            assert_eq!(serde_json::from_slice::<String>(&out).ok(), Some(text), "{character:?} at {at}");
        }
    }
}

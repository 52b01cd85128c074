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

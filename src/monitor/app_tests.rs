use super::*;
use crate::monitor::samples::{self, NOW_MS};

struct Fixture {
    app: App,
    figures: Figures,
}

impl Fixture {
    fn new() -> Self {
        let look = Look::live(Duration::from_secs(300));
        Self { app: App::new(look), figures: samples::figures() }
    }

    fn press(&mut self, keys: &str) -> Act {
        let mut act = Act::None;
        for c in keys.chars() {
            let code = match c {
                '\t' => KeyCode::Tab,
                '\n' => KeyCode::Enter,
                '\u{1b}' => KeyCode::Esc,
                '\u{8}' => KeyCode::Backspace,
                '<' => KeyCode::Left,
                '>' => KeyCode::Right,
                c => KeyCode::Char(c),
            };
            act = self.app.press(KeyEvent::from(code), &self.figures, NOW_MS);
        }
        act
    }
}

#[test]
fn keys_move_within_the_list_and_never_out_of_it() {
    let mut it = Fixture::new();
    for (keys, selected) in
        [("k", 0), ("j", 1), ("jjj", 4), ("G", 19), ("j", 19), ("g", 19), ("g", 0), ("Ggjg", 19), ("gg", 0)]
    {
        it.press(keys);
        assert_eq!(it.app.selected, selected, "{keys}");
    }
    it.press("j\t");
    assert_eq!((it.app.focus, it.app.selected), (Pane::Log, 0));
    for _ in 0..Pane::ALL.len() {
        it.press("G\njk\u{1b}\t");
    }
    assert_eq!(it.app.focus, Pane::Log);
}

#[test]
fn a_search_leaves_what_has_its_text() {
    let mut it = Fixture::new();
    it.press("/QUANTITYx\u{8}");
    assert_eq!((it.app.search.as_str(), it.app.is_typing), ("QUANTITY", true));
    assert_eq!(it.press("q"), Act::None, "a letter while typing");
    it.press("\u{8}\n");
    let rows = it.app.rows(Pane::Outcomes, &it.figures);
    assert!(!rows.is_empty() && rows.len() < 20);
    for row in rows {
        assert!(it.figures.newest_outcomes[row].error.as_deref().expect("an error").contains("quantity"));
    }
    it.press("\u{1b}");
    assert_eq!(it.app.rows(Pane::Outcomes, &it.figures).len(), 20);
}

#[test]
fn enter_opens_what_is_selected_and_closes_it_again() {
    let mut it = Fixture::new();
    it.press("j\n");
    let detail = it.app.detail.as_ref().expect("a detail");
    assert!(detail.lines.iter().any(|line| line.contains("\"order_id\": \"o-2997\"")), "{:?}", detail.lines);
    it.press("jj");
    assert_eq!((it.app.detail.as_ref().expect("still").top, it.app.selected), (2, 1));
    it.press("\t");
    assert_eq!(it.app.focus, Pane::Outcomes, "what lies below does not move");
    it.press("\n");
    assert!(it.app.detail.is_none());
    it.press("?");
    assert!(it.app.shows_help);
    it.press("\u{1b}");
    assert!(!it.app.shows_help);
}

#[test]
fn the_window_grows_and_shrinks_within_its_bounds() {
    let mut it = Fixture::new();
    for (key, seconds) in
        [("+", Some(900)), ("+++", Some(3_600)), ("+", None), ("-", Some(2_700)), ("-----", None)]
    {
        let act = it.press(key);
        let found = match act {
            Act::Look(look) => Some(look.length.as_secs()),
            _ => None,
        };
        assert_eq!(found, seconds, "{key}");
    }
    assert_eq!(it.app.look.length, Duration::from_secs(60));
}

#[test]
fn arrows_travel_through_time_and_end_in_the_present() {
    let mut it = Fixture::new();
    assert_eq!(it.press(">"), Act::None, "there is no later than now");
    it.press("f");
    assert!(it.app.is_frozen);
    let at = |act| match act {
        Act::Look(look) => look.at_ms,
        _ => panic!("{act:?}"),
    };
    assert_eq!(at(it.press("<")), Some(NOW_MS - 30_000));
    assert!(!it.app.is_frozen);
    assert_eq!(at(it.press("<")), Some(NOW_MS - 60_000));
    assert_eq!(at(it.press(">")), Some(NOW_MS - 30_000));
    assert_eq!(at(it.press(">")), None);
    it.press("<<");
    assert_eq!(at(it.press("n")), None);
}

#[test]
fn q_and_ctrl_c_end_it() {
    let mut it = Fixture::new();
    assert_eq!((it.press("q"), it.press("x")), (Act::Quit, Act::Export));
    it.press("/");
    let ctrl_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert_eq!(it.app.press(ctrl_c, &it.figures, NOW_MS), Act::Quit);
}

//! On a terminal: keys, new lines, signals, sizes, hostile payloads.

use super::screen::Screen;
use super::{Files, event, health, now_ms};

fn running() -> Files {
    let it = Files::new();
    it.log([health(now_ms(), "started")]);
    it.events((0..30).map(|n| event(now_ms() - 10_000, &format!("key-{n}"), None)));
    it
}

#[test]
fn keys_do_what_the_help_says_and_q_ends_it_well() {
    let it = running();
    let mut screen = Screen::start(it.folder.path(), (120, 40), "");
    screen.wait_shown("Success and quality");
    screen.wait_shown("key-29");
    screen.press("?");
    screen.wait_shown("quit");
    screen.wait_shown("export what is shown to a file");
    screen.press("?/key-17\r");
    screen.wait_shown("Outcomes /key-17");
    screen.press("\r");
    screen.wait_shown("\"order_id\": \"key-17\"");
    screen.press("\u{1b}");
    screen.wait_shown("Dead letters by cause");
    screen.press("f");
    screen.wait_shown("FROZEN");
    screen.press("fx");
    screen.wait_shown("written: ./monitor-");
    screen.press("\u{1b}[D");
    screen.wait_shown("AT 20");
    screen.press("q");
    assert_eq!(screen.ended(), Some(0));
    let exported = std::fs::read_dir(it.folder.path()).expect("listed");
    let exported =
        exported.filter(|entry| entry.as_ref().expect("one").path().extension() == Some("json".as_ref()));
    assert_eq!(exported.count(), 1);
}

#[test]
fn new_lines_are_drawn_through_rotation_and_cut() {
    let it = running();
    let screen = Screen::start(it.folder.path(), (120, 40), "--window 1m");
    screen.wait_shown("key-29");
    it.events([event(now_ms(), "first-new", Some("broken"))]);
    screen.wait_shown("first-new");
    std::fs::rename(it.path("tracker.events"), it.path("tracker.events.000001")).expect("renamed");
    it.events([event(now_ms(), "after-rotation", None)]);
    screen.wait_shown("after-rotation");
    std::fs::File::create(it.path("tracker.events")).expect("cut");
    it.events([event(now_ms(), "behind-the-cut", None)]);
    screen.wait_shown("behind-the-cut");
    it.log([health(now_ms(), "stopped")]);
    screen.wait_shown("stopped, the data is");
}

#[test]
fn each_signal_gives_the_terminal_back() {
    for signal in ["TERM", "INT", "HUP"] {
        let it = running();
        let mut screen = Screen::start(it.folder.path(), (80, 24), "");
        screen.wait_shown("Outcomes");
        screen.signal(signal);
        assert_eq!(screen.ended(), Some(0), "{signal}");
    }
}

#[test]
fn it_ends_when_its_terminal_is_gone() {
    let it = running();
    let mut screen = Screen::start(it.folder.path(), (80, 24), "");
    screen.wait_shown("Outcomes");
    screen.hang_up();
}

#[test]
fn a_small_terminal_shows_one_pane_and_a_large_one_all() {
    let it = running();
    let mut screen = Screen::start(it.folder.path(), (40, 10), "");
    screen.wait_shown("Outcomes");
    screen.wait_shown("up, last line");
    assert!(!screen.shown().contains("Health"), "{}", screen.shown());
    screen.press("\t");
    screen.wait_shown("Health log");
    screen.resize((120, 40));
    screen.wait_shown("Dead letters by category");
    screen.resize((40, 10));
    screen.press("q");
    assert_eq!(screen.ended(), Some(0));
}

#[test]
fn it_waits_for_files_that_are_not_there_yet() {
    let it = Files::new();
    let mut screen = Screen::start(it.folder.path(), (120, 40), "");
    screen.wait_shown("no line of it yet");
    it.log([health(now_ms(), "started")]);
    it.events([event(now_ms(), "the-first-one", None)]);
    screen.wait_shown("the-first-one");
    screen.wait_shown("up, last line");
    screen.press("q");
    assert_eq!(screen.ended(), Some(0));
}

#[test]
fn no_escape_of_a_payload_reaches_the_terminal() {
    let it = running();
    let evil = "evil\u{1b}]52;c;AAAA\u{7}\u{1b}[2J\u{9b}31m\u{202e}";
    it.log([health(now_ms(), evil)]);
    it.events((0..20).map(|_| event(now_ms(), evil, Some(evil))));
    let mut screen = Screen::start(it.folder.path(), (120, 40), "");
    screen.wait_shown("evil\\u{1b}]52;c;AAAA");
    screen.press("\r");
    screen.wait_shown("reason     VALIDATION_ERROR");
    screen.press("q");
    assert_eq!(screen.ended(), Some(0));
    let written = screen.written();
    for raw in ["\u{1b}]52", "evil\u{1b}", "\u{7}", "\u{9b}", "\u{202e}"] {
        assert!(!written.contains(raw), "{raw:?}");
    }
}

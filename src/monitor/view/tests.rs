//! Every pane at three sizes and the whole screen at four, held against files in `snapshots/`. With
//! `UPDATE_SNAPSHOTS=1` they are written anew; then look at the difference.

use std::path::Path;
use std::time::Duration;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::crossterm::event::{KeyCode, KeyEvent};

use super::screen::{draw, pane};
use crate::models::is_unsafe;
use crate::monitor::app::{App, Pane};
use crate::monitor::figures::Figures;
use crate::monitor::gather::Look;
use crate::monitor::samples::{self, NOW_MS};

const PANE_SIZES: [(u16, u16); 3] = [(30, 5), (50, 9), (90, 14)];
const SCREEN_SIZES: [(u16, u16); 4] = [(40, 10), (80, 24), (120, 40), (200, 60)];

fn app(focus: Pane) -> App {
    App { focus, ..App::new(Look::live(Duration::from_secs(300))) }
}

fn drawn(size: (u16, u16), draw: impl FnOnce(&mut ratatui::Frame<'_>)) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(size.0, size.1)).expect("a terminal");
    terminal.draw(draw).expect("drawn");
    terminal.backend().buffer().clone()
}

fn text(buffer: &Buffer) -> String {
    let rows = buffer.content().chunks(usize::from(buffer.area.width));
    rows.map(|row| {
        row.iter().map(ratatui::buffer::Cell::symbol).collect::<String>().trim_end().to_owned() + "\n"
    })
    .collect()
}

/// Compares with `snapshots/NAME.txt`.
fn holds(name: &str, found: &str) {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("src/monitor/view/snapshots").join(format!("{name}.txt"));
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(&path, found).expect("written");
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == expected, "{name} differs from its snapshot:\n{found}");
}

fn of_sizes(sizes: &[(u16, u16)], one: impl Fn((u16, u16)) -> Buffer) -> String {
    let block = |size: &(u16, u16)| format!("--- {} × {}\n{}", size.0, size.1, text(&one(*size)));
    sizes.iter().map(block).collect()
}

#[test]
fn every_pane_at_three_sizes() {
    let (full, empty) = (samples::figures(), nothing());
    for which in Pane::ALL {
        let app = app(which);
        let shown = |figures: &Figures| {
            of_sizes(&PANE_SIZES, |size| drawn(size, |frame| pane(frame, frame.area(), which, figures, &app)))
        };
        holds(&format!("{which:?}").to_lowercase(), &(shown(&full) + "=== nothing\n" + &shown(&empty)));
    }
}

fn nothing() -> Figures {
    let span = crate::monitor::window::Span::ending_at(NOW_MS, Duration::from_secs(300), 60);
    Figures::of(&crate::monitor::state::State::new(span), NOW_MS, true)
}

#[test]
fn the_whole_screen_at_four_sizes() {
    let figures = samples::figures();
    holds(
        "screen",
        &of_sizes(&SCREEN_SIZES, |size| drawn(size, |frame| draw(frame, &figures, &app(Pane::Outcomes)))),
    );
}

#[test]
fn help_search_detail_and_past() {
    let mut figures = samples::figures();
    figures.live = false;
    let mut shown = String::new();
    for keys in ["?", "/quantity", "/quantity\n\n", "\n"] {
        let mut app = app(Pane::Outcomes);
        for c in keys.chars() {
            let code = if c == '\n' { KeyCode::Enter } else { KeyCode::Char(c) };
            app.press(KeyEvent::from(code), &figures, NOW_MS);
        }
        app.is_frozen = true;
        shown += &format!("=== {keys:?}\n");
        shown += &of_sizes(&[(40, 10), (100, 30)], |size| drawn(size, |frame| draw(frame, &figures, &app)));
    }
    holds("overlays", &shown);
}

#[test]
fn nothing_hostile_reaches_a_cell() {
    let figures = samples::hostile();
    for size in PANE_SIZES.into_iter().chain(SCREEN_SIZES) {
        for focus in Pane::ALL {
            for keys in ["", "\n", "/\u{1b}"] {
                let mut app = app(focus);
                for c in keys.chars() {
                    let code = if c == '\n' { KeyCode::Enter } else { KeyCode::Char(c) };
                    app.press(KeyEvent::from(code), &figures, NOW_MS);
                }
                app.message = Some("evil\u{1b}[2J\u{202e}".to_owned());
                let screen = drawn(size, |frame| draw(frame, &figures, &app));
                let shown = text(&screen);
                assert!(shown.contains("evil") || size.1 < 6 || app.is_typing, "{focus:?}: {shown}");
                assert!(!shown.replace('\n', "").contains(is_unsafe), "{focus:?}: {shown:?}");
                // Written out, not only left away.
                assert!(focus != Pane::Outcomes || size != (200, 60) || shown.contains("\\u{1b}"), "{shown}");
            }
        }
    }
}

#[test]
fn no_size_is_too_small() {
    let (figures, hostile) = (samples::figures(), samples::hostile());
    for width in [1, 2, 3, 7, 11, 39, 70, 100] {
        for height in [1, 2, 3, 4, 5, 6, 7, 9, 20, 30] {
            for focus in Pane::ALL {
                for figures in [&figures, &hostile] {
                    let mut app = app(focus);
                    drawn((width, height), |frame| draw(frame, figures, &app));
                    app.press(KeyEvent::from(KeyCode::Enter), figures, NOW_MS);
                    drawn((width, height), |frame| draw(frame, figures, &app));
                }
            }
        }
    }
}

//! The monitor on a terminal: one loop that reads keys and files, and draws. Whatever ends it, the terminal is as it
//! was before.

use std::io::{self, IsTerminal as _, Write as _};
use std::panic::{self, PanicHookInfo};
use std::path::Path;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyEventKind};

use super::MonitorError;
use super::app::{Act, App};
use super::export::export;
use super::figures::Figures;
use super::gather::{Feed, Look};
use super::state::Endpoint;
use super::view::draw;
use crate::models::safe_short;

/// How often the files are looked at.
const TICK: Duration = Duration::from_millis(100);

/// How often the screen is drawn when nothing happens: ages grow.
const IDLE_DRAW: Duration = Duration::from_secs(1);

/// Shows the figures until the user ends it or `stop` says so.
pub(super) fn watch(
    mut feed: Feed,
    look: Look,
    endpoint: Option<&Receiver<Endpoint>>,
    stop: &dyn Fn() -> bool,
) -> Result<(), MonitorError> {
    if !io::stdout().is_terminal() {
        return Err(MonitorError::NoTerminal);
    }
    panic::set_hook(Box::new(report));
    // Its own hook, which gives the terminal back, goes before that one.
    let mut terminal = ratatui::try_init().map_err(MonitorError::Terminal)?;
    let ended = run(&mut terminal, &mut feed, look, endpoint, stop);
    let restored = ratatui::try_restore().map_err(MonitorError::Terminal);
    ended.and(restored)
}

/// What a panic says, in one safe line.
fn report(info: &PanicHookInfo<'_>) {
    let said = safe_short(info.payload_as_str().unwrap_or("a panic without a message"), 200);
    let place = info.location().map(ToString::to_string).unwrap_or_default();
    drop(writeln!(io::stderr().lock(), "error: {said} ({place}): a defect of this program"));
}

fn run(
    terminal: &mut DefaultTerminal,
    feed: &mut Feed,
    look: Look,
    endpoint: Option<&Receiver<Endpoint>>,
    stop: &dyn Fn() -> bool,
) -> Result<(), MonitorError> {
    let mut app = App::new(look);
    let mut figures = feed.figures(now_ms());
    let mut is_drawn = false;
    let mut drawn_at = Instant::now();
    while !stop() {
        if !is_drawn || drawn_at.elapsed() >= IDLE_DRAW {
            terminal.draw(|frame| draw(frame, &figures, &app)).map_err(MonitorError::Terminal)?;
            (is_drawn, drawn_at) = (true, Instant::now());
        }
        if event::poll(TICK).map_err(MonitorError::Terminal)? {
            match event::read().map_err(MonitorError::Terminal)? {
                Event::Key(key) if key.kind != KeyEventKind::Release => {
                    let act = app.press(key, &figures, now_ms());
                    if act == Act::Quit {
                        return Ok(());
                    }
                    perform(act, feed, &mut app, &figures);
                    is_drawn = false;
                }
                Event::Resize(..) => is_drawn = false,
                _ => {}
            }
        }
        if app.is_frozen {
            continue;
        }
        if let Some(newest) = endpoint.and_then(|endpoint| endpoint.try_iter().last()) {
            feed.set_endpoint(newest);
        }
        if feed.follow(now_ms()) || !is_drawn || drawn_at.elapsed() >= IDLE_DRAW {
            figures = feed.figures(now_ms());
            is_drawn = false;
        }
    }
    Ok(())
}

fn perform(act: Act, feed: &mut Feed, app: &mut App, figures: &Figures) {
    let done = match act {
        Act::None | Act::Quit => return,
        Act::Look(look) => feed.look(look, now_ms()).map(|()| None),
        Act::Export => {
            export(figures, Path::new(".")).map(|path| Some(format!("written: {}", path.display())))
        }
    };
    app.message = done.unwrap_or_else(|error| Some(crate::failure::chain_of(&error)));
}

pub(super) fn now_ms() -> i64 {
    Timestamp::now().as_millisecond()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Not a test of its own: the next one runs it on a terminal.
    #[test]
    #[ignore = "takes the terminal over and panics"]
    fn panics_on_a_terminal() {
        panic::set_hook(Box::new(report));
        let mut terminal = ratatui::try_init().expect("a terminal");
        terminal.draw(|frame| frame.render_widget("drawn", frame.area())).expect("drawn");
        panic!("evil\u{1b}[2J");
    }

    #[test]
    fn a_panic_gives_the_terminal_back_and_says_why() {
        let this = std::env::current_exe().expect("this program");
        let test = "monitor::terminal::tests::panics_on_a_terminal";
        let command = format!("{} --ignored --exact {test} --nocapture", this.display());
        let ran = std::process::Command::new("script").args(["-qec", &command, "/dev/null"]).output();
        let ran = ran.expect("script (util-linux) runs");
        assert!(!ran.status.success());
        let shown = String::from_utf8_lossy(&ran.stdout).into_owned();
        let entered = shown.find("\u{1b}[?1049h").expect("the other screen");
        let left = shown.rfind("\u{1b}[?1049l").expect("back from it");
        let said = shown.find("error: evil\\u{1b}[2J").expect("said why");
        assert!(entered < left && left < said, "{shown:?}");
    }
}

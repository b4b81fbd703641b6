//! Draws the figures: pure, from what is known and what is chosen to the cells of a screen.

mod charts;
mod lists;
mod screen;
#[cfg(test)]
mod tests;

pub(super) use screen::draw;

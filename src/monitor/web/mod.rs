//! The web page: the same figures as on the terminal, sent to browsers as they change, and, where the feature `dlq` is, the
//! dead letters and their replay by the code of the `dlq` tool. Whoever may see it is settled in one place (`guard`).

mod answer;
#[cfg(feature = "dlq")]
mod apply;
mod guard;
#[cfg(feature = "dlq")]
mod letters;
mod live;
#[cfg(feature = "dlq")]
mod replay;
mod server;

#[cfg(feature = "dlq")]
pub use letters::LetterSettings;
pub use server::WebPage;

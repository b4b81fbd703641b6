//! Figures for Prometheus: what a role counts, as a page, and the address where it is served beside `/healthz` and
//! `/readyz`. Knows no role: each describes its own figures, and the page is made when it is asked for.

mod histogram;
mod page;
mod server;

pub use histogram::{DURATION_BUCKETS, Histogram};
pub use page::{Figures, Labels, Page};
pub use server::{Health, ListenError, serve};

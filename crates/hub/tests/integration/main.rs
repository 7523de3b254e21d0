//! Downloads from a hub on a local port.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod cache;
mod hub_server;
mod pull;

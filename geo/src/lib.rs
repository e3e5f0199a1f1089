//! Address → place → order of candidates. Pure and synchronous: no sockets, no clock of its own.

mod point;

pub use point::Point;

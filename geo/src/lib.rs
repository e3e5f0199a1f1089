//! Address → place → order of candidates. Pure and synchronous: no sockets, no clock of its own.
//!
//! An [`Atlas`] says where an address is, [`rank`] orders what can be chosen for such a [`Place`] and gives a reason
//! for each. Both say what they do not know: a country without coordinates is its address-weighted centre with the
//! distance that this typically is off, a private address has no place, and an unknown place gets an explicit default
//! order, never 0°N 0°E.

mod atlas;
mod country;
mod database;
mod error;
mod place;
mod point;
mod rank;
mod special;

pub use atlas::Atlas;
pub use country::{Centre, Country, centre};
pub use database::About;
pub use error::OpenError;
pub use place::{Place, PlaceSource};
pub use point::Point;
pub use rank::{Candidate, Ranked, Reason, rank, rank_into};
pub use special::Special;

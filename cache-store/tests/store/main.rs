//! The store as the node sees it: its public face, driven over real folders.
//!
//! * [`fills`]: writers and followers at different speeds, declines, failures, wrong lengths.
//! * [`disk`]: reopening, damage, foreign and newer folders, directories.
//! * [`bounds`]: many objects through small bounds.
//! * [`crash`]: a process killed while it fills.
//! * [`model`]: random interleavings against a plain map.

#[cfg(test)]
mod bounds;
#[cfg(test)]
mod crash;
#[cfg(test)]
mod disk;
#[cfg(test)]
mod fills;
#[cfg(test)]
mod model;
#[cfg(test)]
mod world;

//! What operators write, and what the program uses: as written (unknown keys refused) → checked, complete.

pub mod settings;
pub mod site;
pub mod zone;

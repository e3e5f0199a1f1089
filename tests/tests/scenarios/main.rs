//! What the product promises, as scenarios: real nodes, real bytes, sentence names.

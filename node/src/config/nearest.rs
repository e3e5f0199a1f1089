//! "Did you mean": the known name that is nearest to what was written.

/// The candidate with the fewest edits (insert, remove, replace, swap of neighbours), when it is near enough to be
/// what was meant: at most a third of the longer word, and at least one edit is always forgiven.
#[must_use]
pub fn nearest<'a>(
    written: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|candidate| (edits(written, candidate), candidate))
        .filter(|(edits, candidate)| {
            *edits <= (written.chars().count().max(candidate.chars().count()) / 3).max(1)
        })
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate)
}

/// Optimal string alignment distance. Names are short, so the plain table will do.
fn edits(left: &str, right: &str) -> usize {
    let left: Vec<char> = left.chars().flat_map(char::to_lowercase).collect();
    let right: Vec<char> = right.chars().flat_map(char::to_lowercase).collect();
    let mut table = vec![vec![0; right.len() + 1]; left.len() + 1];
    for (row, line) in table.iter_mut().enumerate() {
        line[0] = row;
    }
    for (column, cell) in table[0].iter_mut().enumerate() {
        *cell = column;
    }
    for row in 1..=left.len() {
        for column in 1..=right.len() {
            let same = left[row - 1] == right[column - 1];
            let mut best = (table[row - 1][column] + 1)
                .min(table[row][column - 1] + 1)
                .min(table[row - 1][column - 1] + usize::from(!same));
            let swapped = row > 1
                && column > 1
                && left[row - 1] == right[column - 2]
                && left[row - 2] == right[column - 1];
            if swapped {
                best = best.min(table[row - 2][column - 2] + 1);
            }
            table[row][column] = best;
        }
    }
    table[left.len()][right.len()]
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn the_nearest_name_is_offered_and_a_far_one_is_not() {
        let names = ["listen", "limits", "log", "cluster"];
        for (written, meant) in [
            ("lisen", Some("listen")),
            ("lsiten", Some("listen")),
            ("Limits", Some("limits")),
            ("lg", Some("log")),
            ("certificates", None),
        ] {
            assert_eq!(nearest(written, names), meant, "{written}");
        }
    }
}

//! Which operators of a step run in one pass.

/// Which of `count` operators of one step run in one pass over their elements, each at the same position at the same time:
/// the last ones that compute element by element to the last one's shape (`joins`), and that no other operator reads.
///
/// What such an operator reads element by element it may replace, unless another operator of the step reads it too. The others compute
/// before, or whenever one of these needs some elements of theirs. `reads` says whether an operator reads another's result.
pub fn one_pass(count: usize, joins: impl Fn(usize) -> bool, reads: impl Fn(usize, usize) -> bool) -> Vec<bool> {
    let mut together = vec![false; count];
    for i in (0..count).rev() {
        together[i] = joins(i) && (i + 1..count).all(|reader| together[reader] || !reads(reader, i));
    }
    together
}

//! How the values of a tensor lie in a file, compared with the canonical form.
#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::expect_used,
    reason = "everything parsed here may be hostile"
)]

use super::{Arch, Norm, Part, Stored, TensorName};
use crate::Naming;

/// What distinguishes a tensor in a file from its canonical form.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Form {
    /// Where which row is.
    pub row_order: RowOrder,
    /// What has been added to every value.
    pub offset: f32,
    /// Whether the matrix lies `[in, out]`.
    pub transposed: bool,
}

impl Form {
    /// As in `.apr`.
    pub const CANONICAL: Self =
        Self { row_order: RowOrder::Halves, offset: 0.0, transposed: false };
}

/// The order of the rows of query, key and value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowOrder {
    /// Head after head of the queries, then of the keys, then of the values; within a head,
    /// rotary positions rotate element i with element i + head_dim/2. The canonical order.
    Halves,
    /// The same, but within a head as GGML's original rotation wants it: the two elements of a
    /// pair are 2i and 2i + 1.
    Neighbours,
    /// Query, key and value of the first head, then of the next.
    HeadByHead,
}

impl RowOrder {
    /// The place in this order of row `row` of the canonical one, for `heads` heads of `head_dim`
    /// rows.
    #[must_use]
    #[allow(
        clippy::arithmetic_side_effects,
        reason = "nothing is divided by zero, and rows that exist are no overflow"
    )]
    pub const fn place(self, row: usize, heads: usize, head_dim: usize) -> usize {
        if head_dim == 0 || heads == 0 {
            return row;
        }
        let (head, within) = (row / head_dim, row % head_dim);
        match self {
            Self::Halves => row,
            // The pairs of a head of one row are none.
            Self::Neighbours if head_dim == 1 => row,
            Self::Neighbours => {
                let half = head_dim / 2;
                head * head_dim + within % half * 2 + within / half
            }
            Self::HeadByHead => (head % heads * 3 + head / heads) * head_dim + within,
        }
    }

    /// The row of the canonical order at place `place` of this one: undoes [`place`](Self::place).
    #[must_use]
    #[allow(
        clippy::arithmetic_side_effects,
        reason = "nothing is divided by zero, and rows that exist are no overflow"
    )]
    pub const fn canonical(self, place: usize, heads: usize, head_dim: usize) -> usize {
        if head_dim == 0 || heads == 0 {
            return place;
        }
        let (head, within) = (place / head_dim, place % head_dim);
        match self {
            Self::Halves => place,
            Self::Neighbours => head * head_dim + within % 2 * (head_dim / 2) + within / 2,
            Self::HeadByHead => (head % 3 * heads + head / 3) * head_dim + within,
        }
    }
}

impl Arch {
    /// The form that a tensor has in a file.
    #[must_use]
    pub fn form(&self, tensor: &TensorName, naming: Naming) -> Form {
        let part = tensor.role.part;
        match naming {
            Naming::Published if tensor.stored == Stored::HeadByHead => {
                Form { row_order: RowOrder::HeadByHead, ..Form::CANONICAL }
            }
            Naming::Published if tensor.stored == Stored::InOut => {
                Form { transposed: true, ..Form::CANONICAL }
            }
            Naming::Gguf if matches!(part, Part::Query | Part::Key) => {
                Form { row_order: self.gguf_heads, ..Form::CANONICAL }
            }
            Naming::Gguf if part.is_norm() && self.norm == Norm::RmsPlusOne => {
                Form { offset: 1.0, ..Form::CANONICAL }
            }
            Naming::Published | Naming::Gguf | Naming::Canonical => Form::CANONICAL,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn row_orders_undo_each_other() {
        let places =
            |order: RowOrder| -> Vec<usize> { (0..12).map(|row| order.place(row, 2, 2)).collect() };
        assert_eq!(places(RowOrder::HeadByHead), [0, 1, 6, 7, 2, 3, 8, 9, 4, 5, 10, 11]);
        let canonical: Vec<usize> =
            (0..12).map(|place| RowOrder::Neighbours.canonical(place, 2, 6)).collect();
        assert_eq!(canonical, [0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11]);
        for order in [RowOrder::Halves, RowOrder::Neighbours, RowOrder::HeadByHead] {
            assert!((0..36).all(|row| order.canonical(order.place(row, 2, 6), 2, 6) == row));
        }
    }
}

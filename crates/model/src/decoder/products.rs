//! Products with the weights, and work on rows, shared out among the threads.

use super::Decoder;
use crate::weights::Linear;
use crate::{ModelError, Operation, ops};
use apr_kernel::{Product, matmul_many};

/// Elements below which handing rows to another thread costs more than it brings.
const TASK_ELEMS: usize = 8 * 1024;

impl Decoder {
    /// `[tokens, in]` → `[tokens, out]`.
    pub(super) fn apply(
        &self,
        operation: Operation,
        linear: &Linear,
        input: &[f32],
        out: &mut Vec<f32>,
    ) -> Result<(), ModelError> {
        self.apply_all(operation, [(linear, out)], input)
    }

    /// The same with several matrices: the input is rounded once, and the threads share the work.
    pub(super) fn apply_all<const COUNT: usize>(
        &self,
        operation: Operation,
        mut products: [(&Linear, &mut Vec<f32>); COUNT],
        input: &[f32],
    ) -> Result<(), ModelError> {
        let _timer = self.profile.time_reading(operation, || {
            products.iter().map(|(linear, _)| linear.weight.layout().byte_len()).sum()
        });
        let mut operands = products.each_mut().map(|(linear, out)| {
            let layout = linear.weight.layout();
            out.resize(input.len() / layout.row_elems() * layout.row_count(), 0.0);
            Product { weights: linear.weight.view(), output: out }
        });
        let done = matmul_many(self.kernels, &self.pool, &mut operands, input);
        done.map_err(|(number, source)| ModelError::Kernel {
            tensor: products[number].0.name.clone(),
            source,
        })?;
        for (linear, out) in products {
            if let Some(bias) = &linear.bias {
                self.for_each_row(out, bias.len(), |_, row| ops::add(row, bias));
            }
        }
        Ok(())
    }

    /// Calls `f` with the number of each row of `len` elements and the row.
    pub(super) fn for_each_row(
        &self,
        rows: &mut [f32],
        len: usize,
        f: impl Fn(usize, &mut [f32]) + Sync,
    ) {
        let of_task = (TASK_ELEMS / len).max(1);
        self.pool.for_each_chunk(rows, of_task * len, |task, rows| {
            for (row, data) in rows.chunks_exact_mut(len).enumerate() {
                f(task * of_task + row, data);
            }
        });
    }
}

//! Progress bars on standard error, for steps that take longer than a moment.

use apr::{Progress, Step};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Steps shorter than this show no bar.
const PATIENCE: Duration = Duration::from_millis(700);

/// Whether nobody wants to see bars. They are made where the work is, far from the command line
/// that decides this.
static HIDDEN: AtomicBool = AtomicBool::new(false);

/// Shows no bars from now on.
pub(crate) fn hide() {
    HIDDEN.store(true, Ordering::Relaxed);
}

/// A bar with rate and time left; nothing when standard error is no terminal.
#[derive(Default)]
pub(crate) struct Bar(Mutex<Option<ProgressBar>>);

impl Bar {
    fn with(&self, f: impl FnOnce(&mut Option<ProgressBar>)) {
        // A panic elsewhere is reported by itself; the bar is only a picture.
        f(&mut self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
    }
}

impl Progress for Bar {
    fn begin(&self, step: Step, amount: u64) {
        let unit = match step {
            Step::Evaluate => "{pos}/{len} tokens, {per_sec}",
            Step::Compare => "{pos}/{len} values, {per_sec}",
            Step::Download
            | Step::Hash
            | Step::Convert
            | Step::Prove
            | Step::Check
            | Step::Describe => "{bytes}/{total_bytes}, {bytes_per_sec}",
        };
        let template = format!("{{msg:16}} {{bar:32}} {unit}, {{eta}} left");
        let style = ProgressStyle::with_template(&template)
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::with_draw_target(Some(amount), ProgressDrawTarget::hidden())
            .with_style(style)
            .with_message(step.label());
        self.with(|slot| *slot = Some(bar));
    }

    fn advance(&self, amount: u64) {
        self.with(|slot| {
            if let Some(bar) = slot {
                if bar.is_hidden() && bar.elapsed() > PATIENCE && !HIDDEN.load(Ordering::Relaxed) {
                    bar.set_draw_target(ProgressDrawTarget::stderr());
                }
                bar.inc(amount);
            }
        });
    }

    fn end(&self) {
        self.with(|slot| {
            if let Some(bar) = slot.take() {
                bar.finish_and_clear();
            }
        });
    }
}

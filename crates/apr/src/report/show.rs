//! A report in a few lines, for the terminal.

use super::data::{ModelReport, ReportContent, ReportedTensor, VerdictStatus};
use crate::units;
use std::fmt;

impl VerdictStatus {
    /// As it is printed.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Proven => "PROVEN",
            Self::Certified => "CERTIFIED",
            Self::NotCertified => "NOT CERTIFIED",
            Self::NotProven => "NOT PROVEN",
        }
    }
}

impl ReportContent {
    /// The tensor that lost most.
    fn worst(&self) -> Option<(&ReportedTensor, f64)> {
        let error = |tensor: &ReportedTensor| tensor.certificate.as_ref()?.relative_error;
        let known = self.tensors.iter().filter_map(|tensor| Some((tensor, error(tensor)?)));
        known.max_by(|a, b| a.1.total_cmp(&b.1))
    }
}

impl fmt::Display for ModelReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let content = &self.content;
        let kind = content.architecture.unwrap_or("architecture unknown");
        let recipe = content.recipe.as_ref().map(|recipe| format!(", {recipe}"));
        writeln!(f, "{} ({kind}{})", content.name, recipe.unwrap_or_default())?;
        writeln!(
            f,
            "{} parameters in {} tensors, {}, {:.2} bits per weight\n",
            units::count(content.parameters),
            content.tensors.len(),
            units::bytes(content.file_size),
            content.bits_per_weight
        )?;
        let Some((tensor, error)) = content.worst() else { return self.end(f) };
        let name = tensor.name.escape_debug();
        writeln!(f, "largest relative error {:.3} %: {name} ({})", 100.0 * error, tensor.dtype)?;
        if let Some(kl) = &content.divergence {
            writeln!(
                f,
                "perplexity {:.4}, that of the source {:.4}; KL mean {}, median {}, 99 % {}",
                kl.perplexity,
                kl.reference_perplexity,
                units::error(kl.divergence.mean_kl),
                units::error(kl.divergence.median_kl),
                units::error(kl.divergence.p99_kl),
            )?;
        }
        self.end(f)
    }
}

impl ModelReport {
    fn end(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let problem = |tensor: &ReportedTensor| tensor.problem.is_some();
        let failed = self.content.tensors.iter().filter(|tensor| problem(tensor)).count();
        if failed > 0 {
            writeln!(f, "{failed} of its tensors could not be compared; the page says why")?;
        }
        for remark in &self.content.remarks {
            writeln!(f, "{remark}")?;
        }
        let verdict = &self.content.verdict;
        writeln!(f, "{}    {}", verdict.status.label(), verdict.reason)?;
        writeln!(f, "\n{} ({})", self.output.display(), units::bytes(self.output_size))
    }
}

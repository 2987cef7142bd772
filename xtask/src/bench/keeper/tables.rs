//! Where figures gather, round by round.

use crate::bench::report::{Better, Series};

/// One figure of a case.
#[derive(Clone, Copy, Debug)]
pub(super) struct Figure {
    case: &'static str,
    unit: &'static str,
    better: Better,
    value: f64,
}

/// A figure.
pub(super) const fn figure(
    case: &'static str,
    unit: &'static str,
    better: Better,
    value: f64,
) -> Figure {
    Figure {
        case,
        unit,
        better,
        value,
    }
}

/// All figures, in series.
#[derive(Debug, Default)]
pub(super) struct Table {
    series: Vec<Series<'static>>,
}

impl Table {
    /// Another figure of a subject.
    pub(super) fn add(&mut self, subject: &'static str, figure: Figure) {
        let same = |one: &&mut Series<'static>| (one.case, one.subject) == (figure.case, subject);
        match self.series.iter_mut().find(same) {
            Some(one) => one.values.push(figure.value),
            None => self.series.push(Series {
                case: figure.case,
                subject,
                unit: figure.unit,
                better: figure.better,
                values: vec![figure.value],
            }),
        }
    }

    /// All series: cases in the order in which they were first measured, subjects in the order of
    /// `subjects`, and others behind them.
    pub(super) fn into_series(self, subjects: &[&str]) -> Vec<Series<'static>> {
        let mut cases: Vec<&str> = Vec::new();
        for one in &self.series {
            if !cases.contains(&one.case) {
                cases.push(one.case);
            }
        }
        let place = |names: &[&str], name| names.iter().position(|known| *known == name);
        let mut series = self.series;
        series.sort_by_key(|one| {
            let subject = place(subjects, one.subject).unwrap_or(usize::MAX);
            (place(&cases, one.case), subject)
        });
        series
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_one_case_and_subject_are_one_series_and_ours_comes_first() {
        let mut table = Table::default();
        for (subject, case, value) in [
            ("etcd", "set_1", 1.0),
            ("mainstay", "set_1", 2.0),
            ("etcd", "get_1", 3.0),
            ("etcd", "set_1", 4.0),
        ] {
            table.add(subject, figure(case, "ops/s", Better::Higher, value));
        }
        let series = table.into_series(&["mainstay", "etcd"]);
        let seen: Vec<_> = series
            .iter()
            .map(|one| (one.case, one.subject, one.values.clone()))
            .collect();
        assert_eq!(
            seen,
            [
                ("set_1", "mainstay", vec![2.0]),
                ("set_1", "etcd", vec![1.0, 4.0]),
                ("get_1", "etcd", vec![3.0]),
            ]
        );
    }
}

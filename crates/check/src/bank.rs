//! Transfers between accounts keep the total.
//!
//! Prevents a transaction that is seen in halves from passing unseen (Jepsen's bank workload).
//! What always holds: each read of all accounts adds up to the total, and names all accounts.

use std::fmt;

/// A read that cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// The accounts add up to something else.
    WrongTotal {
        /// Which read, counted from 0.
        read: usize,
        /// What it adds up to.
        total: i128,
        /// What it should.
        expected: i128,
    },
    /// An account is below zero, where that is forbidden.
    Overdrawn {
        /// Which read.
        read: usize,
        /// Which account.
        account: usize,
        /// What is in it.
        balance: i64,
    },
    /// A read has more or fewer accounts than there are.
    WrongAccounts {
        /// Which read.
        read: usize,
        /// How many it has.
        accounts: usize,
    },
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WrongTotal {
                read,
                total,
                expected,
            } => write!(f, "read {read} adds up to {total} instead of {expected}"),
            Self::Overdrawn {
                read,
                account,
                balance,
            } => write!(
                f,
                "in read {read} account {account} is overdrawn: {balance}"
            ),
            Self::WrongAccounts { read, accounts } => {
                write!(f, "read {read} has {accounts} accounts")
            },
        }
    }
}

/// Whether an account may be below zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overdraft {
    /// It may.
    Allowed,
    /// It may not.
    Forbidden,
}

/// Checks every read of all accounts against the balances at the start.
pub fn check(start: &[i64], reads: &[Vec<i64>], overdraft: Overdraft) -> Vec<Violation> {
    let sum = |balances: &[i64]| balances.iter().copied().map(i128::from).sum::<i128>();
    let expected = sum(start);
    let mut violations = Vec::new();
    for (read, balances) in reads.iter().enumerate() {
        if balances.len() != start.len() {
            let accounts = balances.len();
            violations.push(Violation::WrongAccounts { read, accounts });
            continue;
        }
        let total = sum(balances);
        if total != expected {
            violations.push(Violation::WrongTotal {
                read,
                total,
                expected,
            });
        }
        let below = balances
            .iter()
            .enumerate()
            .find(|(_, balance)| **balance < 0);
        if let Some((account, balance)) = below.filter(|_| overdraft == Overdraft::Forbidden) {
            violations.push(Violation::Overdrawn {
                read,
                account,
                balance: *balance,
            });
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transfer_that_is_seen_in_halves_is_found() {
        let reads = [vec![5, 5], vec![3, 7], vec![3, 5], vec![-1, 11], vec![10]];
        let found = check(&[5, 5], &reads, Overdraft::Forbidden);
        let found: Vec<_> = found.iter().map(ToString::to_string).collect();
        assert_eq!(
            found,
            [
                "read 2 adds up to 8 instead of 10",
                "in read 3 account 0 is overdrawn: -1",
                "read 4 has 1 accounts",
            ]
        );
        assert_eq!(check(&[5, 5], &reads[..4], Overdraft::Allowed).len(), 1);
    }
}

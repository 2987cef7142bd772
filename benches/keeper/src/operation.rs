//! What is asked: the same keys and values of every subject.

use anyhow::{Result, bail};

/// Keys that are written and read.
pub const KEYS: u32 = 1_000;
/// Bytes of a value.
pub const VALUE_BYTES: usize = 128;
/// Nodes below one parent when many are made.
pub const FAMILY: u32 = 1_000;
/// Bytes of a node when many are made.
pub const NODE_BYTES: usize = 100;
/// Nodes that one request makes.
pub const LITTER: u32 = 100;

/// One request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Writes a key.
    Set { key: u32 },
    /// Reads a key, at the member that is asked, as it has it.
    Get { key: u32 },
    /// Makes something that was not there.
    Create { number: u64 },
    /// Makes the folder of the keys, or one below `/fill`; it may be there.
    Folder { number: Option<u32> },
    /// Makes a key; it may be there.
    Key { key: u32 },
    /// Makes nodes `first..first + LITTER`, all or none.
    Litter { first: u32 },
    /// Reads one of those.
    Look { node: u32 },
    /// Reads a key and watches it; only ZooKeeper's protocol has that in one request.
    Watch { key: u32 },
}

impl Operation {
    /// The key or path that it is about.
    pub fn path(self) -> String {
        match self {
            Self::Set { key } | Self::Get { key } | Self::Key { key } | Self::Watch { key } => {
                format!("/bench/k{key:04}")
            },
            Self::Create { number } => format!("/bench/c{number:016x}"),
            Self::Folder { number: None } => "/bench".to_owned(),
            Self::Folder { number: Some(0) } => "/fill".to_owned(),
            Self::Folder {
                number: Some(number),
            } => family(number - 1),
            Self::Litter { first: node } | Self::Look { node } => {
                format!("{}/n{:03}", family(node / FAMILY), node % FAMILY)
            },
        }
    }
}

fn family(number: u32) -> String {
    format!("/fill/f{number:04}")
}

/// The value that is written: no byte like its neighbour.
pub fn value<const BYTES: usize>() -> [u8; BYTES] {
    let mut value = [0; BYTES];
    for (byte, number) in value.iter_mut().zip((0..=u8::MAX).cycle()) {
        *byte = number.wrapping_mul(167);
    }
    value
}

/// What is asked in a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mix {
    /// Only writes.
    Set,
    /// Only reads.
    Get,
    /// Nine reads and a write.
    Mixed,
    /// Only what was not there.
    Create,
}

impl Mix {
    /// By its name.
    pub fn parse(word: &str) -> Result<Self> {
        Ok(match word {
            "set" => Self::Set,
            "get" => Self::Get,
            "mix" => Self::Mixed,
            "create" => Self::Create,
            _ => bail!("no such mix: {word}"),
        })
    }
}

/// Which requests come one after the other.
#[derive(Debug)]
pub struct Requests {
    mix: Mix,
    count: u64,
    /// Random enough for keys.
    random: u64,
}

impl Requests {
    /// `seed` also tells what one load makes from what another one made.
    pub fn new(mix: Mix, seed: u64) -> Self {
        Self {
            mix,
            count: 0,
            random: seed | 1,
        }
    }

    /// The next one.
    pub fn next(&mut self) -> Operation {
        self.count += 1;
        // Marsaglia's xorshift.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let key = u32::try_from(self.random % u64::from(KEYS)).unwrap_or(0);
        match self.mix {
            Mix::Set => Operation::Set { key },
            Mix::Mixed if self.count.is_multiple_of(10) => Operation::Set { key },
            Mix::Get | Mix::Mixed => Operation::Get { key },
            Mix::Create => Operation::Create {
                number: self.random,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nine_of_ten_requests_of_the_mix_are_reads() {
        let mut requests = Requests::new(Mix::Mixed, 7);
        let asked: Vec<Operation> = (0..1_000).map(|_| requests.next()).collect();
        let reads = asked
            .iter()
            .filter(|one| matches!(one, Operation::Get { .. }));
        assert_eq!(reads.count(), 900);
    }

    #[test]
    fn nothing_is_made_twice() {
        let mut requests = Requests::new(Mix::Create, 7);
        let mut paths: Vec<String> = (0..10_000).map(|_| requests.next().path()).collect();
        paths.sort_unstable();
        paths.dedup();
        assert_eq!(paths.len(), 10_000);
    }

    #[test]
    fn a_node_lies_in_the_folder_that_was_made_for_it() {
        let node = Operation::Look { node: 123_456 }.path();
        let folder = Operation::Folder { number: Some(124) }.path();
        assert_eq!(node, format!("{folder}/n456"));
    }
}

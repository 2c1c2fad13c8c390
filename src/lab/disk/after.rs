//! The state after a cut: the record up to a place, rules and a seed make one tree.
//!
//! In: a tree, then operations one after the other. Out: at any moment, and for any seed, what a cut at
//! that moment leaves on the medium. The rules for names stand in `names.rs`, those for contents in
//! `contents.rs`. What never happens: a seed gives two different trees; anything that a sync covered is
//! not there.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::contents::{Contents, Data};
use super::draw::Draw;
use super::names::{Journal, Names};
use super::record::Op;
use super::tree::{Node, Number, Tree};

/// Which of the legal states is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// How data that was not synced fares.
    pub data: Data,
    /// How names that were not synced fare.
    pub names: Names,
    /// How much is kept of what each may be kept or lost by itself: so many in eight.
    pub share: u64,
}

impl Rules {
    /// Those of a seed.
    pub fn of(draw: &mut Draw) -> Self {
        let names = Names::ALL.get(draw.place(Names::ALL.len())).copied();
        // Torn sectors twice as often as each of the others: they hold the most states.
        let data = Data::ALL.get(draw.place(Data::ALL.len() + 2).min(Data::ALL.len() - 1)).copied();
        let share = [1, 4, 7].get(draw.place(3)).copied();
        Self {
            data: data.unwrap_or(Data::Nothing),
            names: names.unwrap_or(Names::Subset { file_too: false }),
            share: share.unwrap_or(4),
        }
    }
}

/// What a cut did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Survived {
    /// By which rules.
    pub rules: Rules,
    /// Sectors of which a write is not there.
    pub dropped: u64,
    /// Writes of which a part is there and a part is not.
    pub torn: u64,
    /// Writes that are there although an earlier one is not.
    pub reordered: u64,
    /// Operations on names that are undone.
    pub names_undone: u64,
}

/// Goes through a record.
#[derive(Clone)]
pub struct Replay {
    contents: Contents,
    journals: Vec<Journal>,
    folders: Vec<Number>,
    done: usize,
}

impl Replay {
    /// Begins with a tree of which everything is on the medium.
    pub fn new(base: &Tree) -> Self {
        let folders = base.nodes().iter().filter(|(_, node)| node.is_folder()).map(|(number, _)| *number);
        Self {
            contents: Contents::new(base),
            journals: Names::ALL.iter().map(|kind| Journal::new(*kind, base)).collect(),
            folders: folders.collect(),
            done: 0,
        }
    }

    /// How many operations it has taken in.
    pub fn done(&self) -> usize {
        self.done
    }

    /// Takes the next operation in; with `is_forgotten` as if the call had not been made.
    pub fn handle(&mut self, op: &Op, is_forgotten: bool) {
        if !is_forgotten {
            self.contents.handle(self.done, op);
            self.journals.iter_mut().for_each(|journal| journal.handle(op));
            if let Op::Make { node, is_folder: true, .. } = op {
                self.folders.push(*node);
            }
        }
        self.done += 1;
    }

    /// What a cut here leaves, by the rules and chances of a seed.
    pub fn cut(&self, seed: u64) -> (Tree, Survived) {
        let mut draw = Draw::new(seed);
        let rules = Rules::of(&mut draw);
        self.cut_by(rules, &mut draw)
    }

    /// The same by given rules.
    pub fn cut_by(&self, rules: Rules, draw: &mut Draw) -> (Tree, Survived) {
        let (contents, losses) = self.contents.cut(rules.data, rules.share, draw);
        let journal = self.journals.iter().find(|journal| journal.kind() == rules.names);
        let (folders, [names_undone, _]) =
            journal.map_or_else(Default::default, |journal| journal.cut(rules.share, draw));
        let mut nodes: BTreeMap<Number, Node> =
            self.folders.iter().map(|number| (*number, Node::new(true))).collect();
        nodes.extend(folders.into_iter().map(|(number, entries)| (number, Node::Folder(entries))));
        nodes.extend(contents.into_iter().map(|(number, content)| (number, file(content))));
        let survived = Survived {
            rules,
            dropped: losses.dropped,
            torn: losses.torn,
            reordered: losses.reordered,
            names_undone,
        };
        (Tree::of(&nodes), survived)
    }
}

fn file(content: Arc<Vec<u8>>) -> Node {
    Node::File(content)
}

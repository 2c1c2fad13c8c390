//! Any order of steps, against a map and a list.

use super::*;

/// What the store should be: for each lane a list of what is not acknowledged.
#[derive(Default)]
struct Model {
    waiting: BTreeMap<Lane, VecDeque<(Seq, String, bool)>>,
    /// What of the vital lane was committed since the last rewind or start.
    live: BTreeSet<Seq>,
    written: u64,
}

#[derive(Clone, Debug)]
enum Step {
    Append(Lane, u8),
    Read(Lane, u8),
    ReadLive(u8),
    Acknowledge(Lane, prop::sample::Index),
    Rewind,
    Maintain(u8),
    Close,
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    let lane = || prop::sample::select(Lane::ALL.to_vec());
    prop_oneof![
        8 => (lane(), 1u8..4).prop_map(|(lane, count)| Step::Append(lane, count)),
        6 => (lane(), 1u8..6).prop_map(|(lane, count)| Step::Read(lane, count)),
        4 => (1u8..6).prop_map(Step::ReadLive),
        6 => (lane(), any::<prop::sample::Index>()).prop_map(|(lane, index)| Step::Acknowledge(lane, index)),
        1 => Just(Step::Rewind),
        1 => (0u8..90).prop_map(Step::Maintain),
        1 => Just(Step::Close),
        1 => Just(Step::Crash),
    ]
}

/// After a crash acknowledgements may be forgotten, nothing else: what is given is a part of
/// everything ever stored, in order, and holds all that was not acknowledged.
#[expect(clippy::too_many_lines, reason = "one arm for each step, read top to bottom")]
fn run_model(steps: &[Step]) -> Result<(), TestCaseError> {
    let folder = TempDir::new().unwrap();
    let mut home = folder.path().to_owned();
    let mut kept = Vec::new();
    let (mut writer, mut reader, _) = open_small(&home);
    let mut model = Model::default();
    let mut seconds = 1u64;
    let mut given: BTreeMap<Lane, Vec<Seq>> = BTreeMap::new();
    for step in steps {
        seconds += 1;
        match step {
            Step::Append(lane, count) => {
                for _ in 0..*count {
                    let text = format!("{} ", model.written).repeat(usize::from(*count) * 20);
                    model.written += 1;
                    let text: String = text.chars().take(250).collect();
                    let seq = writer.append(*lane, &block_of(1, &text), at(seconds)).unwrap();
                    model.waiting.entry(*lane).or_default().push_back((seq, text, false));
                    if *lane == Lane::Vital {
                        model.live.insert(seq);
                    }
                }
            }
            Step::Read(lane, count) => {
                for _ in 0..*count {
                    let read = reader.read_next(*lane).unwrap().map(|(seq, block)| (seq, text_of(&block)));
                    let expected = model.give(*lane, false);
                    prop_assert_eq!(&read, &expected);
                    given.entry(*lane).or_default().extend(read.map(|(seq, _)| seq));
                }
            }
            Step::ReadLive(count) => {
                for _ in 0..*count {
                    let read = reader.read_live().unwrap().map(|(seq, block)| (seq, text_of(&block)));
                    let expected = model.give(Lane::Vital, true);
                    prop_assert_eq!(&read, &expected);
                    given.entry(Lane::Vital).or_default().extend(read.map(|(seq, _)| seq));
                }
            }
            Step::Acknowledge(lane, index) => {
                let seqs = given.entry(*lane).or_default();
                if !seqs.is_empty() {
                    let seq = seqs.remove(index.index(seqs.len()));
                    reader.acknowledge(seq).unwrap();
                    model.waiting.entry(*lane).or_default().retain(|(waiting, _, _)| *waiting != seq);
                }
            }
            Step::Rewind => {
                reader.rewind();
                forget_given(&mut model);
            }
            Step::Maintain(later) => {
                seconds += u64::from(*later);
                writer.maintain(at(seconds)).unwrap();
            }
            Step::Close | Step::Crash => {
                if matches!(step, Step::Close) {
                    writer.close().unwrap();
                    drop(reader);
                } else {
                    let copy = TempDir::new().unwrap();
                    copy_tree(&home, copy.path());
                    drop((writer, reader));
                    home = copy.path().to_owned();
                    kept.push(copy);
                }
                (writer, reader, _) = open_small(&home);
                given.clear();
                take_up(&mut model, &mut reader)?;
                reader.rewind();
                forget_given(&mut model);
            }
        }
        for lane in Lane::ALL {
            let waiting = model.waiting.get(&lane).map_or(0, VecDeque::len);
            prop_assert_eq!(reader.depth(lane).blocks, u64::try_from(waiting).unwrap());
        }
    }
    Ok(())
}

impl Model {
    /// The next of a stream.
    fn give(&mut self, lane: Lane, live: bool) -> Option<(Seq, String)> {
        let waiting = self.waiting.entry(lane).or_default();
        let is_next = |seq: &Seq| self.live.contains(seq) == live;
        let next = waiting.iter_mut().find(|(seq, _, is_given)| !is_given && is_next(seq))?;
        next.2 = true;
        Some((next.0, next.1.clone()))
    }
}

fn forget_given(model: &mut Model) {
    model.live.clear();
    model.waiting.values_mut().flatten().for_each(|(_, _, is_given)| *is_given = false);
}

/// Compares a store that was just opened, and takes up what it gives again.
fn take_up(model: &mut Model, reader: &mut Reader) -> Result<(), TestCaseError> {
    for lane in Lane::ALL {
        let found = drain(reader, lane);
        let waiting = model.waiting.entry(lane).or_default();
        for (seq, text, _) in waiting.iter() {
            prop_assert!(found.contains(&(*seq, text.clone())), "{} is lost", seq);
        }
        prop_assert!(found.windows(2).all(|pair| pair[0].0 < pair[1].0), "in order, once each");
        *waiting = found.into_iter().map(|(seq, text)| (seq, text, false)).collect();
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn the_store_does_what_a_map_and_a_list_would_do(steps in prop::collection::vec(step(), 1..60)) {
        run_model(&steps)?;
    }
}

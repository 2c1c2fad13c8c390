//! What goes when not everything fits.

use super::*;

#[test]
fn a_cap_that_cannot_be_met_is_refused() {
    let folder = TempDir::new().unwrap();
    for cap in [0, LEAST_ROOM, u64::MAX] {
        let config = Config { cap, ..config(folder.path()) };
        let error = open_on(Arc::new(Sled), &config, SMALL).err().unwrap();
        assert!(matches!(error, StoreError::Config(_)), "{error}");
    }
}

fn usage_on_disk(folder: &Path) -> u64 {
    folders::folder_bytes(folder)
}

#[test]
fn when_it_is_full_bulk_goes_first_then_vital_and_never_alarm_and_each_drop_is_told() {
    let folder = TempDir::new().unwrap();
    let config = Config { cap: 24 * MIB, alarm_reserve: 8 * MIB, ..config(folder.path()) };
    let limits = Limits { blocks: 4, ..Limits::default() };
    let (mut writer, mut reader, _) = open_on(Arc::new(Sled), &config, limits).unwrap();
    let stats = writer.stats();
    let mut alarms = 0u64;
    writer.append(Lane::Alarm, &block_of(3, "alarm"), at(1)).unwrap();
    for seed in 0..12 {
        writer.append(Lane::Bulk, &largest_block(seed), at(1)).unwrap();
    }
    let bulk_before = stats.depth(Lane::Bulk);
    let mut dropped_at = Vec::new();
    for seed in 0..40 {
        writer.append(Lane::Vital, &largest_block(100 + seed), at(2)).unwrap();
        dropped_at.push((stats.depth(Lane::Bulk).records, stats.depth(Lane::Vital).blocks));
        assert!(usage_on_disk(folder.path()) <= config.cap, "over the cap at {seed}");
    }
    assert!(stats.depth(Lane::Bulk).records < bulk_before.records / 4, "bulk went");
    let vital_fell =
        dropped_at.windows(2).position(|pair| pair[1].1 < pair[0].1).expect("vital was dropped too");
    assert!(dropped_at[vital_fell].0 < bulk_before.records / 4, "not before bulk was gone");
    assert_eq!(stats.depth(Lane::Alarm).blocks, 1);
    // Alarms may use what is left and take the rest from the others.
    let full = loop {
        match writer.append(Lane::Alarm, &largest_block(alarms), at(3)) {
            Ok(_) => alarms += 1,
            Err(error) => break error,
        }
        assert!(usage_on_disk(folder.path()) <= config.cap);
    };
    assert!(full.is_full() && alarms > 20, "{full}, {alarms}");
    assert_eq!(stats.depth(Lane::Alarm).blocks, alarms + 1, "no alarm was dropped");
    // Every record is there or told of, none of it twice.
    let mut told_of_all = 0;
    for (lane, stored) in [(Lane::Bulk, 12), (Lane::Vital, 40)] {
        let mut present = 0u64;
        let mut told = 0u64;
        while let Some((_, block)) = next_of(&mut reader, lane) {
            match &block.read().unwrap().1[0] {
                Entry::Gap(gap) if gap.reason.contains("was dropped") => told += gap.count,
                Entry::Gap(_) | Entry::Observation(_) | Entry::Event(_) => {
                    present += u64::from(block.count());
                }
            }
        }
        let all: u64 = (0..stored)
            .map(|seed| u64::from(largest_block(if lane == Lane::Bulk { seed } else { 100 + seed }).count()))
            .sum();
        assert_eq!(told + present, all, "{lane}: {told} told of, {present} there");
        told_of_all += told;
    }
    assert_eq!(stats.snapshot().dropped, told_of_all);
    // When the broker takes the alarms, there is room again, without a restart.
    while let Some((seq, _)) = reader.read_next(Lane::Alarm).unwrap() {
        reader.acknowledge(seq).unwrap();
    }
    put_text(&mut writer, Lane::Alarm, "again");
    put_text(&mut writer, Lane::Vital, "again");
}

#[test]
fn a_wider_cap_is_used_at_once_and_shown() {
    let folder = TempDir::new().unwrap();
    let tight = Config { cap: 24 * MIB, alarm_reserve: 8 * MIB, ..config(folder.path()) };
    let limits = Limits { blocks: 4, ..Limits::default() };
    let (mut writer, _reader, _) = open_on(Arc::new(Sled), &tight, limits).unwrap();
    writer.bound(&Config { cap: 64 * MIB, ..tight });
    assert_eq!(writer.stats().snapshot().cap, 64 * MIB);
    let mut seed = 0;
    while usage_on_disk(folder.path()) < 40 * MIB {
        writer.append(Lane::Vital, &largest_block(seed), at(1)).unwrap();
        seed += 1;
        assert_eq!(writer.stats().snapshot().dropped, 0, "after {seed} blocks");
    }
}

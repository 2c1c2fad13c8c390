//! Properties of the framers: cuts do not matter, noise costs only itself, memory is bounded.

use super::*;
use proptest::prelude::*;

/// `<`, text, one check digit: the number of the text's bytes modulo 10.
const BRACKET: Delimiters = Delimiters {
    start: Some(b'<'),
    ends: b"\r",
    abort: Some(0x1B),
    longest: 32,
    is_whole: |span| match span {
        [b'<', text @ .., check] => usize::from(*check) == usize::from(b'0') + text.len() % 10,
        _ => false,
    },
};

/// Lines that begin with `#` and hold no other one.
const LINE: Delimiters = Delimiters {
    start: None,
    ends: b"\r\n",
    abort: None,
    longest: 32,
    is_whole: |span| span.strip_prefix(b"#").is_some_and(|rest| !rest.contains(&b'#')),
};

fn frame(text: &str) -> Vec<u8> {
    let check = char::from(b'0' + u8::try_from(text.len() % 10).unwrap());
    format!("<{text}{check}").into_bytes()
}

fn run(framer: &mut Delimited, chunks: &[&[u8]]) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for chunk in chunks {
        let mut input = *chunk;
        while let Some(piece) = framer.take(&mut input) {
            pieces.push(piece);
        }
        assert!(framer.held() <= framer.bound());
    }
    pieces
}

fn frames(pieces: &[Piece]) -> Vec<Vec<u8>> {
    pieces
        .iter()
        .filter_map(|piece| match piece {
            Piece::Frame(bytes) => Some(bytes.clone()),
            Piece::Broken(..) | Piece::Noise(_) => None,
        })
        .collect()
}

#[test]
fn a_start_byte_out_of_the_air_does_not_cost_the_frame_behind_it() {
    let mut framer = Delimited::new(BRACKET);
    let good = frame("hello");
    let pieces = run(&mut framer, &[b"xy<<zz", &good, b"\r"]);
    let noise = Piece::Noise(2);
    let broken = Piece::Broken(b"<<zz".to_vec(), Break::Refused);
    assert_eq!(pieces, [noise, broken, Piece::Frame(good)]);
}

#[test]
fn an_endless_frame_does_not_cost_the_frame_behind_it_wherever_the_bound_falls() {
    for length in 0..200 {
        let good = frame("hello");
        let run_on = [b"<".to_vec(), vec![b'x'; length], good.clone(), b"\r".to_vec()].concat();
        let pieces = run(&mut Delimited::new(BRACKET), &[&run_on]);
        // One length in ten passes the check as a whole: then the good frame is in it, not gone.
        assert!(frames(&pieces).pop().is_some_and(|frame| frame.ends_with(&good)), "{length}");
    }
}

#[test]
fn an_abort_calls_off_the_frame_in_which_it_stands() {
    let mut framer = Delimited::new(BRACKET);
    let pieces = run(&mut framer, &[b"<hel\x1B", &frame("a"), b"\r\x1B"]);
    assert_eq!(pieces, [Piece::Broken(b"<hel".to_vec(), Break::Aborted), Piece::Frame(frame("a"))]);
}

#[test]
fn what_is_left_at_the_end_is_told() {
    let mut framer = Delimited::new(BRACKET);
    run(&mut framer, &[b"<hel"]);
    assert_eq!(framer.finish(), Some(Piece::Broken(b"<hel".to_vec(), Break::CutOff)));
    assert_eq!(framer.finish(), None);
    run(&mut framer, &[b"zz"]);
    assert_eq!(framer.finish(), Some(Piece::Noise(2)));
}

#[test]
fn a_line_behind_noise_without_an_end_is_found() {
    let mut framer = Delimited::new(LINE);
    let pieces = run(&mut framer, &[b"tail of a line#good line\r\n\r\n"]);
    assert_eq!(frames(&pieces), [b"#good line".to_vec()]);
}

/// A frame of 4 bytes: 0x01, two of data, their sum.
fn measure(bytes: &[u8]) -> Measure {
    match bytes {
        [] | [1] | [1, _] | [1, _, _] => Measure::More,
        [1, a, b, sum, ..] if a.wrapping_add(*b) == *sum => Measure::Frame(4),
        _ => Measure::Nothing,
    }
}

fn run_sized(framer: &mut Measured, chunks: &[&[u8]]) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for chunk in chunks {
        let mut input = *chunk;
        while let Some(piece) = framer.take(&mut input) {
            pieces.push(piece);
        }
        assert!(framer.held() <= framer.bound());
    }
    pieces
}

#[test]
fn a_head_out_of_the_air_does_not_cost_the_sized_frame_behind_it() {
    let mut framer = Measured::new(4, measure);
    let pieces = run_sized(&mut framer, &[&[9, 1, 1, 2, 3], &[5]]);
    assert_eq!(pieces, [Piece::Noise(1), Piece::Frame(vec![1, 1, 2, 3])]);
    assert_eq!(framer.finish(), Some(Piece::Noise(1)));
}

proptest! {
    #[test]
    fn any_cut_of_the_bytes_gives_the_same_pieces(
        bytes in proptest::collection::vec(prop_oneof![Just(b'<'), Just(b'\r'), Just(0x1B), any::<u8>()], 0..400),
        cuts in proptest::collection::vec(1usize..40, 0..60),
    ) {
        let whole = run(&mut Delimited::new(BRACKET), &[&bytes]);
        let mut chunks = Vec::new();
        let mut rest = bytes.as_slice();
        for cut in cuts {
            let (head, tail) = rest.split_at(cut.min(rest.len()));
            chunks.push(head);
            rest = tail;
        }
        chunks.push(rest);
        prop_assert_eq!(run(&mut Delimited::new(BRACKET), &chunks), whole);
    }

    #[test]
    fn no_noise_loses_the_good_frame_behind_it(
        noise in proptest::collection::vec(prop_oneof![Just(b'<'), Just(b'\r'), Just(0x1B), any::<u8>()], 0..300),
        text in "[a-z]{0,20}",
    ) {
        let good = frame(&text);
        let mut framer = Delimited::new(BRACKET);
        let pieces = run(&mut framer, &[&noise, &good, b"\r"]);
        // With one check digit in ten, noise can make an earlier beginning pass; then the good
        // frame is inside what came out, never gone.
        let last = frames(&pieces).pop();
        prop_assert!(last.is_some_and(|frame| frame.ends_with(&good)), "{pieces:?}");
    }

    #[test]
    fn no_noise_loses_the_good_line_behind_it(noise in "[a-z\r\n]{0,200}", text in "[a-z]{0,30}") {
        let good = format!("#{text}");
        let mut framer = Delimited::new(LINE);
        let pieces = run(&mut framer, &[noise.as_bytes(), good.as_bytes(), b"\n"]);
        prop_assert_eq!(frames(&pieces), vec![good.into_bytes()]);
    }

    #[test]
    fn no_byte_is_unaccounted_for(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut framer = Delimited::new(BRACKET);
        let mut pieces = run(&mut framer, &[&bytes]);
        pieces.extend(framer.finish());
        let told: usize = pieces.iter().map(|piece| match piece {
            Piece::Frame(bytes) | Piece::Broken(bytes, _) => bytes.len(),
            Piece::Noise(count) => *count,
        }).sum();
        let delimiters = bytes.iter().filter(|byte| [b'\r', 0x1B].contains(byte)).count();
        prop_assert_eq!(told, bytes.len() - delimiters);
    }

    #[test]
    fn any_cut_of_the_bytes_gives_the_same_sized_frames(
        bytes in proptest::collection::vec(0u8..5, 0..300), at in 0usize..300,
    ) {
        let (head, tail) = bytes.split_at(at.min(bytes.len()));
        let whole = run_sized(&mut Measured::new(4, measure), &[&bytes]);
        prop_assert_eq!(run_sized(&mut Measured::new(4, measure), &[head, tail]), whole);
    }

    #[test]
    fn no_noise_loses_the_sized_frame_behind_it(noise in proptest::collection::vec(any::<u8>(), 0..100)) {
        // The zeros behind it see through any head in the noise.
        let pieces = run_sized(&mut Measured::new(4, measure), &[&noise, &[1, 40, 2, 42], &[0; 4]]);
        let good = pieces.iter().any(|piece| matches!(piece, Piece::Frame(bytes) if bytes == &[1, 40, 2, 42]));
        let swallowed = pieces.iter().any(|piece| matches!(piece, Piece::Frame(bytes) if bytes.ends_with(&[1]) || bytes.ends_with(&[1, 40]) || bytes.ends_with(&[1, 40, 2])));
        prop_assert!(good || swallowed, "{pieces:?}");
    }
}

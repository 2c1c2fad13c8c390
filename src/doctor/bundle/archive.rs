//! A tar archive (POSIX.1-1988 `ustar`), as it is or wrapped by gzip (RFC 1952) without compression: a bundle has a few
//! kilobytes, and every tool reads it.

use super::Part;

const BLOCK: usize = 512;
/// The longest stored block of DEFLATE (RFC 1951, section 3.2.4).
const STORED: usize = 65_535;

/// The archive: one folder with the files in it, for their owner alone. `seconds` is since the Unix epoch.
pub fn tar(folder: &str, parts: &[Part], seconds: u64) -> Vec<u8> {
    let mut out = Vec::new();
    for part in parts {
        out.extend(header(&format!("{folder}/{}", part.name), part.bytes.len(), seconds));
        out.extend(&part.bytes);
        out.resize(out.len().next_multiple_of(BLOCK), 0);
    }
    // Two empty blocks end it.
    out.resize(out.len() + 2 * BLOCK, 0);
    out
}

fn header(name: &str, length: usize, seconds: u64) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let mut put = |at: usize, text: &str| {
        for (to, byte) in block.iter_mut().skip(at).zip(text.bytes()) {
            *to = byte;
        }
    };
    // Fields: name 0, mode 100, uid 108, gid 116, size 124, mtime 136, checksum 148, type 156, magic 257.
    put(0, name.get(..name.len().min(99)).unwrap_or_default());
    put(100, "0000600");
    put(108, "0000000");
    put(116, "0000000");
    put(124, &format!("{length:011o}"));
    put(136, &format!("{seconds:011o}"));
    // The checksum counts itself as blanks.
    put(148, "        ");
    put(156, "0");
    put(257, "ustar\x0000");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    for (to, byte) in block.iter_mut().skip(148).zip(format!("{sum:06o}\0 ").bytes()) {
        *to = byte;
    }
    block
}

/// The same in gzip's envelope.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    // No name, no time, system unknown.
    let mut out = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    let mut blocks = bytes.chunks(STORED).peekable();
    if blocks.peek().is_none() {
        out.extend([1, 0, 0, 0xff, 0xff]);
    }
    while let Some(block) = blocks.next() {
        let length = u16::try_from(block.len()).unwrap_or(u16::MAX);
        out.push(u8::from(blocks.peek().is_none()));
        out.extend(length.to_le_bytes());
        out.extend((!length).to_le_bytes());
        out.extend(block);
    }
    out.extend(crc32fast::hash(bytes).to_le_bytes());
    out.extend(u32::try_from(bytes.len() & 0xffff_ffff).unwrap_or(u32::MAX).to_le_bytes());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Byte by byte, by the tools of others.
    #[test]
    fn tar_and_gzip_of_the_system_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let long: Vec<u8> = (0..200_000_u32).map(|number| number.to_le_bytes()[0] ^ 0x5a).collect();
        let part = |name, bytes: &[u8]| Part { name, about: "", bytes: bytes.to_vec() };
        let parts = [part("empty", b""), part("short", b"words\n"), part("long", &long)];
        for (file, bytes) in [
            ("a.tar", tar("bundle", &parts, 1_790_000_000)),
            ("a.tar.gz", gzip(&tar("bundle", &parts, 1_790_000_000))),
        ] {
            let path = folder.path().join(file);
            crate::host::atomic_file::write(&path, &bytes).unwrap();
            let mut tar = std::process::Command::new("tar");
            let status = tar.arg("-xf").arg(&path).arg("-C").arg(folder.path()).status().unwrap();
            assert!(status.success(), "{file}");
            for part in &parts {
                let read = std::fs::read(folder.path().join("bundle").join(part.name)).unwrap();
                assert!(read == part.bytes, "{} of {file}", part.name);
            }
            std::fs::remove_dir_all(folder.path().join("bundle")).unwrap();
        }
        assert_eq!(gzip(b"").len(), 10 + 5 + 8);
    }
}

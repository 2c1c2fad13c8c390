//! What this computer is, as its kernel says: the board and the kernel's release.
//!
//! Nothing of it is believed by anybody: it is for the inventory. What is not there is `unknown`.

use std::path::Path;

use super::atomic_file;

/// The longest text that is read.
const MAX_TEXT: usize = 256;
const UNKNOWN: &str = "unknown";

/// Where the board says what it is: the device tree (Devicetree Specification 0.4, section 2.3.2, `model`), or the
/// firmware's DMI table (SMBIOS, System Information, Product Name).
const MODELS: [&str; 2] = ["sys/firmware/devicetree/base/model", "sys/class/dmi/id/product_name"];
const RELEASE: &str = "proc/sys/kernel/osrelease";

/// A computer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// `Raspberry Pi 4 Model B Rev 1.4`.
    pub hardware: String,
    /// `6.12.25+rpt-rpi-v8`.
    pub kernel: String,
}

/// This one.
pub fn machine() -> Machine {
    under(Path::new("/"))
}

/// The one whose files are below `root`.
pub fn under(root: &Path) -> Machine {
    let text = |path: &str| {
        let bytes = atomic_file::read(&root.join(path), MAX_TEXT).ok()?;
        // The device tree ends its texts with a NUL.
        let text = String::from_utf8_lossy(&bytes);
        let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\0');
        (!text.is_empty()).then(|| text.to_owned())
    };
    let or_unknown = |text: Option<String>| text.unwrap_or_else(|| UNKNOWN.to_owned());
    Machine { hardware: or_unknown(MODELS.into_iter().find_map(text)), kernel: or_unknown(text(RELEASE)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_board_is_what_the_device_tree_says_or_else_the_firmware() {
        let root = tempfile::tempdir().unwrap();
        let put = |path: &str, bytes: &[u8]| {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            atomic_file::write(&path, bytes).unwrap();
        };
        let machine = |hardware: &str, kernel: &str| Machine {
            hardware: hardware.to_owned(),
            kernel: kernel.to_owned(),
        };
        assert_eq!(under(root.path()), machine("unknown", "unknown"));
        put("sys/class/dmi/id/product_name", b"NUC8\n");
        put(RELEASE, b"6.12.25\n");
        assert_eq!(under(root.path()), machine("NUC8", "6.12.25"));
        put("sys/firmware/devicetree/base/model", b"Raspberry Pi 4 Model B Rev 1.4\0");
        assert_eq!(under(root.path()).hardware, "Raspberry Pi 4 Model B Rev 1.4");
        put("sys/firmware/devicetree/base/model", &[b'x'; MAX_TEXT + 1]);
        assert_eq!(under(root.path()).hardware, "NUC8", "what is too long is not read");
    }
}

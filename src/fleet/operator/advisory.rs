//! The advisories of a draft: files beside it, which travel beside the bundle under their digests.
//!
//! ```text
//!  g/icu-3/icsma-17-017-02.json       as it was published by its maker or an authority
//!  g/icu-3/advisory/{sha256}.json     the same bytes, once a bundle that names them was signed
//! ```
//!
//! Kept at the signing: a file that is edited afterwards changes nothing of what was signed.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Component, Path};

use super::folder::Fleet;
use super::{at, refused};
use crate::cli::exit::Failure;
use crate::fleet::advisories::csaf::Advisory;
use crate::fleet::advisories::library::MAX_DOCUMENT;
use crate::fleet::documents::{Bundle, Digest};
use crate::host::atomic_file;

/// The file of an advisory, from the published folder.
pub(super) fn advisory_file(digest: Digest) -> String {
    format!("advisory/{digest}.json")
}

/// The digest of a file beside a draft, that a gateway will be able to read.
pub(super) fn digest(folder: &Path, name: &str) -> Result<Digest, String> {
    Ok(Digest::of(&read(folder, name)?))
}

fn read(folder: &Path, name: &str) -> Result<Vec<u8>, String> {
    let is_beside = Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
    if !is_beside || name.is_empty() {
        return Err(format!("advisory {name:?} is neither a file beside the draft nor a SHA-256"));
    }
    let bytes = atomic_file::read(&folder.join(name), MAX_DOCUMENT)
        .map_err(|error| format!("advisory {name:?}: {error}"))?;
    Advisory::read(&bytes).map_err(|refused| format!("advisory {name:?}: {refused}"))?;
    Ok(bytes)
}

/// Keeps the documents that a bundle names: from the files beside the draft, or from before.
pub(super) fn keep(fleet: &Fleet, bundle: &Bundle) -> Result<(), Failure> {
    let group = fleet.draft_file(&bundle.group)?;
    let Some(folder) = group.parent() else { return Ok(()) };
    let beside = beside(folder)?;
    for digest in &bundle.advisories {
        let kept = folder.join(advisory_file(*digest));
        if read_kept(&kept, *digest)?.is_some() {
            continue;
        }
        let Some((_, bytes)) = beside.iter().find(|(known, _)| known == digest) else {
            return Err(refused(format!(
                "no file in {} has the SHA-256 {digest}: put the advisory there",
                folder.display()
            )));
        };
        atomic_file::create_folder(kept.parent().unwrap_or(folder)).map_err(at)?;
        atomic_file::write(&kept, bytes).map_err(at)?;
    }
    Ok(())
}

/// Every file beside a draft that may be an advisory.
fn beside(folder: &Path) -> Result<Vec<(Digest, Vec<u8>)>, Failure> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let is_json = Path::new(&name).extension().is_some_and(|end| end == "json");
        if is_json
            && !name.starts_with("bundle-")
            && let Ok(bytes) = read(folder, &name)
        {
            found.push((Digest::of(&bytes), bytes));
        }
    }
    Ok(found)
}

fn read_kept(path: &Path, digest: Digest) -> Result<Option<Vec<u8>>, Failure> {
    match atomic_file::read(path, MAX_DOCUMENT) {
        Ok(bytes) if Digest::of(&bytes) == digest => Ok(Some(bytes)),
        Ok(_) => Err(refused(format!("{} was changed: remove it and sign again", path.display()))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(at(error)),
    }
}

/// Every advisory that the last bundle of a group of the register names.
pub(super) fn named(fleet: &Fleet) -> Result<BTreeSet<Digest>, Failure> {
    let groups: BTreeSet<&str> = fleet.register().gateway.iter().map(|one| one.group.as_str()).collect();
    let mut named = BTreeSet::new();
    for group in groups {
        named.extend(fleet.last_bundle(group)?.into_iter().flat_map(|bundle| bundle.advisories));
    }
    Ok(named)
}

/// The documents that go out beside a bundle, by file.
pub(super) fn documents(fleet: &Fleet, bundle: &Bundle) -> Result<Vec<(String, Vec<u8>)>, Failure> {
    let group = fleet.draft_file(&bundle.group)?;
    let folder = group.parent().unwrap_or(fleet.path());
    let document = |digest: &Digest| {
        let file = advisory_file(*digest);
        let bytes = read_kept(&folder.join(&file), *digest)?.ok_or_else(|| {
            refused(format!(
                "{} is not there: bring it back from a copy of the folder",
                folder.join(&file).display()
            ))
        })?;
        Ok((file, bytes))
    };
    bundle.advisories.iter().map(document).collect()
}

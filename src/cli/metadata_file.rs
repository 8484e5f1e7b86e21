//! What `docker buildx build --metadata-file` wrote of its result: read for the name and the digest, and mended where labelling has
//! given the result another digest.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::image::digest::Digest;

/// A metadata file larger than this many bytes is refused. One that holds provenance has some megabytes.
const MAX_BYTES: u64 = 64 << 20;

const DIGEST: &str = "containerimage.digest";
const CONFIG_DIGEST: &str = "containerimage.config.digest";
const DESCRIPTOR: &str = "containerimage.descriptor";

/// Digests that name something else now, and the length in bytes of what the new one names, where that is known.
pub type Moved = BTreeMap<String, (Digest, Option<u64>)>;

/// A metadata file, read.
#[derive(Debug)]
pub struct MetadataFile {
    path: PathBuf,
    value: Value,
}

impl MetadataFile {
    /// Reads the file. Fails with what is wrong, beginning with its name.
    pub fn read(path: &OsStr) -> Result<Self, String> {
        let path = PathBuf::from(path);
        let unreadable = |problem: &str| format!("{}: {problem}", path.display());
        let mut bytes = Vec::new();
        let read = File::open(&path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes));
        read.map_err(|error| unreadable(&error.to_string()))?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(unreadable("it is too large for what \"docker buildx build --metadata-file\" writes"));
        }
        let value = serde_json::from_slice(&bytes).map_err(|error| unreadable(&error.to_string()))?;
        Ok(MetadataFile { path, value })
    }

    /// The names of the result; one at least.
    pub fn names(&self) -> Result<Vec<&str>, String> {
        Ok(self.field("image.name")?.split(',').map(str::trim).filter(|name| !name.is_empty()).collect())
    }

    /// The digest of the result: of its manifest or index, or, in some engines, its ID.
    pub fn digest(&self) -> Result<Digest, String> {
        let digest = self.field(DIGEST)?.parse::<Digest>();
        digest.map_err(|error| self.problem(&format!("{DIGEST}: {error}")))
    }

    /// The digests of the result that it tells, of the manifest or index and of the config; none, if an older buildx wrote it.
    pub fn digests(&self) -> Vec<&str> {
        [DIGEST, CONFIG_DIGEST].iter().filter_map(|key| self.value[*key].as_str()).collect()
    }

    /// What is wrong with this file, for a message.
    pub fn problem(&self, problem: &str) -> String {
        format!("{}: {problem}", self.path.display())
    }

    fn field(&self, key: &str) -> Result<&str, String> {
        let missing = || self.problem(&format!("it has no {key}; build with --tag and --push, and --metadata-file"));
        self.value[key].as_str().filter(|text| !text.trim_matches([',', ' ']).is_empty()).ok_or_else(missing)
    }

    /// Writes the file again, with the digests that moved. All else stays as it is.
    pub fn mend(&mut self, moved: &Moved) -> io::Result<()> {
        // Indexing to change makes what is not there.
        for key in [DIGEST, CONFIG_DIGEST] {
            let now = self.value[key].as_str().and_then(|was| moved.get(was)).map(|(now, _)| now.clone());
            if let Some(now) = now {
                self.value[key] = Value::from(now.as_str());
            }
        }
        let now = self.value[DESCRIPTOR]["digest"].as_str().and_then(|was| moved.get(was)).cloned();
        if let Some((now, bytes)) = now {
            match (bytes, self.value.as_object_mut()) {
                // Without its size, it is not a descriptor.
                (None, Some(fields)) => drop(fields.shift_remove(DESCRIPTOR)),
                _ => {
                    self.value[DESCRIPTOR]["digest"] = Value::from(now.as_str());
                    self.value[DESCRIPTOR]["size"] = Value::from(bytes);
                }
            }
        }
        write(&self.path, &format!("{:#}", self.value))
    }
}

/// Writes the ID that `--iidfile` holds again, where it moved.
pub fn mend_id_file(path: &Path, moved: &Moved) -> io::Result<()> {
    let was = std::fs::read_to_string(path)?;
    match moved.get(was.trim()) {
        Some((now, _)) => write(path, now.as_str()),
        None => Ok(()),
    }
}

/// Puts `text` in place of a file by one rename, with the mode that the file has.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    file.write_all(text.as_bytes())?;
    file.as_file().set_permissions(std::fs::metadata(path)?.permissions())?;
    file.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn digest(of: &str) -> Digest {
        Digest::of(of.as_bytes())
    }

    fn file(directory: &Path, value: &Value) -> PathBuf {
        let path = directory.join("metadata.json");
        std::fs::write(&path, value.to_string()).unwrap();
        path
    }

    #[test]
    fn the_digests_that_moved_are_the_new_ones_and_all_else_stays() {
        let directory = tempfile::tempdir().unwrap();
        let (old, new, config) = (digest("old"), digest("new"), digest("config"));
        let path = file(
            directory.path(),
            &json!({
                "buildx.build.ref": "default/x",
                CONFIG_DIGEST: config,
                DESCRIPTOR: { "mediaType": "m", "digest": old, "size": 1, "annotations": { "k": old } },
                DIGEST: old,
                "image.name": "registry.example/a:1, registry.example/a:2",
            }),
        );
        let mut read = MetadataFile::read(path.as_os_str()).unwrap();
        assert_eq!(read.digest().unwrap(), old);
        assert_eq!(read.names().unwrap(), ["registry.example/a:1", "registry.example/a:2"]);
        let moved = [(old.to_string(), (new.clone(), Some(700))), (config.to_string(), (digest("c"), None))].into();
        read.mend(&moved).unwrap();
        let after: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        let expected = json!({
            "buildx.build.ref": "default/x",
            CONFIG_DIGEST: digest("c"),
            DESCRIPTOR: { "mediaType": "m", "digest": new, "size": 700, "annotations": { "k": old } },
            DIGEST: new,
            "image.name": "registry.example/a:1, registry.example/a:2",
        });
        assert_eq!(after, expected);
    }

    #[test]
    fn an_id_file_bears_the_new_id_where_it_had_the_old_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("iid");
        let moved = [(digest("old").to_string(), (digest("new"), None))].into();
        for (was, is) in [("old", "new"), ("other", "other")] {
            std::fs::write(&path, digest(was).as_str()).unwrap();
            mend_id_file(&path, &moved).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), digest(is).as_str());
        }
    }
}

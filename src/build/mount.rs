//! The mounts of `RUN --mount=…`, as BuildKit reads them (`frontend/dockerfile/instructions/commands_runmount.go`).

/// A mount of something that `from=` names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mount {
    /// A stage or an image. It takes no variables.
    pub from: String,
    /// `bind` unless it says otherwise. It takes variables, as all but `from` do.
    pub kind: String,
    /// The path in it, if one is given.
    pub source: Option<String>,
}

impl Mount {
    /// Reads the value of `--mount`, without quotes. `None` where nothing is named by `from=`.
    ///
    /// The last of several fields of one name counts.
    pub(super) fn parse(value: &str) -> Option<Mount> {
        let mut mount = Mount { from: String::new(), kind: "bind".to_owned(), source: None };
        for field in value.split(',') {
            let Some((key, value)) = field.split_once('=') else { continue };
            match key.to_lowercase().as_str() {
                "from" => mount.from = value.to_owned(),
                "type" => mount.kind = value.to_owned(),
                "source" | "src" => mount.source = Some(value.to_owned()),
                _ => {}
            }
        }
        (!mount.from.is_empty()).then_some(mount)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_names_where_it_comes_from() {
        let mount = |from: &str, kind: &str, source: Option<&str>| {
            Some(Mount { from: from.to_owned(), kind: kind.to_owned(), source: source.map(str::to_owned) })
        };
        for (value, expected) in [
            ("from=uv,source=/uv,target=/bin/uv", mount("uv", "bind", Some("/uv"))),
            ("type=bind,from=a/b:1,src=$X,dst=/x,rw", mount("a/b:1", "bind", Some("$X"))),
            ("type=cache,from=base,target=/c", mount("base", "cache", None)),
            ("FROM=a,Source=/b,source=/c,readonly", mount("a", "bind", Some("/c"))),
            ("type=bind,target=.", None),
            ("type=secret,id=from", None),
            ("from=,source=/a", None),
            ("", None),
        ] {
            assert_eq!(Mount::parse(value), expected, "{value}");
        }
    }
}

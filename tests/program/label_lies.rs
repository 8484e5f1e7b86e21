//! Labels and range indexes that lie: every field replaced by garbage, and never a wrong file.

use crate::support::labelled::*;
use crate::support::*;
use serde_json::Value;

/// Every field of a label replaced by garbage: never a wrong file, whatever the exit code.
#[test]
fn a_label_that_lies_never_yields_a_wrong_file() {
    let registry = Registry::start();
    let reference = registry.push("team/app:1", &image());
    label_as(&reference, &[("tool", "/bin/tool")]);
    let (_, config) = manifest_and_config(&registry, "team/app", "1");
    let record = config["config"]["Labels"]["org.docker-artifact.tool"].as_str().unwrap().to_owned();
    let parsed: Value = serde_json::from_str(&record).unwrap();
    let other_digest = format!("sha256:{}", "0".repeat(64));
    let lies: Vec<(&str, Value)> = vec![
        ("size", 199_999.into()),
        ("size", u64::MAX.into()),
        ("size", 0.into()),
        ("offset", 0.into()),
        ("offset", 512.into()),
        ("offset", u64::MAX.into()),
        ("digest", other_digest.clone().into()),
        ("layer", other_digest.clone().into()),
        ("layer", "sha256:short".into()),
        ("path", "/etc/app/a.conf".into()),
        ("path", "/../../etc/passwd".into()),
        ("path", "/nothing".into()),
        ("path", 7.into()),
        ("type", "directory".into()),
        ("type", "device".into()),
        ("mode", "7777777".into()),
        ("mode", "-1".into()),
    ];
    for (number, (field, lie)) in lies.into_iter().enumerate() {
        let mut record = parsed.clone();
        record[field] = lie.clone();
        let lying = image().label("org.docker-artifact.tool", &record.to_string());
        let reference = registry.push(&format!("team/app:lie{number}"), &lying);
        let dir = WorkDir::new();
        let run = artifact(&["get", &reference, "tool"]).run_in(&dir);
        assert!([0, 1, 3, 5].contains(&run.code), "{field} {lie}: {run:?}");
        match run.code {
            0 => assert_eq!(dir.read("tool"), noise(2, 200_000), "{field} {lie}"),
            _ => assert!(dir.listing().is_empty(), "{field} {lie}: {:?}", dir.listing()),
        }
        if field == "digest" {
            assert_eq!(run.code, 5, "{run:?}");
        }
    }
}

/// Every field of a range index replaced by garbage: the file comes all the same, by a dearer way.
#[test]
fn an_index_that_lies_only_costs_time() {
    let registry = Registry::start();
    let reference = registry.push("team/app:1", &image());
    label_as(&reference, &[("tool", "/bin/tool"), ("conf", "/etc/app")]);
    let subject = subject_of(&registry);
    let (_, index) = index_of(&registry);
    let layer = &index["layers"].as_array().unwrap()[1];
    let part = unpack(layer["data"].as_str().unwrap());
    assert_eq!(part["name"], "tool");
    let mutate = |at: &str, value: Value| {
        let mut mutated = part.clone();
        *mutated.pointer_mut(at).unwrap_or_else(|| panic!("{at} in {part}")) = value;
        mutated
    };
    let zeros = "A".repeat(43_692);
    let lies = vec![
        mutate("/extents/0/compressed_offset", 0.into()),
        mutate("/extents/0/compressed_offset", u64::MAX.into()),
        mutate("/extents/0/compressed_size", 1.into()),
        mutate("/extents/0/compressed_size", u64::MAX.into()),
        mutate("/extents/0/compressed_size", 0.into()),
        mutate("/extents/0/uncompressed_offset", 0.into()),
        mutate("/extents/0/uncompressed_offset", u64::MAX.into()),
        mutate("/extents/0/uncompressed_size", u64::MAX.into()),
        mutate("/extents/0/uncompressed_size", 0.into()),
        mutate("/extents/0/blob", format!("sha256:{}", "1".repeat(64)).into()),
        mutate("/extents/0/layer", format!("sha256:{}", "1".repeat(64)).into()),
        mutate("/extents/0/checkpoint/skipped_bits", 255.into()),
        mutate("/extents/0/checkpoint/skipped_bits", 3.into()),
        mutate("/extents/0/checkpoint/window", zeros.into()),
        mutate("/extents/0/checkpoint/window", "A".repeat(1_000_000).into()),
        mutate("/extents/0/checkpoint/window", "!".into()),
        mutate("/extents/0/checkpoint", serde_json::json!({"compression": "zstd"})),
        mutate("/extents/0/checkpoint", serde_json::json!({"compression": "none"})),
        mutate("/extents", serde_json::json!([])),
        mutate("/entries", serde_json::json!([])),
        mutate("/record/offset", 0.into()),
        mutate("/record/digest", format!("sha256:{}", "1".repeat(64)).into()),
        Value::Null,
        Value::String("garbage".to_owned()),
    ];
    for lie in lies {
        replace_index(&registry, &subject, &index, &lie);
        let dir = WorkDir::new();
        let run = artifact(&["get", &reference, "tool"]).run_in(&dir);
        assert_eq!(run.code, 0, "{lie}: {run:?}");
        assert_eq!(dir.read("tool"), noise(2, 200_000), "{lie}");
        assert_eq!(dir.listing().len(), 1, "{lie}: {:?}", dir.listing());
    }
}

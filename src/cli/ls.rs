//! `docker artifact ls`: the artifacts, files or layers of an image as rows.

use std::collections::HashSet;
use std::sync::Arc;

use indicatif::DecimalBytes;
use serde_json::{Value, json};

use super::access::tell_rate_limit;
use super::columns::{ARTIFACTS, FILES, LAYERS};
use super::failure::Failure;
use super::file_row::{FileRows, shown};
use super::format::Rows;
use super::options::{LsOptions, What};
use super::output::write_rows;
use super::progress::Display;
use crate::artifact::expected::expecting;
use crate::artifact::list::{ListedArtifact, Listing, Read, list_artifacts};
use crate::artifact::list_files::{Depth, list_files};
use crate::artifact::{Error, Tables, may_be_name, table_index, told_by_soci};
use crate::image::Layer;
use crate::image::digest::Digest;
use crate::image::label::Record;
use crate::image::platform::Choice;
use crate::progress::Progress;
use crate::source::LayersFor;
use crate::table::Format;

/// Lists what `options` say.
pub async fn run(options: LsOptions, display: Arc<Display>) -> Result<(), Failure> {
    let LsOptions { image, what, tables, platform, format, whole, access, .. } = options;
    let tables = access.cache.tables(tables, &*display);
    let progress: Arc<dyn Progress> = display.clone();
    let source = access.open(&image, display.clone()).await?;
    let opened = Arc::clone(&source);
    if let (What::Files(..), Some(store)) = (&what, source.store()) {
        store.expect(expecting(false, !source.is_pinned(), &tables));
    }
    let image = Arc::new(source.image(&platform, &*display).await.map_err(Error::from)?);
    let of_platform = |error: Error| error.for_platform(&platform);
    let (rows, columns): (Box<dyn Rows>, _) = match what {
        What::Artifacts => {
            let listing = list_artifacts(&*source, &image, &[], &*display).await?;
            if listing.items.is_empty() {
                display.clear();
                // The result of labelling what a digest names needs a name.
                let tag = if source.is_pinned() { "--tag NAME " } else { "" };
                let flag = match &platform {
                    Choice::Asked(platform) => format!("--platform {platform} "),
                    Choice::Host => String::new(),
                };
                display.notice(&format!(
                    "{0} has no artifacts; to make one: docker artifact label {tag}{flag}{0} /path; to list its files: \
                     docker artifact ls {flag}{0} /",
                    listing.name
                ));
                return Ok(());
            }
            (Box::new(rows(&listing, artifact)), ARTIFACTS)
        }
        What::Named(words) => {
            let names: Vec<&[u8]> = words.iter().map(Vec::as_slice).filter(|word| may_be_name(word)).collect();
            let listing = list_artifacts(&*source, &image, &names, &*display).await?;
            if listing.has_names() {
                let path = words.iter().find(|word| !may_be_name(word));
                if let (Some(path), Some(name)) = (path, words.iter().find(|word| may_be_name(word))) {
                    let (path, name) = (shown(path), shown(name));
                    return Err(Error::Usage(format!(
                        "{name} is an artifact's name and {path} a path, which are not listed together; \
                         list one at a time, or write /{name} for a path"
                    ))
                    .into());
                }
                let named = listing.named(words.iter().map(Vec::as_slice)).map_err(of_platform)?;
                (Box::new(rows(&named, artifact)), ARTIFACTS)
            } else {
                let listing = list_files(source, image, &words, Depth::Children, tables.clone(), &progress).await;
                (Box::new(FileRows(listing.map_err(of_platform)?)), FILES)
            }
        }
        What::Files(paths, depth) => {
            let listing = list_files(source, image, &paths, depth, tables, &progress).await;
            (Box::new(FileRows(listing.map_err(of_platform)?)), FILES)
        }
        What::Layers => {
            let image = source.with_layers(&image, LayersFor::Listing).await.map_err(Error::from)?;
            let soci = if tables.carried { told_by_soci(&*source, &image, &progress).await? } else { HashSet::new() };
            let beside = table_index::beside(tables.clone(), (&source, &image), !source.is_pinned(), &progress);
            let indexed: HashSet<Digest> = match beside.attached {
                Some(attached) => attached.tables().await?.into_keys().collect(),
                None => HashSet::new(),
            };
            let offered = |layer: &Layer| offered(layer, &tables, &soci, &indexed);
            let layers = image.layers.iter().map(|layer| (layer.clone(), offered(layer)));
            let listing = Listing::new(&*source, &image, layers.collect());
            (Box::new(rows(&listing, layer)), LAYERS)
        }
    };
    display.clear();
    tell_rate_limit(&*opened);
    let format = format.of(columns).map_err(|invalid| Error::Usage(invalid.to_string()))?;
    write_rows(|out| format.write(&*rows, whole, out)).map_err(Failure::Output)
}

fn rows<T>(listing: &Listing<T>, row: impl Fn(&T) -> Value) -> Vec<Value> {
    let with_image = |item| {
        let mut row = row(item);
        row["Image"] = json!(listing.image);
        row
    };
    listing.items.iter().map(with_image).collect()
}

fn artifact(artifact: &ListedArtifact) -> Value {
    let kind = artifact.record.as_ref().map(|record| match record {
        Record::File { .. } => "file",
        Record::Directory { .. } => "directory",
    });
    let layers: Vec<&str> = artifact.layers.iter().map(|digest| digest.as_str()).collect();
    json!({
        "Name": artifact.name,
        "Path": artifact.path,
        "Type": kind,
        "Size": artifact.size(),
        "Mode": artifact.mode().map(|bits| format!("{bits:04o}")),
        "Digest": artifact.record.as_ref().map(Record::digest),
        "Layer": layers.join(","),
        "Read": match &artifact.read {
            Read::Range => "range".to_owned(),
            Read::Layer { size } => format!("layer ({})", DecimalBytes(*size)),
            Read::Path => "path".to_owned(),
            Read::Declared => "declared".to_owned(),
            Read::Inherited => "inherited".to_owned(),
            Read::Legacy { size, layers_above: 0 } => format!("legacy, layer ({})", DecimalBytes(*size)),
            Read::Legacy { size, layers_above: 1 } => {
                format!("legacy, layer ({}); 1 layer above may have changed it", DecimalBytes(*size))
            }
            Read::Legacy { size, layers_above } => {
                format!("legacy, layer ({}); {layers_above} layers above may have changed it", DecimalBytes(*size))
            }
            Read::Attached => "attached".to_owned(),
            Read::Malformed { problem } => format!("malformed: {problem}"),
        },
    })
}

/// What tells what is in a layer, the cheapest first.
fn offered(layer: &Layer, tables: &Tables, soci: &HashSet<Digest>, indexed: &HashSet<Digest>) -> String {
    let is_of = |digests: &HashSet<Digest>| layer.digest().is_some_and(|digest| digests.contains(digest));
    let is_cached =
        || layer.digest().zip(tables.cached.as_ref()).is_some_and(|(digest, cached)| cached.table(digest).is_some());
    match Format::of(layer) {
        _ if is_cached() => "cached".to_owned(),
        Some(format) => format.to_string(),
        None if is_of(soci) => "soci".to_owned(),
        None if is_of(indexed) => "indexed".to_owned(),
        None => "plain".to_owned(),
    }
}

/// The row of a layer, with what tells what is in it.
fn layer((layer, offered): &(Layer, String)) -> Value {
    json!({
        "Index": layer.index + 1,
        "Size": layer.size(),
        "Digest": layer.digest(),
        "DiffID": layer.diff_id,
        "MediaType": layer.blob.media_type,
        "Read": offered,
        "Step": layer.created_by,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::format::{Columns, Format as Template};
    use crate::image::Blob;

    fn listed(read: Read) -> ListedArtifact {
        ListedArtifact { name: "tool".to_owned(), path: None, record: None, layers: Vec::new(), read }
    }

    fn listing<T>(items: Vec<T>) -> Listing<T> {
        Listing { name: "a:1".to_owned(), image: "a:1".to_owned(), items }
    }

    #[track_caller]
    fn has_every_field(row: &Value, (columns, name): (&'static Columns, &str)) {
        let mut found: Vec<&str> = row.as_object().unwrap().keys().map(String::as_str).collect();
        let mut fields = columns.fields.to_vec();
        found.sort_unstable();
        fields.sort_unstable();
        assert_eq!(found, fields);
        Template::parse("table", columns).unwrap();
        Template::parse(name, columns).unwrap();
    }

    #[test]
    fn every_field_is_in_a_row() {
        has_every_field(&rows(&listing(vec![listed(Read::Range)]), artifact)[0], ARTIFACTS);
        let blob = Blob { digest: Some(Digest::of(b"layer")), size: 7, ..Blob::default() };
        let plain = Layer { index: 0, blob, diff_id: None, created_by: None };
        let row = |soci: &HashSet<Digest>, indexed: &HashSet<Digest>| {
            let offered = offered(&plain, &Tables::default(), soci, indexed);
            rows(&listing(vec![(plain.clone(), offered)]), layer).remove(0)
        };
        let (none, this) = (HashSet::new(), HashSet::from([Digest::of(b"layer")]));
        has_every_field(&row(&none, &none), LAYERS);
        assert_eq!((&row(&none, &none)["Index"], &row(&none, &none)["Read"]), (&json!(1), &json!("plain")));
        assert_eq!((&row(&none, &this)["Read"], &row(&this, &this)["Read"]), (&json!("indexed"), &json!("soci")));
    }

    #[test]
    fn how_an_artifact_is_read_says_what_it_costs() {
        let read = |read| artifact(&listed(read))["Read"].as_str().unwrap().to_owned();
        assert_eq!(read(Read::Range), "range");
        assert_eq!(read(Read::Layer { size: 12_300_000 }), "layer (12.30 MB)");
        assert_eq!(read(Read::Malformed { problem: "no JSON".to_owned() }), "malformed: no JSON");
    }
}

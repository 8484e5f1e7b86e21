//! `docker artifact ls`: the artifacts, files or layers of an image as rows.

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
use super::paint::Paint;
use super::progress::Display;
use super::tree;
use crate::artifact::expected::expecting;
use crate::artifact::list::{ListedArtifact, Listing, Read, list_artifacts};
use crate::artifact::list_files::{Depth, list_files};
use crate::artifact::offers::{Offer, Offers};
use crate::artifact::{Error, Tables, may_be_name};
use crate::image::label::Record;
use crate::image::platform::Choice;
use crate::image::{Image, Layer};
use crate::progress::Progress;
use crate::source::{LayersFor, Source};

/// Lists what `options` say.
pub async fn run(options: LsOptions, display: Arc<Display>) -> Result<(), Failure> {
    let LsOptions { image, what, tables, platform, format, tree: is_tree, time, color, whole, access, .. } = options;
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
            let listing = offered(listing, (&source, &image), &tables, &progress).await?;
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
                        "{name} is an artifact's name and {path} is a path, and they cannot be listed together; \
                         list one at a time, or write /{name} for a path"
                    ))
                    .into());
                }
                let named = listing.named(words.iter().map(Vec::as_slice)).map_err(of_platform)?;
                let named = offered(named, (&source, &image), &tables, &progress).await?;
                (Box::new(rows(&named, artifact)), ARTIFACTS)
            } else {
                let listing = list_files(source, image, &words, Depth::Children, tables.clone(), &progress).await;
                let listing = listing.map_err(of_platform)?;
                (Box::new(FileRows { listing, time, paint: Paint::wanted(color) }), FILES)
            }
        }
        What::Files(paths, depth) => {
            let listing = list_files(source, image, &paths, depth, tables, &progress).await;
            let (listing, paint) = (listing.map_err(of_platform)?, Paint::wanted(color));
            if is_tree {
                display.clear();
                tell_rate_limit(&*opened);
                return write_rows(|out| tree::write(&listing, paint.as_ref(), out)).map_err(Failure::Output);
            }
            (Box::new(FileRows { listing, time, paint }), FILES)
        }
        What::Layers => {
            let image = source.with_layers(&image, LayersFor::Listing).await.map_err(Error::from)?;
            let offers = Offers::ask((&source, &image), tables, &progress).await?;
            let layers = image.layers.iter().map(|layer| (layer.clone(), offers.of(layer)));
            let listing = Listing::new(&*source, &image, layers.collect());
            (Box::new(rows(&listing, layer)), LAYERS)
        }
    };
    display.clear();
    tell_rate_limit(&*opened);
    let format = format.of(columns).map_err(|invalid| Error::Usage(invalid.to_string()))?;
    write_rows(|out| format.write(&*rows, whole, out)).map_err(Failure::Output)
}

/// The same artifacts, with what is offered by the layers that would have to be read.
async fn offered(
    mut listing: Listing<ListedArtifact>,
    (source, image): (&Arc<dyn Source>, &Arc<Image>),
    tables: &Tables,
    progress: &Arc<dyn Progress>,
) -> Result<Listing<ListedArtifact>, Error> {
    if listing.reads_layers() {
        let offers = Offers::ask((source, image), tables.clone(), progress).await?;
        listing.offered(image, &offers);
    }
    Ok(listing)
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
            Read::Table(offer) => offer.to_string(),
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

/// The row of a layer, with what tells what is in it.
fn layer((layer, offer): &(Layer, Offer)) -> Value {
    json!({
        "Index": layer.index + 1,
        "Size": layer.size(),
        "Digest": layer.digest(),
        "DiffID": layer.diff_id,
        "MediaType": layer.blob.media_type,
        "Read": offer.to_string(),
        "Step": layer.created_by,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::format::{Columns, Format as Template};
    use crate::image::Blob;
    use crate::image::digest::Digest;

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
        has_every_field(&rows(&listing(vec![(plain, Offer::Plain)]), layer)[0], LAYERS);
    }

    #[test]
    fn how_an_artifact_is_read_says_what_it_costs() {
        let read = |read| artifact(&listed(read))["Read"].as_str().unwrap().to_owned();
        assert_eq!(read(Read::Range), "range");
        assert_eq!(read(Read::Layer { size: 12_300_000 }), "layer (12.30 MB)");
        assert_eq!(read(Read::Malformed { problem: "no JSON".to_owned() }), "malformed: no JSON");
    }
}

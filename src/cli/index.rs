//! `docker artifact index`: from its options to what the library does, and from what it did to what a person reads.

use std::sync::Arc;

use indicatif::DecimalBytes;
use serde_json::{Value, json};

use super::columns::{INDEXED, INDEXED_WITH_PLATFORM};
use super::failure::Failure;
use super::format::Format;
use super::options::{IndexOptions, IndexOutput};
use super::output::write_out;
use super::progress::Display;
use crate::artifact::Error;
use crate::artifact::table_index::{Indexed, IndexedImage, IndexedLayer, Table, index};
use crate::image::Layer;
use crate::source::Source as _;
use crate::source::registry::pinned;

/// Indexes what `options` say, and prints what was asked to be printed.
pub async fn run(options: IndexOptions, display: Arc<Display>) -> Result<(), Failure> {
    let IndexOptions { image, request, output, whole, access, .. } = options;
    let dry_run = request.dry_run;
    let from = access.registry(&image, display.clone()).map_err(Error::from)?;
    let name = from.name();
    let indexed = index(from, request, display.clone()).await?;
    let image = pinned(&name, Some(&indexed.digest));
    let text = match output {
        IndexOutput::Digest => format!("{}\n", indexed.digest),
        IndexOutput::Format(format) => format.render(&rows(&indexed, &image), whole),
        IndexOutput::Table => table(&indexed, &image, whole),
    };
    display.clear();
    write_out(&text).map_err(Failure::Output)?;
    display.close(&summary(&indexed, &image, dry_run));
    Ok(())
}

fn table(indexed: &Indexed, image: &str, whole: bool) -> String {
    let template = if indexed.images.len() > 1 { INDEXED_WITH_PLATFORM } else { "table" };
    // Both are well-formed.
    Format::parse(template, &INDEXED).map(|format| format.render(&rows(indexed, image), whole)).unwrap_or_default()
}

fn rows(indexed: &Indexed, image: &str) -> Vec<Value> {
    let of_layer = |of: &IndexedImage, IndexedLayer { layer, table }: &IndexedLayer| {
        let told = match table {
            Table::New(told) | Table::There(told) => Some(told),
            Table::Short | Table::Untold => None,
        };
        json!({
            "Index": layer.index + 1,
            "Digest": layer.digest(),
            "Size": layer.size(),
            "Table": told.map(|told| &told.digest),
            "TableSize": told.map(|told| told.size),
            "Entries": told.and_then(|told| told.entries),
            "State": match table {
                Table::New(_) => "new",
                Table::There(_) => "kept",
                Table::Short => "short",
                Table::Untold => "untold",
            },
            "Step": layer.created_by,
            "Platform": of.platform,
            "Image": image,
        })
    };
    let images = indexed.images.iter();
    images.flat_map(|image| image.layers.iter().map(|layer| of_layer(image, layer))).collect()
}

/// The closing line: what is attached now.
fn summary(indexed: &Indexed, image: &str, dry_run: bool) -> String {
    let layers = || indexed.images.iter().flat_map(|image| &image.layers);
    let count = |is: fn(&Table) -> bool| {
        // One that several platforms have is one.
        let mut digests: Vec<_> = layers().filter(|layer| is(&layer.table)).map(digest_of).collect();
        digests.sort_unstable();
        digests.dedup();
        digests.len()
    };
    let (new, kept) = (count(|table| matches!(table, Table::New(_))), count(|table| matches!(table, Table::There(_))));
    let platforms = match indexed.images.len() {
        1 => String::new(),
        images => format!(" for {images} platforms"),
    };
    if layers().all(|layer| layer.table == Table::Short) {
        return format!("{image} needs no tables{platforms}: its layers are so short that they are read whole");
    }
    if indexed.images.iter().all(|image| image.was_indexed) {
        return format!("{image} is indexed already{platforms}: {}", counted(kept, "layer"));
    }
    let kept = if kept > 0 { format!(", {} kept", counted(kept, "table")) } else { String::new() };
    let (done, sent) = if dry_run { ("would be indexed", "to send") } else { ("is indexed", "sent") };
    let bytes = DecimalBytes(indexed.bytes);
    format!("{image} {done}{platforms}: {} read{kept}, {bytes} of tables {sent}", counted(new, "layer"))
}

fn digest_of(layer: &IndexedLayer) -> &str {
    Layer::digest(&layer.layer).map(|digest| digest.as_str()).unwrap_or_default()
}

fn counted(count: usize, thing: &str) -> String {
    if count == 1 { format!("1 {thing}") } else { format!("{count} {thing}s") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::table_index::Told;
    use crate::image::Blob;
    use crate::image::digest::Digest;

    fn layer(content: &[u8], table: Table) -> IndexedLayer {
        let blob = Blob { digest: Some(Digest::of(content)), size: 70_000, ..Blob::default() };
        IndexedLayer { layer: Layer { index: 0, blob, diff_id: None, created_by: None }, table }
    }

    fn told() -> Told {
        Told { digest: Digest::of(b"table"), size: 2_500, entries: Some(7) }
    }

    fn indexed(images: Vec<(bool, Vec<IndexedLayer>)>) -> Indexed {
        let image = |(was_indexed, layers)| IndexedImage {
            platform: "linux/amd64".to_owned(),
            digest: Digest::of(b"image"),
            layers,
            was_indexed,
        };
        Indexed { digest: Digest::of(b"root"), images: images.into_iter().map(image).collect(), bytes: 2_500 }
    }

    #[test]
    fn every_field_is_in_a_row() {
        let row = rows(&indexed(vec![(false, vec![layer(b"a", Table::New(told()))])]), "a:1").remove(0);
        assert_eq!(row.as_object().unwrap().keys().collect::<Vec<_>>(), INDEXED.fields);
        assert_eq!((row["State"].as_str(), row["Entries"].as_u64()), (Some("new"), Some(7)));
        Format::parse("table", &INDEXED).unwrap();
        Format::parse(INDEXED_WITH_PLATFORM, &INDEXED).unwrap();
    }

    #[test]
    fn the_closing_line_says_what_was_read_and_sent() {
        let shared = || layer(b"base", Table::There(told()));
        let one = indexed(vec![(false, vec![shared(), layer(b"a", Table::New(told())), layer(b"b", Table::Untold)])]);
        assert_eq!(summary(&one, "a:1", false), "a:1 is indexed: 1 layer read, 1 table kept, 2.50 kB of tables sent");
        let two = indexed(vec![
            (false, vec![layer(b"base", Table::New(told())), layer(b"a", Table::New(told()))]),
            (false, vec![layer(b"base", Table::New(told())), layer(b"b", Table::New(told()))]),
        ]);
        let expected = "a:1 would be indexed for 2 platforms: 3 layers read, 2.50 kB of tables to send";
        assert_eq!(summary(&two, "a:1", true), expected);
        let again = indexed(vec![(true, vec![shared(), shared()])]);
        assert_eq!(summary(&again, "a:1", false), "a:1 is indexed already: 1 layer");
        let short = indexed(vec![(true, vec![layer(b"a", Table::Short)])]);
        assert_eq!(
            summary(&short, "a:1", false),
            "a:1 needs no tables: its layers are so short that they are read whole"
        );
    }
}

//! What each command prints rows of: the fields that a template may name, and those that a table shows. Checked when options are
//! read, and used when rows are printed.

use super::format::Columns;

/// What is printed of what was written.
pub const WRITTEN: Columns = Columns {
    table: "{{.Path}}\\t{{.Destination}}\\t{{.Size}}\\t{{.Mode}}",
    fields: &["Path", "Destination", "Type", "Size", "Mode", "Digest", "Layer", "Image", "Verified", "Proof"],
};

/// What is printed of what was labelled.
pub const LABELLED: Columns = Columns {
    table: "{{.Name}}\\t{{.Path}}\\t{{.Size}}\\t{{.Digest}}",
    fields: &["Name", "Path", "Type", "Size", "Mode", "Digest", "Layer", "Platform", "Image", "Label"],
};

/// The table of them where there is more than one platform.
pub const LABELLED_WITH_PLATFORM: &str = "table {{.Platform}}\\t{{.Name}}\\t{{.Path}}\\t{{.Size}}\\t{{.Digest}}";

/// What is printed of the layers of an image that was indexed.
pub const INDEXED: Columns = Columns {
    table: "{{.Index}}\\t{{.Size}}\\t{{.Entries}}\\t{{.TableSize}}\\t{{.State}}\\t{{.Digest}}",
    fields: &["Index", "Digest", "Size", "Table", "TableSize", "Entries", "State", "Step", "Platform", "Image"],
};

/// The table of them where there is more than one platform.
pub const INDEXED_WITH_PLATFORM: &str =
    "table {{.Platform}}\\t{{.Index}}\\t{{.Size}}\\t{{.Entries}}\\t{{.TableSize}}\\t{{.State}}\\t{{.Digest}}";

/// What is printed of artifacts, and what names one.
pub const ARTIFACTS: (&Columns, &str) = (
    &Columns {
        table: "{{.Name}}\\t{{.Path}}\\t{{.Size}}\\t{{.Layer}}\\t{{.Read}}",
        fields: &["Name", "Path", "Type", "Size", "Mode", "Digest", "Layer", "Read", "Image"],
    },
    "{{.Name}}",
);

/// What is printed of files.
pub const FILES: (&Columns, &str) = (
    &Columns {
        table: "{{.Permissions}}\\t{{.Owner}}\\t{{.Size}}\\t{{.Modified}}\\t{{.Layer}}\\t{{.Name}}",
        fields: &[
            "Permissions",
            "Owner",
            "Size",
            "Modified",
            "Layer",
            "Name",
            "Path",
            "Target",
            "Type",
            "Mode",
            "Uid",
            "Gid",
            "Read",
            "Step",
            "Image",
        ],
    },
    "{{.Path}}",
);

/// What is printed of the cache, and what names a row.
pub const CACHED: (&Columns, &str) = (
    &Columns {
        table: "{{.Type}}\\t{{.Digest}}\\t{{.Size}}\\t{{.Entries}}\\t{{.DiskSize}}\\t{{.LastUsed}}",
        fields: &["Type", "Digest", "Size", "Entries", "DiskSize", "LastUsed"],
    },
    "{{.Digest}}",
);

/// What is printed of layers.
pub const LAYERS: (&Columns, &str) = (
    &Columns {
        table: "{{.Index}}\\t{{.Size}}\\t{{.Read}}\\t{{.Digest}}\\t{{.Step}}",
        fields: &["Index", "Size", "Digest", "DiffID", "MediaType", "Read", "Step", "Image"],
    },
    "{{.Digest}}",
);

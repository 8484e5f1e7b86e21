//! Why a folder, or a layout, cannot stand in for an image in a build.

/// The attribute that file capabilities are kept in (capabilities(7)).
const CAPABILITY: &str = "security.capability";

/// Why the image is left to BuildKit. Displays as the end of a sentence that begins with `IMAGE is left to BuildKit: `.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// Something that keeps its owner has another one than a local context gives it.
    #[error("{path} belongs to {uid}:{gid}, but files from a folder belong to 0:0")]
    Owner {
        /// The path in the image.
        path: String,
        /// The owner's user ID.
        uid: u64,
        /// The owner's group ID.
        gid: u64,
    },
    /// Something has an extended attribute.
    #[error("{path} has {}, which a folder would lose", shown_attribute(.name))]
    Attribute {
        /// The path in the image.
        path: String,
        /// The attribute's name.
        name: String,
    },
    /// Something is a device node or a FIFO.
    #[error("{path} is a device node or a FIFO, which is never created")]
    Special {
        /// The path in the image.
        path: String,
    },
    /// Something has a mode that it does not keep on its way through a folder.
    #[error("{path} has the mode {mode:04o}, with which {problem}")]
    Mode {
        /// The path in the image.
        path: String,
        /// The permission bits.
        mode: u32,
        /// What becomes of such a thing.
        problem: &'static str,
    },
    /// A name, or a link's target, is not UTF-8, as the messages are in which BuildKit sends a folder.
    #[error("{path} has a name or a target that is not UTF-8, which BuildKit's protocol cannot send")]
    Name {
        /// The path in the image.
        path: String,
    },
    /// The folder would have a `.dockerignore`, which BuildKit obeys there and not in an image.
    #[error("in a folder, BuildKit would obey its /.dockerignore")]
    Dockerignore,
    /// The image's config has instructions for stages that begin with it.
    #[error("it has ONBUILD triggers")]
    OnBuild,
    /// All of the image is copied.
    #[error("all of it is copied")]
    Whole,
    /// A path or pattern is not read alike everywhere in BuildKit, or not yet here.
    #[error("\"{}\" {problem}", .text.escape_debug())]
    Pattern {
        /// It, as the Dockerfile has it.
        text: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Nothing matches a pattern, and nothing else would bring the directory into the folder that it is looked for in.
    #[error("nothing in it matches {text}")]
    NoMatch {
        /// The pattern, as the Dockerfile has it.
        text: String,
    },
    /// A symlink on the way goes into a directory and out of it again, which is not read alike everywhere in BuildKit.
    #[error("the symlink {link} goes down and up again, to {target}")]
    Link {
        /// The link's path in the image.
        link: String,
        /// Its target, as written.
        target: String,
    },
    /// A pattern matches a symlink to nothing.
    #[error("{path}, which {text} matches, is a symlink to nothing")]
    Dangling {
        /// The link's path in the image.
        path: String,
        /// The pattern, as the Dockerfile has it.
        text: String,
    },
    /// A pattern matches a directory with a symlink in it that leads out of the directory, or is such a link.
    #[error("{link}, which {text} copies, is a symlink to something that it does not copy")]
    LeadsOut {
        /// The link, by the path that it is copied by.
        link: String,
        /// The pattern, as the Dockerfile has it.
        text: String,
    },
    /// A pattern matches more symlinks than are followed.
    #[error("{text} matches too many symlinks")]
    TooManyLinks {
        /// The pattern, as the Dockerfile has it.
        text: String,
    },
    /// A path leads through symlinks where BuildKit follows none.
    #[error("{text} leads through symlinks, which --parents does not follow")]
    Unfollowed {
        /// The path, as the Dockerfile has it.
        text: String,
    },
    /// The directories above are copied, and the layers that were read do not describe one of them.
    #[error("the layers that were read do not describe {path}")]
    Undescribed {
        /// The directory's path in the image.
        path: String,
    },
    /// Beside what else is copied, something would be found in the folder that is not found in the image, or something else.
    #[error("in one folder with everything that is copied, {text} would be something else")]
    Tangled {
        /// The path or pattern, as the Dockerfile has it.
        text: String,
    },
    /// The image has something that no image should have.
    #[error("{problem}")]
    Odd {
        /// What it has.
        problem: String,
    },
    /// This machine's file system cannot hold it as it is.
    #[error("the folder cannot hold it as it is: {problem}")]
    Folder {
        /// What it cannot hold.
        problem: String,
    },
}

fn shown_attribute(name: &str) -> String {
    match name {
        CAPABILITY => "file capabilities".to_owned(),
        name => format!("the extended attribute {}", name.escape_debug()),
    }
}

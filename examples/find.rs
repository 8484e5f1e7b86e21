//! Finds what anybody may run as root in an image: `cargo run --example find debian:12`

use docker_artifact::{Error, Image, Kind};

fn main() -> Result<(), Error> {
    let image = Image::open(std::env::args().nth(1).unwrap_or_else(|| "examples/app.tar".to_owned()))?;
    image.walk("/", |entry| {
        if matches!(entry.kind, Kind::File { .. }) && entry.mode & 0o4000 != 0 && entry.uid == 0 {
            println!("{}", entry.path.display());
        }
        Ok(())
    })
}

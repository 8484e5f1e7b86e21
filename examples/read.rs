//! Prints a file of an image: `cargo run --example read debian:12 /etc/os-release`

use docker_artifact::Image;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (image, path) = (arguments.next().ok_or("an IMAGE")?, arguments.next().ok_or("a PATH")?);
    std::io::copy(&mut Image::open(image)?.read(path)?, &mut std::io::stdout())?;
    Ok(())
}

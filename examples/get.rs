//! Gets a directory of an image: `cargo run --example get nginx /etc/nginx config`

use docker_artifact::{Image, Options};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let [image, path, to] = <[String; 3]>::try_from(std::env::args().skip(1).collect::<Vec<_>>())
        .map_err(|_| "an IMAGE, a PATH and where to put it")?;
    let image: Image = Options::new().on_notice(|line| eprintln!("{line}")).open(image)?;
    image.get(path, to)?;
    Ok(())
}
